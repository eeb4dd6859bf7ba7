//! `/etc/resolv.conf` and `/etc/hosts` of a container.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use shipway_network::Sandbox;

use crate::cli::{NetworkKind, RunArgs};
use crate::failure::Failure;
use crate::ui::Ui;

/// Compat: docker, the address of this host as containers see it.
const GATEWAY: &str = "host-gateway";

/// Returns the name servers of the container; `None` leaves the image's file.
pub(super) fn resolv_conf(args: &RunArgs, ui: &mut Ui) -> Option<String> {
    if args.network == NetworkKind::None {
        return None;
    }
    let (text, named) = match args.network {
        NetworkKind::Host => (fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default(), true),
        _ => {
            let found = shipway_network::resolv_conf();
            (found.text, found.has_server)
        }
    };
    if !args.dns.is_empty() {
        let servers = args.dns.iter().map(|server| format!("nameserver {server}\n"));
        let others = text.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
        return Some(servers.chain(others.map(|line| format!("{line}\n"))).collect());
    }
    if !named {
        ui.note(
            "note: no name server of this host can be reached from the container's network; name one: --dns ADDRESS",
        );
    }
    Some(text)
}

/// Returns the names that the container knows.
pub(super) fn hosts(args: &RunArgs, hostname: &str, sandbox: Option<&Sandbox>) -> Result<String, Failure> {
    let mut text = match args.network {
        NetworkKind::Host => fs_err::read_to_string("/etc/hosts").unwrap_or_default(),
        _ => "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for host in &args.add_host {
        let (name, address) = extra(host)?;
        let gateway = || sandbox.map_or(Ipv4Addr::LOCALHOST, |sandbox| sandbox.gateway).into();
        let address = address.unwrap_or_else(gateway);
        writeln!(text, "{address}\t{name}").expect("writing to a string cannot fail");
    }
    // The host's file knows the host's name.
    if args.network != NetworkKind::Host {
        let own = sandbox.map_or("127.0.0.1".to_owned(), |sandbox| sandbox.address.to_string());
        writeln!(text, "{own}\t{hostname}").expect("writing to a string cannot fail");
    }
    Ok(text)
}

/// Parses `NAME:ADDRESS` or `NAME=ADDRESS`; without an address it is this host's.
pub(crate) fn extra(text: &str) -> Result<(&str, Option<IpAddr>), Failure> {
    let refused = || {
        Failure::new(
            format!("`{text}` is no host and address"),
            format!("write it as --add-host NAME:ADDRESS; ADDRESS may be {GATEWAY}"),
        )
    };
    let (name, address) = text.split_once(['=', ':']).ok_or_else(refused)?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(refused());
    }
    if address == GATEWAY {
        return Ok((name, None));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    Ok((name, Some(bare.parse().map_err(|_not_one| refused())?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_hosts_have_a_name_and_an_address() {
        for (text, want) in [
            ("db:10.0.0.5", Some(("db", "10.0.0.5"))),
            ("db=10.0.0.5", Some(("db", "10.0.0.5"))),
            ("db:2001:db8::1", Some(("db", "2001:db8::1"))),
            ("db=[2001:db8::1]", Some(("db", "2001:db8::1"))),
            ("host:host-gateway", Some(("host", "this host's"))),
            ("db", None),
            (":10.0.0.5", None),
            ("a b:10.0.0.5", None),
            ("db:ten", None),
        ] {
            let found = extra(text).ok();
            let shown = |address: Option<IpAddr>| {
                address.map_or("this host's".to_owned(), |address| address.to_string())
            };
            assert_eq!(
                found.map(|(name, address)| (name, shown(address))),
                want.map(|(name, address)| (name, address.to_owned())),
                "case {text}"
            );
        }
    }
}

//! Which name servers a sandbox asks.

use std::net::IpAddr;
use std::str::FromStr as _;

const HOSTS_FILE: &str = "/etc/resolv.conf";
/// The servers that systemd's resolver asks itself, where `/etc/resolv.conf` names only the resolver.
const BEHIND_SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// Contents of `/etc/resolv.conf` for sandboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The file.
    pub text: String,
    /// Servers of the host that a sandbox cannot reach, left out of the text.
    pub unreachable: Vec<String>,
    /// Whether the text names any server. Where it does not, no name can be resolved; nobody is asked who was not
    /// configured.
    pub has_server: bool,
}

/// Returns the host's configuration as far as it makes sense in a sandbox; containers on the host's own network take the
/// host's file as it is.
pub fn resolv_conf() -> ResolvConf {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let found = translate(&read(HOSTS_FILE));
    if found.has_server { found } else { better(found, translate(&read(BEHIND_SYSTEMD))) }
}

fn better(first: ResolvConf, second: ResolvConf) -> ResolvConf {
    if second.has_server { second } else { first }
}

fn translate(text: &str) -> ResolvConf {
    let mut result = ResolvConf { text: String::new(), unreachable: Vec::new(), has_server: false };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(server)) if is_reachable(server) => {
                result.has_server = true;
                result.text.push_str(&format!("nameserver {server}\n"));
            }
            (Some("nameserver"), server) => result.unreachable.extend(server.map(str::to_owned)),
            (Some("search" | "domain" | "options" | "sortlist"), Some(_)) => {
                result.text.push_str(line.trim());
                result.text.push('\n');
            }
            _ => {}
        }
    }
    result
}

/// Loopback addresses are the sandbox's own there; IPv6 does not leave a sandbox yet.
fn is_reachable(server: &str) -> bool {
    match IpAddr::from_str(server) {
        Ok(IpAddr::V4(address)) => !address.is_loopback() && !address.is_unspecified(),
        Ok(IpAddr::V6(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_a_sandbox_reaches_are_kept() {
        for (name, host, want, unreachable) in [
            ("plain", "nameserver 10.0.0.53\n", "nameserver 10.0.0.53\n", vec![]),
            (
                "search and options",
                "# made by hand\nsearch a.example b.example\noptions ndots:2\n\tnameserver  192.0.2.1 \n",
                "search a.example b.example\noptions ndots:2\nnameserver 192.0.2.1\n",
                vec![],
            ),
            ("systemd", "nameserver 127.0.0.53\noptions edns0\n", "options edns0\n", vec!["127.0.0.53"]),
            (
                "local ones beside others",
                "nameserver fe80::1%eth0\nnameserver ::1\nnameserver 10.1.1.1\nnameserver",
                "nameserver 10.1.1.1\n",
                vec!["fe80::1%eth0", "::1"],
            ),
            ("nothing", "", "", vec![]),
        ] {
            let found = translate(host);
            assert_eq!(found.text, want, "case {name}");
            assert_eq!(found.unreachable, unreachable, "case {name}");
            assert_eq!(found.has_server, want.contains("nameserver"), "case {name}");
        }
    }

    #[test]
    fn nobody_is_asked_who_was_not_configured() {
        let local = translate("nameserver 127.0.0.53\n");
        let behind = translate("nameserver 10.0.0.53\n");
        assert_eq!(better(local.clone(), behind.clone()), behind);
        assert_eq!(better(local.clone(), translate("")), local);
        assert!(!local.has_server && local.text.is_empty());
    }
}

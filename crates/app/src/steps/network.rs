//! What RUN steps see of the network: a sandbox that all steps of a build share, but for those that could change it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use shipway_build::HostAddress;
use shipway_network::ResolvConf;
use shipway_runtime::{ContainerSpec, Network};

use crate::network::{BuildSandbox, SandboxError};
use crate::roots::Roots;

/// Builds of this process that had a sandbox.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Variables that name a proxy, in lower case.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy"];

/// The default network of a build's steps; its sandbox is made for the first step that wants it and goes with this value.
#[derive(Debug)]
pub(crate) struct StepNetwork {
    roots: Roots,
    sandbox: Mutex<Option<BuildSandbox>>,
    /// Whether it was said that steps share the host's network.
    said: AtomicBool,
}

/// The network of one step.
#[derive(Debug)]
pub(super) struct Given {
    network: Network,
    /// Its `/etc/resolv.conf`.
    names: Option<String>,
    /// Where it reaches this host.
    gateway: Ipv4Addr,
    /// A sandbox of its own, which goes with this value.
    own: Option<BuildSandbox>,
}

impl Given {
    /// Makes one that is no sandbox of a build.
    pub(super) fn plain(network: Network) -> Self {
        Self { network, names: host_names(), gateway: Ipv4Addr::LOCALHOST, own: None }
    }

    /// Gives it to a container, with the names that it is to know besides; the sandbox of its own is to live as long as that.
    pub(super) fn to(
        self,
        spec: ContainerSpec,
        more: &[(String, HostAddress)],
    ) -> (ContainerSpec, Option<BuildSandbox>) {
        let hosts = hosts(more, &spec.hostname, self.gateway);
        let (network, resolv_conf) = (self.network, self.names);
        (ContainerSpec { network, resolv_conf, hosts: Some(hosts), ..spec }, self.own)
    }
}

impl StepNetwork {
    /// Makes nothing yet.
    pub(crate) fn new(roots: Roots) -> Self {
        Self { roots, sandbox: Mutex::default(), said: AtomicBool::new(false) }
    }

    /// Returns the network of a step with these variables; one that may change a network is `alone` in its own.
    ///
    /// What listens on this host's loopback device cannot be reached from a sandbox: a step that depends on it gets the
    /// host's network, and `output` says so once.
    pub(super) fn of_step(
        &self,
        env: &[String],
        alone: bool,
        output: &mut dyn Write,
    ) -> Result<Given, SandboxError> {
        let names = shipway_network::resolv_conf();
        if let Some(why) = needs_host(&names, env) {
            if !self.said.swap(true, Ordering::Relaxed) {
                // Nobody may be watching.
                drop(writeln!(output, "note: {why}, so RUN steps share this host's network"));
            }
            return Ok(Given::plain(Network::Host));
        }
        let create = || BuildSandbox::create(&self.roots, COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = |made: &BuildSandbox| Network::Path(made.sandbox().netns.clone());
        if alone {
            let own = create()?;
            let (network, gateway) = (path(&own), own.sandbox().gateway);
            return Ok(Given { network, names: Some(names.text), gateway, own: Some(own) });
        }
        let mut sandbox = self.sandbox.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match sandbox.take() {
            Some(made) => made,
            None => create()?,
        };
        let (network, gateway) = (path(&made), made.sandbox().gateway);
        *sandbox = Some(made);
        Ok(Given { network, names: Some(names.text), gateway, own: None })
    }
}

/// Returns the names that a step knows; `gateway` is where it reaches this host.
fn hosts(more: &[(String, HostAddress)], hostname: &str, gateway: Ipv4Addr) -> String {
    let mut hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in more {
        let address = match address {
            HostAddress::At(address) => *address,
            HostAddress::Gateway => gateway.into(),
        };
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    hosts
}

/// Returns the name servers of this host, as it has them.
fn host_names() -> Option<String> {
    fs_err::read_to_string("/etc/resolv.conf").ok()
}

/// Says why a step would not work in a sandbox.
fn needs_host(names: &ResolvConf, env: &[String]) -> Option<String> {
    if !names.has_server && !names.unreachable.is_empty() {
        return Some(format!("name server {} is this host's own", names.unreachable.join(", ")));
    }
    let (name, _) = env
        .iter()
        .filter_map(|line| line.split_once('='))
        .find(|(name, value)| PROXIES.contains(&name.to_ascii_lowercase().as_str()) && is_local(value))?;
    Some(format!("the proxy in {name} is this host's own"))
}

/// Whether the host of a URL, or of `HOST:PORT`, is this one.
fn is_local(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_on_this_hosts_loopback_device_is_told() {
        let names = |text: &str, unreachable: &[&str]| ResolvConf {
            text: text.to_owned(),
            unreachable: unreachable.iter().map(ToString::to_string).collect(),
            has_server: !text.is_empty(),
        };
        let good = names("nameserver 10.0.0.53\n", &["127.0.0.53"]);
        for (name, names, env, want) in [
            ("plain", &good, vec![], None),
            ("a resolver", &names("", &["127.0.0.53"]), vec![], Some("name server 127.0.0.53")),
            ("no resolver at all", &names("", &[]), vec![], None),
            ("a proxy", &good, vec!["HTTPS_PROXY=http://127.0.0.1:3128"], Some("the proxy in HTTPS_PROXY")),
            ("by name", &good, vec!["http_proxy=http://user:pw@localhost:3128/"], Some("http_proxy")),
            ("IPv6", &good, vec!["all_proxy=socks5://[::1]:1080"], Some("all_proxy")),
            ("without a scheme", &good, vec!["http_proxy=127.0.0.1:3128"], Some("http_proxy")),
            (
                "another host's",
                &good,
                vec!["http_proxy=http://proxy.example:3128", "X=http://127.0.0.1"],
                None,
            ),
        ] {
            let env: Vec<String> = env.into_iter().map(ToOwned::to_owned).collect();
            let why = needs_host(names, &env);
            assert_eq!(why.is_some(), want.is_some(), "case {name}: {why:?}");
            assert!(why.unwrap_or_default().contains(want.unwrap_or_default()), "case {name}");
        }
    }
}

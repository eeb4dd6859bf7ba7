//! Names to addresses, in our own code.
//!
//! A statically linked program cannot load the C library's name service modules, so `getaddrinfo` is not
//! an option. Asked are `/etc/hosts` and then the servers of `/etc/resolv.conf` (search list, `ndots`, `timeout`,
//! `attempts`), over UDP and, for long answers, TCP. Answers are kept for the process, and one name is looked
//! up once, however many threads ask. Not asked: multicast DNS, LDAP and what else `nsswitch.conf` may name.

mod cache;
mod hosts;
mod lookup;
mod message;
mod server_list;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use miette::Diagnostic;

use crate::Stop;
use cache::Cache;
use server_list::ServerList;

/// Finds the addresses of names. Clones share the answers.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    cache: Cache,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ResolveError {
    /// A server says that there is no such name.
    #[error("there is no host named `{host}` (says {server})")]
    #[diagnostic(code(fetch::no_such_host), help("check the spelling, or add it to /etc/hosts"))]
    NotFound {
        /// The name.
        host: String,
        /// Who says so.
        server: IpAddr,
    },
    /// No server gave an answer.
    #[error("no name server knows `{host}` (asked {servers})")]
    #[diagnostic(
        code(fetch::name_servers),
        help("check the network and the name servers in /etc/resolv.conf")
    )]
    NoAnswer {
        /// The name.
        host: String,
        /// Who was asked, and how often.
        servers: String,
        /// How the last question ended.
        source: io::Error,
    },
    /// The text cannot be a host name.
    #[error("`{host}` is not a host name")]
    #[diagnostic(code(fetch::host_name), help("check the spelling"))]
    Invalid {
        /// The text.
        host: String,
    },
}

impl ResolveError {
    /// Whether asking again may help.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::NoAnswer { source, .. } if !crate::retry::is_without_network(source))
    }
}

impl Resolver {
    /// Returns the resolver of this process, which reads the host's files.
    pub fn host() -> Self {
        static HOST: OnceLock<Resolver> = OnceLock::new();
        HOST.get_or_init(|| Self::with_files(Path::new("/etc/hosts"), Path::new("/etc/resolv.conf"))).clone()
    }

    /// Returns a resolver of its own that reads these files instead of the host's.
    pub fn with_files(hosts: &Path, resolv_conf: &Path) -> Self {
        let (hosts, resolv_conf) = (hosts.to_owned(), resolv_conf.to_owned());
        Self(Arc::new(Inner { hosts, resolv_conf, cache: Cache::default() }))
    }

    /// Returns the addresses of `host`, IPv4 first, at least one.
    pub fn resolve(&self, host: &str, within: Option<Duration>) -> Result<Vec<IpAddr>, ResolveError> {
        self.resolve_until(host, within, &Stop::default())
    }

    /// Returns the addresses of `host` as [`Resolver::resolve`] does; a stop ends waiting for name servers.
    pub(crate) fn resolve_until(
        &self,
        host: &str,
        within: Option<Duration>,
        stop: &Stop,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let deadline = within.and_then(|within| Instant::now().checked_add(within));
        self.0.cache.get_or_insert(host, || self.look_up(host, deadline, stop))
    }

    /// Returns what is known of `host` without asking anybody.
    pub fn known(&self, host: &str) -> Vec<IpAddr> {
        self.0.cache.known(host)
    }

    fn look_up(
        &self,
        host: &str,
        deadline: Option<Instant>,
        stop: &Stop,
    ) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
        /// How long an entry of a file, which may be edited, is believed.
        const FILE_LIFETIME: Duration = Duration::from_secs(5);
        let text = fs_err::read_to_string(&self.0.hosts).unwrap_or_default();
        let mut found = hosts::find(&text, host);
        if found.is_empty() && is_localhost(host) {
            found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        if !found.is_empty() {
            return Ok((found, FILE_LIFETIME));
        }
        let servers = ServerList::parse(&fs_err::read_to_string(&self.0.resolv_conf).unwrap_or_default());
        lookup::resolve(host, &servers, deadline, stop)
    }
}

/// Spec: RFC 6761 section 6.3.
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

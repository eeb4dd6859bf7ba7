//! The settings of `/etc/resolv.conf`. See `resolv.conf(5)`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// Whom to ask, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerList {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
}

const DNS_PORT: u16 = 53;

impl ServerList {
    /// Reads the file; what it does not say, or says wrongly, is as the C library has it.
    pub(super) fn parse(text: &str) -> Self {
        let mut list = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => list.servers.extend(words.next().and_then(parse_server)),
                Some("search") => list.search = words.map(str::to_owned).collect(),
                Some("domain") => list.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| list.set(option)),
                _ => {}
            }
        }
        list.servers.truncate(3);
        if list.servers.is_empty() {
            list.servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
        }
        list
    }

    fn set(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = usize::try_from(value.min(15)).unwrap_or(15),
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// Returns the full names to ask for, in order.
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{host}.{}", domain.trim_matches('.')));
        let searched = searched.filter(|name| !name.ends_with('.'));
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        if dots >= self.ndots {
            return std::iter::once(host.to_owned()).chain(searched).collect();
        }
        searched.chain(std::iter::once(host.to_owned())).collect()
    }
}

/// An address; link-local ones may have a numeric scope.
fn parse_server(text: &str) -> Option<SocketAddr> {
    if let Some((address, scope)) = text.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(SocketAddrV6::new(address, DNS_PORT, 0, scope.parse().ok()?).into());
    }
    text.parse::<IpAddr>().ok().map(|address| (address, DNS_PORT).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_bounded() {
        let list = ServerList::parse(
            "# c\nnameserver 10.0.0.2\nnameserver fe80::1%2\nnameserver bogus\ndomain old.test\nsearch a.test b.test\noptions ndots:2 timeout:99 attempts:0 rotate\n",
        );
        assert_eq!(
            list.servers,
            ["10.0.0.2:53".parse().unwrap(), "[fe80::1%2]:53".parse::<SocketAddr>().unwrap()]
        );
        assert_eq!(list.search, ["a.test", "b.test"]);
        assert_eq!((list.ndots, list.timeout, list.attempts), (2, Duration::from_secs(30), 1));
        assert_eq!(ServerList::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn the_search_list_is_tried_first_for_names_with_few_dots() {
        let list = ServerList::parse("search a.test\noptions ndots:2\n");
        for (name, host, want) in [
            ("few dots", "db.x", &["db.x.a.test", "db.x"][..]),
            ("enough dots", "db.x.y", &["db.x.y", "db.x.y.a.test"]),
            ("absolute", "db.", &["db"]),
        ] {
            assert_eq!(list.candidates(host), want, "case {name}");
        }
    }
}

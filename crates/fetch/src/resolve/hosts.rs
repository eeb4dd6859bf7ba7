//! The table of `/etc/hosts`.

use std::net::IpAddr;

/// Returns the addresses of `host`, IPv4 first, each once.
pub(super) fn find(table: &str, host: &str) -> Vec<IpAddr> {
    let host = host.trim_end_matches('.');
    let mut found = Vec::new();
    for line in table.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_found_in_any_case() {
        let table = "# comment\n::1 localhost ip6\n127.0.0.1\tlocalhost\n10.0.0.1 Db.Test db # not this\nbad line\n10.0.0.1 db\n";
        for (name, host, want) in [
            ("both families", "localhost", &["127.0.0.1", "::1"][..]),
            ("case", "DB.test", &["10.0.0.1"]),
            ("alias once", "db", &["10.0.0.1"]),
            ("trailing dot", "db.", &["10.0.0.1"]),
            ("comment", "not", &[]),
            ("missing", "x", &[]),
        ] {
            let want: Vec<IpAddr> = want.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(find(table, host), want, "case {name}");
        }
    }
}

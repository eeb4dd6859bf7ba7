//! EXPOSE: `[ip:][host:]port[-port][/protocol]` to `port/protocol`.

use std::net::IpAddr;

use crate::Problem;

/// Returns the container's ports of one word, one entry for each port of a range.
pub(crate) fn parse_ports(text: &str) -> Result<Vec<String>, Problem> {
    let bad = |why: &str| Problem::invalid(format!("EXPOSE: `{text}` is no port: {why}"));
    let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_ascii_lowercase() };
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(bad("the protocol is tcp, udp or sctp"));
    }
    let (before, container) =
        address.rsplit_once(':').map_or((None, address), |(before, port)| (Some(before), port));
    let (first, last) = parse_range(container).ok_or_else(|| bad("a port is a number from 1 to 65535"))?;
    if let Some(before) = before {
        let (ip, host) = before.rsplit_once(':').map_or((None, before), |(ip, host)| (Some(ip), host));
        let ip = ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']'));
        if ip.is_some_and(|ip| !ip.is_empty() && ip.parse::<IpAddr>().is_err()) {
            return Err(bad("the address is no IP address"));
        }
        if !host.is_empty() {
            let (host_first, host_last) =
                parse_range(host).ok_or_else(|| bad("the host's port is no number"))?;
            if first != last && last - first != host_last - host_first {
                return Err(bad("the ranges differ in length"));
            }
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_become_port_and_protocol() {
        for (name, text, want) in [
            ("plain", "80", Some(vec!["80/tcp"])),
            ("protocol", "53/UDP", Some(vec!["53/udp"])),
            ("range", "80-82", Some(vec!["80/tcp", "81/tcp", "82/tcp"])),
            ("host port", "8080:80", Some(vec!["80/tcp"])),
            ("address", "127.0.0.1:8080:80/tcp", Some(vec!["80/tcp"])),
            ("no number", "http", None),
            ("too large", "70000", None),
            ("backwards", "82-80", None),
            ("bad protocol", "80/x", None),
            ("bad address", "x:1:2", None),
            ("empty", "", None),
        ] {
            let got = parse_ports(text).ok();
            let want = want.map(|ports| ports.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(got, want, "case {name}");
        }
    }
}

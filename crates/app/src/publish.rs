//! Published ports: what `-p` says, and how a mapping is shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use shipway_runtime::PortMapping;

use crate::failure::Failure;

/// Parses `[[IP:]HOST:]CONTAINER[/tcp]`; numbers may be ranges `FIRST-LAST`. Without an address it means all of both
/// families. Compat: docker.
pub(crate) fn parse(text: &str) -> Result<Vec<PortMapping>, Failure> {
    let refused = |why: &str| {
        Failure::new(format!("cannot publish `{text}`: {why}"), "write it as -p [[IP:]HOST:]CONTAINER")
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !protocol.eq_ignore_ascii_case("tcp") {
        return Err(refused(&format!("{protocol} is not there yet, only tcp")));
    }
    let (rest, container) = match ports.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, ports),
    };
    let (address, host) = match rest.map(|rest| rest.rsplit_once(':').unwrap_or(("", rest))) {
        Some((address, host)) => (address, host),
        None => ("", ""),
    };
    let no_port = |text: &str| refused(&format!("`{text}` is no port"));
    let container = range(container).filter(|range| *range.start() > 0).ok_or_else(|| no_port(container))?;
    let host = if host.is_empty() || host == "0" {
        None
    } else {
        Some(range(host).filter(|range| *range.start() > 0).ok_or_else(|| no_port(host))?)
    };
    if host.as_ref().is_some_and(|host| host.len() != container.len()) {
        return Err(refused("the two ranges are not of the same length"));
    }
    let addresses = if address.is_empty() {
        everywhere()
    } else {
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        vec![bare.parse().map_err(|_not_one| refused(&format!("`{address}` is no address of this host")))?]
    };
    let pairs = container.enumerate().map(|(at, container_port)| {
        let at = u16::try_from(at).unwrap_or(0);
        (host.as_ref().map_or(0, |host| host.start() + at), container_port)
    });
    Ok(pairs
        .flat_map(|(host_port, container_port)| {
            addresses.iter().map(move |host_ip| PortMapping { host_ip: *host_ip, host_port, container_port })
        })
        .collect())
}

/// Returns mappings of a free port for each port that the image exposes, and those that cannot be published.
pub(crate) fn of_exposed<'a>(
    exposed: impl Iterator<Item = &'a String>,
) -> Result<(Vec<PortMapping>, Vec<&'a str>), Failure> {
    let (mut mappings, mut left) = (Vec::new(), Vec::new());
    for port in exposed {
        match port.split_once('/') {
            Some((_, protocol)) if !protocol.eq_ignore_ascii_case("tcp") => left.push(port.as_str()),
            _ => mappings.extend(parse(port)?),
        }
    }
    Ok((mappings, left))
}

/// All addresses of both families, as two mappings next to each other.
fn everywhere() -> Vec<IpAddr> {
    vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (first, last): (u16, u16) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

/// Returns the column of `ps`. Compat: docker, `0.0.0.0:8080->5000/tcp`.
pub(crate) fn render(ports: &[PortMapping]) -> String {
    let one = |mapping: &PortMapping| {
        let host = std::net::SocketAddr::new(mapping.host_ip, mapping.host_port);
        format!("{host}->{}/tcp", mapping.container_port)
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read_and_shown_as_docker_does() {
        for (text, want) in [
            ("8080:5000", "0.0.0.0:8080->5000/tcp, [::]:8080->5000/tcp"),
            ("8080:5000/tcp", "0.0.0.0:8080->5000/tcp, [::]:8080->5000/tcp"),
            ("127.0.0.1:8080:5000", "127.0.0.1:8080->5000/tcp"),
            ("[::1]:8080:5000", "[::1]:8080->5000/tcp"),
            ("127.0.0.1::80", "127.0.0.1:0->80/tcp"),
            ("80", "0.0.0.0:0->80/tcp, [::]:0->80/tcp"),
            ("0:80", "0.0.0.0:0->80/tcp, [::]:0->80/tcp"),
            ("127.0.0.1:80-81:90-91", "127.0.0.1:80->90/tcp, 127.0.0.1:81->91/tcp"),
        ] {
            assert_eq!(render(&parse(text).unwrap()), want, "case {text}");
        }
    }

    #[test]
    fn what_cannot_be_published_is_named() {
        for (text, why) in [
            ("80/udp", "udp is not there yet"),
            ("53:53/sctp", "sctp is not there yet"),
            ("80:", "`` is no port"),
            ("", "`` is no port"),
            ("0", "`0` is no port"),
            ("x:80", "`x` is no port"),
            ("70000:80", "`70000` is no port"),
            ("+80", "`+80` is no port"),
            ("80-82:90-91", "not of the same length"),
            ("82-80:90", "`82-80` is no port"),
            ("web:80:80", "`web` is no address"),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.text().contains(why) && failure.text().contains("hint: "), "{}", failure.text());
        }
    }

    #[test]
    fn exposed_ports_get_free_ones_and_udp_is_left() {
        let exposed = ["53/udp".to_owned(), "80/tcp".to_owned(), "81".to_owned()];
        let (mappings, left) = of_exposed(exposed.iter()).unwrap();
        assert_eq!((mappings.len(), left), (4, vec!["53/udp"]));
    }
}

//! Which token services may be asked, and which of them may see credentials.
//!
//! A registry names its token service. One that lies could have us ask machines that only we can reach, or send a password where it
//! does not belong.

use std::net::IpAddr;

use shipway_fetch::is_loopback;

use crate::endpoint::{Endpoint, host_of};

/// A token service that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) url: String,
    /// It may see the registry's credentials.
    pub(crate) is_trusted: bool,
}

/// Judges the token service that a registry names; the error says what is wrong with it.
pub(crate) fn judge(endpoint: &Endpoint, realm: &str, token_hosts: &[String]) -> Result<Realm, &'static str> {
    let (https, rest) = match realm.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        _ => return Err("it is no http or https URL"),
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.contains('@') || realm.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it is no plain URL");
    }
    let host = host_of(authority);
    let same_host = host.eq_ignore_ascii_case(endpoint.host());
    let named = token_hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    if !https && (endpoint.https || !(same_host || named)) {
        return Err("it would be asked without encryption");
    }
    if !same_host && !named && is_local(host) {
        return Err("it is in a network of this machine");
    }
    Ok(Realm {
        url: realm.split('#').next().unwrap_or_default().to_owned(),
        is_trusted: same_host || named || same_domain(host, endpoint.host()),
    })
}

/// Returns whether a host is this machine or is named by an address: those who ask from elsewhere have no business there.
fn is_local(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    is_loopback(&name)
        || name.ends_with(".localhost")
        || name.ends_with(".local")
        || name.ends_with(".internal")
        || !name.contains('.')
        || name.parse::<IpAddr>().is_ok()
        // Other spellings of addresses: 0x7f.1, 2130706433.
        || name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns whether two hosts belong to the same registrable domain, judged without a list of public suffixes: rather too few than too
/// many.
fn same_domain(one: &str, other: &str) -> bool {
    match (registrable(one), registrable(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// The last two labels, or three where the last two look like `co.uk`.
fn registrable(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let labels: Vec<&str> = host.split('.').collect();
    let last = labels.last()?;
    let second = labels.len().checked_sub(2).map(|at| labels[at])?;
    let take = if last.len() == 2 && second.len() <= 3 { 3 } else { 2 };
    (labels.len() >= take).then(|| labels[labels.len() - take..].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_only_where_they_belong() {
        let secure = Endpoint::of_url("https://reg.acme.test", "/v2").unwrap();
        let uk = Endpoint::of_url("https://reg.acme.co.uk:443", "/v2").unwrap();
        let local = Endpoint::of_url("http://127.0.0.1:5000", "/v2").unwrap();
        let named = ["tokens.example".to_owned()];
        for (name, endpoint, realm, want) in [
            ("same host", &secure, "https://reg.acme.test/token", Ok(true)),
            ("same host, other port", &secure, "https://reg.acme.test:8443/token", Ok(true)),
            ("same domain", &secure, "https://auth.acme.test/token", Ok(true)),
            ("named", &secure, "https://tokens.example/t", Ok(true)),
            ("elsewhere", &secure, "https://auth.evil.example/token", Ok(false)),
            ("the end of its name is ours", &secure, "https://evilacme.test/token", Ok(false)),
            ("our name in front", &secure, "https://acme.test.evil.example/token", Ok(false)),
            ("another company below co.uk", &uk, "https://auth.evil.co.uk/token", Ok(false)),
            ("the same company below co.uk", &uk, "https://auth.acme.co.uk/token", Ok(true)),
            ("no encryption", &secure, "http://reg.acme.test/token", Err(())),
            ("loopback from elsewhere", &secure, "https://127.0.0.1/token", Err(())),
            ("localhost from elsewhere", &secure, "https://localhost:8080/token", Err(())),
            ("link-local", &secure, "https://169.254.169.254/latest", Err(())),
            ("version 6", &secure, "https://[fe80::1]/t", Err(())),
            ("mapped", &secure, "https://[::ffff:127.0.0.1]/t", Err(())),
            ("a number", &secure, "https://2130706433/t", Err(())),
            ("hexadecimal", &secure, "https://127.0.0.0x1/t", Err(())),
            ("a short name", &secure, "https://intranet/t", Err(())),
            ("user in front", &secure, "https://reg.acme.test@evil.example/", Err(())),
            ("backslash", &secure, "https://evil.example\\@reg.acme.test/", Ok(false)),
            ("another scheme", &secure, "file:///etc/passwd", Err(())),
            ("a registry on this machine", &local, "http://127.0.0.1:5001/token", Ok(true)),
            ("from this machine to elsewhere", &local, "http://auth.evil.example/t", Err(())),
            ("from this machine to another local name", &local, "http://localhost:5001/t", Err(())),
        ] {
            let judged = judge(endpoint, realm, &named).map(|realm| realm.is_trusted).map_err(|_why| ());
            assert_eq!(judged, want, "case {name}");
        }
    }
}

//! By which names the registry is asked: a page in a browser reaches loopback by a name of its own (DNS rebinding).

use http::Uri;
use http::header::{HOST, HeaderMap};

use crate::refusal::Refusal;

/// Refuses a request for a name that is neither an address, nor this machine's, nor one of `names`. One without a name comes from no
/// browser.
pub(crate) fn check(names: &[String], uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let said = headers.get(HOST).map(|said| String::from_utf8_lossy(said.as_bytes()).into_owned());
    let asked = uri.authority().map(|authority| authority.as_str().to_owned());
    match asked.into_iter().chain(said).find(|host| !is_own(names, host)) {
        None => Ok(()),
        Some(host) => Err(Refusal::denied(format!(
            "`{}` is no name of this registry, which everybody on its machine may use: ask it by its address or as localhost, or start it with --allow-host NAME",
            host.escape_debug()
        ))),
    }
}

fn is_own(names: &[String], host: &str) -> bool {
    let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split_once(':').map_or(host, |(bare, _)| bare),
    };
    let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    bare.is_empty()
        || bare.parse::<std::net::Ipv4Addr>().is_ok()
        || bare == "localhost"
        || bare.ends_with(".localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(&bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        let names = ["Box".to_owned(), "reg.test".to_owned()];
        for (host, want) in [
            ("127.0.0.1:5000", true),
            ("10.1.2.3", true),
            ("[::1]:5000", true),
            ("localhost:5000", true),
            ("LOCALHOST.", true),
            ("reg.localhost:5000", true),
            ("box:5000", true),
            ("reg.test", true),
            ("", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:5000", false),
            ("localhost.evil.example", false),
            ("xlocalhost", false),
            ("[evil]:5000", false),
            ("2130706433", false),
        ] {
            assert_eq!(is_own(&names, host), want, "case {host}");
        }
    }
}

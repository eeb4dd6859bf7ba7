//! Which requests go through a proxy.

use std::net::IpAddr;

use miette::Diagnostic;

use crate::target::{Target, basic, decode_percent, redact};

/// The proxies for `http` and `https` addresses, and the hosts that are reached without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    without: Vec<Exception>,
}

/// A proxy's address. Its credentials are kept apart and never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    user: Option<(String, String)>,
}

impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            return write!(f, "{scheme}://[{}]:{}", self.host, self.port);
        }
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Why a proxy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("the proxy `{proxy}` from {origin} cannot be used: {reason}")]
#[diagnostic(code(fetch::invalid_proxy), help("write it as http://HOST:PORT, or unset {origin}"))]
pub struct InvalidProxyError {
    /// The proxy, without user name and password.
    pub proxy: String,
    /// The variable or setting that names it.
    pub origin: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    Network(IpAddr, u8),
    /// The name itself and everything below it, on one port or all.
    Domain(String, Option<u16>),
}

impl Proxies {
    /// Returns no proxies.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns what the environment says: `http_proxy`, `HTTPS_PROXY`, `https_proxy`, `ALL_PROXY`, `NO_PROXY` in
    /// lower case first.
    ///
    /// Compat: curl; `HTTP_PROXY` in upper case counts too, unless this runs as a CGI program.
    pub fn from_environment() -> Result<Self, InvalidProxyError> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, InvalidProxyError> {
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let first = |names: &[&str]| {
            let named = names.iter().filter(|name| !(is_cgi && **name == "HTTP_PROXY"));
            let mut set = named.filter_map(|name| Some(((*name).to_owned(), variable(name)?)));
            set.find(|(_name, value)| !value.trim().is_empty())
        };
        let proxy =
            |names: &[&str]| first(names).map(|(name, value)| Proxy::parse(&value, &name)).transpose();
        let without = first(&["no_proxy", "NO_PROXY"]).map(|(_name, value)| value).unwrap_or_default();
        Ok(Self {
            http: proxy(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            without: parse_exceptions(&without),
        })
    }

    /// Returns the same with the proxy for `http` addresses replaced where the environment names none.
    ///
    /// `origin` says where the setting comes from, for messages.
    pub fn or_http(mut self, proxy: &str, origin: &str) -> Result<Self, InvalidProxyError> {
        if self.http.is_none() {
            self.http = Some(Proxy::parse(proxy, origin)?);
        }
        Ok(self)
    }

    /// Returns the same with the proxy for `https` addresses replaced where the environment names none.
    pub fn or_https(mut self, proxy: &str, origin: &str) -> Result<Self, InvalidProxyError> {
        if self.https.is_none() {
            self.https = Some(Proxy::parse(proxy, origin)?);
        }
        Ok(self)
    }

    pub(crate) fn for_target(&self, target: &Target) -> Option<&Proxy> {
        // Compat: Go's clients, a proxy has no way to this machine.
        if is_loopback(target.host()) {
            return None;
        }
        let proxy = if target.is_https() { self.https.as_ref() } else { self.http.as_ref() }?;
        let direct = self.without.iter().any(|exception| exception.matches(target.host(), target.port()));
        (!direct).then_some(proxy)
    }

    pub(crate) fn http(&self) -> Option<&Proxy> {
        self.http.as_ref()
    }

    pub(crate) fn https(&self) -> Option<&Proxy> {
        self.https.as_ref()
    }
}

/// Returns whether a host, a name or an address without brackets, is this machine and nothing else.
pub fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
        Err(_) => false,
    }
}

impl Proxy {
    fn parse(text: &str, origin: &str) -> Result<Self, InvalidProxyError> {
        let refuse = |reason| InvalidProxyError { proxy: shown(text), origin: origin.to_owned(), reason };
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(refuse("only http and https proxies are supported")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (userinfo, place) = match authority.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, authority),
        };
        let default = if tls { 443 } else { 80 };
        let (host, port) = split_port(place).ok_or_else(|| refuse("its port is not a number"))?;
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refuse("it has no host"));
        }
        let user = userinfo.map(|userinfo| {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            (decode_percent(user), decode_percent(password))
        });
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(default), tls, user })
    }

    /// Returns the value of the `Proxy-Authorization` header.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.user.as_ref().map(|(user, password)| basic(user, password))
    }

    pub(crate) fn user(&self) -> Option<(&str, &str)> {
        self.user.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }
}

/// Returns a proxy without user name and password, also one that is written without a scheme.
fn shown(text: &str) -> String {
    let text = text.trim();
    if text.contains("://") {
        return redact(text);
    }
    redact(&format!("http://{text}")).trim_start_matches("http://").to_owned()
}

/// Splits `host:port`, `[v6]:port`, `[v6]` and a bare IPv6 address.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match place.split_once(':') {
        Some((_, more)) if more.contains(':') => Some((place, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((place, None)),
    }
}

fn parse_exceptions(text: &str) -> Vec<Exception> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    words.filter_map(parse_exception).collect()
}

fn parse_exception(word: &str) -> Option<Exception> {
    if word == "*" {
        return Some(Exception::Everything);
    }
    if let Some((address, length)) = word.split_once('/') {
        return Some(Exception::Network(address.parse().ok()?, length.parse().ok()?));
    }
    let (host, port) = split_port(word)?;
    if let Ok(address) = host.parse::<IpAddr>()
        && port.is_none()
    {
        return Some(Exception::Network(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let name = host.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    (!name.is_empty()).then(|| Exception::Domain(name.to_ascii_lowercase(), port))
}

impl Exception {
    fn matches(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network, length) => {
                host.parse().is_ok_and(|address| network_contains(*network, *length, address))
            }
            Self::Domain(name, only) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let below = host.strip_suffix(name.as_str());
                only.is_none_or(|only| only == port)
                    && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
        }
    }
}

fn network_contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let host_bits = u32::from(width - length.min(width));
    let prefix = |bits: u128| bits.checked_shr(host_bits).unwrap_or(0);
    prefix(network) == prefix(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Proxies, InvalidProxyError> {
        Proxies::from_variables(&|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy_of(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.for_target(&Target::parse(url).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_variables_in_both_cases() {
        for (name, variables, http, https) in [
            ("none", &[][..], None, None),
            ("http", &[("http_proxy", "p.test:3128")], Some("http://p.test:3128"), None),
            ("upper case", &[("HTTP_PROXY", "http://p.test/")], Some("http://p.test:80"), None),
            (
                "lower case wins",
                &[("HTTPS_PROXY", "http://a.test"), ("https_proxy", "https://b.test")],
                None,
                Some("https://b.test:443"),
            ),
            ("all", &[("ALL_PROXY", "[::1]:8080")], Some("http://[::1]:8080"), Some("http://[::1]:8080")),
            ("empty", &[("http_proxy", "")], None, None),
            ("httpoxy", &[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "p.test:1")], None, None),
        ] {
            let proxies = from(variables).unwrap();
            assert_eq!(proxy_of(&proxies, "http://x.test").as_deref(), http, "case {name}, http");
            assert_eq!(proxy_of(&proxies, "https://x.test").as_deref(), https, "case {name}, https");
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_and_networks() {
        for (name, list, url, direct) in [
            ("exact", "a.test", "http://a.test/", true),
            ("below", "a.test", "http://x.a.test/", true),
            ("not a label", "a.test", "http://ba.test/", false),
            ("leading dot", ".a.test", "http://x.a.test/", true),
            ("star dot", "*.a.test", "http://x.a.test/", true),
            ("case", "A.Test", "http://a.tesT/", true),
            ("star", "*", "http://z.test/", true),
            ("address", "10.0.0.1", "http://10.0.0.1/", true),
            ("network", "b.test, 10.0.0.0/8", "http://10.9.8.7/", true),
            ("other network", "10.0.0.0/8", "http://11.0.0.1/", false),
            ("whole net", "0.0.0.0/0", "http://11.0.0.1/", true),
            ("v6", "fd00::/8", "http://[fd12::1]/", true),
            ("port", "a.test:8080", "http://a.test:8080/", true),
            ("other port", "a.test:8080", "http://a.test/", false),
            ("this machine", "", "http://127.3.2.1:5000/", true),
            ("this machine by name", "", "http://LocalHost:5000/", true),
            ("this machine of version 6", "", "http://[::1]:5000/", true),
            ("a name that begins so", "", "http://localhost.a.test/", false),
        ] {
            let proxies = from(&[("http_proxy", "p.test"), ("no_proxy", list)]).unwrap();
            assert_eq!(proxy_of(&proxies, url).is_none(), direct, "case {name}");
        }
    }

    #[test]
    fn credentials_of_a_proxy_are_used_and_not_shown() {
        let proxies = from(&[("https_proxy", "http://me:p%40ss@p.test:3128")]).unwrap();
        assert!(!format!("{proxies:?}").contains("ss"));
        assert_eq!(proxies.https().unwrap().authorization().unwrap(), basic("me", "p@ss"));
        let error = from(&[("https_proxy", "socks5://me:secret@p.test")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        assert!(error.to_string().contains("https_proxy"), "{error}");
        let error = from(&[("https_proxy", "me:secret@p.test:abc")]).unwrap_err();
        assert_eq!(error.proxy, "p.test:abc");
    }
}

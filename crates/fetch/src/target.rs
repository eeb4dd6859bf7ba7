//! Addresses of things to fetch, and how they are shown.

use base64::Engine as _;
use ureq::http::Uri;

use crate::FetchError;

/// An `http` or `https` URL, parsed, its credentials set apart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    uri: Uri,
    /// The value of an `Authorization` header made from the URL's user name and password.
    authorization: Option<String>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Target").field(&self.to_string()).finish()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.uri)
    }
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, FetchError> {
        let refuse = |reason: &str| FetchError::Url { url: redact(text), reason: reason.to_owned() };
        let (text_without, authorization) = split_credentials(text);
        let uri: Uri = text_without.parse().map_err(|_bad| refuse("it cannot be parsed"))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(refuse("its scheme is another one")),
            None => return Err(refuse("it has no scheme")),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(refuse("it has no host"));
        }
        Ok(Self { uri, authorization })
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    pub(crate) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Whether credentials for `self` may be shown to `other`.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.is_https() == other.is_https()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    /// Returns where a `Location` header of an answer from here leads. Spec: RFC 3986 section 5.2.
    pub(crate) fn join(&self, location: &str) -> Result<Self, FetchError> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let absolute = if location.contains("://") && !location.starts_with('/') {
            location.to_owned()
        } else if let Some(rest) = location.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else if location.starts_with('?') {
            format!("{scheme}://{authority}{}{location}", self.uri.path())
        } else {
            let folder = self.uri.path().rsplit_once('/').map_or("", |(folder, _name)| folder);
            format!("{scheme}://{authority}{}", remove_dots(&format!("{folder}/{location}")))
        };
        Self::parse(&absolute)
    }
}

/// Resolves `.` and `..` in a path that may carry a query.
fn remove_dots(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for part in path.split('/').skip(1) {
        ends_in_folder = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let slash = if ends_in_folder { "/" } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{slash}{query}", parts.join("/"))
}

/// Returns the URL without user name and password, and the header value that says them.
fn split_credentials(text: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = text.split_once("://") else { return (text.to_owned(), None) };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let Some((userinfo, host)) = authority.rsplit_once('@') else { return (text.to_owned(), None) };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let header = basic(&decode_percent(user), &decode_percent(password));
    (format!("{scheme}://{host}{path}"), Some(header))
}

/// Returns the value of an `Authorization` or `Proxy-Authorization` header.
pub(crate) fn basic(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

/// Returns `text` with `%41` made `A`; a stray `%` stays.
pub fn decode_percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns the text without anything that looks like credentials, for messages.
pub(crate) fn redact(text: &str) -> String {
    split_credentials(text).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_against_the_address() {
        let base = Target::parse("https://user:pw@a.test:8443/x/y/z?q=1").unwrap();
        for (name, location, want) in [
            ("absolute", "http://b.test/c", "http://b.test/c"),
            ("other host", "//b.test/c", "https://b.test/c"),
            ("path", "/c?d#e", "https://a.test:8443/c?d"),
            ("relative", "w", "https://a.test:8443/x/y/w"),
            ("up", "../w?v=../u", "https://a.test:8443/x/w?v=../u"),
            ("above the root", "../../../../w", "https://a.test:8443/w"),
            ("folder", ".", "https://a.test:8443/x/y/"),
            ("query", "?r=2", "https://a.test:8443/x/y/z?r=2"),
            ("url in query", "/c?to=http://b.test", "https://a.test:8443/c?to=http://b.test"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), want, "case {name}");
        }
    }

    #[test]
    fn credentials_become_a_header_and_are_not_shown() {
        let target = Target::parse("http://me%40work:s%3Aecret@a.test/x@y").unwrap();
        assert_eq!(target.to_string(), "http://a.test/x@y");
        assert_eq!(target.authorization(), Some("Basic bWVAd29yazpzOmVjcmV0"));
        assert!(!format!("{target:?}").contains("ecret"));
        let error = Target::parse("ftp://me:secret@a.test/x").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = Target::parse("https://a.test/x").unwrap();
        for (name, other, same) in [
            ("path", "https://A.test:443/y", true),
            ("scheme", "http://a.test/x", false),
            ("port", "https://a.test:444/x", false),
            ("host", "https://b.a.test/x", false),
        ] {
            assert_eq!(origin.same_origin(&Target::parse(other).unwrap()), same, "case {name}");
        }
    }
}

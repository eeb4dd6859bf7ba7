//! Secrets of a build that let it in where it fetches. Compat: BuildKit, their names and what servers are sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shipway_build::Secret;

/// The secrets of a build. What is sent of them is for the host of an address alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logins(Vec<Secret>);

impl Logins {
    pub(crate) fn new(secrets: &[Secret]) -> Self {
        Self(secrets.to_vec())
    }

    /// Returns the `Authorization` for a repository, by what is for its host, or else for all.
    pub(super) fn of_repository(&self, address: &str) -> Option<String> {
        let host = host(address)?;
        let header = |id: &str| self.text(id);
        let token = |id: &str| {
            let token = self.text(id)?;
            Some(format!("basic {}", STANDARD.encode(format!("x-access-token:{token}"))))
        };
        header(&format!("GIT_AUTH_HEADER.{host}"))
            .or_else(|| token(&format!("GIT_AUTH_TOKEN.{host}")))
            .or_else(|| header("GIT_AUTH_HEADER"))
            .or_else(|| token("GIT_AUTH_TOKEN"))
    }

    /// Returns the `Authorization` for a file. An address that has a password itself keeps that.
    pub(crate) fn of_file(&self, address: &str) -> Option<String> {
        let host = host(address).filter(|_| shipway_oci::without_credentials(address) == address)?;
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let token = self.text(&format!("HTTP_AUTH_TOKEN_{name}")).map(|token| format!("Bearer {token}"));
        token.or_else(|| self.text(&format!("HTTP_AUTH_HEADER_{name}")))
    }

    /// Returns a secret that can be sent in a header: one of several lines would be more than one.
    fn text(&self, id: &str) -> Option<String> {
        let secret = self.0.iter().find(|secret| secret.id == id)?;
        let text = std::str::from_utf8(&secret.content).ok()?.trim();
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    }
}

/// Returns the host, and the port that is written, of an address on the web.
fn host(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host)).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(secrets: &[(&str, &str)]) -> Logins {
        let secret = |&(id, content): &(&str, &str)| Secret { id: id.to_owned(), content: content.into() };
        Logins(secrets.iter().map(secret).collect())
    }

    #[test]
    fn what_is_for_a_host_comes_before_what_is_for_all() {
        let all = [
            ("GIT_AUTH_TOKEN", "all"),
            ("GIT_AUTH_HEADER", "header of all"),
            ("GIT_AUTH_TOKEN.a.test:8080", "t\n"),
            ("GIT_AUTH_TOKEN.b.test", "t"),
            ("GIT_AUTH_HEADER.b.test", "header of b"),
        ];
        let token = |token: &str| format!("basic {}", STANDARD.encode(format!("x-access-token:{token}")));
        for (known, address, want) in [
            (&all[..], "https://user@a.test:8080/x.git", Some(token("t"))),
            (&all[..], "https://b.test/x.git", Some("header of b".to_owned())),
            (&all[..], "http://a.test/x.git", Some("header of all".to_owned())),
            (&all[..1], "http://a.test/x.git", Some(token("all"))),
            (&all[2..], "http://a.test/x.git", None),
            (&all[..], "git@a.test:x.git", None),
            (&all[..], "ssh://a.test/x.git", None),
            (&[("GIT_AUTH_TOKEN", "")], "https://a.test/x.git", None),
            (&[("GIT_AUTH_HEADER", "a\nX-Other: b")], "https://a.test/x.git", None),
        ] {
            assert_eq!(logins(known).of_repository(address), want, "case {address}");
        }
    }

    #[test]
    fn files_have_logins_of_their_hosts() {
        let known = logins(&[
            ("HTTP_AUTH_TOKEN_a.test", "t"),
            ("HTTP_AUTH_HEADER_a.test", "h"),
            ("HTTP_AUTH_HEADER_b.test", "Basic x"),
            ("HTTP_AUTH_TOKEN_::1", "six"),
        ]);
        for (address, want) in [
            ("https://a.test/f", Some("Bearer t")),
            ("http://a.test:81?x", Some("Bearer t")),
            ("http://b.test/f", Some("Basic x")),
            ("http://[::1]:80/f", Some("Bearer six")),
            ("http://u:p@a.test/f", None),
            ("http://c.test/f", None),
        ] {
            assert_eq!(known.of_file(address).as_deref(), want, "case {address}");
        }
    }
}

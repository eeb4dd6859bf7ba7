//! Where a registry answers.

use shipway_fetch::is_loopback;

use crate::settings::RegistrySettings;

/// Compat: docker, the API of `docker.io` has another name.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// Where a registry's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) https: bool,
    /// Host and port, if there is one.
    pub(crate) authority: String,
    /// What comes before the names of repositories: `/v2`, or more.
    pub(crate) prefix: String,
    /// Whose images a mirror is asked for. Compat: containerd, the `ns` of a query.
    pub(crate) images_of: Option<String>,
}

impl Endpoint {
    /// Returns where the registry that images name so answers.
    pub(crate) fn of(registry: &str, settings: &RegistrySettings) -> Self {
        let authority = if registry == DOCKER_HUB { DOCKER_HUB_API } else { registry }.to_owned();
        let plain = settings.plain_http.unwrap_or(settings.ca.is_none() && is_loopback(host_of(&authority)));
        Self { https: !plain, authority, prefix: "/v2".to_owned(), images_of: None }
    }

    /// Reads the URL of a mirror, whose API is `api` below it; the error says what is wrong with it.
    pub(crate) fn of_url(url: &str, api: &str) -> Result<Self, &'static str> {
        let (https, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("it is no http or https URL"),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '\\' | '"');
        if host_of(authority).is_empty() || !rest.chars().all(is_plain) {
            return Err("it is no plain URL");
        }
        let path = path.trim_matches('/');
        // Compat: containerd, whoever writes it means it once.
        let api = if api == "/v2" && (path == "v2" || path.ends_with("/v2")) { "" } else { api };
        let slash = if path.is_empty() { "" } else { "/" };
        let prefix = format!("{slash}{path}{api}");
        Ok(Self { https, authority: authority.to_owned(), prefix, images_of: None })
    }

    /// Makes it a mirror's.
    pub(crate) fn for_images_of(&self, registry: &str) -> Self {
        Self { images_of: Some(registry.to_owned()), ..self.clone() }
    }

    pub(crate) fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// Returns `https://HOST:PORT`.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    /// Returns the address of something below its API.
    pub(crate) fn url(&self, path: &str) -> String {
        let query = self.images_of.as_ref().map(|registry| format!("?ns={registry}")).unwrap_or_default();
        format!("{}{}/{path}{query}", self.origin(), self.prefix)
    }
}

/// Returns the host of an authority, without port and brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_what_is_named_is_asked_without_encryption() {
        let with = |plain_http, ca: Option<&str>| RegistrySettings {
            plain_http,
            ca: ca.map(Into::into),
            ..RegistrySettings::default()
        };
        for (name, registry, settings, want) in [
            ("the default registry", "docker.io", with(None, None), "https://registry-1.docker.io"),
            ("a host", "reg.test:5000", with(None, None), "https://reg.test:5000"),
            ("a named host", "reg.test:5000", with(Some(true), None), "http://reg.test:5000"),
            ("localhost", "localhost:5000", with(None, None), "http://localhost:5000"),
            ("loopback", "127.3.2.1:80", with(None, None), "http://127.3.2.1:80"),
            ("loopback of version 6", "[::1]:5000", with(None, None), "http://[::1]:5000"),
            (
                "loopback with an authority",
                "localhost:5000",
                with(None, Some("/ca")),
                "https://localhost:5000",
            ),
            ("a name that only looks like it", "localhost.test", with(None, None), "https://localhost.test"),
            ("numbers that only look like it", "127.0.0.1.test", with(None, None), "https://127.0.0.1.test"),
            ("a neighbour", "192.168.0.1:5000", with(None, None), "https://192.168.0.1:5000"),
        ] {
            assert_eq!(Endpoint::of(registry, &settings).origin(), want, "case {name}");
        }
    }
}

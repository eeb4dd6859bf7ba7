//! Where a registry answers.

use std::net::IpAddr;

use crate::settings::RegistrySettings;

/// Compat: docker, the API of `docker.io` has another name.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// Scheme, host and port of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) https: bool,
    /// Host and port, if there is one.
    pub(crate) authority: String,
}

impl Endpoint {
    /// Returns where the registry that images name so answers.
    pub(crate) fn of(registry: &str, settings: &RegistrySettings) -> Self {
        let authority = if registry == DOCKER_HUB { DOCKER_HUB_API } else { registry }.to_owned();
        let plain = settings.plain_http.unwrap_or(settings.ca.is_none() && is_loopback(host_of(&authority)));
        Self { https: !plain, authority }
    }

    pub(crate) fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// Returns `https://HOST:PORT`.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    /// Returns the address of something below `/v2/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/v2/{path}", self.origin())
    }
}

/// Returns the host of an authority, without port and brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

/// Returns whether a host is this machine and nothing else.
pub(crate) fn is_loopback(host: &str) -> bool {
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

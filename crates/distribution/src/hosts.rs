//! Where the content of a registry is to be had, as its settings say: mirrors, and the registry itself.

mod containerd;
mod docker;

use std::path::PathBuf;

use shipway_fetch::{Identity, is_loopback};

use crate::SettingsError;
use crate::endpoint::{Endpoint, host_of};
use crate::settings::{RegistrySettings, Settings};

/// One host that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    /// Trusted beside the host's own authorities.
    pub(crate) ca: Vec<PathBuf>,
    /// What is shown to it.
    pub(crate) identity: Option<Identity>,
    /// Hosts of token services that may see its credentials, beside those of its own domain.
    pub(crate) token_hosts: Vec<String>,
    /// Sent with each request to it.
    pub(crate) headers: Vec<(String, String)>,
    /// It is asked what a tag stands for, and not only for what has a digest.
    pub(crate) resolves: bool,
}

/// All hosts of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// In the order in which they are asked.
    pub(crate) mirrors: Vec<Host>,
    /// The registry itself.
    pub(crate) origin: Host,
}

impl Host {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            ca: Vec::new(),
            identity: None,
            token_hosts: Vec::new(),
            headers: Vec::new(),
            resolves: true,
        }
    }

    /// Returns a host that our own settings describe.
    fn of(endpoint: Endpoint, settings: &RegistrySettings) -> Self {
        let identity = settings.client_cert.clone().map(|certificate| Identity {
            key: settings.client_key.clone().unwrap_or_else(|| certificate.clone()),
            certificate,
        });
        Self {
            ca: settings.ca.clone().into_iter().collect(),
            identity,
            token_hosts: settings.token_hosts.clone(),
            ..Self::new(endpoint)
        }
    }
}

impl Settings {
    /// Returns the hosts of a registry by its name: as our own settings say, else containerd's `hosts.toml`, else Docker's certificates.
    pub(crate) fn hosts_of(&self, registry: &str) -> Result<Hosts, SettingsError> {
        if let Some(settings) = self.named(registry) {
            return self.own_hosts(registry, settings);
        }
        for dir in &self.containerd {
            if let Some(hosts) = containerd::read(dir, registry)? {
                return Ok(hosts);
            }
        }
        let mut origin = Host::new(Endpoint::of(registry, &RegistrySettings::default()));
        for dir in &self.docker {
            docker::read(dir, registry, &mut origin)?;
        }
        // Whoever has an authority for a registry on this machine has given it a certificate.
        origin.endpoint.https |= !origin.ca.is_empty();
        Ok(Hosts { mirrors: Vec::new(), origin })
    }

    fn own_hosts(&self, registry: &str, settings: &RegistrySettings) -> Result<Hosts, SettingsError> {
        let mirror = |url: &String| {
            let refuse = |reason| SettingsError::Mirror { url: url.clone(), reason };
            let endpoint = Endpoint::of_url(url, "/v2").map_err(refuse)?.for_images_of(registry);
            let own = self.named(&endpoint.authority).cloned().unwrap_or_default();
            if !endpoint.https && own.plain_http != Some(true) && !is_loopback(host_of(&endpoint.authority)) {
                return Err(refuse(
                    "plain HTTP must be allowed: plain-http = true in the mirror's own section",
                ));
            }
            Ok(Host::of(endpoint, &own))
        };
        let mirrors = settings.mirrors.iter().map(mirror).collect::<Result<_, _>>()?;
        Ok(Hosts { mirrors, origin: Host::of(Endpoint::of(registry, settings), settings) })
    }
}

/// Returns the names that a registry's folder may have. Compat: containerd, a colon may be written as `_`, with another one at the end.
fn folders(registry: &str) -> Vec<String> {
    let mut names = vec![registry.to_owned()];
    if let Some((host, port)) = registry.rsplit_once(':') {
        names.push(format!("{host}_{port}_"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_settings_go_before_other_programs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registries.toml");
        let write = |text: &str| {
            fs_err::write(&path, text).unwrap();
            let mut settings = Settings::load(&path).unwrap();
            settings.docker = vec![dir.path().join("docker")];
            settings
        };
        let certificates = dir.path().join("docker/reg.test:5000");
        fs_err::create_dir_all(&certificates).unwrap();
        for name in ["own.crt", "me.cert", "me.key", "notes.txt"] {
            fs_err::write(certificates.join(name), "").unwrap();
        }
        let origin = write("").hosts_of("reg.test:5000").unwrap().origin;
        assert_eq!(origin.ca, [certificates.join("own.crt")]);
        let identity =
            Identity { certificate: certificates.join("me.cert"), key: certificates.join("me.key") };
        assert_eq!(origin.identity, Some(identity));
        for (name, missing) in [("alone.cert", "alone.key"), ("lost.key", "lost.cert")] {
            fs_err::write(certificates.join(name), "").unwrap();
            let error = write("").hosts_of("reg.test:5000").unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(missing), "case {name}: {error}");
            fs_err::remove_file(certificates.join(name)).unwrap();
        }

        let hosts = write(
            "[registry.\"reg.test:5000\"]\nmirrors = [\"https://one.test/hub\", \"http://127.0.0.1:5001\"]\n\
             [registry.\"one.test\"]\nca = \"/one.pem\"\nclient-cert = \"/me.pem\"\n",
        )
        .hosts_of("reg.test:5000")
        .unwrap();
        assert!(hosts.origin.ca.is_empty() && hosts.origin.identity.is_none());
        let urls: Vec<String> = hosts.mirrors.iter().map(|mirror| mirror.endpoint.url("x/tags")).collect();
        assert_eq!(
            urls,
            [
                "https://one.test/hub/v2/x/tags?ns=reg.test:5000",
                "http://127.0.0.1:5001/v2/x/tags?ns=reg.test:5000"
            ]
        );
        assert_eq!(hosts.mirrors[0].ca, [PathBuf::from("/one.pem")]);
        let both = PathBuf::from("/me.pem");
        assert_eq!(hosts.mirrors[0].identity, Some(Identity { certificate: both.clone(), key: both }));

        for (mirror, want) in [
            ("http://mirror.test", "plain HTTP must be allowed"),
            ("mirror.test", "no http or https URL"),
            ("https://user@mirror.test", "no plain URL"),
            ("https://", "no plain URL"),
        ] {
            let text = format!("[registry.\"docker.io\"]\nmirrors = [\"{mirror}\"]\n");
            let error = write(&text).hosts_of("docker.io").unwrap_err().to_string();
            assert!(error.contains(want), "{mirror}: {error}");
        }
        let allowed = "[registry.\"docker.io\"]\nmirrors = [\"http://mirror.test\"]\n\
                       [registry.\"mirror.test\"]\nplain-http = true\n";
        assert!(!write(allowed).hosts_of("docker.io").unwrap().mirrors[0].endpoint.https);
    }
}

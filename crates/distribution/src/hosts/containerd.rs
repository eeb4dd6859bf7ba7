//! containerd's settings of registries: `certs.d/HOST:PORT/hosts.toml`.
//!
//! Spec: containerd's `docs/hosts.md`. What is not known here is left alone: the file is another program's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use shipway_fetch::Identity;

use super::{Host, Hosts, folders};
use crate::SettingsError;
use crate::endpoint::Endpoint;
use crate::settings::RegistrySettings;

/// Settings of all registries that have no folder of their own.
const DEFAULT: &str = "_default";

#[derive(Debug, Deserialize)]
struct File {
    server: Option<String>,
    #[serde(flatten)]
    of_server: HostFile,
    #[serde(default)]
    host: Ordered,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct HostFile {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: BTreeMap<String, OneOrMany>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A file with certificate and key, or a list of such and of pairs of files.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    Many(Vec<FileOrPair>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum FileOrPair {
    File(String),
    Pair((String, String)),
}

/// Hosts in the order of the file.
#[derive(Debug, Default)]
struct Ordered(Vec<(String, HostFile)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of hosts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut hosts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    hosts.push(entry);
                }
                Ok(Ordered(hosts))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl OneOrMany {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// Reads the hosts of a registry below `dir`; `None` if there is nothing about it.
pub(super) fn read(dir: &Path, registry: &str) -> Result<Option<Hosts>, SettingsError> {
    let folders = folders(registry).into_iter().chain([DEFAULT.to_owned()]);
    let Some(path) = folders.map(|folder| dir.join(folder).join("hosts.toml")).find(|path| path.exists())
    else {
        return Ok(None);
    };
    let text =
        fs_err::read_to_string(&path).map_err(|source| SettingsError::Read { path: path.clone(), source })?;
    let file: File = toml::from_str(&text)
        .map_err(|source| SettingsError::Parse { path: path.clone(), source: Box::new(source) })?;
    let folder = path.parent().unwrap_or(dir);
    let host = |url: &str, said: HostFile| {
        let refuse = |reason| SettingsError::Host { path: path.clone(), url: url.to_owned(), reason };
        if said.skip_verify {
            tracing::warn!(url, "skip_verify is not honoured: the certificate is verified");
        }
        // Compat: containerd, a host without a scheme is asked by https.
        let whole = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
        let endpoint =
            Endpoint::of_url(&whole, if said.override_path { "" } else { "/v2" }).map_err(refuse)?;
        Ok(said.host(endpoint, folder))
    };
    let mut mirrors = Vec::new();
    for (url, said) in file.host.0 {
        let all = said.capabilities.clone().unwrap_or_default();
        let can = |what: &str| all.is_empty() || all.iter().any(|one| one.eq_ignore_ascii_case(what));
        let (pulls, resolves) = (can("pull"), can("resolve"));
        if pulls {
            let host = host(&url, said)?;
            let endpoint = host.endpoint.for_images_of(registry);
            mirrors.push(Host { resolves, endpoint, ..host });
        }
    }
    let own = Endpoint::of(registry, &RegistrySettings::default());
    let mut origin = match &file.server {
        Some(server) => host(server, file.of_server)?,
        None => file.of_server.host(own, folder),
    };
    // Whoever has an authority for a registry on this machine has given it a certificate.
    origin.endpoint.https |= file.server.is_none() && !origin.ca.is_empty();
    Ok(Some(Hosts { mirrors, origin }))
}

impl HostFile {
    fn host(self, endpoint: Endpoint, folder: &Path) -> Host {
        let path = |name: &str| -> PathBuf { folder.join(name) };
        let identity = match &self.client {
            None => None,
            Some(Client::One(both)) => Some((both, both)),
            Some(Client::Many(all)) => all.first().map(|first| match first {
                FileOrPair::File(both) => (both, both),
                FileOrPair::Pair((certificate, key)) => (certificate, key),
            }),
        };
        let identity =
            identity.map(|(certificate, key)| Identity { certificate: path(certificate), key: path(key) });
        let headers = self.header.into_iter();
        let headers = headers
            .flat_map(|(name, values)| values.list().into_iter().map(move |value| (name.clone(), value)));
        Host {
            ca: self.ca.map(OneOrMany::list).unwrap_or_default().iter().map(|name| path(name)).collect(),
            identity,
            headers: headers.collect(),
            ..Host::new(endpoint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(registry: &str, folder: &str, text: &str) -> Result<Option<Hosts>, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join(folder)).unwrap();
        fs_err::write(dir.path().join(folder).join("hosts.toml"), text).unwrap();
        let read = read(dir.path(), registry);
        // Paths are told from the folder on.
        let relative = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap_or(path).to_owned();
        read.map(|hosts| {
            hosts.map(|mut hosts| {
                for host in hosts.mirrors.iter_mut().chain([&mut hosts.origin]) {
                    host.ca = host.ca.iter().map(relative).collect();
                    host.identity = host.identity.as_ref().map(|identity| Identity {
                        certificate: relative(&identity.certificate),
                        key: relative(&identity.key),
                    });
                }
                hosts
            })
        })
    }

    #[test]
    fn a_file_means_what_it_means_to_containerd() {
        let text = r#"
            server = "https://registry-1.docker.io"
            ca = "server.pem"
            [host."https://z.test"]
            capabilities = ["pull"]
            ca = ["one.pem", "/two.pem"]
            client = [["me.cert", "me.key"]]
            skip_verify = true
            [host."https://z.test".header]
            x-team = "a"
            [host."http://a.test:5000/cache"]
            dial_timeout = "3s"
            [host."https://b.test/v2/proxy"]
            override_path = true
            client = "both.pem"
            [host."https://push.test"]
            capabilities = ["push"]
        "#;
        let hosts = hosts("docker.io", "docker.io", text).unwrap().unwrap();
        let urls: Vec<String> = hosts.mirrors.iter().map(|mirror| mirror.endpoint.url("x/y")).collect();
        assert_eq!(
            urls,
            [
                "https://z.test/v2/x/y?ns=docker.io",
                "http://a.test:5000/cache/v2/x/y?ns=docker.io",
                "https://b.test/v2/proxy/x/y?ns=docker.io"
            ]
        );
        assert_eq!(
            hosts.mirrors.iter().map(|mirror| mirror.resolves).collect::<Vec<_>>(),
            [false, true, true]
        );
        let first = &hosts.mirrors[0];
        assert_eq!(first.ca, [PathBuf::from("docker.io/one.pem"), PathBuf::from("/two.pem")]);
        assert_eq!(first.identity.as_ref().unwrap().key, PathBuf::from("docker.io/me.key"));
        assert_eq!(first.headers, [("x-team".to_owned(), "a".to_owned())]);
        assert_eq!(hosts.mirrors[2].identity.as_ref().unwrap().key, PathBuf::from("docker.io/both.pem"));
        assert_eq!(hosts.origin.endpoint.url("x/y"), "https://registry-1.docker.io/v2/x/y");
        assert_eq!(hosts.origin.ca, [PathBuf::from("docker.io/server.pem")]);
    }

    #[test]
    fn a_folder_is_found_by_each_of_its_names() {
        for (registry, folder, is_found) in [
            ("reg.test:5000", "reg.test:5000", true),
            ("reg.test:5000", "reg.test_5000_", true),
            ("reg.test:5000", "_default", true),
            ("reg.test:5000", "reg.test", false),
        ] {
            let found = hosts(registry, folder, "").unwrap();
            assert_eq!(found.is_some(), is_found, "case {folder}");
            if let Some(found) = found {
                assert_eq!(found.origin.endpoint.url("x"), "https://reg.test:5000/v2/x", "case {folder}");
            }
        }
        for (text, want) in [
            ("", "http://localhost:5000"),
            ("ca = \"ca.pem\"", "https://localhost:5000"),
            ("server = \"http://localhost:5000\"\nca = \"ca.pem\"", "http://localhost:5000"),
        ] {
            let found = hosts("localhost:5000", "localhost:5000", text).unwrap().unwrap();
            assert_eq!(found.origin.endpoint.origin(), want, "case {text}");
        }
        for (name, text, want) in [
            ("a path that has it", "[host.\"https://m.test/v2\"]", "https://m.test/v2/x?ns=a.test"),
            ("with a slash", "[host.\"https://m.test/hub/v2/\"]", "https://m.test/hub/v2/x?ns=a.test"),
            ("no scheme", "[host.\"m.test:5000\"]", "https://m.test:5000/v2/x?ns=a.test"),
            ("an empty list", "[host.\"http://m.test\"]\ncapabilities = []", "http://m.test/v2/x?ns=a.test"),
            (
                "capitals, and clients of both kinds",
                "[host.\"http://m.test\"]\ncapabilities = [\"Pull\"]\nclient = [[\"a\", \"b\"], \"c\"]",
                "http://m.test/v2/x?ns=a.test",
            ),
        ] {
            let found = hosts("a.test", "a.test", text).unwrap().unwrap();
            assert_eq!(found.mirrors[0].endpoint.url("x"), want, "case {name}");
        }
        let error = hosts("docker.io", "docker.io", "[host.\"ftp://x\"]").unwrap_err().to_string();
        assert!(error.contains("hosts.toml` names `ftp://x`: it is no http or https URL"), "{error}");
        assert!(matches!(hosts("docker.io", "docker.io", "host = 1"), Err(SettingsError::Parse { .. })));
    }
}

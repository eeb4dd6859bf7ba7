//! What this machine's owner says about registries: `registries.toml`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::Deserialize;

/// Settings of all registries that are named in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// By the name that images have: host, or host and port.
    #[serde(default, rename = "registry")]
    registries: BTreeMap<String, RegistrySettings>,
    /// Folders with containerd's settings.
    #[serde(skip)]
    pub containerd: Vec<PathBuf>,
    /// Folders with Docker's certificates.
    #[serde(skip)]
    pub docker: Vec<PathBuf>,
}

/// Settings of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistrySettings {
    /// Speak plain HTTP with it. Without a word only registries on this machine are asked so, and these unless there is a `ca`.
    #[serde(default)]
    pub plain_http: Option<bool>,
    /// A PEM file with certificate authorities that are trusted beside the host's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Hosts of token services that may see its credentials, beside those of its own domain.
    #[serde(default)]
    pub token_hosts: Vec<String>,
    /// URLs of registries that have the same content and are asked first, in this order.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// A PEM file with the certificate that is shown to it.
    #[serde(default)]
    pub client_cert: Option<PathBuf>,
    /// A PEM file with the certificate's key, where that is not in the same file.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("could not read `{}`", path.display())]
    #[diagnostic(code(registry::settings), help("see `ls -l {}`", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("`{}` is not valid", path.display())]
    #[diagnostic(code(registry::settings), help("{}", grammar_of(path)))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A mirror cannot be asked.
    #[error("the mirror `{url}` of registries.toml cannot be asked: {reason}")]
    #[diagnostic(
        code(registry::settings),
        help("write it as `https://HOST:PORT`, or with a path below that")
    )]
    Mirror {
        /// As it is written.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A host of containerd's cannot be asked.
    #[error("`{}` names `{url}`: {reason}", path.display())]
    #[diagnostic(
        code(registry::settings),
        help("correct it, or say in registries.toml what holds here: [registry.\"HOST\"]")
    )]
    Host {
        /// The file.
        path: PathBuf,
        /// As it is written.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn grammar_of(path: &Path) -> &'static str {
    if path.ends_with("hosts.toml") {
        "it is containerd's: server = \"URL\" and [host.\"URL\"] with capabilities, ca, client, header and override_path"
    } else {
        "a registry is written as [registry.\"HOST:PORT\"] with mirrors, ca, client-cert, client-key, plain-http and token-hosts"
    }
}

impl Settings {
    /// Reads the file that `SHIPWAY_REGISTRIES` names, else the user's, else the machine's; none of them need exist, but a named one.
    /// Of registries that it does not name, what containerd and Docker are told holds.
    pub fn from_environment() -> Result<Self, SettingsError> {
        let own = Self::own_from_environment()?;
        let folder = |path: &str| vec![PathBuf::from(path)];
        Ok(Self {
            containerd: folder("/etc/containerd/certs.d"),
            docker: folder("/etc/docker/certs.d"),
            ..own
        })
    }

    fn own_from_environment() -> Result<Self, SettingsError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = variable("SHIPWAY_REGISTRIES") {
            return Self::load(&path);
        }
        let users = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
        let places = users.map(|dir| dir.join("shipway/registries.toml"));
        let places = places.into_iter().chain([PathBuf::from("/etc/shipway/registries.toml")]);
        places.into_iter().find(|path| path.exists()).map_or(Ok(Self::default()), |path| Self::load(&path))
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = fs_err::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| SettingsError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Returns the settings of a registry that the file names.
    pub fn named(&self, registry: &str) -> Option<&RegistrySettings> {
        self.registries.get(registry)
    }

    /// Sets the settings of a registry.
    pub fn set(&mut self, registry: &str, settings: RegistrySettings) {
        self.registries.insert(registry.to_owned(), settings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_means_or_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registries.toml");
        fs_err::write(&path, "[registry.\"reg.test:5000\"]\nplain-http = true\nca = \"/x.pem\"\n").unwrap();
        let settings = Settings::load(&path).unwrap();
        assert_eq!(settings.named("reg.test:5000").unwrap().plain_http, Some(true));
        assert_eq!(settings.named("reg.test"), None);
        fs_err::write(&path, "[registry.\"reg.test\"]\nplain_http = true\n").unwrap();
        assert!(matches!(Settings::load(&path), Err(SettingsError::Parse { .. })));
    }
}

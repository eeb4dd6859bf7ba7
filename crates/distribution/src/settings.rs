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
    #[diagnostic(
        code(registry::settings),
        help("a registry is written as [registry.\"HOST:PORT\"] with plain-http, ca and token-hosts")
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

impl Settings {
    /// Reads the file that `SHIPWAY_REGISTRIES` names, else the user's, else the machine's; none of them need exist, but a named one.
    pub fn from_environment() -> Result<Self, SettingsError> {
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

    /// Returns the settings of a registry by its name.
    pub fn of(&self, registry: &str) -> RegistrySettings {
        self.registries.get(registry).cloned().unwrap_or_default()
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
        assert_eq!(settings.of("reg.test:5000").plain_http, Some(true));
        assert_eq!(settings.of("reg.test"), RegistrySettings::default());
        fs_err::write(&path, "[registry.\"reg.test\"]\nplain_http = true\n").unwrap();
        assert!(matches!(Settings::load(&path), Err(SettingsError::Parse { .. })));
    }
}

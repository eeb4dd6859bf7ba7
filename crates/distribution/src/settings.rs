//! What this machine's owner says about registries: `registries.toml`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::Deserialize;
use shipway_oci::Reference;

use crate::endpoint::Endpoint;

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
    /// A section is of no registry.
    #[error("`{}` has a section for `{name}`, which no image's name begins with", path.display())]
    #[diagnostic(code(registry::settings), help("write it as images do: {}", section(meant)))]
    Name {
        /// The file.
        path: PathBuf,
        /// As it is written.
        name: String,
        /// What is meant, where that is clear.
        meant: Option<String>,
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
    /// Of a certificate of Docker's and its key one is missing.
    #[error("`{}` is there without `{}`", path.display(), name_of(other))]
    #[diagnostic(
        code(registry::settings),
        help(
            "put both there, the certificate that is shown and its key; that of an authority ends in `.crt`"
        )
    )]
    Half {
        /// The file.
        path: PathBuf,
        /// The one that is missing.
        other: PathBuf,
    },
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn grammar_of(path: &Path) -> &'static str {
    if path.ends_with("hosts.toml") {
        "it is containerd's: server = \"URL\" and [host.\"URL\"] with capabilities, ca, client, header and override_path"
    } else {
        "a registry is written as [registry.\"HOST:PORT\"] with mirrors, ca, client-cert, client-key, plain-http and token-hosts"
    }
}

/// Returns how the section of a registry begins.
fn section(registry: &Option<String>) -> String {
    match registry {
        Some(registry) => format!("[registry.\"{registry}\"]"),
        None => "[registry.\"docker.io\"] or [registry.\"registry.example:5000\"]".to_owned(),
    }
}

/// Returns the registry of an image whose name begins so.
fn registry_of(name: &str) -> Option<String> {
    let image: Reference = format!("{name}/image").parse().ok()?;
    // One that is a part of the repository is none.
    (image.repository() == "image" || image.repository() == "library/image")
        .then(|| image.registry().to_owned())
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
        let settings: Self = toml::from_str(&text)
            .map_err(|source| SettingsError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        settings.check_names(path)?;
        Ok(settings)
    }

    /// Refuses sections that would never hold.
    fn check_names(&self, path: &Path) -> Result<(), SettingsError> {
        let mirrors = || self.registries.values().flat_map(|registry| &registry.mirrors);
        let is_mirror = |name: &str| {
            mirrors().any(|url| Endpoint::of_url(url, "").is_ok_and(|mirror| mirror.authority == name))
        };
        let holds = |name: &str| registry_of(name).as_deref() == Some(name) || is_mirror(name);
        let Some(name) = self.registries.keys().find(|name| !holds(name)) else { return Ok(()) };
        let bare = name.split_once("://").map_or(name.as_str(), |(_, rest)| rest);
        let meant = registry_of(bare.split('/').next().unwrap_or_default());
        Err(SettingsError::Name { path: path.to_owned(), name: name.clone(), meant })
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
        for (name, want) in [
            ("https://docker.io", "[registry.\"docker.io\"]"),
            ("https://reg.test:5000/v2/", "[registry.\"reg.test:5000\"]"),
            ("index.docker.io", "[registry.\"docker.io\"]"),
            ("docker.io/library", "[registry.\"docker.io\"]"),
            ("hub", "[registry.\"docker.io\"] or "),
            ("", "[registry.\"docker.io\"] or "),
        ] {
            fs_err::write(&path, format!("[registry.\"{name}\"]\nplain-http = true\n")).unwrap();
            let error = Settings::load(&path).unwrap_err();
            assert!(matches!(error, SettingsError::Name { .. }), "case {name}: {error}");
            let help = error.help().unwrap().to_string();
            assert!(help.contains(want), "case {name}: {help}");
        }
        // A mirror has a section by its own name, whatever that is.
        let text =
            "[registry.\"docker.io\"]\nmirrors = [\"http://hub/x\"]\n[registry.hub]\nplain-http = true\n";
        fs_err::write(&path, text).unwrap();
        assert!(Settings::load(&path).unwrap().named("hub").is_some());
        fs_err::write(&path, "[registry.\"reg.test\"]\nplain_http = true\n").unwrap();
        assert!(matches!(Settings::load(&path), Err(SettingsError::Parse { .. })));
    }
}

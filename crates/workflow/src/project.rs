//! `shipway.toml`: what a directory wants to be.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A directory with a Dockerfile, and what its `shipway.toml` says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The directory, absolute.
    pub dir: PathBuf,
    /// Name of the image, the Deployment and its pods' `app` label.
    pub name: String,
    /// The port that the application listens on and that is forwarded to.
    pub port: Option<u16>,
    /// How many pods.
    pub replicas: u32,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Environment of the container.
    pub env: BTreeMap<String, String>,
    /// How the image is built.
    pub build: BuildSection,
    /// How a pod is known to be ready; without it, a pod that accepts connections on `port` is.
    pub readiness: Option<ReadinessSection>,
}

/// `[build]` of `shipway.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BuildSection {
    /// Path of the Dockerfile, relative to the directory; `Dockerfile` if not given.
    pub dockerfile: Option<PathBuf>,
    /// The stage to build; the last one if not given.
    pub target: Option<String>,
    /// Build arguments.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Assemble missing Debian base images from the host's package mirror.
    #[serde(default)]
    pub bootstrap_base: bool,
    /// RUN steps trust the host's certificate authorities.
    #[serde(default)]
    pub host_ca: bool,
}

/// `[readiness]` of `shipway.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadinessSection {
    /// Path that answers with a status below 400 once the application is ready.
    pub path: String,
}

/// Why a directory is no project.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LoadProjectError {
    /// There is no such directory.
    #[error("no directory `{dir}`")]
    #[diagnostic(
        code(project::directory),
        help("name the directory that has the Dockerfile, such as `shipway up .`")
    )]
    NoDirectory {
        /// The path as given.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no Dockerfile in it.
    #[error("no Dockerfile in `{dir}` (looked for `{path}`)")]
    #[diagnostic(
        code(project::dockerfile),
        help("write one, or name it in shipway.toml: [build] dockerfile = \"path\"")
    )]
    NoDockerfile {
        /// The directory.
        dir: PathBuf,
        /// What was looked for.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("could not read `{path}`")]
    #[diagnostic(code(project::read), help("see that the file is readable"))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("`{path}` is not valid")]
    #[diagnostic(
        code(project::syntax),
        help(
            "known keys: name, port, replicas, namespace, [env], [build] dockerfile target args bootstrap-base host-ca, [readiness] path"
        )
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: toml::de::Error,
    },
    /// The name cannot be used in Kubernetes.
    #[error("`{name}` cannot name a Deployment")]
    #[diagnostic(
        code(project::name),
        help(
            "set `name` in shipway.toml: lower-case letters, digits and `-`, at most 63, a letter or digit at both ends"
        )
    )]
    Name {
        /// The name.
        name: String,
    },
}

/// `shipway.toml` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: Option<String>,
    port: Option<u16>,
    replicas: Option<u32>,
    namespace: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    build: BuildSection,
    readiness: Option<ReadinessSection>,
}

impl Project {
    /// Reads the directory's `shipway.toml`, if there is one, and finds its Dockerfile.
    pub fn load(dir: &Path) -> Result<Self, LoadProjectError> {
        let dir = fs_err::canonicalize(dir)
            .map_err(|source| LoadProjectError::NoDirectory { dir: dir.to_owned(), source })?;
        let path = dir.join("shipway.toml");
        let document = match fs_err::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|source| LoadProjectError::Syntax { path, source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Document::default(),
            Err(source) => return Err(LoadProjectError::Read { path, source }),
        };
        let project = Self::of_document(dir, document)?;
        let dockerfile = project.dockerfile();
        if !dockerfile.is_file() {
            return Err(LoadProjectError::NoDockerfile { dir: project.dir, path: dockerfile });
        }
        Ok(project)
    }

    fn of_document(dir: PathBuf, document: Document) -> Result<Self, LoadProjectError> {
        let name = document.name.unwrap_or_else(|| name_of_directory(&dir));
        if !is_dns_label(&name) {
            return Err(LoadProjectError::Name { name });
        }
        Ok(Self {
            dir,
            name,
            port: document.port,
            replicas: document.replicas.unwrap_or(1),
            namespace: document.namespace.unwrap_or_else(|| "default".to_owned()),
            env: document.env,
            build: document.build,
            readiness: document.readiness,
        })
    }

    /// Returns the path of the Dockerfile, absolute.
    pub fn dockerfile(&self) -> PathBuf {
        self.dir.join(self.build.dockerfile.as_deref().unwrap_or(Path::new("Dockerfile")))
    }
}

/// Returns the directory's name with everything that Kubernetes does not allow replaced.
fn name_of_directory(dir: &Path) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let dashed: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    dashed.trim_matches('-').to_owned()
}

/// Spec: RFC 1123 label, as Kubernetes checks names.
fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Project, LoadProjectError>) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("My App");
        fs_err::create_dir(&dir).unwrap();
        for (name, text) in files {
            fs_err::write(dir.join(name), text).unwrap();
        }
        let project = Project::load(&dir);
        (parent, project)
    }

    #[test]
    fn a_dockerfile_is_enough() {
        let (_dir, project) = with(&[("Dockerfile", "FROM scratch")]);
        let project = project.unwrap();
        assert_eq!((project.name.as_str(), project.port, project.replicas), ("my-app", None, 1));
    }

    #[test]
    fn the_file_says_the_rest() {
        let toml = "name = 'web'\nport = 5000\n[build]\nbootstrap-base = true\n[readiness]\npath = '/ok'\n";
        let (_dir, project) = with(&[("Dockerfile", "FROM scratch"), ("shipway.toml", toml)]);
        let project = project.unwrap();
        assert_eq!((project.name.as_str(), project.port), ("web", Some(5000)));
        assert!(project.build.bootstrap_base && !project.build.host_ca);
        assert_eq!(project.readiness.unwrap().path, "/ok");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let docker = ("Dockerfile", "FROM scratch");
        assert!(matches!(with(&[]).1, Err(LoadProjectError::NoDockerfile { .. })));
        assert!(matches!(
            with(&[docker, ("shipway.toml", "prot = 1")]).1,
            Err(LoadProjectError::Syntax { .. })
        ));
        assert!(matches!(
            with(&[docker, ("shipway.toml", "name = 'A B'")]).1,
            Err(LoadProjectError::Name { .. })
        ));
        assert!(matches!(Project::load(Path::new("/no/such")), Err(LoadProjectError::NoDirectory { .. })));
    }
}

//! The two directories that everything lives in.

use std::path::{Path, PathBuf};

use shipway_oci::Digest;

use crate::failure::Failure;

/// Where data and state are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    /// Images, layers, the cluster's database: survives a reboot.
    pub(crate) data: PathBuf,
    /// Sockets, running containers, locks: gone after a reboot.
    pub(crate) state: PathBuf,
    /// Short name of this pair of roots in the names of kernel objects.
    pub(crate) id: String,
}

impl Roots {
    /// Makes the directories, readable by their owner only.
    pub(crate) fn open(data: Option<PathBuf>, state: Option<PathBuf>) -> Result<Self, Failure> {
        let given = data.is_some();
        let data = data.unwrap_or_else(|| PathBuf::from("/var/lib/shipway"));
        ensure(&data)?;
        let data = fs_err::canonicalize(&data).map_err(|error| cannot_make(&data, &error))?;
        let digest = Digest::of(data.as_os_str().as_encoded_bytes()).hex();
        let id = digest[..8].to_owned();
        let state = match state {
            Some(state) => state,
            None if given => PathBuf::from("/run/shipway").join(&id),
            None => PathBuf::from("/run/shipway/default"),
        };
        ensure(&state)?;
        let state = fs_err::canonicalize(&state).map_err(|error| cannot_make(&state, &error))?;
        Ok(Self { data, state, id })
    }
}

impl Roots {
    /// Returns where the packages are that `bootstrap` has downloaded.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.data.join("cache")
    }
}

fn ensure(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| cannot_make(dir, &error))
}

fn cannot_make(dir: &Path, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "run it as root (`sudo shipway …`): running without root is not there yet"
        }
        std::io::ErrorKind::StorageFull => "free some space, or choose another place: --root DIR",
        _ => "choose another place: --root DIR and --state DIR",
    };
    Failure::new(format!("could not use `{}`: {error}", dir.display()), hint)
}

//! Why something could not be done with a layer.

use std::io;
use std::path::{Path, PathBuf};

use shipway_oci::DiffId;
use shipway_store::{LayerId, StoreError};

/// Why an operation on layers failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LayerError {
    /// A file or directory could not be used.
    #[error("could not {operation} `{path}`")]
    #[diagnostic(
        code(layers::io),
        help("see that the path is writable, or choose another place: --root DIR")
    )]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left to {operation} `{path}`")]
    #[diagnostic(
        code(layers::no_space),
        help(
            "remove images that you do not need (`shipway images`, `shipway rmi NAME`), or choose another disk: --root DIR"
        )
    )]
    NoSpace {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The user may not use a file or directory.
    #[error("no permission to {operation} `{}`", path.display())]
    #[diagnostic(code(layers::permission), help("{}", permission_hint(shipway_linux::is_root())))]
    Permission {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The archive cannot be a layer.
    #[error("archive {place}: {reason}")]
    #[diagnostic(
        code(layers::archive),
        help(
            "see what `tar -tvf ARCHIVE` says of it; get it again from a source that you trust, or pack it anew: `tar -cf ARCHIVE -C DIR .`"
        )
    )]
    Archive {
        /// Where in it: "entry `NAME`", or "at byte 512".
        place: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The archive could not be read.
    #[error("could not read the archive {place}")]
    #[diagnostic(code(layers::input), help("see that the archive is whole, and get it again if it is not"))]
    Input {
        /// Where in it: "in entry `NAME`", or "at byte 512".
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The archive is compressed in a way that is not read.
    #[error("the archive is compressed with {program}, which is not supported here")]
    #[diagnostic(
        code(layers::compression),
        help(
            "decompress it on the way: `{program} -dc FILE | shipway import - NAME`; gzip, zstd, xz and bzip2 are read as they are"
        )
    )]
    Compression {
        /// What decompresses it.
        program: &'static str,
    },
    /// The bytes are not the ones that were asked for.
    #[error("layer has diff ID {found}, but {wanted} was expected")]
    #[diagnostic(code(layers::diff_id), help("fetch or build the image again"))]
    Mismatch {
        /// What was expected.
        wanted: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// There is no such layer.
    #[error("no layer {0}")]
    #[diagnostic(code(layers::missing), help("build the image again"))]
    NoLayer(String),
    /// The store could not record it.
    #[error("could not record layer {id}")]
    Record {
        /// The layer.
        id: LayerId,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
    /// A snapshot could not be protected from removal.
    #[error("could not keep snapshot {id}")]
    Keep {
        /// The snapshot.
        id: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
    /// Layers could not be put on the disk.
    #[error("could not put the layers on the disk")]
    Sync {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
    /// The store could not be read.
    #[error("could not look up layers")]
    LookUp {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
}

impl LayerError {
    /// Returns a converter of what the kernel said about `path`.
    pub(crate) fn io(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { operation, path, source }
            }
            io::ErrorKind::PermissionDenied => Self::Permission { operation, path, source },
            _ => Self::Io { operation, path, source },
        }
    }
}

/// What root may not do, nobody may there.
fn permission_hint(is_root: bool) -> &'static str {
    if is_root {
        "its file system does not take all that a layer has, such as marks of what was deleted, as that of a container does not: choose a directory on a local ext4, xfs or btrfs: --root DIR"
    } else {
        "run it as root (`sudo shipway …`): files of a layer belong to any user, devices and set-uid files among them"
    }
}

//! Why the store could not do something.

use std::io;
use std::path::{Path, PathBuf};

use shipway_oci::Digest;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// The file system is full.
    #[error("no space left for `{}`", path.display())]
    #[diagnostic(
        code(store::no_space),
        help(
            "free some space (`shipway system prune` removes what nothing uses), or choose another disk with --root"
        )
    )]
    NoSpace {
        /// What was to be written.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The user may not.
    #[error("no permission for `{}`", path.display())]
    #[diagnostic(
        code(store::permission),
        help("run it as root (`sudo shipway …`), or choose a directory of your own with --root")
    )]
    Permission {
        /// What was to be used.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another failure of the file system.
    #[error("could not {action} `{}`", path.display())]
    #[diagnostic(code(store::io), help("look at the disk and at the permissions of the path"))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The root lies where locks and renames cannot be trusted.
    #[error("`{}` is on {kind}, which cannot hold the store", path.display())]
    #[diagnostic(code(store::filesystem), help("choose a directory on a local disk with --root"))]
    FileSystem {
        /// The root.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// A newer program wrote the database.
    #[error("`{}` was written by a newer version (format {found}, this program knows {known})", path.display())]
    #[diagnostic(code(store::newer), help("use the newer program, or another directory with --root"))]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this program writes.
        known: i64,
    },
    /// SQLite failed.
    #[error("could not {action} in the store's database")]
    #[diagnostic(
        code(store::database),
        help("look at the free space and the permissions of the store's directory")
    )]
    Database {
        /// What was tried.
        action: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Content does not have the digest that was promised for it.
    #[error("content has digest {got}, expected {want}")]
    #[diagnostic(code(store::digest), help("it was damaged or changed on its way: fetch it again"))]
    Digest {
        /// The promise.
        want: Digest,
        /// What arrived.
        got: Digest,
    },
    /// A blob is larger than the caller accepts.
    #[error("blob {digest} is larger than {limit} bytes")]
    #[diagnostic(code(store::too_large), help("documents of this size are not read"))]
    TooLarge {
        /// Which blob.
        digest: Digest,
        /// What the caller accepts.
        limit: u64,
    },
    /// A document in the store is not what it should be.
    #[error("{what} is damaged: {reason}")]
    #[diagnostic(code(store::damaged), help("remove the image and build or pull it again"))]
    Damaged {
        /// Which document.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such thing.
    #[error("no such {kind}: {name}")]
    #[diagnostic(code(store::not_found), help("list what there is: `shipway images`, `shipway ps -a`"))]
    NotFound {
        /// `image`, `container`, `blob`, `layer` or `snapshot`.
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// More than one thing fits.
    #[error("`{text}` fits several: {}", candidates.join(", "))]
    #[diagnostic(code(store::ambiguous), help("write more digits"))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// What fits.
        candidates: Vec<String>,
    },
    /// Something else stands against it.
    #[error("conflict: {reason}")]
    #[diagnostic(code(store::conflict), help("{hint}"))]
    Conflict {
        /// What.
        reason: String,
        /// What to do.
        hint: String,
    },
}

/// Gives an I/O error its path and its class.
pub(crate) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::Permission { path, source }
            }
            _ => StoreError::Io { action, path, source },
        }
    }
}

/// Gives a database error its operation.
pub(crate) fn database_error(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { action, source }
}

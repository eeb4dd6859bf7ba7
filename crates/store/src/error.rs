//! Why the store could not do something.

use std::io;
use std::path::{Path, PathBuf};

use shipway_oci::Digest;

/// Why an operation on the store failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// A file or directory could not be used.
    #[error("could not {operation} `{path}`")]
    #[diagnostic(code(store::io), help("see that the path is writable, or choose another place: --root DIR"))]
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
        code(store::no_space),
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
    #[diagnostic(
        code(store::permission),
        help("run it as root (`sudo shipway …`), or choose a directory of your own: --root DIR")
    )]
    Permission {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The root lies where locks and renames cannot be trusted.
    #[error("`{}` is on {kind}, which cannot hold a store", path.display())]
    #[diagnostic(code(store::filesystem), help("choose a directory on a local disk: --root DIR"))]
    FileSystem {
        /// The root.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// Another container has the name.
    #[error("the container name `/{name}` is already in use by container {id}")]
    #[diagnostic(
        code(store::container_name),
        help("remove that container (`shipway rm {name}`), or choose another name: --name NAME")
    )]
    ContainerName {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// No container has that name or id.
    #[error("no such container: {0}")]
    #[diagnostic(code(store::container), help("`shipway ps -a` lists what there is"))]
    NoContainer(String),
    /// Something still needs the image.
    #[error("conflict: image {image} is used by container {container}")]
    #[diagnostic(
        code(store::image_in_use),
        help("remove the container first (`shipway rm {container}`), or use --force")
    )]
    ImageInUse {
        /// The image.
        image: String,
        /// Who uses it.
        container: String,
    },
    /// The database could not be used.
    #[error("could not {operation} in the store's database")]
    #[diagnostic(code(store::database), help("if the disk is neither full nor damaged, report this"))]
    Database {
        /// What was tried.
        operation: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database is not what this program wrote.
    #[error("the store's database `{}` is damaged", path.display())]
    #[diagnostic(
        code(store::damaged),
        help(
            "what it knew is lost: put a copy of it in its place, or move {} aside and begin anew, also with another one: --root DIR",
            path.parent().unwrap_or(path).display()
        )
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database is not there, but what it told of is.
    #[error("the store's database `{}` is gone, and layers and blobs that it knew of are here", path.display())]
    #[diagnostic(
        code(store::lost),
        help(
            "put it or a copy of it in its place; what is only here without it is lost: move {} aside and begin anew, also with another one: --root DIR",
            path.parent().unwrap_or(path).display()
        )
    )]
    Lost {
        /// The database.
        path: PathBuf,
    },
    /// What the store would have to be brought to before it is read cannot be written.
    #[error("the store at `{}` cannot be written, and {lack}", path.display())]
    #[diagnostic(
        code(store::read_only),
        help("make it writable for one command, such as `shipway images`; then it can be read as it is")
    )]
    ReadOnly {
        /// The root.
        path: PathBuf,
        /// What is missing.
        lack: String,
    },
    /// A newer program has changed the database.
    #[error("the store at `{path}` was written by a newer version (schema {found}, this one knows {known})")]
    #[diagnostic(code(store::newer), help("use that newer version, or another directory: --root DIR"))]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Content is not what its digest says.
    #[error("content has digest {found}, but {wanted} was expected")]
    #[diagnostic(code(store::digest), help("fetch or build it again"))]
    Mismatch {
        /// What was expected.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// There is no such blob.
    #[error("no blob {0}")]
    #[diagnostic(
        code(store::blob),
        help("`shipway system fsck` says what is damaged, and `--repair` mends it")
    )]
    NoBlob(Digest),
    /// A document is larger than it may be.
    #[error("blob {digest} is larger than {limit} bytes")]
    #[diagnostic(code(store::too_large), help("it is no manifest or config that this program wrote"))]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// The limit in bytes.
        limit: u64,
    },
    /// What is to be stored of an image is larger than what is read again.
    #[error("{what} has {size} bytes, more than the {limit} that there may be")]
    #[diagnostic(code(store::oversized), help("{hint}"))]
    Oversized {
        /// What it is.
        what: &'static str,
        /// Its bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
        /// How to do without.
        hint: &'static str,
    },
    /// A stored document cannot be read.
    #[error("blob {digest} is not a valid {what}")]
    #[diagnostic(
        code(store::document),
        help("`shipway system fsck` says what is damaged, and `--repair` mends it")
    )]
    Document {
        /// The blob.
        digest: Digest,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        source: serde_json::Error,
    },
    /// Something is under way that relies on what is here.
    #[error(
        "something is being built, pulled, pushed or saved: an image for one of several platforms stays until then"
    )]
    #[diagnostic(code(store::busy), help("wait until that has ended, then type it again"))]
    Busy,
    /// A repository of the own registry has the manifest.
    #[error("a repository of `shipway registry serve` has the manifest {0} too")]
    #[diagnostic(
        code(store::hosted),
        help("delete it there first: `curl -X DELETE http://REGISTRY/v2/REPOSITORY/manifests/{0}`")
    )]
    Hosted(Digest),
    /// A name that reads as an image's id would hide the image that has it.
    #[error("`{0}` looks like the id of an image: it cannot be a name")]
    #[diagnostic(code(store::name), help("choose a name that people can read, such as `web:1`"))]
    NameLikeId(String),
    /// No image has that name or id.
    #[error("no such image: {0}")]
    #[diagnostic(code(store::image), help("`shipway images` lists what there is"))]
    NoImage(String),
    /// The beginning of an id fits several images.
    #[error("`{prefix}` is the beginning of several ids: {}", candidates.join(", "))]
    #[diagnostic(code(store::ambiguous), help("write more of the id"))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// What it could mean.
        candidates: Vec<String>,
    },
}

impl StoreError {
    /// Returns whether a document itself is the reason, and not where it is kept: others can be read all the same.
    pub fn is_of_document(&self) -> bool {
        matches!(
            self,
            Self::NoBlob(_) | Self::TooLarge { .. } | Self::Document { .. } | Self::Mismatch { .. }
        )
    }

    /// Returns a converter of what the kernel said about `path`.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { operation, path, source }
            }
            io::ErrorKind::PermissionDenied => Self::Permission { operation, path, source },
            _ => Self::Io { operation, path, source },
        }
    }

    /// Returns what a failed write below `path` means.
    pub fn of_write(path: &Path, error: io::Error) -> Self {
        Self::io("write", path)(error)
    }

    /// Returns a converter of what SQLite said of the database at `path`.
    pub(crate) fn database(operation: &'static str, path: PathBuf) -> impl FnOnce(rusqlite::Error) -> Self {
        use rusqlite::ffi;
        move |source| match source.sqlite_error().map(|error| error.extended_code) {
            // The second one: the shared memory of the write-ahead log cannot grow.
            Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE) => Self::NoSpace {
                operation,
                path: PathBuf::from("store.db"),
                source: io::Error::new(io::ErrorKind::StorageFull, source),
            },
            // The lower byte is what the rest says more of.
            Some(code) if code & 0xff == ffi::SQLITE_READONLY => Self::Io {
                operation,
                path,
                source: io::Error::new(io::ErrorKind::ReadOnlyFilesystem, source),
            },
            Some(code) if matches!(code & 0xff, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB) => {
                Self::Damaged { path, source }
            }
            _ => Self::Database { operation, source },
        }
    }
}

/// Returns whether an error says what this process lacks at the moment, descriptors, memory, room or rights, and nothing of what is on
/// the disk: nothing is damaged that cannot be looked at for such a reason.
pub fn is_of_the_moment(error: &(dyn std::error::Error + 'static)) -> bool {
    /// Too many open files, in the machine and in the process; no kind of their own.
    const FILES: [i32; 2] = [23, 24];
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let Some(error) = error.downcast_ref::<io::Error>() else { return false };
        let is_code = error.raw_os_error().is_some_and(|code| FILES.contains(&code));
        is_code
            || matches!(
                error.kind(),
                io::ErrorKind::OutOfMemory
                    | io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::WouldBlock
                    | io::ErrorKind::ResourceBusy
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_lacks_is_told_from_what_is_damaged() {
        let wrapped = |code| StoreError::io("read", Path::new("x"))(io::Error::from_raw_os_error(code));
        for (name, code, want) in [
            ("EMFILE", 24, true),
            ("ENFILE", 23, true),
            ("ENOMEM", 12, true),
            ("EACCES", 13, true),
            ("ENOSPC", 28, true),
            ("EIO", 5, false),
            ("EUCLEAN", 117, false),
            ("EISDIR", 21, false),
        ] {
            assert_eq!(is_of_the_moment(&wrapped(code)), want, "{name}");
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_database() {
        let failed = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let convert = |code| StoreError::database("note it", PathBuf::from("x"))(failed(code));
        assert!(matches!(convert(rusqlite::ffi::SQLITE_FULL), StoreError::NoSpace { .. }));
        assert!(matches!(convert(rusqlite::ffi::SQLITE_IOERR_SHMSIZE), StoreError::NoSpace { .. }));
        assert!(matches!(convert(rusqlite::ffi::SQLITE_CORRUPT_INDEX), StoreError::Damaged { .. }));
        assert!(matches!(convert(rusqlite::ffi::SQLITE_BUSY), StoreError::Database { .. }));
    }

    #[test]
    fn nobody_is_sent_to_become_root_where_nothing_can_be_written() {
        let failed =
            rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY), None);
        let of_database = StoreError::database("note it", PathBuf::from("x"))(failed);
        let of_file = StoreError::io("open", Path::new("x"))(io::ErrorKind::ReadOnlyFilesystem.into());
        for error in [of_database, of_file] {
            let hint = miette::Diagnostic::help(&error).unwrap().to_string();
            assert!(hint.starts_with("see that the path is writable"), "{error}: {hint}");
        }
    }
}

//! Who is busy with what: a locked file per name below the state root.
//!
//! The kernel takes the lock away with the process that held it, so what nobody claims any more can be cleaned up.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::roots::Roots;

/// Where the files are, below the state root.
const DIRECTORY: &str = "claims";

/// A claim could not be made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("could not lock `{}`", path.display())]
#[diagnostic(code(claim::io), help("see that the state directory is writable: --state DIR"))]
pub(crate) struct ClaimError {
    path: PathBuf,
    source: io::Error,
}

/// A claim of this process; it ends with this value.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    _lock: File,
}

impl Claim {
    /// Claims a name, and waits while another process does.
    pub(crate) fn take(roots: &Roots, name: &str) -> Result<Self, ClaimError> {
        let path = path(roots, name);
        let failed = |source| ClaimError { path: path.clone(), source };
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        loop {
            let options = || File::options().write(true).create(true).truncate(false).open(&path);
            let lock = options().map_err(failed)?;
            lock.lock().map_err(failed)?;
            // Whoever had it removes the file at the end: what was locked must still be what is found.
            let found = fs_err::metadata(&path).ok().map(|found| found.ino());
            if found.is_some() && found == lock.metadata().ok().map(|locked| locked.ino()) {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Takes away what those left behind who were killed before there was anything else of theirs to find.
    pub(crate) fn sweep(roots: &Roots) {
        for entry in fs_err::read_dir(roots.state.join(DIRECTORY)).into_iter().flatten().flatten() {
            Self::is_held(roots, &entry.file_name().to_string_lossy());
        }
    }

    /// Returns whether a process claims the name. What one left behind that was killed is taken away.
    pub(crate) fn is_held(roots: &Roots, name: &str) -> bool {
        let path = path(roots, name);
        let file = match File::options().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            // What cannot be seen is left alone.
            Err(_unreadable) => return true,
            Ok(file) => file,
        };
        match file.try_lock() {
            Ok(()) => {
                let found = fs_err::metadata(&path).ok().map(|found| found.ino());
                // Somebody may have claimed the name anew meanwhile, by another file.
                if found.is_some() && found == file.metadata().ok().map(|locked| locked.ino()) {
                    drop(fs_err::remove_file(&path));
                    return false;
                }
                found.is_some()
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => true,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Before the lock goes: the next one makes a new file.
        drop(fs_err::remove_file(&self.path));
    }
}

fn path(roots: &Roots, name: &str) -> PathBuf {
    roots.state.join(DIRECTORY).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_seen_until_it_ends_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::open(Some(dir.path().join("root")), Some(dir.path().join("state"))).unwrap();
        assert!(!Claim::is_held(&roots, "one"));
        let claim = Claim::take(&roots, "one").unwrap();
        assert!(Claim::is_held(&roots, "one") && !Claim::is_held(&roots, "two"));
        drop(claim);
        assert!(!Claim::is_held(&roots, "one"));
        fs_err::write(path(&roots, "left"), "").unwrap();
        assert!(!Claim::is_held(&roots, "left"));
        let claims = || fs_err::read_dir(roots.state.join("claims")).unwrap().count();
        assert_eq!(claims(), 0);
        let claim = Claim::take(&roots, "one").unwrap();
        fs_err::write(path(&roots, "left"), "").unwrap();
        Claim::sweep(&roots);
        assert!(Claim::is_held(&roots, "one") && claims() == 1);
        drop(claim);
    }

    #[test]
    fn a_second_claim_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::open(Some(dir.path().join("root")), Some(dir.path().join("state"))).unwrap();
        let first = Claim::take(&roots, "one").unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Claim::take(&roots, "one").unwrap());
            assert!(!second.is_finished());
            drop(first);
            assert!(second.join().unwrap().path.exists());
        });
    }
}

//! Names and passwords of a file that `htpasswd -B` writes.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// Largest file that is read, in bytes.
const FILE: u64 = 4 << 20;
/// A hash that takes longer than this power of two is no protection but a burden.
const COST: u32 = 14;
/// Passwords are tried so many at a time: each trial takes a core for a while.
const TRIALS: usize = 2;
/// So many that were right are remembered.
const REMEMBERED: usize = 4096;
/// What the password of a name that nobody has is compared with, so that it takes as long as another.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuyDXKGjXJcR7dYOBTa8gpLhYmkzOzbKS";

/// The names and passwords that a registry takes. The file is read again when it has changed. Clones are the same.
#[derive(Clone, Debug)]
pub struct Users {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    known: Mutex<Known>,
    trials: Semaphore,
    /// What makes the digests of remembered passwords useless elsewhere.
    salt: [u64; 2],
    remembered: Mutex<HashSet<[u8; 32]>>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    hashes: HashMap<String, String>,
}

/// Tells one state of a file from another.
type Stamp = Option<(SystemTime, u64)>;

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum UsersError {
    /// It cannot be read.
    #[error("could not read `{}`", path.display())]
    #[diagnostic(
        code(registry::users),
        help("make it with `htpasswd -Bc {} NAME`, from Debian's apache2-utils", path.display())
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of it is not a name and a hash of the kind that is taken.
    #[error("line {line} of `{}` {reason}", path.display())]
    #[diagnostic(
        code(registry::users),
        help("write it with `htpasswd -B {} NAME`: only bcrypt is taken", path.display())
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Users {
    /// Reads a file of lines `NAME:HASH`, whose hashes are of bcrypt; empty lines and those that begin with `#` mean nothing.
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        let known = read(path)?;
        let random = RandomState::new();
        let inner = Inner {
            path: path.to_owned(),
            known: Mutex::new(known),
            trials: Semaphore::new(TRIALS),
            salt: [random.hash_one(0_u8), RandomState::new().hash_one(0_u8)],
            remembered: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns whether somebody has this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.hash_of(name).is_some()
    }

    /// Returns whether a name has this password.
    pub(crate) async fn verify(&self, name: &str, password: &str) -> bool {
        let hash = self.hash_of(name);
        let digest = self.digest(name, password, hash.as_deref().unwrap_or_default());
        if hash.is_some() && lock(&self.inner.remembered).contains(&digest) {
            return true;
        }
        let Ok(_turn) = self.inner.trials.acquire().await else { return false };
        let (tried, is_known) = (hash.clone().unwrap_or_else(|| NOBODY.to_owned()), hash.is_some());
        let password = password.to_owned();
        let trial = tokio::task::spawn_blocking(move || bcrypt::verify(password, &tried).unwrap_or(false));
        let is_right = trial.await.unwrap_or(false) && is_known;
        if is_right {
            let mut remembered = lock(&self.inner.remembered);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(digest);
        }
        is_right
    }

    /// Returns the hash of a name's password as the file has it now; one that became unreadable stays as it was.
    fn hash_of(&self, name: &str) -> Option<String> {
        let mut known = lock(&self.inner.known);
        let stamp = stamp(&self.inner.path);
        if stamp != known.stamp {
            match read(&self.inner.path) {
                Ok(now) => *known = now,
                Err(error) => {
                    tracing::warn!(%error, "the users are those that were there before");
                    known.stamp = stamp;
                }
            }
        }
        known.hashes.get(name).cloned()
    }

    fn digest(&self, name: &str, password: &str, hash: &str) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for number in self.inner.salt {
            hasher.update(number.to_le_bytes());
        }
        for text in [name, password, hash] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.finalize().into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp(path: &Path) -> Stamp {
    let found = fs_err::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn read(path: &Path) -> Result<Known, UsersError> {
    let failed = |source| UsersError::Read { path: path.to_owned(), source };
    let stamp = stamp(path);
    if stamp.is_some_and(|(_, length)| length > FILE) {
        return Err(failed(io::Error::other(format!("it is larger than {FILE} bytes"))));
    }
    let text = fs_err::read_to_string(path).map_err(failed)?;
    let mut hashes = HashMap::new();
    // Editors of Windows begin a file so.
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |reason| UsersError::Line { path: path.to_owned(), line: number + 1, reason };
        let (name, hash) = line.split_once(':').ok_or_else(|| refuse("has no colon"))?;
        let parts: bcrypt::HashParts =
            hash.parse().map_err(|_not| refuse("has a hash that is not of bcrypt"))?;
        if parts.get_cost() > COST {
            return Err(refuse("has a hash that would take too long to try: its cost is more than 14"));
        }
        if name.is_empty() {
            return Err(refuse("has no name"));
        }
        hashes.insert(name.to_owned(), hash.to_owned());
    }
    Ok(Known { stamp, hashes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, password: &str) -> String {
        format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_name_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let lines = format!("\u{feff}{}# people\r\n\r\n{}", line("ann", "a:secret"), line("bob", ""));
        fs_err::write(&path, lines).unwrap();
        let users = Users::open(&path).unwrap();
        for (name, password, want) in [
            ("ann", "a:secret", true),
            ("ann", "a:secret", true),
            ("ann", "a:secreT", false),
            ("ann", "", false),
            ("bob", "", true),
            ("bob", "a:secret", false),
            ("eve", "a:secret", false),
            ("", "", false),
        ] {
            assert_eq!(users.verify(name, password).await, want, "case {name}:{password}");
        }
        assert_eq!(lock(&users.inner.remembered).len(), 2);
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again_and_one_that_breaks_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        fs_err::write(&path, line("ann", "old")).unwrap();
        let users = Users::open(&path).unwrap();
        assert!(users.verify("ann", "old").await);
        fs_err::write(&path, line("ann", "new") + "\n").unwrap();
        assert!(!users.verify("ann", "old").await && users.verify("ann", "new").await);
        fs_err::write(&path, "nonsense").unwrap();
        assert!(users.verify("ann", "new").await);
        fs_err::remove_file(&path).unwrap();
        assert!(users.verify("ann", "new").await && !users.verify("ann", "old").await);
    }

    #[test]
    fn what_is_not_taken_is_named_by_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let costly = "ann:$2y$15$abcdefghijklmnopqrstuuyDXKGjXJcR7dYOBTa8gpLhYmkzOzbKS";
        for (text, want) in [
            ("\nann", "line 2 of `"),
            ("ann", "has no colon"),
            ("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "is not of bcrypt"),
            ("ann:$apr1$x$y", "is not of bcrypt"),
            (costly, "would take too long"),
            (costly.strip_prefix("ann").unwrap(), "would take too long"),
        ] {
            fs_err::write(&path, text).unwrap();
            let error = Users::open(&path).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        assert!(Users::open(&dir.path().join("none")).is_err());
        assert!(NOBODY.parse::<bcrypt::HashParts>().is_ok());
    }
}

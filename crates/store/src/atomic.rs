//! Replacing a file so that a reader sees the old one or the new one.

use std::collections::hash_map::RandomState;
use std::fs::OpenOptions;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Returns a name that no other process or thread uses, nor one that died with the same process ID.
pub fn unique_name() -> String {
    static SALT: OnceLock<u64> = OnceLock::new();
    let salt = SALT.get_or_init(|| RandomState::new().build_hasher().finish());
    format!("{}-{salt:x}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Writes `bytes` to `path` with permission bits `mode`: synced, renamed into place, directory synced.
pub fn atomic_write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // A name alone is in the working directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let unfinished = dir.join(format!(".new-{}", unique_name()));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs_err::rename(&unfinished, path)
        });
    if let Err(error) = written {
        // The error that matters is the first one; a left-over is harmless.
        drop(fs_err::remove_file(&unfinished));
        return Err(error);
    }
    shipway_linux::sync_directory(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        atomic_write(&path, b"one", 0o600).unwrap();
        atomic_write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"two");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
        assert!(atomic_write(&dir.path().join("no/such"), b"", 0o600).is_err());
    }
}

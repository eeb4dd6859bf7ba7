//! What was known about a context's files when they were last hashed.
//!
//! A file is not read again while its device, inode, size, modification and change time are the same. An entry
//! is only kept if the file had not changed for a while when it was hashed: a clock tick is coarser than two writes.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shipway_linux::Metadata;
use shipway_oci::Digest;

const MAGIC: &[u8; 8] = b"shipst02";
/// Larger than the clock tick of any kernel and file system that we meet.
const SETTLED: Duration = Duration::from_millis(200);
/// Caches of so many contexts are kept.
const MAX_FILES: usize = 200;

/// Stamps of one context.
#[derive(Debug)]
pub(crate) struct StatCache {
    path: PathBuf,
    /// By the bytes of paths, which are compared faster than paths.
    known: HashMap<Box<[u8]>, Known>,
    /// Entries that this build made.
    learned: Mutex<HashMap<Box<[u8]>, Entry>>,
}

/// An entry from before.
#[derive(Debug)]
struct Known {
    entry: Entry,
    /// This build used it.
    used: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    stamp: Stamp,
    digest: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.device,
            inode: metadata.inode,
            size: metadata.size,
            mtime: metadata.mtime,
            ctime: metadata.ctime,
        }
    }
}

impl StatCache {
    /// Reads what is known about a context; a damaged file is as good as none.
    pub(crate) fn load(directory: &Path, context: &Path) -> Self {
        let path = directory.join(Digest::of(context.as_os_str().as_bytes()).hex());
        let mut bytes = Vec::new();
        let read = fs_err::File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
        let known = read.ok().and_then(|_| decode(&bytes)).unwrap_or_default();
        let known =
            known.into_iter().map(|(path, entry)| (path, Known { entry, used: AtomicBool::new(false) }));
        Self { path, known: known.collect(), learned: Mutex::default() }
    }

    /// Returns the digest of a file that is as it was.
    pub(crate) fn get(&self, path: &Path, metadata: &Metadata) -> Option<Digest> {
        let known = self.known.get(key_of(path))?;
        let is_same = known.entry.stamp == Stamp::of(metadata);
        known.used.fetch_or(is_same, Ordering::Relaxed);
        is_same.then_some(known.entry.digest)
    }

    /// Remembers a digest; `hashed_at` is when the hashing began.
    pub(crate) fn put(&self, path: &Path, metadata: &Metadata, digest: Digest, hashed_at: Duration) {
        let changed = u64::try_from(metadata.ctime.0).unwrap_or(u64::MAX);
        let changed = Duration::new(changed, metadata.ctime.1);
        if changed.checked_add(SETTLED).is_some_and(|settled| settled < hashed_at) {
            let entry = Entry { stamp: Stamp::of(metadata), digest };
            let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
            learned.insert(key_of(path).into(), entry);
        }
    }

    /// Writes what this build learned. Losing it costs time only, so failures are logged.
    pub(crate) fn save(&self) {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.is_empty() {
            return;
        }
        let is_used = |known: &Known| known.used.load(Ordering::Relaxed);
        let seen = self.known.values().filter(|known| is_used(known)).count() + learned.len();
        // What this build did not look at may be what another Dockerfile of the context uses.
        // It is forgotten when it has become much more.
        let keeps = self.known.len() <= 4 * seen + 10_000;
        let known = self
            .known
            .iter()
            .filter(|(path, known)| (keeps || is_used(known)) && !learned.contains_key(*path))
            .map(|(path, known)| (path, &known.entry));
        let result = self.path.parent().map_or(Ok(()), |directory| {
            fs_err::create_dir_all(directory)?;
            forget_oldest(directory);
            shipway_store::atomic_write(&self.path, &encode(known.chain(&*learned)), 0o600)
        });
        if let Err(error) = result {
            tracing::warn!(%error, "could not keep what is known about the context's files");
        }
    }
}

/// Returns what stands for a path: the same bytes, whether nothing was joined to it or not.
fn key_of(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_suffix(b"/").unwrap_or(bytes)
}

/// Keeps the number of contexts bounded.
fn forget_oldest(directory: &Path) {
    let Ok(entries) = fs_err::read_dir(directory) else { return };
    let mut files: Vec<_> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    if files.len() < MAX_FILES {
        return;
    }
    files.sort();
    for (_, path) in files.iter().take(files.len() - MAX_FILES / 2) {
        if let Err(error) = fs_err::remove_file(path) {
            tracing::debug!(%error, "could not forget a context");
        }
    }
}

fn encode<'a>(entries: impl Iterator<Item = (&'a Box<[u8]>, &'a Entry)>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (path, entry) in entries {
        let Ok(length) = u16::try_from(path.len()) else { continue };
        bytes.extend(length.to_le_bytes());
        bytes.extend(path);
        let stamp = &entry.stamp;
        for number in [stamp.device, stamp.inode, stamp.size] {
            bytes.extend(number.to_le_bytes());
        }
        for (seconds, nanoseconds) in [stamp.mtime, stamp.ctime] {
            bytes.extend(seconds.to_le_bytes());
            bytes.extend(nanoseconds.to_le_bytes());
        }
        bytes.extend(entry.digest.as_bytes());
    }
    let check = Digest::of(&bytes);
    bytes.extend(check.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<(Box<[u8]>, Entry)>> {
    const CHECK: usize = 32;
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
    if Digest::of(body).as_bytes() != check {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(taken)
    };
    let mut entries = Vec::new();
    while let Some(length) = take(2) {
        let length = u16::from_le_bytes(length.try_into().ok()?);
        let path = take(length.into())?.into();
        let mut number = || Some(u64::from_le_bytes(take(8)?.try_into().ok()?));
        let (device, inode, size) = (number()?, number()?, number()?);
        let mut time = || {
            let seconds = i64::from_le_bytes(take(8)?.try_into().ok()?);
            Some((seconds, u32::from_le_bytes(take(4)?.try_into().ok()?)))
        };
        let (mtime, ctime) = (time()?, time()?);
        let digest = Digest::from(<[u8; 32]>::try_from(take(32)?).ok()?);
        entries.push((path, Entry { stamp: Stamp { device, inode, size, mtime, ctime }, digest }));
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_linux::Root;

    fn metadata(dir: &Path, name: &str) -> Metadata {
        Root::open(dir).unwrap().metadata(name).unwrap().unwrap()
    }

    #[test]
    fn what_was_learned_survives_and_a_changed_file_does_not_match() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("context");
        fs_err::create_dir(&context).unwrap();
        fs_err::write(context.join("a"), "1").unwrap();
        let before = metadata(&context, "a");
        let later = Duration::from_secs(u64::MAX / 2);
        let cache = StatCache::load(dir.path(), &context);
        assert_eq!(cache.get(Path::new("a"), &before), None);
        cache.put(Path::new("a"), &before, Digest::of(b"1"), later);
        cache.save();
        let cache = StatCache::load(dir.path(), &context);
        assert_eq!(cache.get(Path::new("a"), &before), Some(Digest::of(b"1")));
        assert_eq!(cache.get(&Path::new("a").join(""), &before), Some(Digest::of(b"1")));
        fs_err::write(context.join("a"), "22").unwrap();
        assert_eq!(cache.get(Path::new("a"), &metadata(&context, "a")), None);
    }

    #[test]
    fn a_file_that_changed_just_now_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("a"), "1").unwrap();
        let now = metadata(dir.path(), "a");
        let cache = StatCache::load(&dir.path().join("cache"), dir.path());
        let at = Duration::new(u64::try_from(now.ctime.0).unwrap(), now.ctime.1);
        cache.put(Path::new("a"), &now, Digest::of(b"1"), at + Duration::from_millis(1));
        cache.save();
        let cache = StatCache::load(&dir.path().join("cache"), dir.path());
        assert_eq!(cache.get(Path::new("a"), &now), None);
    }

    #[test]
    fn damaged_files_are_as_good_as_none() {
        let entry = Entry {
            stamp: Stamp { device: 1, inode: 2, size: 3, mtime: (4, 5), ctime: (6, 7) },
            digest: Digest::of(b""),
        };
        let entries: Vec<(Box<[u8]>, Entry)> = vec![((*b"a/b").into(), entry)];
        let good = encode(entries.iter().map(|(path, entry)| (path, entry)));
        assert_eq!(decode(&good), Some(entries));
        for end in 0..good.len() {
            assert_eq!(decode(&good[..end]), None, "cut at {end}");
        }
        let mut flipped = good;
        flipped[20] ^= 1;
        assert_eq!(decode(&flipped), None);
    }
}

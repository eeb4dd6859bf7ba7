//! Digests of the files that COPY names.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shipway_linux::{Kind, Metadata, xattrs_of};
use shipway_oci::{Digest, Hasher};

use super::gather::{kept, with_xattrs};
use super::{Entry, Item, Tree};
use crate::Problem;
use crate::request::Stop;

/// So little is done before another thread has begun.
const FEW: usize = 16;
const SHORT: u64 = 1 << 20;

/// How much of a long file is read at a time.
const BUFFER: u64 = 256 << 10;

/// A file that nothing is known of.
struct Unknown<'a> {
    tree: &'a Tree<'a>,
    path: PathBuf,
    entry: &'a mut Entry,
}

/// Fills in the digests of files that are not known yet, several at a time. `now` is the time, as a duration since the epoch.
pub(crate) fn hash_all<'a>(
    items: impl IntoIterator<Item = (&'a Tree<'a>, &'a mut Item)>,
    stop: &Stop,
    now: Duration,
) -> Result<(), Problem> {
    let mut todo: Vec<Unknown<'_>> = Vec::new();
    for (tree, Item { base, entries, .. }) in items {
        let unknown =
            entries.iter_mut().filter(|entry| entry.metadata.kind == Kind::File && entry.digest.is_none());
        // Nothing is added for nothing, not even a slash.
        let path_of = |path: &Path| if path.as_os_str().is_empty() { base.clone() } else { base.join(path) };
        todo.extend(unknown.map(|entry| Unknown { tree, path: path_of(&entry.path), entry }));
    }
    // The longest one is not left to the end.
    todo.sort_by_key(|unknown| std::cmp::Reverse(unknown.entry.metadata.size / SHORT));
    let bytes: u64 = todo.iter().map(|unknown| unknown.entry.metadata.size).sum();
    let threads = match todo.len() {
        0 | 1 => 1,
        files if files < FEW && bytes < SHORT => 1,
        files => std::thread::available_parallelism().map_or(1, usize::from).min(files),
    };
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let slots: Vec<Mutex<Unknown<'_>>> = todo.into_iter().map(Mutex::new).collect();
    let work = || {
        while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut unknown = slot.lock().unwrap_or_else(PoisonError::into_inner);
            match hash_file(unknown.tree, (&unknown.path, &unknown.entry.metadata), stop, now) {
                Ok(digest) => unknown.entry.digest = Some(digest),
                Err(problem) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
                    next.store(slots.len(), Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

fn hash_file(
    tree: &Tree<'_>,
    (path, metadata): (&Path, &Metadata),
    stop: &Stop,
    now: Duration,
) -> Result<Digest, Problem> {
    let failed = |source| Problem::io("read", path)(source);
    let mut file = tree.root.open_file(path).map_err(failed)?;
    let length = usize::try_from(metadata.size.clamp(1, BUFFER)).unwrap_or(usize::MAX);
    let (mut buffer, mut hasher) = (vec![0; length], Hasher::default());
    loop {
        if stop.is_set() {
            return Err(Problem::Cancelled);
        }
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let digest = with_xattrs(hasher.finish(), &kept(xattrs_of(&file).map_err(failed)?));
    if let Some(stats) = tree.stats {
        stats.put(path, metadata, digest, now);
    }
    Ok(digest)
}

//! Directories of `RUN --mount=type=cache`, which outlive builds. Compat: BuildKit, `sharing=shared|private|locked`.
//!
//! Each has a file beside it whose lock its users hold, shared or alone, as long as their command runs. The file says which id it
//! belongs to, and its time when it was last used. What nobody holds may be taken away.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use shipway_dockerfile::{Mount, Sharing};
use shipway_linux::Root;
use shipway_oci::Digest;
use shipway_store::unique_name;

use crate::error::Problem;
use crate::request::Stop;

/// So often it is looked whether a lock can be had.
const INTERVAL: Duration = Duration::from_millis(50);
/// Longest id that is told.
const LONGEST: u64 = 1024;
/// So many letters of a name are enough.
const LEAST: usize = 6;
/// Behind the name of a cache that is being removed.
const GONE: &str = ".gone";

/// The cache directories of a data root.
#[derive(Clone, Debug)]
pub struct Caches {
    base: PathBuf,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    /// As the Dockerfile calls it.
    pub id: String,
    /// Its directory.
    pub directory: PathBuf,
    /// When a command used it last.
    pub used: SystemTime,
    name: String,
}

/// A cache that a command uses; others may have to wait until it goes.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) directory: PathBuf,
    _lock: File,
}

impl CacheMount {
    /// Returns what tells it from others, also from those with the same id: the name of its directory.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Caches {
    /// Returns those below a data root.
    pub fn below(data: &Path) -> Self {
        Self { base: data.join("build/caches") }
    }

    /// Returns all of them, in the order of their names.
    pub fn list(&self) -> io::Result<Vec<CacheMount>> {
        let mut found = Vec::new();
        let entries = match fs_err::read_dir(&self.base) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if !path.is_dir() || name.ends_with(GONE) {
                continue;
            }
            // One that an older version made has no file yet.
            let lock = fs_err::File::open(self.lock_path(name)).ok();
            let used = fs_err::metadata(self.lock_path(name)).or_else(|_none| fs_err::metadata(&path));
            // It may go meanwhile.
            let Ok(used) = used else { continue };
            let used = used.modified()?;
            let mut id = String::new();
            if let Some(lock) = lock {
                // An id that is no text is not worth a failure.
                drop(lock.take(LONGEST).read_to_string(&mut id));
            }
            let id = if id.is_empty() { name.to_owned() } else { id };
            found.push(CacheMount { id, name: name.to_owned(), directory: path, used });
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Returns whether a command uses a cache now.
    pub fn is_used(&self, cache: &CacheMount) -> bool {
        self.is_locked(&cache.name)
    }

    fn is_locked(&self, name: &str) -> bool {
        // One without a file was made by an older version, which nobody runs now.
        let lock = File::options().write(true).open(self.lock_path(name));
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
    }

    /// Finds a cache by its id, by what the Dockerfile calls it if there is only one such, or by the beginning of its name.
    pub fn find(&self, id: &str) -> io::Result<Option<CacheMount>> {
        let all = self.list()?;
        let named = |cache: &&CacheMount| id.len() >= LEAST && cache.name.starts_with(id);
        let called = |cache: &&CacheMount| {
            let rest = cache.id.strip_prefix(id);
            rest.is_some_and(|rest| rest.starts_with(" of ") || rest.starts_with(" filled by "))
        };
        let mut several = all.iter().filter(called);
        let only = several.next().filter(|_| several.next().is_none());
        let exact = all.iter().find(|cache| cache.id == id);
        Ok(exact.or(only).or_else(|| all.iter().find(named)).cloned())
    }

    /// Reads the files of a cache while no command uses it; waits until none does.
    pub fn read(
        &self,
        cache: &CacheMount,
        stop: &Stop,
        read: &mut dyn FnMut(&Root) -> io::Result<()>,
    ) -> Result<(), Problem> {
        let _lock = self.wait(&cache.name, false, stop)?;
        let root = Root::open(&cache.directory).map_err(Problem::io("open", &cache.directory))?;
        read(&root).map_err(Problem::io("read", &cache.directory))
    }

    /// Gives a cache, which need not be there, the files that `fill` writes, instead of those that it has, all or none. Waits until
    /// no command uses it.
    pub fn replace(
        &self,
        id: &str,
        stop: &Stop,
        fill: &dyn Fn(&Root) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        fs_err::create_dir_all(&self.base).map_err(Problem::io("make", &self.base))?;
        let name = Digest::of(id.as_bytes()).hex();
        let lock = self.wait(&name, false, stop)?;
        let (directory, new) = (self.base.join(&name), unused_name(&name));
        let path = self.base.join(&new);
        let made = self.make_in(&new, 0o755, fill);
        let named = made.and_then(|_root| {
            if directory.exists() {
                shipway_linux::exchange(&path, &directory).map_err(Problem::io("replace", &directory))
            } else {
                fs_err::rename(&path, &directory).map_err(Problem::io("name", &path))
            }
        });
        remove(&path).map_err(Problem::io("remove", &path))?;
        named?;
        lock.set_len(0)
            .and_then(|()| (&lock).write_all(id.as_bytes()))
            .map_err(Problem::io("write", &self.lock_path(&name)))
    }

    /// Removes a cache unless a command uses it; returns whether it did.
    pub fn remove(&self, cache: &CacheMount) -> io::Result<bool> {
        let path = self.lock_path(&cache.name);
        let lock = File::options().write(true).create(true).truncate(false).open(&path)?;
        if lock.try_lock().is_err() || !is_still(&lock, &path) {
            return Ok(false);
        }
        let gone = self.base.join(format!("{}{GONE}", cache.name));
        // What a removal left that was killed.
        remove(&gone)?;
        let renamed = fs_err::rename(&cache.directory, &gone);
        let is_gone = renamed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !is_gone {
            renamed?;
            remove(&gone)?;
        }
        fs_err::remove_file(&path)?;
        Ok(!is_gone)
    }

    /// Removes what those have left who were killed while they filled or removed a cache.
    pub fn sweep(&self) -> io::Result<()> {
        let entries = match fs_err::read_dir(&self.base) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(unfinished) = name.and_then(|name| name.strip_suffix(GONE)) else { continue };
            // Whoever is at it holds the lock of the cache, whose name comes before one of his own, or is all.
            let caches = [Some(unfinished), unfinished.rsplit_once('.').map(|(cache, _)| cache)];
            if !caches.into_iter().flatten().any(|cache| self.is_locked(cache)) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.base.join(format!("{name}.lock"))
    }

    /// Takes a cache for a command, and waits where it must be alone with it. One that is new gets what `fill` writes, all or nothing.
    pub(crate) fn take(
        &self,
        id: &str,
        mount: &Mount,
        stop: &Stop,
        fill: &dyn Fn(&Root) -> Result<(), Problem>,
    ) -> Result<Held, Problem> {
        // The name is a digest: an id such as `../..` leads nowhere.
        let name = Digest::of(id.as_bytes()).hex();
        fs_err::create_dir_all(&self.base).map_err(Problem::io("make", &self.base))?;
        let (name, lock) = match mount.sharing {
            Sharing::Shared | Sharing::Locked => {
                let lock = self.wait(&name, mount.sharing == Sharing::Shared, stop)?;
                (name, lock)
            }
            Sharing::Private => {
                let mut number = 0;
                loop {
                    let own = format!("{name}.{number}");
                    if let Some(lock) = self.try_lock(&own, false)? {
                        break (own, lock);
                    }
                    number += 1;
                }
            }
        };
        // Its time is that of the last use. A disk that is full is told of by what needs it more.
        drop(lock.set_len(0).and_then(|()| (&lock).write_all(id.as_bytes())));
        let directory = self.base.join(&name);
        if !directory.exists() {
            self.make(&name, mount, fill)?;
        }
        Ok(Held { directory, _lock: lock })
    }

    /// A lock is given up by its holder's end, however that comes; nobody tells when, so it is looked again.
    fn wait(&self, name: &str, shared: bool, stop: &Stop) -> Result<File, Problem> {
        loop {
            if let Some(lock) = self.try_lock(name, shared)? {
                return Ok(lock);
            }
            if stop.is_set() {
                return Err(Problem::Cancelled);
            }
            std::thread::park_timeout(INTERVAL);
        }
    }

    fn try_lock(&self, name: &str, shared: bool) -> Result<Option<File>, Problem> {
        let path = self.lock_path(name);
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(Problem::io("open", &path))?;
        let locked = if shared { lock.try_lock_shared() } else { lock.try_lock() };
        // It may have been removed between the two.
        Ok((locked.is_ok() && is_still(&lock, &path)).then_some(lock))
    }

    /// Makes a directory under another name first; that of a killed process counts as one that is being removed.
    fn make(
        &self,
        name: &str,
        mount: &Mount,
        fill: &dyn Fn(&Root) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let new = unused_name(name);
        let path = self.base.join(&new);
        let made = self.make_in(&new, 0o755, fill);
        let made = made.and_then(|root| own(&root, &new, mount).map_err(Problem::io("own", &path)));
        let named = made.and_then(|()| match shipway_linux::rename_new(&path, &self.base.join(name)) {
            // Another one that shares it was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            named => named.map_err(Problem::io("name", &path)),
        });
        remove(&path).map_err(Problem::io("remove", &path))?;
        named
    }

    /// Makes a directory and fills it; returns the one that it is in.
    fn make_in(
        &self,
        new: &str,
        mode: u32,
        fill: &dyn Fn(&Root) -> Result<(), Problem>,
    ) -> Result<Root, Problem> {
        let path = self.base.join(new);
        let root = Root::open(&self.base).map_err(Problem::io("open", &self.base))?;
        root.create_dir(new, mode).map_err(Problem::io("make", &path))?;
        root.open_root(new).map_err(Problem::io("open", &path)).and_then(|own| fill(&own))?;
        Ok(root)
    }
}

/// Gives a directory what the Dockerfile says of it; all else stays as it is where it was filled from. Compat: BuildKit.
fn own(root: &Root, new: &str, mount: &Mount) -> io::Result<()> {
    let found = root.metadata(new)?;
    let (uid, gid) = found.map_or((0, 0), |found| (found.uid, found.gid));
    root.set_owner(new, mount.uid.unwrap_or(uid), mount.gid.unwrap_or(gid))?;
    mount.mode.map_or(Ok(()), |mode| root.set_mode(new, mode))
}

/// Returns whether an open file is what a path names.
fn is_still(file: &File, path: &Path) -> bool {
    let found = fs_err::metadata(path).ok().map(|found| found.ino());
    found.is_some() && found == file.metadata().ok().map(|opened| opened.ino())
}

/// Returns a name that nobody else uses, also not in another container or after a restart.
fn unused_name(name: &str) -> String {
    format!("{name}.{}{GONE}", unique_name())
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(sharing: Sharing) -> Mount {
        let text = match sharing {
            Sharing::Shared => "shared",
            Sharing::Private => "private",
            Sharing::Locked => "locked",
        };
        let text = format!("type=cache,target=/c,sharing={text}");
        Mount::parse(&text, &mut |value| Ok(value.to_owned())).unwrap()
    }

    #[test]
    fn a_new_cache_is_filled_once_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::below(dir.path());
        let take = |fill: &dyn Fn(&Root) -> Result<(), Problem>| {
            caches.take("id", &mount(Sharing::Shared), &Stop::default(), fill)
        };
        let write = |root: &Root| root.create_dir("in", 0o700).map_err(Problem::io("make", "in"));
        let broken = |root: &Root| write(root).and(Err(Problem::Cancelled));
        assert!(take(&broken).is_err() && caches.list().unwrap().is_empty());
        let held = take(&write).unwrap();
        assert!(held.directory.join("in").is_dir());
        take(&broken).unwrap();
        assert_eq!(caches.list().unwrap().len(), 1);
    }

    #[test]
    fn of_two_who_make_a_cache_the_quicker_one_keeps_it_and_what_is_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::below(dir.path());
        let take = |fill: &dyn Fn(&Root) -> Result<(), Problem>| {
            caches.take("id", &mount(Sharing::Shared), &Stop::default(), fill).unwrap()
        };
        let quicker = std::cell::RefCell::new(None);
        let slower = take(&|_| {
            let held = take(&|_| Ok(()));
            let inode = fs_err::metadata(&held.directory).unwrap().ino();
            *quicker.borrow_mut() = Some((held, inode));
            Ok(())
        });
        let (held, inode) = quicker.take().unwrap();
        assert_eq!(slower.directory, held.directory);
        assert_eq!(fs_err::metadata(&held.directory).unwrap().ino(), inode, "it is still the first one's");
        // One who is killed leaves this; another one is at it still.
        let name = caches.list().unwrap().remove(0).name().to_owned();
        let [left, at_work] = [format!("other.1{GONE}"), format!("{name}.1{GONE}")];
        for name in [&left, &at_work] {
            fs_err::create_dir(caches.base.join(name)).unwrap();
        }
        caches.sweep().unwrap();
        assert!(!caches.base.join(left).exists() && caches.base.join(&at_work).exists());
        drop((slower, held));
        caches.sweep().unwrap();
        assert!(!caches.base.join(at_work).exists() && caches.list().unwrap().len() == 1);
        let listed = caches.list().unwrap().remove(0);
        assert!(caches.remove(&listed).unwrap() && !caches.remove(&listed).unwrap());
        assert_eq!(fs_err::read_dir(&caches.base).unwrap().count(), 0);
    }

    #[test]
    fn a_cache_is_shared_or_not_and_goes_when_nobody_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let (caches, stop) = (Caches::below(dir.path()), Stop::new());
        assert_eq!(caches.list().unwrap(), []);
        let take = |sharing| caches.take("../../id", &mount(sharing), &stop, &|_| Ok(())).unwrap();
        let (one, two) = (take(Sharing::Shared), take(Sharing::Shared));
        assert_eq!(one.directory, two.directory);
        fs_err::write(one.directory.join("file"), "kept").unwrap();
        let listed = caches.list().unwrap();
        assert_eq!((listed.len(), listed[0].id.as_str()), (1, "../../id"));
        // Alone means alone.
        stop.set();
        assert!(matches!(
            caches.take("../../id", &mount(Sharing::Locked), &stop, &|_| Ok(())),
            Err(Problem::Cancelled)
        ));
        assert!(caches.is_used(&listed[0]) && !caches.remove(&listed[0]).unwrap());
        drop((one, two));
        assert!(!caches.is_used(&listed[0]));
        let alone = take(Sharing::Locked);
        assert_eq!(fs_err::read_to_string(alone.directory.join("file")).unwrap(), "kept");
        let private = [take(Sharing::Private), take(Sharing::Private)];
        assert!(private[0].directory != private[1].directory && private[0].directory != alone.directory);
        drop((alone, private));
        let again = take(Sharing::Private);
        assert_eq!(caches.list().unwrap().len(), 3);
        assert_eq!(caches.list().unwrap().iter().filter(|cache| caches.remove(cache).unwrap()).count(), 2);
        drop(again);
        caches
            .replace("../../id", &Stop::new(), &|root| {
                root.create_dir("new", 0o700).map_err(Problem::io("make", "new"))
            })
            .unwrap();
        let found = caches.find("../../id").unwrap().unwrap();
        assert_eq!(caches.find(&found.name()[..8]).unwrap().as_ref(), Some(&found));
        caches
            .read(&found, &Stop::new(), &mut |root| {
                assert_eq!(root.names("")?, ["new"]);
                Ok(())
            })
            .unwrap();
        let broken = |_: &Root| Err(Problem::Cancelled);
        assert!(caches.replace("../../id", &Stop::new(), &broken).is_err());
        assert!(found.directory.join("new").is_dir() && caches.find("other").unwrap().is_none());
        assert!(caches.list().unwrap().iter().all(|cache| caches.remove(cache).unwrap()));
        assert_eq!(fs_err::read_dir(dir.path().join("build/caches")).unwrap().count(), 0);
    }
}

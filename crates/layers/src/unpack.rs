//! From an untrusted tar to a tree.
//!
//! Nothing is written outside the tree, whatever the archive says: symlinks on the way are followed here, inside it, and a last one is
//! replaced. What an archive may cost is in a [`Budget`].

mod budget;
mod parents;
mod sketch;
mod target;
mod whiteouts;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use shipway_linux::{Attributes, Root};

pub use self::budget::Budget;
pub(crate) use self::parents::is_whiteout;
use self::parents::{Missing, Parent};
pub(crate) use self::sketch::Sketch;
use self::target::Node;
pub(crate) use self::target::{Disk, Target};
use crate::LayerError;
use crate::refusal::Refusal;
use crate::serialise::{device_of, is_of_overlay};
use crate::tar_reader::{Entry, EntryKind, TarReader};

/// How much is read at a time.
pub(crate) const BUFFER: usize = 1 << 17;

/// What `.wh.` names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    Apply,
    Refuse,
    /// They are names as others.
    Keep,
}

/// Unpacks a plain tar (no whiteouts) below `root` and returns the directories that it only implies, parents first.
///
/// Entries may replace what earlier ones made. What is implied has mode 755 and the time 0.
pub fn unpack(root: &Root, archive: &mut dyn Read, budget: Budget) -> Result<Vec<PathBuf>, LayerError> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    Unpacker::new(&mut Disk::new(root), budget, Whiteouts::Refuse).run(&mut archive).map(|unpacked| {
        let below = unpacked.implied.into_iter().filter(|path| !path.as_os_str().is_empty());
        below.collect()
    })
}

/// Like [`unpack`], of files that all belong to one user and group, whatever the archive says.
pub fn unpack_owned(
    root: &Root,
    archive: &mut dyn Read,
    budget: Budget,
    owner: (u32, u32),
) -> Result<(), LayerError> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    let mut disk = Disk::new(root);
    let unpacker = Unpacker { owner: Some(owner), ..Unpacker::new(&mut disk, budget, Whiteouts::Refuse) };
    unpacker.run(&mut archive).map(drop)
}

/// What an archive that lands in files that are there leaves to do.
#[derive(Debug)]
pub struct Added {
    /// Directories that it only implies, parents first.
    pub implied: Vec<PathBuf>,
    /// Hard links to what it does not have.
    pub links: Vec<OpenLink>,
}

/// A hard link to something that the archive does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLink {
    /// Its name.
    pub path: PathBuf,
    /// What it is another name of.
    pub target: PathBuf,
    /// Owner and group that both get.
    pub owner: (u32, u32),
    /// And permission bits.
    pub mode: u32,
    /// And time.
    pub mtime: (i64, u32),
}

/// Like [`unpack`], of an archive whose files are then laid over others. Compat: Docker's ADD: sparse files are taken, `a/../b` is `b`, records
/// for the whole archive mean nothing, and hard links may be to files that are there.
pub fn unpack_added(root: &Root, archive: &mut dyn Read, budget: Budget) -> Result<Added, LayerError> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    let mut disk = Disk::new(root);
    let unpacker = Unpacker { lenient: true, ..Unpacker::new(&mut disk, budget, Whiteouts::Refuse) };
    let unpacked = unpacker.run(&mut archive)?;
    let implied = unpacked.implied.into_iter().filter(|path| !path.as_os_str().is_empty());
    Ok(Added { implied: implied.collect(), links: unpacked.links })
}

/// Like [`unpack`], of files that are no layer: a name that starts with `.wh.` is one as others.
pub fn unpack_files(root: &Root, archive: &mut dyn Read, budget: Budget) -> Result<(), LayerError> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    Unpacker::new(&mut Disk::new(root), budget, Whiteouts::Keep).run(&mut archive).map(drop)
}

/// What came out of an archive beside the tree.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Directories that were only implied, parents first; the root is empty.
    pub(crate) implied: Vec<PathBuf>,
    /// Hard links to what must be in a lower layer.
    pub(crate) links: Vec<OpenLink>,
    /// Directories that got whiteouts.
    pub(crate) hiding: Vec<PathBuf>,
    /// Nothing of lower layers is seen at all.
    pub(crate) empties_root: bool,
    /// What the archive did not use.
    pub(crate) budget: Budget,
}

/// One archive on its way.
pub(crate) struct Unpacker<'a> {
    tree: &'a mut dyn Target,
    budget: Budget,
    whiteouts: Whiteouts,
    /// The directory that the last entry went into: the next one often goes there too.
    parent: Option<Parent>,
    implied: BTreeSet<PathBuf>,
    /// Times of directories, set last: making an entry in one changes it.
    directories: BTreeMap<PathBuf, (i64, u32)>,
    links: BTreeMap<PathBuf, OpenLink>,
    hiding: BTreeSet<PathBuf>,
    empties_root: bool,
    /// As an archive that is added to files, see [`unpack_added`].
    lenient: bool,
    /// Whose everything becomes, if that is not for the archive to say.
    owner: Option<(u32, u32)>,
}

impl<'a> Unpacker<'a> {
    pub(crate) fn new(tree: &'a mut dyn Target, budget: Budget, whiteouts: Whiteouts) -> Self {
        Self {
            tree,
            budget,
            whiteouts,
            parent: None,
            implied: BTreeSet::from([PathBuf::new()]),
            directories: BTreeMap::new(),
            links: BTreeMap::new(),
            hiding: BTreeSet::new(),
            empties_root: false,
            lenient: false,
            owner: None,
        }
    }

    /// Unpacks everything up to the end mark.
    pub(crate) fn run(mut self, archive: &mut dyn BufRead) -> Result<Unpacked, LayerError> {
        let mut archive = TarReader::new(archive).lenient(self.lenient);
        loop {
            let entry = archive.next().map_err(|refusal| refusal.at(&archive.place()))?;
            let Some(mut entry) = entry else { break };
            if let Some(owner) = self.owner {
                (entry.uid, entry.gid) = owner;
            }
            let taken = self.entry(&entry, &mut archive);
            taken.map_err(|refusal| refusal.of(&String::from_utf8_lossy(&entry.path)))?;
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Unpacked, LayerError> {
        if self.empties_root {
            self.hide_all().map_err(|refusal| refusal.of("."))?;
        }
        for (path, mtime) in self.directories.iter().rev() {
            self.tree.set_mtime(path, *mtime).map_err(LayerError::io("set the time of", path))?;
        }
        Ok(Unpacked {
            implied: self.implied.into_iter().collect(),
            links: self.links.into_values().collect(),
            hiding: self.hiding.into_iter().collect(),
            empties_root: self.empties_root,
            budget: self.budget,
        })
    }

    /// An opaque root: every directory in it hides what lies below; what is not in it is left to the chain.
    fn hide_all(&mut self) -> Result<(), Refusal> {
        for (name, metadata) in self.tree.top()? {
            if metadata.is_directory() {
                self.hide_below(Path::new(&name))?;
                self.implied.remove(Path::new(&name));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, archive: &mut TarReader<'_>) -> Result<(), Refusal> {
        self.budget.take_entry(entry.size)?;
        let path = self.inner_path(&entry.path).ok_or(Refusal::Reason("the path leads out of the layer"))?;
        self.budget.check_path(&path)?;
        let Some(name) = path.file_name() else {
            return if entry.kind == EntryKind::Directory {
                self.implied.remove(&path);
                self.describe_directory(&path, entry)
            } else {
                Err(Refusal::Reason("the root is a directory"))
            };
        };
        if self.whiteout(entry, &path)? {
            return Ok(());
        }
        self.open_parent(path.parent().unwrap_or(Path::new("")))?;
        let path = self.parent_path().join(name);
        let was_link = !self.links.is_empty() && self.links.remove(&path).is_some();
        match entry.kind {
            EntryKind::Directory => {
                self.directory(&path, entry)?;
                // A link in between replaced what lies below.
                if was_link { self.hide_below(&path) } else { Ok(()) }
            }
            EntryKind::File => {
                let attributes = attributes(entry);
                self.make(&path, |tree| tree.file(&path, archive, &attributes, entry.mtime))
            }
            EntryKind::Link => self.link(&path, entry),
            EntryKind::Symlink => {
                let target = Path::new(std::ffi::OsStr::from_bytes(&entry.link));
                self.node(&path, entry, Node::Symlink(target))
            }
            EntryKind::Fifo => self.node(&path, entry, Node::Special(0o010_000 | entry.mode & 0o7777, 0)),
            EntryKind::Character | EntryKind::Block => self.device(&path, entry),
        }
    }

    fn device(&mut self, path: &Path, entry: &Entry) -> Result<(), Refusal> {
        let (major, minor) = entry.device;
        let number = device_of((major.into(), minor.into()));
        let kind = if entry.kind == EntryKind::Character { 0o020_000 } else { 0o060_000 };
        if number == 0 && entry.kind == EntryKind::Character {
            return Err(Refusal::Reason("a device 0:0 would hide what lies below"));
        }
        self.node(path, entry, Node::Special(kind | entry.mode & 0o7777, number))
    }

    /// Makes a symlink, device or FIFO. Extended attributes of those are not kept.
    fn node(&mut self, path: &Path, entry: &Entry, node: Node<'_>) -> Result<(), Refusal> {
        self.make(path, |tree| Ok(tree.node(path, node, (entry.uid, entry.gid), entry.mtime)?))
    }

    fn directory(&mut self, path: &Path, entry: &Entry) -> Result<(), Refusal> {
        match self.tree.directory(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !self.tree.metadata(path)?.is_some_and(|found| found.is_directory()) {
                    self.clear(path)?;
                    self.tree.directory(path)?;
                    // A whiteout, or a file in between, replaced what lies below.
                    self.hide_below(path)?;
                }
            }
            other => other?,
        }
        self.implied.remove(path);
        self.describe_directory(path, entry)
    }

    /// Gives a directory, which is there, its owner, mode and attributes.
    fn describe_directory(&mut self, path: &Path, entry: &Entry) -> Result<(), Refusal> {
        self.tree.describe(path, &attributes(entry))?;
        self.remember_directory(path, entry.mtime)
    }

    fn link(&mut self, path: &Path, entry: &Entry) -> Result<(), Refusal> {
        let target = self.inner_path(&entry.link).filter(|target| !target.as_os_str().is_empty());
        let target = target.ok_or(Refusal::Reason("a hard link that leads out of the layer"))?;
        let name = target.file_name().unwrap_or_default();
        let parent = self.follow(target.parent().unwrap_or(Path::new("")), Missing::Leave)?;
        let target = parent.join(name);
        if target.components().any(|part| part == Component::ParentDir) {
            return Err(Refusal::Reason("a hard link through a symlink that leads nowhere"));
        }
        if target == path {
            return Err(Refusal::Reason("a hard link to itself"));
        }
        // A file of a lower layer that is hidden can still get another name.
        match self.tree.metadata(&target)?.filter(|found| !is_whiteout(found)) {
            Some(found) if found.is_directory() => Err(Refusal::Reason("a hard link to a directory")),
            Some(_) => self.make(path, |tree| Ok(tree.hard_link(&target, path)?)),
            None if self.whiteouts == Whiteouts::Refuse && !self.lenient => {
                Err(Refusal::Reason("a hard link to a file that is not in the same archive"))
            }
            None => {
                let target = self.links.get(&target).map_or(target, |link| link.target.clone());
                self.clear(path)?;
                self.budget.take_path(path)?;
                self.budget.take_path(&target)?;
                let Entry { uid, gid, mode, mtime, .. } = *entry;
                let link = OpenLink { path: path.to_owned(), target, owner: (uid, gid), mode, mtime };
                self.links.insert(path.to_owned(), link);
                Ok(())
            }
        }
    }

    /// Makes something that is no directory, in place of what is there.
    fn make(
        &mut self,
        path: &Path,
        mut make: impl FnMut(&mut dyn Target) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match make(self.tree) {
            Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.clear(path)?;
                make(self.tree)
            }
            other => other,
        }
    }

    /// Removes what is at a path. Later entries win. Compat: Docker removes a directory with everything in it, too.
    fn clear(&mut self, path: &Path) -> Result<(), Refusal> {
        let Some(found) = self.tree.metadata(path)? else { return Ok(()) };
        // The way that entries named the open directory by may have gone through it.
        if let Some(parent) = &mut self.parent {
            parent.named.clone_from(&parent.path);
        }
        self.tree.remove(path)?;
        if !found.is_directory() {
            return Ok(());
        }
        fn below<V>(map: &BTreeMap<PathBuf, V>, path: &Path) -> Vec<PathBuf> {
            let after = map.range(path.to_owned()..).map(|(known, _)| known);
            after.take_while(|known| known.starts_with(path)).cloned().collect()
        }
        for known in below(&self.directories, path) {
            self.directories.remove(&known);
            self.implied.remove(&known);
            self.hiding.remove(&known);
        }
        for known in below(&self.links, path) {
            self.links.remove(&known);
        }
        Ok(())
    }

    /// Returns a path without `.` and leading `/`, or `None` if it leads out. One of a layer has no `..`; else `a/../b` is `b`, whatever `a` is.
    fn inner_path(&self, path: &[u8]) -> Option<PathBuf> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(part) => clean.push(part),
                Component::CurDir | Component::RootDir => {}
                // Above the root is the root.
                Component::ParentDir if self.lenient && (clean.pop() || path.is_absolute()) => {}
                Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        Some(clean)
    }

    /// Returns where the directory that is open is.
    fn parent_path(&self) -> PathBuf {
        self.parent.as_ref().map(|parent| parent.path.clone()).unwrap_or_default()
    }

    fn remember_directory(&mut self, path: &Path, mtime: (i64, u32)) -> Result<(), Refusal> {
        if self.directories.insert(path.to_owned(), mtime).is_none() {
            self.budget.take_path(path)?;
        }
        Ok(())
    }
}

/// What a file is given; the overlay's own attributes are not the image's.
fn attributes(entry: &Entry) -> Attributes {
    let xattrs = entry.xattrs.iter().filter(|(name, _)| !is_of_overlay(name)).cloned().collect();
    Attributes { uid: entry.uid, gid: entry.gid, mode: entry.mode, xattrs }
}

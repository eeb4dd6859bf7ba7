//! Mending a chain of layers: a small layer that goes on top of the one that needs it.
//!
//! The changes are made through a mount of the chain, so that the kernel writes down what changed, as it does for a container:
//! parents with their metadata, whiteouts, both names of a link.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use shipway_linux::{Attributes, Kind, Metadata, Root, set_modified};

use crate::chain::Repair;
use crate::refusal::Refusal;
use crate::serialise::kept;
use crate::stack::is_opaque;
use crate::unpack::is_whiteout;
use crate::walk::walk;

/// So many symlinks may be on the way. Compat: Linux, `path_resolution(7)`.
const LINKS: usize = 40;

/// What a layer is mended with.
#[derive(Clone, Copy)]
pub(crate) struct Mounts<'a> {
    /// What the layer lies on.
    pub(crate) below: &'a Root,
    /// With the layer on top, as it is.
    pub(crate) before: &'a Root,
    /// The same, to be changed.
    pub(crate) after: &'a Root,
}

/// Where a symlink leads.
enum Way {
    To(PathBuf),
    /// To something that is no directory and that the layer itself has put there later: what went through is gone.
    Cut,
    /// To something else. Others fail here; the directory in place of the symlink does no harm.
    Blocked,
}

/// One layer on what it lies on.
pub(crate) struct Mending<'a> {
    /// The layer by itself.
    pub(crate) tree: &'a Root,
    /// Its implied directories.
    pub(crate) implied: HashSet<&'a Path>,
    pub(crate) mounts: Mounts<'a>,
    /// First new name of each file that got one, by inode number before.
    named: HashMap<u64, PathBuf>,
    /// Copies of files below that the layer itself has replaced, by inode number below.
    copies: HashMap<u64, PathBuf>,
    /// Directories that will be symlinks again, and where those lead.
    symlinks: HashMap<PathBuf, PathBuf>,
    /// Whether one of those files has more names.
    has_more: bool,
    /// Times that directories had before something in them was changed.
    times: BTreeMap<PathBuf, (i64, u32)>,
}

impl<'a> Mending<'a> {
    pub(crate) fn new(tree: &'a Root, implied: HashSet<&'a Path>, mounts: Mounts<'a>) -> Self {
        Self {
            tree,
            implied,
            mounts,
            named: HashMap::new(),
            copies: HashMap::new(),
            symlinks: HashMap::new(),
            has_more: false,
            times: BTreeMap::new(),
        }
    }

    /// Does everything that was planned, but what is hidden, which needs no mount.
    pub(crate) fn run(mut self, repairs: &[Repair]) -> Result<(), (PathBuf, Refusal)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, Refusal::Io(error))
        };
        self.keep_root().map_err(at(Path::new(".")))?;
        self.symlinks.extend(repairs.iter().filter_map(|repair| match repair {
            Repair::Follow { path, target, .. } => Some((path.clone(), target.clone())),
            _ => None,
        }));
        for repair in repairs {
            let (path, done) = match repair {
                Repair::Hide(_) => continue,
                Repair::Restore { path, attributes, mtime } => {
                    (path, self.describe(path, attributes, *mtime).map_err(Refusal::Io))
                }
                Repair::Cover(path) => (path, self.cover(path).map_err(Refusal::Io)),
                Repair::Follow { path, target, owner, mtime } => {
                    (path, self.follow(path, target, (*owner, *mtime)))
                }
                Repair::Link { name, target } => (name, self.link(name, target)),
            };
            done.map_err(|refusal| (path.clone(), refusal))?;
        }
        self.keep_groups().and_then(|()| self.restore_times()).map_err(at(Path::new(".")))
    }

    /// The topmost root is the one that is seen.
    fn keep_root(&mut self) -> io::Result<()> {
        let root = Path::new("");
        let Some(metadata) = self.mounts.before.metadata(root)? else { return Ok(()) };
        let attributes = attributes(&metadata, kept(self.mounts.before.xattrs(root)?));
        self.describe(root, &attributes, metadata.mtime)
    }

    /// Gives a directory a second one that it is merged with.
    fn cover(&mut self, path: &Path) -> io::Result<()> {
        let Some(metadata) = self.tree.metadata(path)? else { return Ok(()) };
        let attributes = attributes(&metadata, kept(self.tree.xattrs(path)?));
        self.describe(path, &attributes, metadata.mtime)
    }

    fn describe(&mut self, path: &Path, attributes: &Attributes, mtime: (i64, u32)) -> io::Result<()> {
        let opened = self.mounts.after.open_dir(path)?;
        attributes.apply(&opened)?;
        set_modified(&opened, mtime)?;
        self.times.insert(path.to_owned(), mtime);
        Ok(())
    }

    /// Puts a symlink back and what the layer has in its place to where it leads.
    fn follow(
        &mut self,
        path: &Path,
        target: &Path,
        (owner, mtime): ((u32, u32), (i64, u32)),
    ) -> Result<(), Refusal> {
        let start = path.parent().unwrap_or(Path::new(""));
        match self.resolve(start, target, path)? {
            Way::To(to) => {
                let itself = path.join(path.file_name().unwrap_or_default());
                if path.parent() == Some(&to) && self.tree.metadata(itself)?.is_some() {
                    return Err(Refusal::Reason("a symlink that is replaced through itself"));
                }
                self.merge(path, &to)?;
            }
            Way::Cut => {}
            Way::Blocked => return Ok(()),
        }
        self.touch(path)?;
        self.mounts.after.remove_all(path)?;
        self.mounts.after.symlink(target, path)?;
        self.mounts.after.set_owner(path, owner.0, owner.1)?;
        self.mounts.after.set_mtime(path, mtime)?;
        Ok(())
    }

    /// Finds the directory that a symlink in `start` leads to and makes what is missing of it. `replaced` will be the symlink itself.
    fn resolve(&mut self, start: &Path, target: &Path, replaced: &Path) -> io::Result<Way> {
        let mut found = if target.is_absolute() { PathBuf::new() } else { start.to_owned() };
        let mut rest: VecDeque<OsString> = names_of(target).collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                found.pop();
                continue;
            }
            let next = found.join(&name);
            if next == replaced {
                return Ok(Way::Blocked);
            }
            match self.mounts.after.metadata(&next)? {
                None => {
                    self.touch(&next)?;
                    self.mounts.after.create_dir(&next, 0o755)?;
                    self.times.insert(next.clone(), (0, 0));
                }
                Some(there) if there.is_directory() && !self.symlinks.contains_key(&next) => {}
                Some(there) if there.kind != Kind::File && there.kind != Kind::Special && links < LINKS => {
                    links += 1;
                    let target = match self.symlinks.get(&next) {
                        Some(target) => target.clone(),
                        None => self.mounts.after.read_link(&next)?,
                    };
                    if target.is_absolute() {
                        found = PathBuf::new();
                    }
                    let names: Vec<_> = names_of(&target).collect();
                    names.into_iter().rev().for_each(|name| rest.push_front(name));
                    continue;
                }
                Some(_) if self.tree.metadata(&next)?.is_some() => return Ok(Way::Cut),
                Some(_) => return Ok(Way::Blocked),
            }
            found = next;
        }
        Ok(Way::To(found))
    }

    /// Moves what the layer has in one directory into another, as if its archive had named it there.
    fn merge(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if is_opaque(self.tree, from)? {
            for name in self.mounts.after.names(to)? {
                self.hide(&to.join(name))?;
            }
        }
        for (name, metadata) in self.tree.entries(from)? {
            let (from, to) = (from.join(&name), to.join(&name));
            if is_whiteout(&metadata) {
                self.hide(&to)?;
            } else if metadata.is_directory() {
                self.merge_directory(&from, &to, &metadata)?;
            } else {
                self.touch(&to)?;
                self.mounts.after.remove_all(&to)?;
                let first = self.named.get(&metadata.inode).unwrap_or(&from);
                self.mounts.after.hard_link(first, &to)?;
                self.note_name(&metadata, &to);
            }
        }
        Ok(())
    }

    fn merge_directory(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        let implied = self.implied.contains(from);
        let there = self.mounts.after.metadata(to)?;
        if let Some(Kind::Symlink) = there.as_ref().filter(|_| implied).map(|there| there.kind) {
            let target = self.mounts.after.read_link(to)?;
            let start = to.parent().unwrap_or(Path::new("")).to_owned();
            match self.resolve(&start, &target, from)? {
                Way::To(to) => return self.merge(from, &to),
                Way::Cut => return Ok(()),
                Way::Blocked => {}
            }
        }
        let is_there = there.is_some_and(|there| there.is_directory());
        if !is_there {
            self.touch(to)?;
            self.mounts.after.remove_all(to)?;
            self.mounts.after.create_dir(to, 0o755)?;
        }
        if !is_there || !implied {
            let attributes = attributes(metadata, kept(self.tree.xattrs(from)?));
            self.describe(to, &attributes, metadata.mtime)?;
        }
        self.merge(from, to)
    }

    /// Removes what lower layers have at a path; what the layer itself has there stays.
    fn hide(&mut self, path: &Path) -> io::Result<()> {
        if self.tree.metadata(path)?.is_some_and(|own| !is_whiteout(&own)) {
            return Ok(());
        }
        self.touch(path)?;
        self.mounts.after.remove_all(path)
    }

    fn link(&mut self, name: &Path, target: &Path) -> Result<(), Refusal> {
        let file = |found: &Metadata| !found.is_directory() && !is_whiteout(found);
        let there = self.mounts.after.metadata(target)?.filter(file);
        // Through a symlink below it can be a file of the layer itself, too.
        let found = self.mounts.below.metadata(target)?.filter(file).or_else(|| there.clone());
        let found = found.ok_or(Refusal::Reason("a hard link to a file that no layer has"))?;
        let there = there.map(|there| there.inode);
        let target = match (self.copies.get(&found.inode), self.named.get(&found.inode)) {
            (Some(copy), _) => copy.clone(),
            (None, Some(named)) => named.clone(),
            _ if there == Some(found.inode) => target.to_owned(),
            _ => return self.copy(name, target, &found),
        };
        self.touch(name)?;
        self.mounts.after.remove_all(name)?;
        self.mounts.after.hard_link(&target, name)?;
        self.note_name(&found, &target);
        Ok(())
    }

    /// Gives a name to a file below that the layer has replaced after it had linked it.
    fn copy(&mut self, name: &Path, target: &Path, found: &Metadata) -> Result<(), Refusal> {
        let Mounts { below, after, .. } = self.mounts;
        if found.kind != Kind::File {
            return Err(Refusal::Reason("a hard link to something special that is replaced later"));
        }
        self.touch(name)?;
        after.remove_all(name)?;
        let mut copy = after.create_private(name)?;
        io::copy(&mut below.open_file(target)?, &mut copy)?;
        attributes(found, kept(below.xattrs(target)?)).apply(&copy)?;
        set_modified(&copy, found.mtime)?;
        self.note_name(found, name);
        self.copies.insert(found.inode, name.to_owned());
        Ok(())
    }

    fn note_name(&mut self, before: &Metadata, name: &Path) {
        self.has_more |= before.links > 1;
        self.named.entry(before.inode).or_insert_with(|| name.to_owned());
    }

    /// A file that gets another name is copied up, away from its other names: they become names of the copy.
    fn keep_groups(&mut self) -> io::Result<()> {
        if !self.has_more {
            return Ok(());
        }
        let mut others = Vec::new();
        walk(self.mounts.before, &mut |path, metadata| {
            if !metadata.is_directory()
                && metadata.links > 1
                && let Some(name) = self.named.get(&metadata.inode).filter(|name| *name != path)
            {
                others.push((path.to_owned(), name.clone(), metadata.inode));
            }
            Ok(())
        })?;
        for (path, name, inode) in others {
            // Something else may be there by now, or the file has its new name there already.
            let now =
                self.mounts.after.metadata(&path)?.filter(|now| !now.is_directory()).map(|now| now.inode);
            let mended = self.mounts.after.metadata(&name)?.map(|now| now.inode);
            if now == Some(inode) && now != mended {
                self.touch(&path)?;
                self.mounts.after.remove(&path)?;
                self.mounts.after.hard_link(&name, &path)?;
            }
        }
        Ok(())
    }

    /// Remembers the time of the directory that a path is in, before it changes.
    fn touch(&mut self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if !self.times.contains_key(parent)
            && let Some(metadata) = self.mounts.after.metadata(parent)?
        {
            self.times.insert(parent.to_owned(), metadata.mtime);
        }
        Ok(())
    }

    fn restore_times(&self) -> io::Result<()> {
        for (path, mtime) in self.times.iter().rev() {
            if self.mounts.after.metadata(path)?.is_some_and(|there| there.is_directory()) {
                self.mounts.after.set_mtime(path, *mtime)?;
            }
        }
        Ok(())
    }
}

fn attributes(metadata: &Metadata, xattrs: Vec<(String, Vec<u8>)>) -> Attributes {
    Attributes { uid: metadata.uid, gid: metadata.gid, mode: metadata.mode & 0o7777, xattrs }
}

/// The names of a path, `..` among them.
fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    })
}

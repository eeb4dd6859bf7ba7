//! Writing copied files into an image's root.
//!
//! Compat: BuildKit's copy: a directory gives its contents, what is made for them is root's with mode 755, links in the
//! destination are followed inside the root. Beyond it: a directory goes through a link to a directory (COPY over
//! /lib64), and a file and a directory can replace each other.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::{FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shipway_layers::OpenLink;
use shipway_linux::{EarlyFile, Kind, Metadata, Parents, Root, xattrs_of};

use super::gather::{kept, kept_xattrs};
use super::{Entry, Filling, Item, ModeChange, Tree, resolve_in};
use crate::Problem;
use crate::request::Stop;

/// Where an entry goes and whose it becomes.
#[derive(Clone, Copy, Debug)]
struct Target<'p> {
    to: &'p Path,
    owner: (u32, u32),
    mode: u32,
}

/// Writes into one root.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) root: &'a Root,
    /// `--chown`
    pub(crate) owner: Option<(u32, u32)>,
    /// `--chmod`
    pub(crate) mode: Option<ModeChange>,
    pub(crate) stop: &'a Stop,
    /// Names of files that the item at hand has brought, by device and inode: its hard links stay links.
    pub(crate) links: HashMap<(u64, u64), PathBuf>,
    /// Where the entry at hand goes.
    parents: Parents<'a>,
    /// The root is nothing, and what is written will lie on something else.
    pub(crate) apart: Option<Apart>,
    /// What is written comes out of an archive: directories that this only implies stay as they are.
    pub(crate) implied: Option<BTreeSet<PathBuf>>,
}

/// What a copy onto nothing notes of the directories that it makes on the way.
#[derive(Debug)]
pub(crate) struct Apart {
    /// This one and those in it are its own; none if not said.
    pub(crate) missing: Option<PathBuf>,
    /// Those that are there only for what is in them.
    pub(crate) implied: RefCell<Vec<PathBuf>>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        root: &'a Root,
        owner: Option<(u32, u32)>,
        mode: Option<ModeChange>,
        stop: &'a Stop,
    ) -> Self {
        let parents = Parents::new(root);
        Self { root, owner, mode, stop, links: HashMap::new(), parents, apart: None, implied: None }
    }

    /// Makes a directory and those above it; returns where it is with links followed, and whether anything was made.
    pub(crate) fn ensure_directory(&self, path: &Path) -> Result<(PathBuf, bool), Problem> {
        let resolved = resolve_in(self.root, path).map_err(Problem::io("find", path))?;
        if let Some(found) = self.root.metadata(&resolved).map_err(Problem::io("find", path))?
            && !found.is_directory()
        {
            return Err(Problem::invalid(format!(
                "`{}` is a file in the image, not a directory",
                path.display()
            )));
        }
        let mode = self.mode.as_ref().and_then(ModeChange::octal).unwrap_or(0o755);
        let of_others = if self.apart.is_some() { 0o755 } else { mode };
        let made = self.root.create_dir_all(&resolved, of_others).map_err(Problem::io("make", path))?;
        for directory in &made {
            if let Some(apart) = &self.apart {
                if !apart.missing.as_ref().is_some_and(|missing| directory.starts_with(missing)) {
                    apart.implied.borrow_mut().push(directory.clone());
                    continue;
                }
                self.root.set_mode(directory, mode).map_err(Problem::io("change", directory))?;
            }
            if let Some((uid, gid)) = self.owner {
                self.root.set_owner(directory, uid, gid).map_err(Problem::io("own", directory))?;
            }
        }
        Ok((resolved, !made.is_empty()))
    }

    /// Returns whether a destination is there and is a directory, links followed.
    pub(crate) fn is_directory(&self, path: &Path) -> Result<bool, Problem> {
        let resolved = resolve_in(self.root, path).map_err(Problem::io("find", path))?;
        let found = self.root.metadata(&resolved).map_err(Problem::io("find", path))?;
        Ok(found.is_some_and(|found| found.is_directory()))
    }

    /// Makes the directory that a directory is copied to, if it is not there; returns what then fills it.
    pub(crate) fn frame<'f>(
        &self,
        (tree, item): (&'f Tree<'f>, &'f Item),
        destination: &str,
        stop: &'f Stop,
    ) -> Result<Option<Filling<'f>>, Problem> {
        let path = Path::new(destination);
        let resolved = resolve_in(self.root, path).map_err(Problem::io("find", path))?;
        if self.root.metadata(&resolved).map_err(Problem::io("find", path))?.is_some() {
            return Ok(None);
        }
        let (top, _) = self.ensure_directory(path)?;
        if let Some(first) = item.entries.first().filter(|_| !item.base.as_os_str().is_empty()) {
            self.root.set_mtime(&top, first.metadata.mtime).map_err(Problem::io("date", &top))?;
        }
        let how = (self.owner, self.mode.clone());
        Ok(Some(Filling::new((tree, item), &top, how, stop)))
    }

    /// Writes one item; a destination with a slash at the end is a directory.
    pub(crate) fn item(&mut self, tree: &Tree<'_>, item: &Item, destination: &str) -> Result<(), Problem> {
        let path = Path::new(destination);
        // Compat: BuildKit, files that were named one by one are not one file afterwards.
        self.links.clear();
        self.parents.forget();
        if let Some(kept) = &item.kept {
            let (top, _) = self.ensure_directory(path)?;
            for (below, at, entry) in &kept.parents {
                let to = top.join(below);
                if !self.is_directory(&to)? {
                    self.entry(tree, at, entry, &to)?;
                }
            }
            return self.entries(tree, item, &top.join(&kept.path));
        }
        if item.is_directory() {
            let (top, _) = self.ensure_directory(path)?;
            return self.entries(tree, item, &top);
        }
        let target = self.file_target(destination, &item.name)?;
        self.entries(tree, item, &target)
    }

    /// Writes an inline file.
    pub(crate) fn inline(&mut self, name: &str, content: &[u8], destination: &str) -> Result<(), Problem> {
        let target = self.file_target(destination, Path::new(name))?;
        self.root.remove_all(&target).map_err(Problem::io("replace", &target))?;
        let mode = self.mode.as_ref().map_or(0o644, |mode| mode.apply(0o644, false));
        let mut file = self.root.create_file(&target, 0o600).map_err(Problem::io("write", &target))?;
        std::io::Write::write_all(&mut file, content).map_err(Problem::io("write", &target))?;
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        finish_file(&file, (uid, gid), mode, None).map_err(Problem::io("write", &target))
    }

    /// Returns where a file goes: into the destination if that is a directory, else under its name.
    fn file_target(&self, destination: &str, name: &Path) -> Result<PathBuf, Problem> {
        let path = Path::new(destination);
        if destination.ends_with('/') || self.is_directory(path)? {
            let (directory, _) = self.ensure_directory(path)?;
            return Ok(directory.join(name));
        }
        let resolved = resolve_in(self.root, path).map_err(Problem::io("find", path))?;
        if let Some(parent) = resolved.parent() {
            self.ensure_directory(parent)?;
        }
        Ok(resolved)
    }

    fn entries(&mut self, tree: &Tree<'_>, item: &Item, target: &Path) -> Result<(), Problem> {
        // Directories get their times after what is in them.
        let mut directories = Vec::new();
        // Where directories went that are links in the destination.
        let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
        for entry in &item.entries {
            if self.stop.is_set() {
                return Err(Problem::Cancelled);
            }
            let is_top = entry.path.as_os_str().is_empty();
            // With `--parents` too, where nothing of the path is kept: `dir/./`.
            let is_contents = item.kept.as_ref().is_none_or(|kept| kept.path.as_os_str().is_empty());
            if is_top && entry.metadata.is_directory() && is_contents {
                // Compat: BuildKit, also one that was there before gets the time of the one whose contents it takes. The top of
                // a context or of an image has none that anybody gave it.
                if !target.as_os_str().is_empty() && !item.base.as_os_str().is_empty() {
                    directories.push((target.to_owned(), entry.metadata.mtime));
                }
                continue;
            }
            let mut to = if is_top { target.to_owned() } else { target.join(&entry.path) };
            if let Some((from, instead)) = moved.iter().rev().find(|(from, _)| to.starts_with(from)) {
                to = instead.join(to.strip_prefix(from).expect("it starts with it"));
            }
            if self.is_settled(entry, &to, &mut moved)? {
                continue;
            }
            let from = if is_top { item.base.clone() } else { item.base.join(&entry.path) };
            self.entry(tree, &from, entry, &to)?;
            if entry.metadata.is_directory() {
                directories.push((to, entry.metadata.mtime));
            }
        }
        for (directory, mtime) in directories.iter().rev() {
            self.root.set_mtime(directory, *mtime).map_err(Problem::io("date", directory))?;
        }
        Ok(())
    }

    /// Deals with a directory that needs no writing: one that is a link to a directory there, and one that an archive only implies.
    fn is_settled(
        &self,
        entry: &Entry,
        to: &Path,
        moved: &mut Vec<(PathBuf, PathBuf)>,
    ) -> Result<bool, Problem> {
        if !entry.metadata.is_directory() {
            return Ok(false);
        }
        let is_implied = self.implied.as_ref().map(|implied| implied.contains(&entry.path));
        match self.root.metadata(to).map_err(Problem::io("find", to))? {
            // Compat: Docker, a directory of an archive replaces a link.
            Some(there)
                if there.kind == Kind::Symlink && is_implied != Some(false) && self.is_directory(to)? =>
            {
                let instead = resolve_in(self.root, to).map_err(Problem::io("find", to))?;
                moved.push((to.to_owned(), instead));
                Ok(true)
            }
            Some(there) => Ok(is_implied == Some(true) && there.is_directory()),
            None if is_implied == Some(true) => self.imply(to).map(|()| true),
            None => Ok(false),
        }
    }

    /// Makes a directory that an archive only implies, and those above it. Compat: Docker, they are root's, also with `--chown`.
    fn imply(&self, path: &Path) -> Result<(), Problem> {
        let made = self.root.create_dir_all(path, 0o755).map_err(Problem::io("make", path))?;
        for directory in made {
            self.root.set_owner(&directory, 0, 0).map_err(Problem::io("own", &directory))?;
            if let Some(apart) = &self.apart
                && !apart.missing.as_ref().is_some_and(|missing| directory.starts_with(missing))
            {
                apart.implied.borrow_mut().push(directory);
            }
        }
        Ok(())
    }

    /// Gives a file that is there another name, both below a destination.
    pub(crate) fn link(&mut self, link: &OpenLink, destination: &str) -> Result<(), Problem> {
        let OpenLink { path, target, mtime, .. } = link;
        let missing = || {
            let (path, target) = (path.display(), target.display());
            Problem::invalid(format!(
                "the archive has `{path}` as another name of `{target}`, which is neither in it nor below `{destination}`"
            ))
        };
        let (top, _) = self.ensure_directory(Path::new(destination))?;
        let resolve = |path: &Path| {
            let parent = top.join(path.parent().unwrap_or(Path::new("")));
            let parent = resolve_in(self.root, &parent).map_err(Problem::io("find", path))?;
            Ok::<_, Problem>((parent.join(path.file_name().unwrap_or_default()), parent))
        };
        let (target, _) = resolve(target)?;
        let there = self.root.metadata(&target).map_err(Problem::io("find", &target))?;
        let there = there.filter(|there| !there.is_directory()).ok_or_else(missing)?;
        let (to, parent) = resolve(path)?;
        self.imply(&parent)?;
        if to != target {
            self.root.remove_all(&to).map_err(Problem::io("replace", &to))?;
            self.root.hard_link(&target, &to).map_err(Problem::io("link", &to))?;
        }
        let (uid, gid) = self.owner.unwrap_or(link.owner);
        self.root.set_owner(&to, uid, gid).map_err(Problem::io("own", &to))?;
        if there.kind != Kind::Symlink {
            self.root.set_mode(&to, link.mode).map_err(Problem::io("change", &to))?;
        }
        self.root.set_mtime(&to, *mtime).map_err(Problem::io("date", &to))
    }

    fn owner_of(&self, tree: &Tree<'_>, metadata: &Metadata) -> (u32, u32) {
        match self.owner {
            Some(owner) => owner,
            None if tree.keep_owner => (metadata.uid, metadata.gid),
            None => (0, 0),
        }
    }

    fn entry(&mut self, tree: &Tree<'_>, from: &Path, entry: &Entry, to: &Path) -> Result<(), Problem> {
        let metadata = &entry.metadata;
        let owner = self.owner_of(tree, metadata);
        let is_directory = metadata.is_directory();
        let mode = metadata.mode & 0o7777;
        let mode = self.mode.as_ref().map_or(mode, |change| change.apply(mode, is_directory));
        let target = Target { to, owner, mode };
        let (parent, name) = self.parents.of(to).map_err(Problem::io("find", to))?;
        let there = parent.metadata(name).map_err(Problem::io("find", to))?;
        match metadata.kind {
            Kind::Directory => return self.directory(tree, from, there.as_ref(), target),
            _ if there.is_some() => parent.remove_all(name).map_err(Problem::io("replace", to))?,
            _ => {}
        }
        let file_id = (metadata.device, metadata.inode);
        if metadata.links > 1
            && let Some(first) = self.links.get(&file_id)
        {
            return self.root.hard_link(first, to).map_err(Problem::io("link", to));
        }
        match metadata.kind {
            Kind::File => write_file(tree, (from, entry), (parent, name), target)?,
            Kind::Symlink => {
                let link = entry.link.as_deref().unwrap_or(Path::new(""));
                parent.symlink(link, name).map_err(Problem::io("link", to))?;
                parent.set_owner(name, owner.0, owner.1).map_err(Problem::io("own", to))?;
                parent.set_mtime(name, metadata.mtime).map_err(Problem::io("date", to))?;
            }
            _ => {
                let node = (metadata.mode & 0o170_000) | mode;
                parent.make_node(name, node, metadata.rdev).map_err(Problem::io("make", to))?;
                parent.set_owner(name, owner.0, owner.1).map_err(Problem::io("own", to))?;
                parent.set_mtime(name, metadata.mtime).map_err(Problem::io("date", to))?;
            }
        }
        if metadata.links > 1 {
            self.links.insert(file_id, to.to_owned());
        }
        Ok(())
    }

    fn directory(
        &self,
        tree: &Tree<'_>,
        from: &Path,
        there: Option<&Metadata>,
        Target { to, owner: (uid, gid), mode }: Target<'_>,
    ) -> Result<(), Problem> {
        match there {
            Some(found) if found.is_directory() => {
                if let Some(apart) = &self.apart {
                    apart.implied.borrow_mut().retain(|implied| implied != to);
                }
                self.root.set_owner(to, uid, gid).map_err(Problem::io("own", to))?;
                self.root.set_mode(to, mode).map_err(Problem::io("change", to))?;
            }
            other => {
                if other.is_some() {
                    self.root.remove(to).map_err(Problem::io("replace", to))?;
                }
                self.root.create_dir(to, mode).map_err(Problem::io("make", to))?;
                // Also for root: below a directory with a set-group-ID bit the group is that directory's.
                self.root.set_owner(to, uid, gid).map_err(Problem::io("own", to))?;
                self.root.set_mode(to, mode).map_err(Problem::io("change", to))?;
            }
        }
        for (name, value) in kept_xattrs(tree, from)? {
            self.root.set_xattr(to, &name, &value).map_err(Problem::io("set attributes of", to))?;
        }
        Ok(())
    }
}

/// Copies a file under a name that is free in `parent`.
fn write_file(
    tree: &Tree<'_>,
    (from, entry): (&Path, &Entry),
    (parent, name): (&Root, &Path),
    Target { to, owner, mode }: Target<'_>,
) -> Result<(), Problem> {
    let source = tree.root.open_file(from).map_err(Problem::io("read", from))?;
    let mut target = EarlyFile::new(parent.create_private(name).map_err(Problem::io("write", to))?);
    target.copy_from(&source).map_err(Problem::io("copy", from))?;
    // The key says what was read before; a file that changed since must not be kept under it.
    let now = source.metadata().map_err(Problem::io("read", from))?;
    let was = &entry.metadata;
    let same = (now.dev(), now.ino(), now.size()) == (was.device, was.inode, was.size)
        && (now.ctime(), now.ctime_nsec()) == (was.ctime.0, i64::from(was.ctime.1));
    if tree.stats.is_some() && !same {
        return Err(Problem::invalid(format!("`{}` changed while the build read it", from.display())));
    }
    finish_file(target.get_ref(), owner, mode, Some(was.mtime)).map_err(Problem::io("write", to))?;
    // Last: a change of owner takes a file's capabilities away.
    for (attribute, value) in kept(xattrs_of(&source).map_err(Problem::io("read", from))?) {
        parent.set_xattr(name, &attribute, &value).map_err(Problem::io("set attributes of", to))?;
    }
    Ok(())
}

/// Owner first: changing it clears set-user-id bits.
fn finish_file(
    file: &std::fs::File,
    (uid, gid): (u32, u32),
    mode: u32,
    mtime: Option<(i64, u32)>,
) -> std::io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (uid, gid) {
        fchown(file, Some(uid), Some(gid))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    if let Some(mtime) = mtime {
        let time = system_time(mtime);
        file.set_times(FileTimes::new().set_modified(time).set_accessed(time))?;
    }
    Ok(())
}

fn system_time((seconds, nanoseconds): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    base.and_then(|base| base.checked_add(Duration::from_nanos(nanoseconds.into()))).unwrap_or(UNIX_EPOCH)
}

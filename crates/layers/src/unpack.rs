//! From an untrusted tar to a tree.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use shipway_linux::Root;

use crate::LayerError;
use crate::serialise::{OPAQUE, device_of};

/// What an archive may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of all files.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Length of a path.
    pub path: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 10_000_000, path: 4096 }
    }
}

/// Whether `.wh.` names mean that something is gone, or are names as others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    Apply,
    Refuse,
}

/// Unpacks a plain tar (no whiteouts) below `root` and returns the bytes of its files.
///
/// Nothing is written outside `root`, whatever the archive says: paths are resolved by the kernel inside it, a last symlink is
/// replaced and never followed. Entries may replace what earlier ones made, except a directory that is not empty.
pub fn unpack(root: &Root, archive: &mut dyn Read, budget: Budget) -> Result<u64, LayerError> {
    Unpacker::new(root, budget, Whiteouts::Refuse).run(archive).map(|(bytes, _implied)| bytes)
}

/// One archive on its way.
pub(crate) struct Unpacker<'a> {
    root: &'a Root,
    left: Budget,
    whiteouts: Whiteouts,
    /// Paths that this archive made: a whiteout hides lower layers only.
    own: HashSet<PathBuf>,
    /// Paths that hold a whiteout now.
    hidden: HashSet<PathBuf>,
    /// Directories that only the names of other entries made so far.
    implied: BTreeSet<PathBuf>,
    /// Times of directories, set last: making an entry in one changes it.
    directories: BTreeMap<PathBuf, i64>,
    bytes: u64,
}

impl<'a> Unpacker<'a> {
    pub(crate) fn new(root: &'a Root, left: Budget, whiteouts: Whiteouts) -> Self {
        Self {
            root,
            left,
            whiteouts,
            own: HashSet::new(),
            hidden: HashSet::new(),
            implied: BTreeSet::from([PathBuf::new()]),
            directories: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Unpacks everything; returns the bytes of the files and the directories that were only implied, parents first.
    pub(crate) fn run(mut self, archive: &mut dyn Read) -> Result<(u64, Vec<PathBuf>), LayerError> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().map_err(LayerError::io("read the archive of", "."))?;
        for entry in entries {
            let mut entry = entry.map_err(LayerError::io("read an entry of the archive for", "."))?;
            self.entry(&mut entry)?;
        }
        for (path, mtime) in self.directories.iter().rev() {
            self.root.set_mtime(path, (*mtime, 0)).map_err(LayerError::io("set the time of", path))?;
        }
        Ok((self.bytes, self.implied.into_iter().collect()))
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), LayerError> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refuse = |reason| LayerError::Archive { entry: name.clone(), reason };
        let path = inner_path(Path::new(std::ffi::OsStr::from_bytes(&entry.path_bytes())))
            .ok_or_else(|| refuse("the path leads out of the layer"))?;
        self.left.entries = self.left.entries.checked_sub(1).ok_or_else(|| refuse("too many entries"))?;
        self.left.bytes =
            self.left.bytes.checked_sub(entry.size()).ok_or_else(|| refuse("too many bytes"))?;
        if path.as_os_str().len() > self.left.path {
            return Err(refuse("the path is too long"));
        }
        if path.as_os_str().is_empty() {
            return if entry.header().entry_type().is_dir() {
                self.place(entry, &path, &name)
            } else {
                Err(refuse("the root is a directory"))
            };
        }
        let file_name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        if let Some(hidden) = file_name.strip_prefix(b".wh.") {
            return match self.whiteouts {
                Whiteouts::Refuse => Err(refuse("a name that starts with .wh. is a whiteout")),
                Whiteouts::Apply => self.whiteout(&path, hidden).map_err(refuse_io(&name)),
            };
        }
        self.place(entry, &path, &name)
    }

    fn whiteout(&mut self, path: &Path, hidden: &[u8]) -> Result<(), Refusal> {
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        self.parents(&parent.join("x"))?;
        match hidden {
            b".wh..opq" => self.root.set_xattr(&parent, OPAQUE, b"y").map_err(Refusal::Io),
            b"" | b"." | b".." => Err(Refusal::Reason("not the name of a whiteout")),
            _ => {
                let target = parent.join(std::ffi::OsStr::from_bytes(hidden));
                if self.own.contains(&target) {
                    // What the layer itself holds stays; of a directory, only what lies below goes.
                    return match self.root.metadata(&target)? {
                        Some(found) if found.is_directory() => {
                            self.root.set_xattr(&target, OPAQUE, b"y").map_err(Refusal::Io)
                        }
                        _ => Ok(()),
                    };
                }
                if self.hidden.insert(target.clone()) {
                    self.root.make_node(&target, 0o020_000, 0)?;
                }
                Ok(())
            }
        }
    }

    fn place(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        path: &Path,
        name: &str,
    ) -> Result<(), LayerError> {
        let header = entry.header().clone();
        let mode = header.mode().map_err(LayerError::io("read the mode of", path))?;
        let owner =
            (|| Ok((header.uid()?, header.gid()?)))().map_err(LayerError::io("read the owner of", path))?;
        let mtime = header.mtime().map_err(LayerError::io("read the time of", path))?;
        let (uid, gid, xattrs) =
            extensions(entry, owner).map_err(LayerError::io("read the attributes of", path))?;
        let done = (|| {
            self.parents(path)?;
            let kind = header.entry_type();
            let is_dir = kind.is_dir();
            let was_hidden = self.hidden.remove(path);
            if !(is_dir && self.is_directory(path)?) {
                self.make(entry, path, mode)?;
            }
            if is_dir {
                self.implied.remove(path);
                if was_hidden {
                    self.root.set_xattr(path, OPAQUE, b"y")?;
                }
            }
            if kind == tar::EntryType::Link {
                return Ok(());
            }
            self.root.set_owner(path, uid, gid)?;
            if !kind.is_symlink() {
                // After the owner: changing it drops set-uid bits and capabilities.
                self.root.set_mode(path, mode)?;
                for (key, value) in &xattrs {
                    self.root.set_xattr(path, key, value)?;
                }
            }
            let mtime = i64::try_from(mtime).unwrap_or(i64::MAX);
            if is_dir {
                self.directories.insert(path.to_owned(), mtime);
            } else {
                self.root.set_mtime(path, (mtime, 0))?;
            }
            Ok(())
        })();
        self.own.insert(path.to_owned());
        done.map_err(refuse_io(name))
    }

    /// Returns whether a directory is there already and only gets new metadata.
    fn is_directory(&self, path: &Path) -> Result<bool, Refusal> {
        Ok(self.root.metadata(path)?.is_some_and(|found| found.is_directory()))
    }

    fn make(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &Path, mode: u32) -> Result<(), Refusal> {
        if let Some(found) = self.root.metadata(path)? {
            if found.is_directory() {
                // Later entries win. Compat: Docker removes the whole directory.
                self.root.remove_all(path)?;
                self.own.retain(|known| !known.starts_with(path));
                self.hidden.retain(|known| !known.starts_with(path));
                self.implied.retain(|known| !known.starts_with(path));
                self.directories.retain(|known, _| !known.starts_with(path));
            } else {
                self.root.remove(path)?;
            }
        }
        let header = entry.header().clone();
        let link = || entry.link_name_bytes().map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(&name)));
        let device =
            || Ok::<_, io::Error>((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)));
        match header.entry_type() {
            tar::EntryType::Directory => self.root.create_dir(path, mode)?,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let mut file = self.root.create_file(path, 0o600)?;
                self.bytes += io::copy(entry, &mut file)?;
            }
            tar::EntryType::Symlink => {
                let target = link().ok_or(Refusal::Reason("a symlink without target"))?;
                self.root.symlink(&target, path)?;
            }
            tar::EntryType::Link => {
                let target = link().and_then(|target| inner_path(&target));
                let target = target.ok_or(Refusal::Reason("a hard link that leads out of the layer"))?;
                if self.root.metadata(&target)?.is_none() || self.hidden.contains(&target) {
                    return Err(Refusal::Reason("a hard link to a file that is not in the same layer"));
                }
                self.root.hard_link(target, path)?;
            }
            tar::EntryType::Fifo => self.root.make_node(path, 0o010_600, 0)?,
            kind @ (tar::EntryType::Char | tar::EntryType::Block) => {
                let (major, minor) = device()?;
                let number = device_of((major.into(), minor.into()));
                if number == 0 && kind == tar::EntryType::Char {
                    return Err(Refusal::Reason("a device 0:0 would hide what lies below"));
                }
                let mode = if kind == tar::EntryType::Char { 0o020_600 } else { 0o060_600 };
                self.root.make_node(path, mode, number)?;
            }
            _ => return Err(Refusal::Reason("an entry of a kind that a layer cannot have")),
        }
        Ok(())
    }

    /// Makes directories that the archive only implies: mode 0755, owner root, a fixed time. Compat: Docker.
    fn parents(&mut self, path: &Path) -> Result<(), Refusal> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent.as_os_str().is_empty() || self.own.contains(parent) {
            return Ok(());
        }
        let mut current = PathBuf::new();
        for component in parent.components() {
            current.push(component);
            if self.own.contains(&current) {
                continue;
            }
            let was_hidden = self.hidden.remove(&current);
            if was_hidden {
                self.root.remove(&current)?;
            }
            for made in self.root.create_dir_all(&current, 0o755)? {
                self.directories.insert(made.clone(), 0);
                self.implied.insert(made.clone());
                self.own.insert(made);
            }
            if was_hidden {
                self.root.set_xattr(&current, OPAQUE, b"y")?;
            }
        }
        Ok(())
    }
}

/// Why an entry was not placed.
enum Refusal {
    Io(io::Error),
    Reason(&'static str),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn refuse_io(entry: &str) -> impl FnOnce(Refusal) -> LayerError {
    let entry = entry.to_owned();
    move |refusal| match refusal {
        Refusal::Io(source) => LayerError::io("unpack", &entry)(source),
        Refusal::Reason(reason) => LayerError::Archive { entry, reason },
    }
}

/// Owner, group and extended attributes; PAX records win over the header, the overlay's own attributes are dropped.
#[expect(clippy::type_complexity, reason = "used once, right above")]
fn extensions(
    entry: &mut tar::Entry<'_, impl Read>,
    (uid, gid): (u64, u64),
) -> io::Result<(u32, u32, Vec<(String, Vec<u8>)>)> {
    let (mut uid, mut gid, mut xattrs) = (uid, gid, Vec::new());
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "a PAX record is not UTF-8");
            let key = extension.key().map_err(bad)?;
            let number = || {
                let text = extension.value().map_err(bad)?;
                text.parse()
                    .map_err(|_bad| io::Error::new(io::ErrorKind::InvalidData, "a PAX record is no number"))
            };
            match key {
                "uid" => uid = number()?,
                "gid" => gid = number()?,
                _ => {}
            }
            let name = key.strip_prefix("SCHILY.xattr.");
            if let Some(name) = name.filter(|name| !name.contains(".overlay.")) {
                xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    let id = |id: u64| {
        u32::try_from(id).map_err(|_bad| io::Error::new(io::ErrorKind::InvalidData, "an owner above 2^32"))
    };
    Ok((id(uid)?, id(gid)?, xattrs))
}

/// Returns a path without `.` and leading `/`, or `None` if it has a `..`.
fn inner_path(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

//! The tree of an image in the making, which packages are unpacked into.
//!
//! Several threads unpack at the same time; the result does not depend on who was first. Packages are signed, yet no
//! path of theirs is trusted: a parent is a directory that this code made, or the operation is an error, so nothing is
//! ever written through a symlink or outside the tree. The tree must be private to this process and empty at first.

mod entry;
mod state;

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use entry::Metadata;
use state::{Claim, State};

use crate::lock::Guarded;

/// Directories of old whose content is in `/usr` now. Spec: the Filesystem Hierarchy Standard 3.0 allows the links.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];

/// A tree being filled.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    state: Guarded<State>,
}

/// Who brings an entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    /// The package's name.
    pub(crate) name: String,
    /// Packages whose files it may replace.
    pub(crate) replaces: Vec<String>,
}

impl Tree {
    /// Starts a tree in an empty directory, with `/bin` and its like as links into `/usr`.
    pub(crate) fn start(root: &Path, architecture: &str) -> io::Result<Self> {
        let tree = Self { root: root.to_owned(), state: Guarded::default() };
        let lib64 = matches!(architecture, "amd64" | "ppc64el" | "s390x" | "loong64").then_some("lib64");
        for name in MERGED.into_iter().chain(lib64) {
            let target = PathBuf::from("usr").join(name);
            tree.ensure_directory(&target)?;
            std::os::unix::fs::symlink(&target, root.join(name))?;
            tree.state.lock().merged.push(PathBuf::from(name));
        }
        Ok(tree)
    }

    /// Returns where the tree is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Unpacks a package's tar and returns its paths as the package has them, `/.` first, as dpkg lists them.
    pub(crate) fn unpack(&self, owner: &Owner, archive: &mut dyn Read) -> io::Result<Vec<Vec<u8>>> {
        self.state.lock().register(owner);
        let mut archive = tar::Archive::new(archive);
        let mut paths = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path_bytes().into_owned();
            let placed = self.place(owner, &mut entry);
            placed.map_err(|error| about(&name, error))?;
            paths.push(listed(&name));
        }
        Ok(paths)
    }

    /// Gives directories the modes, owners and times that packages say. Nothing may be unpacked any more.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let state = self.state.lock();
        let mut directories: Vec<_> = state.directories.iter().collect();
        directories.sort_by(|a, b| b.0.cmp(a.0));
        for (path, directory) in directories {
            let path = self.root.join(path);
            entry::set_directory(&path, directory.metadata)
                .map_err(|error| about(path.as_os_str().as_encoded_bytes(), error))?;
        }
        Ok(())
    }

    /// Writes a file of ours, replacing what is there.
    pub(crate) fn write(&self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let path = self.resolve(Path::new(path))?;
        if let Some(parent) = path.parent() {
            self.ensure_directory(parent)?;
        }
        entry::write_file(&self.root.join(&path), Metadata::plain(mode), &mut &*bytes)
    }

    /// Makes a directory and what is above it.
    pub(crate) fn ensure_directory(&self, path: &Path) -> io::Result<()> {
        self.state.lock().ensure_directory(&self.root, path)
    }

    fn place(&self, owner: &Owner, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let path = inner_path(&entry.path()?)?;
        let metadata = Metadata::of(entry.header())?;
        let kind = entry.header().entry_type();
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        if kind.is_dir() {
            let path = self.resolve(&path)?;
            return self.state.lock().add_directory(&self.root, &path, owner, metadata);
        }
        if kind.is_symlink() && self.is_our_link(&path, entry)? {
            return Ok(());
        }
        let path = self.resolve(&path)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let claim = {
            let mut state = self.state.lock();
            state.ensure_directory(&self.root, parent)?;
            if kind.is_symlink() && state.directories.contains_key(&path) {
                // Compat: dpkg never replaces a directory by a link.
                return Ok(());
            }
            state.claim(&path, owner)?
        };
        let target = self.root.join(&path);
        match claim {
            Claim::New => self.make(entry, &target, metadata)?,
            Claim::Other => return Ok(()),
            Claim::Replace => {
                // By rename, so that whoever is still writing the other file writes to one that has no name any more.
                let mut name = target.file_name().unwrap_or_default().to_owned();
                name.push(".shipway-new");
                let aside = target.with_file_name(name);
                self.make(entry, &aside, metadata)?;
                fs_err::rename(&aside, &target)?;
            }
        }
        if kind.is_symlink()
            && let Some(link) = entry.link_name()?
        {
            self.state.lock().links.insert(path, link.into_owned());
        }
        Ok(())
    }

    fn make(
        &self,
        entry: &mut tar::Entry<'_, impl Read>,
        target: &Path,
        metadata: Metadata,
    ) -> io::Result<()> {
        let link = entry.link_name()?.map(std::borrow::Cow::into_owned);
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                entry::write_file(target, metadata, entry)
            }
            tar::EntryType::Symlink => {
                let link = link.ok_or_else(|| invalid("a symlink without target"))?;
                entry::make_symlink(target, &link, metadata)
            }
            tar::EntryType::Link => {
                let link = link.ok_or_else(|| invalid("a hard link without target"))?;
                let source = self.resolve(&inner_path(&link)?)?;
                if !self.state.lock().has_file(&source) {
                    return Err(invalid("a hard link to a file that is not there"));
                }
                fs_err::hard_link(self.root.join(source), target)
            }
            _ => Err(invalid("an entry of a kind that packages do not have")),
        }
    }

    /// Whether a package brings one of the links that [`Tree::start`] made.
    fn is_our_link(&self, path: &Path, entry: &tar::Entry<'_, impl Read>) -> io::Result<bool> {
        let ours = self.state.lock().merged.iter().any(|name| name == path);
        if !ours {
            return Ok(false);
        }
        let target = entry.link_name()?.unwrap_or_default().into_owned();
        if inner_path(&target)? == Path::new("usr").join(path) {
            return Ok(true);
        }
        Err(invalid("a link that should lead into /usr"))
    }

    /// Returns a path whose parents are no links: those of the merged `/usr`, and links that packages brought.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.state.lock().resolve(path)
    }
}

fn about(path: &[u8], error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", String::from_utf8_lossy(path)))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Returns a path below the root, or an error if it leads out.
fn inner_path(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(invalid("a path with `..`")),
        }
    }
    Ok(clean)
}

/// Returns a path as dpkg's lists have it: `./usr/bin/` is `/usr/bin`, `./` is `/.`.
fn listed(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b".").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    [b"/", path].concat()
}

#[cfg(test)]
mod tests;

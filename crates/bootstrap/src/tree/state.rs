//! What is in a tree, and who brought it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::entry::{Metadata, make_directory};
use super::{Owner, inner_path, invalid};

/// The package whose directories count above all others': it says what `/tmp` and its like are.
const LAYOUT_PACKAGE: &str = "base-files";
const LONGEST_CHAIN: usize = 16;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) directories: HashMap<PathBuf, Directory>,
    /// Links that packages brought, which later paths may go through.
    pub(super) links: HashMap<PathBuf, PathBuf>,
    /// Names at the top that lead into `/usr`.
    pub(super) merged: Vec<PathBuf>,
    files: HashMap<PathBuf, String>,
    owners: HashMap<String, Owner>,
}

/// A directory that is there, and what it will be in the end.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) metadata: Metadata,
    /// Who says so; nobody for one that was only implied.
    owner: Option<String>,
}

/// What to do with a file that a package brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Make it.
    New,
    /// Make it in place of another package's.
    Replace,
    /// Leave the other package's.
    Other,
}

impl State {
    pub(super) fn register(&mut self, owner: &Owner) {
        self.owners.insert(owner.name.clone(), owner.clone());
    }

    pub(super) fn has_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Makes a directory and those above it unless they are there. The lock is held meanwhile, so nobody races.
    pub(super) fn ensure_directory(&mut self, root: &Path, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || self.directories.contains_key(path) {
            return Ok(());
        }
        if self.links.contains_key(path) || self.files.contains_key(path) {
            return Err(invalid("its parent is no directory"));
        }
        if let Some(parent) = path.parent() {
            self.ensure_directory(root, parent)?;
        }
        make_directory(&root.join(path))?;
        let metadata = Metadata::plain(0o755);
        self.directories.insert(path.to_owned(), Directory { metadata, owner: None });
        Ok(())
    }

    /// Adds a directory. Of several packages that have it, the layout package counts, else the first by name.
    pub(super) fn add_directory(
        &mut self,
        root: &Path,
        path: &Path,
        owner: &Owner,
        metadata: Metadata,
    ) -> io::Result<()> {
        self.ensure_directory(root, path)?;
        let rank = |name: &str| (name != LAYOUT_PACKAGE, name.to_owned());
        if let Some(directory) = self.directories.get_mut(path) {
            let better = directory.owner.as_ref().is_none_or(|known| rank(&owner.name) < rank(known));
            if better {
                *directory = Directory { metadata, owner: Some(owner.name.clone()) };
            }
        }
        Ok(())
    }

    pub(super) fn claim(&mut self, path: &Path, owner: &Owner) -> io::Result<Claim> {
        if self.directories.contains_key(path) {
            return Err(invalid("another package has a directory of this name"));
        }
        let Some(known) = self.files.get(path) else {
            self.files.insert(path.to_owned(), owner.name.clone());
            return Ok(Claim::New);
        };
        let other = self.owners.get(known);
        if owner.replaces.contains(known) {
            self.files.insert(path.to_owned(), owner.name.clone());
            return Ok(Claim::Replace);
        }
        if other.is_some_and(|other| other.replaces.contains(&owner.name)) {
            return Ok(Claim::Other);
        }
        let text = format!("package {known} has a file of this name");
        Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
    }

    /// Replaces links among a path's parents by what they lead to.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_owned();
        for _link in 0..LONGEST_CHAIN {
            match self.replace_first_link(&path)? {
                Some(next) => path = next,
                None => return Ok(path),
            }
        }
        Err(invalid("a chain of links without end"))
    }

    fn replace_first_link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut names = path.iter();
        if let Some(first) = names.next().filter(|first| self.merged.iter().any(|name| name == first)) {
            return Ok(Some(Path::new("usr").join(first).join(names.as_path())));
        }
        let parents: Vec<&Path> = path.ancestors().skip(1).collect();
        let link = parents.into_iter().rev().find_map(|parent| Some((parent, self.links.get(parent)?)));
        let Some((link, target)) = link else { return Ok(None) };
        let rest = path.strip_prefix(link).unwrap_or(path);
        let base = if target.is_absolute() { Path::new("") } else { link.parent().unwrap_or(Path::new("")) };
        Ok(Some(normalise(&base.join(target.strip_prefix("/").unwrap_or(target)))?.join(rest)))
    }
}

/// Takes `..` out of a link's target; those above the root stay at the root.
fn normalise(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(inner_path(Path::new(other.as_os_str()))?),
        }
    }
    Ok(clean)
}

//! Where an entry goes: its parent directory, with the archive's own symlinks followed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use shipway_linux::{Attributes, Kind, Metadata};

use super::Unpacker;
use crate::refusal::Refusal;

/// So many symlinks may be on the way. Compat: Linux, `path_resolution(7)`.
const LINKS: usize = 40;

/// A directory that is open.
pub(super) struct Parent {
    /// As entries name it.
    pub(super) named: PathBuf,
    /// Without symlinks.
    pub(super) path: PathBuf,
}

/// Whether directories that are missing are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

impl Unpacker<'_> {
    /// Opens the directory that an entry goes into; what is missing of it is implied.
    pub(super) fn open_parent(&mut self, named: &Path) -> Result<(), Refusal> {
        if self.parent.as_ref().is_some_and(|parent| parent.named == named) {
            return Ok(());
        }
        let mut path = named.to_owned();
        if !self.tree.enter(&path)? {
            path = self.follow(named, Missing::Make)?;
            self.budget.check_path(&path)?;
            if !self.tree.enter(&path)? {
                return Err(Refusal::Reason("a directory that went away"));
            }
        }
        self.parent = Some(Parent { named: named.to_owned(), path });
        Ok(())
    }

    /// Returns a path with the archive's own symlinks followed, the last name too. What is missing is made, or left as it is named.
    pub(super) fn follow(&mut self, named: &Path, missing: Missing) -> Result<PathBuf, Refusal> {
        let mut rest: VecDeque<OsString> = names_of(named).map(OsStr::to_owned).collect();
        let mut found = PathBuf::new();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                found.pop();
                continue;
            }
            let next = found.join(&name);
            match self.tree.metadata(&next)? {
                Some(metadata) if metadata.kind == Kind::Symlink => {
                    links += 1;
                    if links > LINKS {
                        return Err(Refusal::Reason("too many symlinks on the way"));
                    }
                    let target = self.tree.read_link(&next)?;
                    if target.is_absolute() {
                        found = PathBuf::new();
                    }
                    for name in names_of(&target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(name.to_owned());
                    }
                    continue;
                }
                Some(metadata) if metadata.is_directory() => {}
                other if missing == Missing::Make => self.imply(&next, other.as_ref())?,
                _ => {
                    let tail: PathBuf = std::iter::once(name).chain(rest).collect();
                    return Ok(found.join(tail));
                }
            }
            found = next;
        }
        Ok(found)
    }

    /// Makes a directory that the archive only implies: mode 0755, owner root, a fixed time. Compat: Docker.
    fn imply(&mut self, path: &Path, there: Option<&Metadata>) -> Result<(), Refusal> {
        let replaces = there.is_some_and(is_whiteout);
        if replaces {
            self.tree.remove(path)?;
        } else if there.is_some() || self.links.contains_key(path) {
            return Err(Refusal::Reason("a file where the path needs a directory"));
        }
        self.tree.directory(path)?;
        self.tree.describe(path, &Attributes { mode: 0o755, ..Attributes::default() })?;
        self.remember_directory(path, (0, 0))?;
        if replaces {
            // Nothing lower is seen any more, so there is nothing that it could stand for.
            self.hide_below(path)?;
        } else {
            self.budget.take_path(path)?;
            self.implied.insert(path.to_owned());
        }
        Ok(())
    }
}

/// The names of a path, `..` among them.
fn names_of(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    })
}

/// Returns whether it is a mark that hides something lower; archives cannot have such devices themselves.
pub(crate) fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.kind == Kind::Special && metadata.mode & 0o170_000 == 0o020_000 && metadata.rdev == 0
}

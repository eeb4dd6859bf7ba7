//! What a command's mounts go over, made before and removed after, so that no trace of it gets into the layer; but `/dev`, `/proc` and
//! `/sys` stay.

use std::path::{Path, PathBuf};

use shipway_layers::Snapshot;
use shipway_linux::{Kind, Metadata, Root};

use super::steps::mount;
use crate::Problem;
use crate::copy::resolve_in;
use crate::seams::StubKind;

/// Files and directories that did not exist before a command.
#[derive(Debug)]
pub(super) struct Stubs {
    upper: Root,
    /// Paths that were made and their inodes, parents first.
    made: Vec<(PathBuf, u64)>,
    /// Directories of lower layers that making a stub copied up, as they were.
    copied: Vec<(PathBuf, Attributes)>,
}

impl Stubs {
    /// Makes what is missing.
    pub(super) fn make(snapshot: &Snapshot, wanted: &[(PathBuf, StubKind)]) -> Result<Self, Problem> {
        let upper = Root::open(&snapshot.upper).map_err(Problem::io("open", "the step's changes"))?;
        let mut stubs = Self { upper, made: Vec::new(), copied: Vec::new() };
        let root = mount(snapshot)?;
        let mut paths = Vec::new();
        for (path, kind) in wanted {
            let resolved = resolve_in(&root, path).map_err(Problem::io("find", path))?;
            if root.metadata(&resolved).map_err(Problem::io("find", path))?.is_some() {
                continue;
            }
            let parent = resolved.parent().unwrap_or(Path::new("")).to_owned();
            for directory in parent.ancestors().filter(|at| !at.as_os_str().is_empty()) {
                let in_upper = stubs.upper.metadata(directory).map_err(Problem::io("find", directory))?;
                if let Some(found) = root.metadata(directory).map_err(Problem::io("find", directory))?
                    && in_upper.is_none()
                {
                    stubs.copied.push((directory.to_owned(), attributes(&found)));
                }
            }
            let lowest = parent.ancestors().find(|at| matches!(root.metadata(at), Ok(Some(_))));
            keeping_time(&root, lowest.unwrap_or(Path::new("")), || {
                paths.extend(root.create_dir_all(&parent, 0o755).map_err(Problem::io("make", path))?);
                let made = match kind {
                    StubKind::Directory | StubKind::Lasting => root.create_dir(&resolved, 0o755),
                    StubKind::Open => root.create_dir(&resolved, 0o1777),
                    StubKind::File => root.create_file(&resolved, 0o644).map(drop),
                };
                made.map_err(Problem::io("make", path))
            })?;
            paths.extend((*kind != StubKind::Lasting).then_some(resolved));
        }
        // Inodes of the upper directory itself: those of the merged view may be others.
        drop(root);
        for path in paths {
            if let Some(found) = stubs.upper.metadata(&path).map_err(Problem::io("find", &path))? {
                stubs.made.push((path, found.inode));
            }
        }
        Ok(stubs)
    }

    /// Removes what is still as it was made: what the command put in its place stays.
    pub(super) fn remove(self) -> Result<(), Problem> {
        for (path, inode) in self.made.iter().rev() {
            let Some(found) = self.upper.metadata(path).map_err(Problem::io("find", path))? else { continue };
            let untouched = found.inode == *inode
                && match found.kind {
                    Kind::File => found.size == 0,
                    Kind::Directory => self.is_empty(path)?,
                    _ => false,
                };
            if untouched {
                keeping_time(&self.upper, path.parent().unwrap_or(Path::new("")), || {
                    self.upper.remove(path).map_err(Problem::io("remove", path))
                })?;
            }
        }
        // Deepest first.
        let mut copied = self.copied.clone();
        copied.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        copied.dedup();
        for (path, before) in &copied {
            let Some(found) = self.upper.metadata(path).map_err(Problem::io("find", path))? else { continue };
            let same = found.is_directory() && attributes(&found) == *before;
            let marked = same && self.is_marked(path)?;
            if same && !marked && self.is_empty(path)? {
                keeping_time(&self.upper, path.parent().unwrap_or(Path::new("")), || {
                    self.upper.remove(path).map_err(Problem::io("remove", path))
                })?;
            }
        }
        Ok(())
    }

    fn is_empty(&self, path: &Path) -> Result<bool, Problem> {
        Ok(self.upper.names(path).map_err(Problem::io("read", path))?.is_empty())
    }

    /// An opaque directory means that the command removed what was in it.
    fn is_marked(&self, path: &Path) -> Result<bool, Problem> {
        let xattrs = self.upper.xattrs(path).map_err(Problem::io("read", path))?;
        Ok(xattrs.iter().any(|(name, value)| name == "user.overlay.opaque" && value == b"y"))
    }
}

/// Mode, owner, group and time.
type Attributes = (u32, u32, u32, (i64, u32));

fn attributes(found: &Metadata) -> Attributes {
    (found.mode, found.uid, found.gid, found.mtime)
}

/// Changes what is in a directory and leaves its time as it was: it is the command's, or nobody's.
fn keeping_time(
    root: &Root,
    directory: &Path,
    change: impl FnOnce() -> Result<(), Problem>,
) -> Result<(), Problem> {
    let at = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let before = root.metadata(at).map_err(Problem::io("find", at))?;
    change()?;
    match before {
        Some(before) => root.set_mtime(at, before.mtime).map_err(Problem::io("date", at)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dir("etc", 0o755).unwrap();
        for directory in ["etc", ""] {
            root.set_mtime(if directory.is_empty() { "." } else { directory }, (7, 8)).unwrap();
            let file = Path::new(directory).join("hosts");
            let make = || root.create_file(&file, 0o644).map(drop).map_err(Problem::io("make", &file));
            keeping_time(&root, Path::new(directory), make).unwrap();
            keeping_time(&root, Path::new(directory), || {
                root.remove(&file).map_err(Problem::io("remove", &file))
            })
            .unwrap();
        }
        assert_eq!(root.metadata("etc").unwrap().unwrap().mtime, (7, 8));
        assert_eq!(root.metadata(".").unwrap().unwrap().mtime, (7, 8));
    }
}

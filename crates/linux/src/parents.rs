//! Paths one after the other that lie in the same directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::Root;

/// Opens the directory that a path is in and keeps it for the paths that follow: who goes through a tree asks the kernel once
/// per directory, not once per file.
///
/// Whoever removes or replaces a directory of the tree says [`Parents::forget`].
#[derive(Debug)]
pub struct Parents<'a> {
    root: &'a Root,
    open: Option<(PathBuf, Root)>,
}

impl<'a> Parents<'a> {
    /// Opens nothing yet.
    pub fn new(root: &'a Root) -> Self {
        Self { root, open: None }
    }

    /// Returns the directory that a path is in, links above the last name followed inside the root, and the name in it.
    pub fn of<'p>(&mut self, path: &'p Path) -> io::Result<(&Root, &'p Path)> {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Ok((self.root, path));
        };
        if parent.as_os_str().is_empty() {
            return Ok((self.root, path));
        }
        if self.open.as_ref().is_none_or(|(known, _)| known != parent) {
            // Not before the new one is there: a failure leaves nothing wrong behind.
            self.open = Some((parent.to_owned(), self.root.open_root(parent)?));
        }
        let open = self.open.as_ref().map_or(self.root, |(_, open)| open);
        Ok((open, Path::new(name)))
    }

    /// Closes what is open.
    pub fn forget(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_opened_once_and_again_when_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dir_all("a/b", 0o755).unwrap();
        let mut parents = Parents::new(&root);
        let make = |parents: &mut Parents<'_>, path: &str| {
            let (parent, name) = parents.of(Path::new(path)).unwrap();
            parent.create_file(name, 0o644).unwrap();
        };
        make(&mut parents, "top");
        make(&mut parents, "a/b/one");
        root.remove_all("a").unwrap();
        root.create_dir_all("a/b", 0o755).unwrap();
        parents.forget();
        make(&mut parents, "a/b/two");
        assert_eq!(root.names("a/b").unwrap(), ["two"]);
        assert!(root.metadata("top").unwrap().is_some() && parents.of(Path::new("no/such")).is_err());
    }
}

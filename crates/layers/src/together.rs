//! Several trees in one place, where each path is that of one of them.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::PathBuf;

use shipway_linux::{Parents, Root};

use crate::serialise::{SoFar, Times, write_entry};
use crate::tar_header::BLOCK;
use crate::walk::walk;

/// A path that two trees have, and not both as a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The path.
    pub path: PathBuf,
    /// The places of the two trees.
    pub trees: (usize, usize),
}

/// Returns the first path that more than one of the trees has; directories may be in all.
pub fn find_clash(trees: &[Root]) -> io::Result<Option<Clash>> {
    let mut known: HashMap<PathBuf, (usize, bool)> = HashMap::new();
    let mut clash = None;
    if trees.len() < 2 {
        return Ok(None);
    }
    for (at, tree) in trees.iter().enumerate() {
        walk(tree, &mut |path, metadata| {
            let is_directory = metadata.is_directory();
            match known.get(path) {
                Some((_, true)) if is_directory => {}
                Some((first, _)) => {
                    clash.get_or_insert_with(|| Clash { path: path.to_owned(), trees: (*first, at) });
                }
                None => drop(known.insert(path.to_owned(), (at, is_directory))),
            }
            Ok(())
        })?;
    }
    Ok(clash)
}

/// Writes the trees as one tar archive, as [`crate::serialise`] writes one. A directory is as the first tree that has it says.
pub fn serialise_together(trees: &[Root], times: Times, out: &mut dyn Write) -> io::Result<()> {
    let mut directories = HashSet::new();
    for tree in trees {
        let (mut so_far, mut parents) = (SoFar::new(times), Parents::new(tree));
        walk(tree, &mut |path, metadata| {
            if metadata.is_directory() && !directories.insert(path.to_owned()) {
                return Ok(());
            }
            write_entry(parents.of(path)?, path, metadata, &mut so_far, out)
        })?;
    }
    out.write_all(&[0; 2 * BLOCK])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialise;

    #[test]
    fn trees_share_directories_and_nothing_else() {
        for (name, first, second, want) in [
            ("apart", "a/one", "a/two", None),
            ("the same file", "a/one", "a/one", Some("a/one")),
            ("a file where the other has a directory", "a/one", "a", Some("a")),
            ("a directory where the other has a file", "a", "a/one", Some("a")),
        ] {
            let dirs = [first, second].map(|file| {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join(file);
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
                fs_err::write(path, file).unwrap();
                dir
            });
            let trees = dirs.each_ref().map(|dir| Root::open(dir.path()).unwrap());
            let clash = find_clash(&trees).unwrap();
            let want = want.map(|path| Clash { path: path.into(), trees: (0, 1) });
            assert_eq!(clash, want, "case {name}");
        }
    }

    #[test]
    fn one_archive_has_all_of_them_and_each_directory_once() {
        let dirs = [("a", "x"), ("b", "y"), ("a", "z")].map(|(directory, file)| {
            let dir = tempfile::tempdir().unwrap();
            fs_err::create_dir(dir.path().join(directory)).unwrap();
            fs_err::write(dir.path().join(directory).join(file), file).unwrap();
            dir
        });
        let trees = dirs.each_ref().map(|dir| Root::open(dir.path()).unwrap());
        let mut bytes = Vec::new();
        serialise_together(&trees, Times::Seconds, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        assert_eq!(paths.collect::<Vec<_>>(), ["a/", "a/x", "b/", "b/y", "a/z"]);
        let (mut one, mut alone) = (Vec::new(), Vec::new());
        serialise_together(&trees[..1], Times::Seconds, &mut one).unwrap();
        serialise(&trees[0], &mut alone).unwrap();
        assert_eq!(one, alone);
    }
}

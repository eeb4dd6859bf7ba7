//! `mode=delete`: what a directory has beside the result. Compat: BuildKit.

use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::Root;

use super::documents::Document;
use super::files::{Files, Trees};

/// Removes what is in a directory and not in the result that was written there. Links are not followed.
pub(super) fn remove(directory: &Path, files: &Files) -> io::Result<()> {
    let trees: Vec<(&Path, &Root)> = match &files.trees {
        Trees::Together(trees) => trees.iter().map(|tree| (Path::new(""), tree)).collect(),
        Trees::Each(trees) => trees.iter().map(|(name, tree)| (name.as_path(), tree)).collect(),
    };
    below(directory, Path::new(""), &|path| has(&trees, &files.documents, path))
}

/// Returns whether a result has a path, or something below it.
fn has(trees: &[(&Path, &Root)], documents: &[Document], path: &Path) -> io::Result<bool> {
    if documents.iter().any(|document| document.path.starts_with(path)) {
        return Ok(true);
    }
    for (top, tree) in trees {
        let is_there = match path.strip_prefix(top) {
            Ok(below) => tree.metadata(below)?.is_some(),
            Err(_) => top.starts_with(path),
        };
        if is_there {
            return Ok(true);
        }
    }
    Ok(false)
}

fn below(top: &Path, at: &Path, has: &dyn Fn(&Path) -> io::Result<bool>) -> io::Result<()> {
    for entry in fs_err::read_dir(top.join(at))? {
        let entry = entry?;
        let path: PathBuf = at.join(entry.file_name());
        let is_directory = entry.file_type()?.is_dir();
        match (has(&path)?, is_directory) {
            (true, true) => below(top, &path, has)?,
            (true, false) => {}
            (false, true) => fs_err::remove_dir_all(entry.path())?,
            (false, false) => fs_err::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_result_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (out, tree, elsewhere) =
            (dir.path().join("out"), dir.path().join("tree"), dir.path().join("elsewhere"));
        for path in ["tree/d/kept", "out/d/kept", "out/d/old", "out/old/deep/er", "elsewhere/file"] {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "x").unwrap();
        }
        fs_err::write(out.join("sbom.json"), "x").unwrap();
        fs_err::os::unix::fs::symlink(&elsewhere, out.join("link")).unwrap();
        let files = |trees| Files {
            trees,
            documents: vec![Document { path: PathBuf::from("sbom.json"), content: Vec::new() }],
            written: 0,
        };
        let root = Root::open(&tree).unwrap();
        remove(&out, &files(Trees::Together(vec![root]))).unwrap();
        let there = |path: &str| out.join(path).symlink_metadata().is_ok();
        assert!(there("d/kept") && there("sbom.json"));
        assert!(!there("d/old") && !there("old") && !there("link"));
        assert!(elsewhere.join("file").exists(), "a link is no way to anything");

        fs_err::create_dir_all(out.join("linux_arm64/d")).unwrap();
        fs_err::write(out.join("linux_arm64/d/old"), "x").unwrap();
        let root = Root::open(&tree).unwrap();
        remove(&out, &files(Trees::Each(vec![(PathBuf::from("linux_arm64"), root)]))).unwrap();
        assert!(there("linux_arm64/d") && !there("linux_arm64/d/old") && !there("d"));
    }
}

//! Walking a layer's tree in canonical order.

use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::{Metadata, Root};

/// Calls `visit` for everything below the root, parents first and names in byte order.
pub(crate) fn walk(root: &Root, visit: &mut dyn FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let below = |path: &Path| -> io::Result<Vec<(PathBuf, Metadata)>> {
        let entries = root.entries(path)?.into_iter().rev();
        Ok(entries.map(|(name, metadata)| (path.join(name), metadata)).collect())
    };
    let mut open = below(Path::new(""))?;
    while let Some((path, metadata)) = open.pop() {
        visit(&path, &metadata)?;
        if metadata.is_directory() {
            open.append(&mut below(&path)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_names_are_sorted() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("b/c")).unwrap();
        for file in ["b/c/z", "b/a", "a"] {
            fs_err::write(dir.path().join(file), "").unwrap();
        }
        let mut seen = Vec::new();
        let root = Root::open(dir.path()).unwrap();
        walk(&root, &mut |path, _| {
            seen.push(path.to_str().unwrap().to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, ["a", "b", "b/a", "b/c", "b/c/z"]);
    }
}

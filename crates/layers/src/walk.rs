//! Walking a layer's tree in canonical order.

use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::{Metadata, Root};

/// Calls `visit` for everything below the root, parents first and names in byte order.
pub(crate) fn walk(root: &Root, visit: &mut dyn FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        if !path.as_os_str().is_empty() {
            let Some(metadata) = root.metadata(&path)? else { continue };
            visit(&path, &metadata)?;
            if !metadata.is_directory() {
                continue;
            }
        }
        let names = root.names(&path)?;
        open.extend(names.into_iter().rev().map(|name| path.join(name)));
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

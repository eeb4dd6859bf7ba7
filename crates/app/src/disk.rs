//! What directories take of the disk.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Returns how many files are below a directory, and the bytes that they take; what vanishes meanwhile does not count.
pub(crate) fn tree(dir: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs_err::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(found) = fs_err::symlink_metadata(entry.path()) else { continue };
            if found.is_dir() {
                open.push(entry.path());
            } else {
                files += 1;
                bytes += found.blocks() * 512;
            }
        }
    }
    (files, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_summed_up() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("sub")).unwrap();
        fs_err::write(dir.path().join("sub/file"), vec![1; 10_000]).unwrap();
        let (files, bytes) = tree(dir.path());
        assert!(files == 1 && bytes >= 8_192, "{files} {bytes}");
        assert_eq!(tree(&dir.path().join("none")), (0, 0));
    }
}

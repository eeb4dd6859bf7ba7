//! Reading an image's files: bounded, and never by a link out of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use shipway_linux::{Kind, Metadata, Root};

/// Directories may be so deep, and there may be so many names in all.
const DEPTH: usize = 64;
const NAMES: usize = 4_000_000;

/// Reads a regular file as text, with what is no UTF-8 replaced; `None` if there is none. One of more than `limit` bytes is an error.
pub(crate) fn read(root: &Root, path: &Path, limit: u64) -> io::Result<Option<String>> {
    let Some(file) = open(root, path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Opens a regular file; `None` if there is none.
pub(crate) fn open(root: &Root, path: &Path) -> io::Result<Option<File>> {
    match root.open_regular(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        opened => opened,
    }
}

/// Goes through all names of an image in order. `visit` returns whether a directory is gone into, or ends it.
///
/// What belongs to the kernel is left out. Returns notes of what else was.
pub(crate) fn walk(
    root: &Root,
    mut visit: impl FnMut(&Path, &Metadata) -> ControlFlow<(), bool>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let mut seen = 0;
    let mut todo = VecDeque::from([(PathBuf::new(), 0)]);
    while let Some((directory, depth)) = todo.pop_front() {
        let at = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let entries = match root.entries(at) {
            Ok(entries) => entries,
            Err(error) => {
                notes.push(format!("/{} could not be listed: {error}", directory.display()));
                continue;
            }
        };
        for (name, metadata) in entries {
            seen += 1;
            if seen > NAMES {
                notes.push(format!("there are more than {NAMES} files: the rest was not looked at"));
                return notes;
            }
            let path = directory.join(&name);
            if depth == 0 && ["proc", "sys", "dev"].iter().any(|kernel| name == *kernel) {
                continue;
            }
            let ControlFlow::Continue(goes_in) = visit(&path, &metadata) else { return notes };
            let goes_in = goes_in && metadata.kind == Kind::Directory;
            if goes_in && depth >= DEPTH {
                notes.push(format!("/{} is too deep: it was not looked at", path.display()));
            } else if goes_in {
                todo.push_back((path, depth + 1));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_an_image() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("secret"), "outside").unwrap();
        let inside = dir.path().join("image");
        fs_err::create_dir_all(inside.join("etc")).unwrap();
        fs_err::write(inside.join("etc/real"), "inside").unwrap();
        let root = Root::open(&inside).unwrap();
        for (name, target) in [
            ("up", "../secret"),
            ("absolute", dir.path().join("secret").to_str().unwrap()),
            ("loop", "loop"),
            ("good", "/etc/real"),
        ] {
            root.symlink(Path::new(target), name).unwrap();
        }
        root.make_node("fifo", 0o010_644, 0).unwrap();
        let text = |path: &str| read(&root, Path::new(path), 100).unwrap();
        assert_eq!(text("good").as_deref(), Some("inside"));
        for path in ["up", "absolute", "loop", "fifo", "etc", "nowhere", "etc/real/below"] {
            assert_eq!(text(path), None, "case {path}");
        }
        assert!(read(&root, Path::new("etc/real"), 5).is_err());
    }

    #[test]
    fn every_name_is_seen_but_those_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["proc/1", "usr/proc/2", "skipped/3", "a"] {
            fs_err::create_dir_all(dir.path().join(path)).unwrap();
        }
        let mut seen = Vec::new();
        let notes = walk(&Root::open(dir.path()).unwrap(), |path, _| {
            seen.push(path.display().to_string());
            ControlFlow::Continue(path != Path::new("skipped"))
        });
        assert_eq!(
            (seen, notes.len()),
            (["a", "skipped", "usr", "usr/proc", "usr/proc/2"].map(str::to_owned).to_vec(), 0)
        );
    }
}

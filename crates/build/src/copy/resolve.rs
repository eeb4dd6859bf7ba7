//! Symlinks of a path, followed inside a root.

use std::io;
use std::path::{Component, Path, PathBuf};

use shipway_linux::{Kind, Root};

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Returns where a path leads inside the root: no part of the result is a symlink, and what does not exist stays as
/// it is written.
pub(crate) fn resolve_in(root: &Root, path: &Path) -> io::Result<PathBuf> {
    resolve_by(root, path, |_link| ())
}

/// The same; each link that is passed is told by its own place.
pub(super) fn resolve_by(root: &Root, path: &Path, mut passed: impl FnMut(&Path)) -> io::Result<PathBuf> {
    let mut todo: Vec<PathBuf> = parts(path);
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == Path::new("..") {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        match root.metadata(&next)? {
            Some(found) if found.kind == Kind::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many symbolic links"));
                }
                passed(&next);
                let target = root.read_link(&next)?;
                if target.is_absolute() {
                    done = PathBuf::new();
                }
                todo.extend(parts(&target));
            }
            _ => done = next,
        }
    }
    Ok(done)
}

/// Returns the parts in reverse, the last to be resolved first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_places_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dir_all("usr/lib64", 0o755).unwrap();
        root.symlink(Path::new("usr/lib64"), "lib64").unwrap();
        root.symlink(Path::new("/usr"), "absolute").unwrap();
        root.symlink(Path::new("../../../etc"), "out").unwrap();
        root.symlink(Path::new("loop"), "loop").unwrap();
        for (name, path, want) in [
            ("plain", "/a/b", "a/b"),
            ("link", "/lib64/x", "usr/lib64/x"),
            ("absolute link", "absolute/lib64", "usr/lib64"),
            ("out", "out/passwd", "etc/passwd"),
            ("dots", "/../../x", "x"),
            ("root", "/", ""),
        ] {
            assert_eq!(resolve_in(&root, Path::new(path)).unwrap(), Path::new(want), "case {name}");
        }
        assert!(resolve_in(&root, Path::new("loop")).is_err());
        let mut passed = Vec::new();
        resolve_by(&root, Path::new("absolute/../lib64/x"), |link| passed.push(link.to_owned())).unwrap();
        assert_eq!(passed, ["absolute", "lib64"].map(PathBuf::from));
    }
}

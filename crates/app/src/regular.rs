//! Files that users name, which must be files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use shipway_linux::OpenFlags;

/// Opens a file for reading, following symlinks; `None` if something else is there. A FIFO is not waited for.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    // Sockets cannot be opened, and devices may do something then.
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    // Another may have come in its place.
    let without_waiting = i32::try_from(OpenFlags::NONBLOCK.bits()).expect("open(2) takes an int");
    let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use shipway_linux::Root;

    use super::*;

    #[test]
    fn only_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        fs_err::write(place("file"), "text").unwrap();
        fs_err::create_dir(place("directory")).unwrap();
        Root::open(dir.path()).unwrap().make_node("fifo", 0o010_644, 0).unwrap();
        let _listener = UnixListener::bind(place("socket")).unwrap();
        for name in ["file", "directory", "fifo", "socket"] {
            std::os::unix::fs::symlink(name, place(&format!("to-{name}"))).unwrap();
            for name in [name, &format!("to-{name}")] {
                let is_file = open(&place(name)).unwrap().is_some();
                assert_eq!(is_file, name.ends_with("file"), "case {name}");
            }
        }
        assert!(open(Path::new("/dev/null")).unwrap().is_none());
        assert_eq!(open(&place("nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

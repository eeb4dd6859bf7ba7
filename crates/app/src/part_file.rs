//! Files that are there whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::failure::Failure;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 18;

/// Writes beside a file first: what was there stays if something goes wrong. A device or pipe is written as it is. `mode` is that of a
/// new file before the umask; `unwritable` says what to tell of an error of the file.
pub(crate) fn write(
    path: &Path,
    mode: u32,
    unwritable: &dyn Fn(&io::Error) -> Failure,
    content: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let special = fs_err::metadata(path).is_ok_and(|found| !found.is_file());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = if special { path.to_owned() } else { path.with_file_name(name) };
    let mut options = OpenOptions::new();
    options.write(true).mode(mode);
    let opened = if special { options.open(&part) } else { options.create_new(true).open(&part) };
    let file: File = opened.map_err(|error| unwritable(&error))?;
    let written = (|| {
        let mut out = BufWriter::with_capacity(BUFFER, &file);
        content(&mut out)?;
        out.flush().map_err(|error| unwritable(&error))?;
        if special { Ok(()) } else { fs_err::rename(&part, path).map_err(|error| unwritable(&error)) }
    })();
    if written.is_err() && !special {
        // The first error is the one that matters.
        drop(fs_err::remove_file(&part));
    }
    written
}

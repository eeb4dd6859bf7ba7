//! The canonical tar of a tree: the bytes that a diff ID is the digest of.
//!
//! The same tree gives the same bytes, always: entries sorted, times in whole seconds, no user or group names, PAX
//! headers only where ustar is too small. Whiteouts and opaque marks are written as image-spec layer.md wants them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use shipway_linux::{Kind, Metadata, Parents, Root, xattrs_of};

use crate::tar_header::{BLOCK, Header, pad};
use crate::unpack::BUFFER;
use crate::walk::walk;

/// Changes whenever the same tree would give other bytes.
pub const SERIALISER_VERSION: u32 = 1;

/// Mark of a directory that hides what lies below it. Compat: overlayfs with `userxattr`.
pub(crate) const OPAQUE: &str = "user.overlay.opaque";

const TYPE: u32 = 0o170_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const BLOCK_DEVICE: u32 = 0o060_000;
const FIFO: u32 = 0o010_000;

/// What was written of a tree so far, and how the rest is to be.
#[derive(Debug, Default)]
pub(crate) struct SoFar {
    /// First names of files that have several, by inode.
    names: HashMap<u64, Vec<u8>>,
    times: Times,
}

impl SoFar {
    pub(crate) fn new(times: Times) -> Self {
        Self { names: HashMap::new(), times }
    }
}

/// How exact the times of an archive are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// In whole seconds, as in the canonical tar.
    #[default]
    Seconds,
    /// As the files have them.
    Exact,
}

/// Writes the tree below `root` as a tar archive: entries sorted, times in whole seconds. The files of an image are what an overlay of its
/// layers shows.
pub fn serialise(root: &Root, out: &mut dyn Write) -> io::Result<()> {
    serialise_as(root, &HashSet::new(), None, out)
}

/// Like [`serialise`], of several trees, each below a directory of its own, which has mode 755 and the time 0.
pub fn serialise_each(trees: &[(PathBuf, Root)], out: &mut dyn Write) -> io::Result<()> {
    for (directory, root) in trees {
        let mut path = directory.as_os_str().as_bytes().to_vec();
        path.push(b'/');
        Header { path, kind: b'5', mode: 0o755, ..Header::default() }.write(out)?;
        let mut so_far = SoFar::default();
        let mut parents = Parents::new(root);
        walk(root, &mut |path, metadata| {
            write_entry(parents.of(path)?, &directory.join(path), metadata, &mut so_far, out)
        })?;
    }
    out.write_all(&[0; 2 * BLOCK])
}

/// Like [`serialise`], with an entry for the root itself: what unpacks it gets its owner and mode too.
pub fn serialise_with_root(root: &Root, out: &mut dyn Write) -> io::Result<()> {
    if let Some(metadata) = root.metadata("")? {
        let header = Header {
            path: b"./".to_vec(),
            kind: b'5',
            mode: metadata.mode & 0o7777,
            uid: metadata.uid.into(),
            gid: metadata.gid.into(),
            mtime: metadata.mtime.0,
            ..Header::default()
        };
        header.write(out)?;
    }
    serialise(root, out)
}

/// What fills a directory, and where that is.
pub(crate) type Fill<'a> = (&'a Path, &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>);

/// Like [`serialise`], without entries for the directories `implied`: what unpacks it leaves those as they are; and with what fills a
/// directory in its place.
pub(crate) fn serialise_as(
    root: &Root,
    implied: &HashSet<&Path>,
    mut fill: Option<Fill<'_>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut so_far = SoFar::default();
    let mut parents = Parents::new(root);
    let mut is_filled = fill.is_none();
    walk(root, &mut |path, metadata| {
        if !(metadata.is_directory() && implied.contains(path)) {
            write_entry(parents.of(path)?, path, metadata, &mut so_far, out)?;
        }
        match &mut fill {
            Some((top, fill)) if *top == path => {
                is_filled = true;
                fill(out)
            }
            _ => Ok(()),
        }
    })?;
    if !is_filled {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the directory that is to be filled is not there",
        ));
    }
    out.write_all(&[0; 2 * BLOCK])
}

pub(crate) fn write_entry(
    (parent, name): (&Root, &Path),
    path: &Path,
    metadata: &Metadata,
    so_far: &mut SoFar,
    out: &mut dyn Write,
) -> io::Result<()> {
    let text = path.as_os_str().as_bytes();
    let mut header = Header {
        path: text.to_vec(),
        mode: metadata.mode & 0o7777,
        uid: metadata.uid.into(),
        gid: metadata.gid.into(),
        mtime: metadata.mtime.0,
        nanoseconds: if so_far.times == Times::Exact { metadata.mtime.1 } else { 0 },
        ..Header::default()
    };
    match metadata.kind {
        Kind::Directory => {
            header.path.push(b'/');
            header.kind = b'5';
            let xattrs = parent.xattrs(name)?;
            let opaque = xattrs.iter().any(|(name, value)| name == OPAQUE && value == b"y");
            header.xattrs = kept(xattrs);
            header.write(out)?;
            if opaque {
                marker(&path.join(".wh..wh..opq")).write(out)?;
            }
        }
        Kind::File => {
            if metadata.links > 1 {
                if let Some(first) = so_far.names.get(&metadata.inode) {
                    header.kind = b'1';
                    header.link.clone_from(first);
                    header.write(out)?;
                    return Ok(());
                }
                so_far.names.insert(metadata.inode, text.to_vec());
            }
            header.kind = b'0';
            header.size = metadata.size;
            let mut file = parent.open_file(name)?;
            header.xattrs = kept(xattrs_of(&file)?);
            header.write(out)?;
            let copied = copy_content(&mut file, metadata.size, out)?;
            if copied != metadata.size {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file shrank while it was read",
                ));
            }
            pad(out, copied)?;
        }
        Kind::Symlink => {
            header.kind = b'2';
            header.mode = 0o777;
            header.link = parent.read_link(name)?.into_os_string().as_bytes().to_vec();
            header.write(out)?;
        }
        Kind::Special => write_special(path, metadata, header, out)?,
    }
    Ok(())
}

/// Copies the first `size` bytes of a file, or as many as there are, and returns how many that were.
pub(crate) fn copy_content(content: &mut dyn Read, size: u64, out: &mut dyn Write) -> io::Result<u64> {
    /// So much is copied in a few steps as it is.
    const SHORT: u64 = 64 << 10;
    let mut content = content.take(size);
    if size <= SHORT {
        return io::copy(&mut content, out);
    }
    io::copy(&mut BufReader::with_capacity(BUFFER, content), out)
}

/// Returns whether it is a socket, which means nothing to anybody but the process that made it.
pub(crate) fn is_socket(metadata: &Metadata) -> bool {
    metadata.mode & TYPE == 0o140_000
}

fn write_special(
    path: &Path,
    metadata: &Metadata,
    mut header: Header,
    out: &mut dyn Write,
) -> io::Result<()> {
    header.kind = match metadata.mode & TYPE {
        CHARACTER_DEVICE if metadata.rdev == 0 => {
            let name = path.file_name().unwrap_or_default();
            let hidden = [OsStr::new(".wh."), name].into_iter().collect::<std::ffi::OsString>();
            return marker(&path.with_file_name(hidden)).write(out);
        }
        CHARACTER_DEVICE => b'3',
        BLOCK_DEVICE => b'4',
        FIFO => b'6',
        _ => return Ok(()),
    };
    if header.kind != b'6' {
        header.device = device_numbers(metadata.rdev);
    }
    header.write(out)
}

/// An empty file that stands for something that is not there.
fn marker(path: &Path) -> Header {
    Header { path: path.as_os_str().as_bytes().to_vec(), kind: b'0', ..Header::default() }
}

/// The overlay's own attributes are not the image's.
pub(crate) fn kept(xattrs: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    xattrs.into_iter().filter(|(name, _)| !is_of_overlay(name)).collect()
}

/// Returns whether an extended attribute is one that overlayfs gives a meaning to.
pub(crate) fn is_of_overlay(name: &str) -> bool {
    name.starts_with("user.overlay.") || name.starts_with("trusted.overlay.")
}

/// Spec: `makedev(3)` of glibc, 12 bits of major and 20 of minor number in Linux.
fn device_numbers(device: u64) -> (u64, u64) {
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    (major, minor)
}

/// Returns the device number of a major and a minor number.
pub(crate) fn device_of((major, minor): (u64, u64)) -> u64 {
    ((major & 0xfff) << 8) | ((major & !0xfff) << 32) | (minor & 0xff) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_come_back() {
        for pair in [(1, 3), (8, 0), (136, 5), (253, 70_000)] {
            assert_eq!(device_numbers(device_of(pair)), pair);
        }
    }
}

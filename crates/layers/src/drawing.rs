//! Files that become part of a layer straight from where they are, without being written to its tree first.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use shipway_linux::Attributes;
use shipway_oci::Digest;
use shipway_store::LayerId;

use crate::earlier::Earlier;
use crate::serialise::{copy_content, kept};
use crate::tar_header::{Header, pad};

/// Something that fills a directory of a layer that is there and has nothing in it.
#[derive(Clone, Copy)]
pub struct Drawing<'a> {
    /// The directory, relative to the root of the layer.
    pub top: &'a Path,
    /// Says what is in it: parents first, the names of each directory in byte order. It may be called on another thread.
    pub draw: &'a (dyn Fn(&mut Pencil<'_>) -> io::Result<()> + Sync),
    /// A layer that may have many of the same files. See [`Pencil::again`].
    pub earlier: Option<&'a LayerId>,
}

impl std::fmt::Debug for Drawing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drawing").field("top", &self.top).finish_non_exhaustive()
    }
}

/// Takes what is drawn. Paths are relative to the root of the layer.
pub struct Pencil<'a> {
    out: &'a mut dyn Write,
    /// Times after this one become it.
    latest_mtime: Option<i64>,
    earlier: Option<Earlier<'a>>,
}

impl<'a> Pencil<'a> {
    pub(crate) fn new(
        out: &'a mut dyn Write,
        latest_mtime: Option<i64>,
        earlier: Option<Earlier<'a>>,
    ) -> Self {
        Self { out, latest_mtime, earlier }
    }

    /// Draws a directory.
    pub fn directory(&mut self, path: &Path, attributes: &Attributes, mtime: i64) -> io::Result<()> {
        let mut header = self.header(path, attributes, mtime);
        header.path.push(b'/');
        header.kind = b'5';
        header.write(self.out)
    }

    /// Draws a file of the first `size` bytes that can be read. Fails with [`io::ErrorKind::UnexpectedEof`] where there are fewer.
    pub fn file(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        mtime: i64,
        (size, content): (u64, &mut dyn Read),
    ) -> io::Result<()> {
        let header = Header { kind: b'0', size, ..self.header(path, attributes, mtime) };
        header.write(self.out)?;
        let copied = copy_content(content, size, self.out)?;
        if copied != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was read"));
        }
        pad(self.out, size)
    }

    /// Draws a file of `size` bytes that have this digest, and without attributes, from the earlier layer. Returns `false` where that has no
    /// such file at this path: nothing is drawn then.
    pub fn again(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        mtime: i64,
        (size, digest): (u64, Digest),
    ) -> io::Result<bool> {
        let Some(earlier) = &mut self.earlier else { return Ok(false) };
        let Some(content) = earlier.find(path, size, digest) else { return Ok(false) };
        let header = Header { kind: b'0', size, ..header(path, attributes, mtime, self.latest_mtime) };
        header.write(self.out)?;
        self.out.write_all(content)?;
        pad(self.out, size)?;
        Ok(true)
    }

    /// Draws another name of a file that was drawn before.
    pub fn hard_link(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        mtime: i64,
        first: &Path,
    ) -> io::Result<()> {
        let mut header = self.header(path, attributes, mtime);
        // As the canonical archive has it: the first name says all of them.
        header.xattrs = Vec::new();
        Header { kind: b'1', link: bytes(first), ..header }.write(self.out)
    }

    /// Draws a symlink.
    pub fn symlink(&mut self, path: &Path, owner: (u32, u32), mtime: i64, target: &Path) -> io::Result<()> {
        let attributes = Attributes { uid: owner.0, gid: owner.1, mode: 0o777, xattrs: Vec::new() };
        let header = self.header(path, &attributes, mtime);
        Header { kind: b'2', link: bytes(target), ..header }.write(self.out)
    }

    fn header(&self, path: &Path, attributes: &Attributes, mtime: i64) -> Header {
        header(path, attributes, mtime, self.latest_mtime)
    }
}

fn header(path: &Path, attributes: &Attributes, mtime: i64, latest_mtime: Option<i64>) -> Header {
    let mut xattrs = kept(attributes.xattrs.clone());
    xattrs.sort();
    Header {
        path: bytes(path),
        mode: attributes.mode & 0o7777,
        uid: attributes.uid.into(),
        gid: attributes.gid.into(),
        mtime: latest_mtime.map_or(mtime, |latest| mtime.min(latest)),
        xattrs,
        ..Header::default()
    }
}

impl std::fmt::Debug for Pencil<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pencil")
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    OsStr::as_bytes(path.as_os_str()).to_vec()
}

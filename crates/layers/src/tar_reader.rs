//! The one reader of tar archives: strict, so that nobody else can understand the same bytes as other files.
//!
//! Read: old (v7) headers, ustar, GNU long names and binary numbers, PAX records. Refused by name: archives of several volumes,
//! incremental dumps, and in layers sparse files. Refused as malformed: wrong sums, numbers and records that are not exactly right, two
//! headers that speak of the same thing, content where a kind of entry has none. Where a PAX record and the header differ, the
//! record counts, as POSIX says.
//!
//! Spec: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".

mod block;
mod number;
mod pax;
mod sparse;

use std::io::{self, BufRead, Write};

use self::block::{BLOCK, Header};
use self::pax::Pax;
use self::sparse::{Map, MapText, SparseRecords};
use crate::refusal::Refusal;

/// Largest header with long names or PAX records. Compat: Go's archive/tar.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// So many headers may speak of the whole archive.
const GLOBAL_LIMIT: u32 = 1000;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Link,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// One entry, with all headers that speak of it taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) path: Vec<u8>,
    /// Target of a hard or symbolic link.
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// Headers that were read and wait for the entry that they speak of.
#[derive(Debug, Default)]
struct Pending {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

/// An archive on its way.
pub(crate) struct TarReader<'a> {
    input: &'a mut dyn BufRead,
    /// Bytes of the content of the entry that was returned last.
    left: u64,
    /// And what fills its last block.
    padding: u64,
    /// Bytes read.
    position: u64,
    /// Headers for the whole archive that may still come.
    globals: u32,
    /// Sparse files are taken, and what is said of the whole archive is passed over.
    lenient: bool,
    /// Which parts the content at hand has of its file.
    sparse: Option<Map>,
}

impl<'a> TarReader<'a> {
    pub(crate) fn new(input: &'a mut dyn BufRead) -> Self {
        let (lenient, sparse) = (false, None);
        Self { input, left: 0, padding: 0, position: 0, globals: GLOBAL_LIMIT, lenient, sparse }
    }

    /// Reads files that are no layer. Compat: Docker, sparse files of PAX are read, and records for the whole archive mean nothing.
    pub(crate) fn lenient(self, lenient: bool) -> Self {
        Self { lenient, ..self }
    }

    /// Says where the reader is, for errors about what has no name yet.
    pub(crate) fn place(&self) -> String {
        format!("at byte {}", self.position)
    }

    /// Returns the next entry; what is left of the content of the one before is skipped.
    ///
    /// The archive ends with two blocks of zeros. Compat: everybody: also where the input ends between two entries.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Refusal> {
        self.skip_content()?;
        let mut pending = Pending::default();
        loop {
            let Some(block) = self.block()? else {
                return if pending.is_empty() {
                    Ok(None)
                } else {
                    Err(Refusal::Reason("the archive ends after a header that belongs to another"))
                };
            };
            let header = Header::parse(&block).map_err(Refusal::Reason)?;
            match header.kind {
                b'x' => self.local(&header, &mut pending)?,
                b'g' => self.global(&header, &pending)?,
                b'L' => {
                    refuse_second(pending.name.is_some() || pending.pax.is_some())?;
                    pending.name = Some(self.long_name(&header)?);
                }
                b'K' => {
                    refuse_second(pending.link.is_some() || pending.pax.is_some())?;
                    pending.link = Some(self.long_name(&header)?);
                }
                _ => match self.entry(header, std::mem::take(&mut pending))? {
                    Some(entry) => return Ok(Some(entry)),
                    None => continue,
                },
            }
        }
    }

    /// Returns where in the archive the content is of the entry that was returned last, and its length, both in bytes, before any of it
    /// is read.
    pub(crate) fn content(&self) -> (u64, u64) {
        (self.position, self.left)
    }

    /// Writes the content of the entry that was returned last to `out`.
    pub(crate) fn copy_content(&mut self, out: &mut dyn Write) -> Result<(), Refusal> {
        let Some(Map { size, parts }) = self.sparse.take() else { return self.copy(self.left, out) };
        let mut at = 0;
        for (offset, length) in parts {
            write_zeros(offset - at, out)?;
            self.copy(length, out)?;
            at = offset + length;
        }
        write_zeros(size - at, out)
    }

    /// Writes the next bytes of the content to `out`.
    fn copy(&mut self, mut wanted: u64, out: &mut dyn Write) -> Result<(), Refusal> {
        while wanted > 0 {
            let buffer = fill(self.input)?;
            let length = buffer.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
            out.write_all(&buffer[..length])?;
            self.consume(length);
            wanted -= length as u64;
            self.left -= length as u64;
        }
        Ok(())
    }

    /// Returns the entry of a header; `None` for one that means nothing.
    fn entry(&mut self, header: Header, pending: Pending) -> Result<Option<Entry>, Refusal> {
        let mut pax = pending.pax.unwrap_or_default();
        let kind = kind_of(&header)?;
        let mut sparse = pax.sparse.take();
        if sparse.is_some() && !(self.lenient && kind == EntryKind::File) {
            return Err(Refusal::Reason(pax::SPARSE));
        }
        let size = pax.size.unwrap_or(header.size);
        if kind != EntryKind::File && size != 0 {
            return Err(Refusal::Reason("content behind an entry that has none"));
        }
        let real_name = sparse.as_mut().and_then(|sparse| sparse.name.take());
        let path = real_name.or(pax.path).or(pending.name).unwrap_or(header.path);
        if path.is_empty() && kind == EntryKind::File && size == 0 {
            // Compat: Docker passes over it.
            return Ok(None);
        }
        if path.is_empty() {
            return Err(Refusal::Reason("an entry without a name"));
        }
        if kind == EntryKind::File && path.ends_with(b"/") {
            return Err(Refusal::Reason("a file whose name ends as that of a directory"));
        }
        let link = pax.link.or(pending.link).unwrap_or(header.link);
        let is_link = matches!(kind, EntryKind::Link | EntryKind::Symlink);
        if is_link == link.is_empty() {
            return Err(Refusal::Reason("a link without a target, or a target without a link"));
        }
        // The largest number is nobody: it means "leave it" to the kernel.
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let owner = |number| id(number).ok_or(Refusal::Reason("an owner that there cannot be"));
        let device = match kind {
            EntryKind::Character | EntryKind::Block => {
                header.device.ok_or(Refusal::Reason("a device number that is not a number"))?
            }
            _ => (0, 0),
        };
        self.begin(size);
        self.sparse = sparse.map(|records| self.map(records)).transpose()?;
        let size = self.sparse.as_ref().map_or(size, |map| map.size);
        Ok(Some(Entry {
            kind,
            path,
            link,
            mode: header.mode,
            uid: owner(pax.uid.unwrap_or(header.uid))?,
            gid: owner(pax.gid.unwrap_or(header.gid))?,
            size,
            mtime: pax.mtime.unwrap_or((header.mtime, 0)),
            device,
            xattrs: pax.xattrs,
        }))
    }

    /// Begins with content of so many bytes.
    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// Returns the map of a sparse file, which may be what its content begins with.
    fn map(&mut self, records: SparseRecords) -> Result<Map, Refusal> {
        if !records.is_in_content().map_err(Refusal::Reason)? {
            return records.map(None, self.left).map_err(Refusal::Reason);
        }
        let mut text = MapText::default();
        loop {
            let mut block = [0; BLOCK];
            if text.length() as u64 > EXTENSION_LIMIT || self.left < BLOCK as u64 {
                return Err(Refusal::Reason("a sparse file without a map of its parts"));
            }
            self.copy(BLOCK as u64, &mut block.as_mut_slice())?;
            if let Some(numbers) = text.take(&block).map_err(Refusal::Reason)? {
                return records.map(Some(numbers), self.left).map_err(Refusal::Reason);
            }
        }
    }

    fn local(&mut self, header: &Header, pending: &mut Pending) -> Result<(), Refusal> {
        refuse_second(!pending.is_empty())?;
        let records = self.extension(header)?;
        pending.pax = Some(Pax::parse(&records).map_err(Refusal::Reason)?);
        Ok(())
    }

    /// Records for the whole archive: only those that say nothing about its files. Readers do not agree on what others mean.
    fn global(&mut self, header: &Header, pending: &Pending) -> Result<(), Refusal> {
        refuse_second(!pending.is_empty())?;
        self.globals = self.globals.checked_sub(1).ok_or(Refusal::Reason("too many global headers"))?;
        let records = self.extension(header)?;
        let look = if self.lenient { pax::pass_global } else { pax::refuse_global };
        look(&records).map_err(Refusal::Reason)
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, Refusal> {
        let mut name = self.extension(header)?;
        while name.last() == Some(&0) {
            name.pop();
        }
        if name.is_empty() || name.contains(&0) {
            return Err(Refusal::Reason("a long name that is not one"));
        }
        Ok(name)
    }

    /// Reads the content of a header that belongs to another one.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Refusal> {
        if header.size > EXTENSION_LIMIT {
            return Err(Refusal::Reason("a header of more than a mebibyte"));
        }
        self.begin(header.size);
        let mut content = Vec::new();
        self.copy_content(&mut content)?;
        self.skip_content()?;
        Ok(content)
    }

    fn skip_content(&mut self) -> Result<(), Refusal> {
        self.sparse = None;
        self.left += std::mem::take(&mut self.padding);
        self.copy(self.left, &mut io::sink())
    }

    /// Returns the next block, or `None` at the end of the archive.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Refusal> {
        let mut block = [0; BLOCK];
        if !self.fill_block(&mut block)? {
            return Ok(None);
        }
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        if self.fill_block(&mut block)? && block != [0; BLOCK] {
            return Err(Refusal::Reason("a lone block of zeros between entries"));
        }
        Ok(None)
    }

    /// Fills a block; `false` if the input ended before it.
    fn fill_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Refusal> {
        let mut filled = 0;
        while filled < BLOCK {
            let buffer = match fill(self.input) {
                Err(Refusal::Reason(_)) if filled == 0 => return Ok(false),
                other => other?,
            };
            let length = buffer.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&buffer[..length]);
            self.consume(length);
            filled += length;
        }
        Ok(true)
    }

    fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.position += length as u64;
    }
}

fn write_zeros(mut count: u64, out: &mut dyn Write) -> Result<(), Refusal> {
    const ZEROS: [u8; 1 << 14] = [0; 1 << 14];
    while count > 0 {
        let length = ZEROS.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        out.write_all(&ZEROS[..length])?;
        count -= length as u64;
    }
    Ok(())
}

/// Returns bytes that are there; none means that the archive was cut.
fn fill(input: &mut dyn BufRead) -> Result<&[u8], Refusal> {
    loop {
        // Asked twice, because a borrow that is returned cannot also be tried again.
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Refusal::Input(error)),
            Ok([]) => return Err(Refusal::Reason("the archive ends in the middle")),
            Ok(_) => break,
        }
    }
    input.fill_buf().map_err(Refusal::Input)
}

fn refuse_second(already: bool) -> Result<(), Refusal> {
    if already { Err(Refusal::Reason("two headers that speak of the same entry")) } else { Ok(()) }
}

fn kind_of(header: &Header) -> Result<EntryKind, Refusal> {
    Ok(match header.kind {
        // Before ustar a directory was a file whose name ends in a slash.
        0 if header.path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' => EntryKind::File,
        b'1' => EntryKind::Link,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::Character,
        b'4' => EntryKind::Block,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'S' => return Err(Refusal::Reason(pax::SPARSE)),
        b'M' => return Err(Refusal::Reason("an archive of several volumes, which is not supported")),
        b'D' => return Err(Refusal::Reason("an incremental dump, which is not supported")),
        b'V' => return Err(Refusal::Reason("a volume label, which is not supported")),
        _ => return Err(Refusal::Reason("an entry of a kind that a layer cannot have")),
    })
}

#[cfg(test)]
mod tests;

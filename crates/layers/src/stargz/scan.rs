//! What a tar has, and where in it the contents of files are.

use std::fs::File;
use std::io::{self, BufReader, Seek as _, Write};

use shipway_oci::{Digest, Hasher};

use super::toc::TocEntry;
use super::{LANDMARK, PREFETCH_LANDMARK, TOC, WriteStargzError};
use crate::refusal::Refusal;
use crate::tar_reader::{Entry, EntryKind, TarReader};

/// Longest piece of a file. Compat: BuildKit, 4 MiB.
pub(super) const PIECE: u64 = 4 << 20;

/// So many may be in a table, which is held in memory.
const ENTRIES: usize = 1 << 20;

/// A piece of the content of a file.
pub(super) struct Piece {
    /// What the table says of it.
    pub(super) entry: usize,
    /// Where in the tar it begins.
    pub(super) start: u64,
}

/// What a tar has.
#[derive(Default)]
pub(super) struct Scan {
    pub(super) entries: Vec<TocEntry>,
    pub(super) pieces: Vec<Piece>,
    /// Bytes of the tar.
    pub(super) length: u64,
}

impl Scan {
    pub(super) fn of(mut tar: &File) -> Result<Self, WriteStargzError> {
        let unreadable = |source| WriteStargzError::Read { source };
        tar.rewind().map_err(unreadable)?;
        let length = tar.metadata().map_err(unreadable)?.len();
        let mut scan = Self { length, ..Self::default() };
        let mut input = BufReader::with_capacity(1 << 18, tar);
        let mut archive = TarReader::new(&mut input);
        loop {
            let next = archive.next();
            let entry = next.map_err(|refusal| WriteStargzError::Tar(refusal.at(&archive.place())))?;
            let Some(entry) = entry else { return Ok(scan) };
            if scan.entries.len() >= ENTRIES {
                return Err(WriteStargzError::TooMany { most: ENTRIES });
            }
            let name = scan.add(&entry)?;
            let content = scan.content(&entry, &mut archive);
            content.map_err(|refusal| WriteStargzError::Tar(refusal.of(&name)))?;
        }
    }

    /// Adds what is told of an entry, and returns its name.
    fn add(&mut self, entry: &Entry) -> Result<String, WriteStargzError> {
        let refused =
            |name: &[u8]| WriteStargzError::Name { name: String::from_utf8_lossy(name).into_owned() };
        let told = TocEntry::of(entry).map_err(refused)?;
        let mut parts = told.name.split('/').filter(|part| !matches!(*part, "" | "."));
        let name = told.name.clone();
        let is_reserved = |part: &str| [TOC, LANDMARK, PREFETCH_LANDMARK].contains(&part);
        if parts.next().is_some_and(is_reserved) && parts.next().is_none() {
            return Err(refused(name.as_bytes()));
        }
        self.entries.push(told);
        Ok(name)
    }

    /// Adds the pieces of a file's content.
    fn content(&mut self, entry: &Entry, archive: &mut TarReader<'_>) -> Result<(), Refusal> {
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let (start, size) = archive.content();
        let mut digests = Digests::default();
        archive.copy_content(&mut digests)?;
        let (whole, pieces) = digests.finish();
        let first = self.entries.len() - 1;
        self.entries[first].digest = Some(whole);
        let name = self.entries[first].name.clone();
        for (digest, at) in pieces.into_iter().zip((0_u64..).map(|number| number * PIECE)) {
            if at > 0 {
                self.entries.push(TocEntry::piece_of(&name));
            }
            let place = self.entries.len() - 1;
            let told = &mut self.entries[place];
            told.chunk_digest = Some(digest);
            told.chunk_offset = Some(at).filter(|at| *at > 0);
            // The last one goes to the end.
            told.chunk_size = Some(PIECE).filter(|piece| at + piece < size);
            self.pieces.push(Piece { entry: place, start: start + at });
        }
        Ok(())
    }
}

/// Digests of a content and of its pieces.
#[derive(Default)]
struct Digests {
    whole: Hasher,
    piece: Hasher,
    /// Bytes of the piece.
    length: u64,
    pieces: Vec<Digest>,
}

impl Digests {
    fn end_piece(&mut self) {
        self.pieces.push(std::mem::take(&mut self.piece).finish());
        self.length = 0;
    }

    fn finish(mut self) -> (Digest, Vec<Digest>) {
        if self.length > 0 {
            self.end_piece();
        }
        (self.whole.finish(), self.pieces)
    }
}

impl Write for Digests {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(PIECE - self.length).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        self.whole.update(bytes);
        self.piece.update(bytes);
        self.length += bytes.len() as u64;
        if self.length == PIECE {
            self.end_piece();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

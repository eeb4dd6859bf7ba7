//! What has been found in an image, and how much more may be read.

use std::fmt;
use std::io;
use std::path::Path;

use shipway_linux::Root;

use crate::Package;
use crate::files;

/// Limits of all that is read of an image: packages, bytes that are read or unpacked, and bytes of what packages say.
const PACKAGES: usize = 100_000;
const BYTES: u64 = 256 << 20;
const TEXTS: usize = 32 << 20;
/// So many notes are kept.
const NOTES: usize = 100;

/// What has been found in an image, and how much more may be read.
pub(crate) struct Listing<'s> {
    /// Asked again and again whether it is to end.
    stop: &'s dyn Fn() -> bool,
    pub(crate) packages: Vec<Package>,
    notes: Vec<String>,
    /// Notes that are not kept.
    untold: usize,
    pub(crate) bytes_left: u64,
    texts_left: usize,
    /// Why nothing more is looked at.
    full: Option<String>,
}

impl fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listing({} packages, {} bytes left)", self.packages.len(), self.bytes_left)
    }
}

impl<'s> Listing<'s> {
    pub(crate) fn new(stop: &'s dyn Fn() -> bool) -> Self {
        Self {
            stop,
            packages: Vec::new(),
            notes: Vec::new(),
            untold: 0,
            bytes_left: BYTES,
            texts_left: TEXTS,
            full: None,
        }
    }

    /// Returns whether nothing more is to be looked at.
    pub(crate) fn is_over(&self) -> bool {
        self.full.is_some() || (self.stop)()
    }

    pub(crate) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES {
            self.notes.push(note);
        } else {
            self.untold += 1;
        }
    }

    /// Notes what a file was not read for.
    pub(crate) fn unread(&mut self, path: &Path, error: &dyn fmt::Display) {
        self.note(format!("/{} could not be read: {error}", path.display()));
    }

    /// Adds a package. Returns whether more may come.
    pub(crate) fn add(&mut self, package: Package) -> bool {
        let size = package.text_len();
        if self.packages.len() >= PACKAGES || size > self.texts_left {
            self.full.get_or_insert_with(|| {
                format!(
                    "there are more than {PACKAGES} packages, or {TEXTS} bytes of what they say: the rest is not listed"
                )
            });
        }
        if self.is_over() {
            return false;
        }
        self.texts_left -= size;
        self.packages.push(package);
        true
    }

    /// Reads a regular file as text as [`files::read`] does; nothing if that would be too much.
    pub(crate) fn read(&mut self, root: &Root, path: &Path, limit: u64) -> io::Result<Option<String>> {
        if self.is_over() {
            return Ok(None);
        }
        let allowed = limit.min(self.bytes_left);
        let found = files::read(root, path, allowed);
        match &found {
            Ok(Some(text)) => self.charge(text.len()),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                self.charge(usize::try_from(allowed).unwrap_or(usize::MAX));
                if allowed < limit {
                    return Ok(None);
                }
            }
            _ => {}
        }
        found
    }

    /// Counts bytes that were read.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes as u64);
        if self.bytes_left == 0 {
            self.full.get_or_insert_with(|| {
                format!("more than {BYTES} bytes were to be read: the rest was not looked at")
            });
        }
    }

    /// Returns the packages, sorted, and the notes, the one of limits first. `None` if it was stopped.
    pub(crate) fn finish(mut self) -> Option<(Vec<Package>, Vec<String>)> {
        if (self.stop)() {
            return None;
        }
        self.packages.sort();
        self.packages.dedup();
        let more = (self.untold > 0).then(|| format!("{} more files could not be read", self.untold));
        Some((self.packages, self.full.into_iter().chain(self.notes).chain(more).collect()))
    }
}

#[cfg(test)]
impl Listing<'static> {
    /// One that nothing stops.
    pub(crate) fn endless() -> Self {
        Self::new(&|| false)
    }

    /// Returns what `read` finds, unsorted, and its notes.
    pub(crate) fn of(read: impl FnOnce(&mut Self)) -> (Vec<Package>, Vec<String>) {
        let mut listing = Self::endless();
        read(&mut listing);
        (listing.packages, listing.full.into_iter().chain(listing.notes).collect())
    }
}

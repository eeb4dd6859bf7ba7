//! A directory with very many files, which goes into a layer without being written to its tree first.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use shipway_layers::Pencil;
use shipway_linux::{Attributes, Kind, xattrs_of};

use super::gather::{kept, kept_xattrs};
use super::{Entry, Item, ModeChange, Tree};
use crate::Problem;
use crate::request::Stop;

/// From so many on it is worth it, and up to so many the layer's index can have them.
const ENTRIES: std::ops::Range<usize> = 200..900_000;

/// Archives have budgets; what is larger or deeper than this is left to the tree.
const BYTES: u64 = 32 << 30;
const DEPTH: usize = 256;

/// What fills a directory that a copy has made.
pub(crate) struct Filling<'a> {
    /// The directory in the image, without a leading slash.
    pub(crate) top: PathBuf,
    tree: &'a Tree<'a>,
    item: &'a Item,
    owner: Option<(u32, u32)>,
    mode: Option<ModeChange>,
    stop: &'a Stop,
    /// Why it could not be drawn.
    problem: Mutex<Option<Problem>>,
}

/// Returns whether an item is a directory of the kind that is drawn.
pub(crate) fn can_draw(item: &Item) -> bool {
    // Devices, and names that would mean something else in an archive, are left to the tree.
    let is_plain = |entry: &Entry| {
        let mut names = entry.path.iter();
        entry.metadata.kind != Kind::Special
            && names.clone().count() < DEPTH
            && !names.any(|name| name.as_encoded_bytes().starts_with(b".wh."))
    };
    let bytes: u64 = item.entries.iter().map(|entry| entry.metadata.size).sum();
    item.is_directory()
        && item.kept.is_none()
        && ENTRIES.contains(&item.entries.len())
        && bytes < BYTES
        && item.entries.iter().all(is_plain)
}

impl<'a> Filling<'a> {
    pub(super) fn new(
        (tree, item): (&'a Tree<'a>, &'a Item),
        top: &Path,
        (owner, mode): (Option<(u32, u32)>, Option<ModeChange>),
        stop: &'a Stop,
    ) -> Self {
        let top = top.strip_prefix("/").unwrap_or(top).to_owned();
        Self { top, tree, item, owner, mode, stop, problem: Mutex::default() }
    }

    /// Draws everything; what is wrong is kept for [`Filling::problem`].
    pub(crate) fn draw(&self, pencil: &mut Pencil<'_>) -> io::Result<()> {
        let mut entries: Vec<&Entry> =
            self.item.entries.iter().filter(|entry| !entry.path.as_os_str().is_empty()).collect();
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        let mut links: HashMap<(u64, u64), PathBuf> = HashMap::new();
        entries.into_iter().try_for_each(|entry| self.entry(entry, &mut links, pencil)).map_err(|failure| {
            let (error, problem) = match failure {
                Failure::Pencil(error) => return error,
                Failure::Source(problem) => (io::Error::other(problem.to_string()), problem),
            };
            *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
            error
        })
    }

    /// Returns what was wrong with the files, if that is why they were not drawn.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn entry(
        &self,
        entry: &Entry,
        links: &mut HashMap<(u64, u64), PathBuf>,
        pencil: &mut Pencil<'_>,
    ) -> Result<(), Failure> {
        if self.stop.is_set() {
            return Err(Problem::Cancelled.into());
        }
        let (metadata, to) = (&entry.metadata, self.top.join(&entry.path));
        let from = self.item.base.join(&entry.path);
        let (uid, gid) = match self.owner {
            Some(owner) => owner,
            None if self.tree.keep_owner => (metadata.uid, metadata.gid),
            None => (0, 0),
        };
        let mode = metadata.mode & 0o7777;
        let mode = self.mode.as_ref().map_or(mode, |change| change.apply(mode, metadata.is_directory()));
        let mut attributes = Attributes { uid, gid, mode, xattrs: Vec::new() };
        let mtime = metadata.mtime.0;
        if metadata.is_directory() {
            attributes.xattrs = kept_xattrs(self.tree, &from)?;
            return Ok(pencil.directory(&to, &attributes, mtime)?);
        }
        // As in the canonical archive, only files have more names.
        if metadata.kind == Kind::Symlink {
            let target = entry.link.as_deref().unwrap_or(Path::new(""));
            return Ok(pencil.symlink(&to, (uid, gid), mtime, target)?);
        }
        let file_id = (metadata.device, metadata.inode);
        if let Some(first) = links.get(&file_id).filter(|_| metadata.links > 1) {
            return Ok(pencil.hard_link(&to, &attributes, mtime, first)?);
        }
        if metadata.links > 1 {
            links.insert(file_id, to.clone());
        }
        // Where there are attributes they are part of the digest, and it is not that of the content alone.
        if let Some(digest) = entry.digest
            && pencil.again(&to, &attributes, mtime, (metadata.size, digest))?
        {
            return Ok(());
        }
        let mut source = self.tree.root.open_file(&from).map_err(Problem::io("read", &from))?;
        attributes.xattrs = kept(xattrs_of(&source).map_err(Problem::io("read", &from))?);
        match pencil.file(&to, &attributes, mtime, (metadata.size, &mut source)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(changed(&from).into()),
            other => other?,
        }
        // The key says what was read before; a file that changed since must not be kept under it.
        let now = source.metadata().map_err(Problem::io("read", &from))?;
        let same = (now.dev(), now.ino(), now.size()) == (metadata.device, metadata.inode, metadata.size)
            && (now.ctime(), now.ctime_nsec()) == (metadata.ctime.0, i64::from(metadata.ctime.1));
        if self.tree.stats.is_some() && !same { Err(changed(&from).into()) } else { Ok(()) }
    }
}

fn changed(path: &Path) -> Problem {
    Problem::invalid(format!("`{}` changed while the build read it", path.display()))
}

/// Who is to blame.
enum Failure {
    /// What is read.
    Source(Problem),
    /// What is written, or nobody wants it any more.
    Pencil(io::Error),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Source(problem)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Pencil(error)
    }
}

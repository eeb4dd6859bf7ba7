//! COPY and ADD: what is read, and how it is written into an image.

mod crowd;
mod draw;
mod gather;
mod hash;
mod matching;
mod mode;
mod owner;
mod resolve;
mod scan;
mod unpack;
mod write;

use std::path::PathBuf;

use shipway_linux::{Metadata, Root};
use shipway_oci::Digest;

use crate::context::{Ignore, StatCache};

pub(crate) use draw::{Filling, can_draw};
pub(crate) use gather::{Gather, digest_of, digest_of_commit};
pub(crate) use hash::hash_all;
pub(crate) use mode::ModeChange;
pub(crate) use owner::resolve_owner;
pub(crate) use resolve::resolve_in;
pub use unpack::is_tar_header;
pub(crate) use unpack::{UNPACKING, is_archive, unpack_archive};
pub(crate) use write::{Apart, Writer};

/// Something that is copied from: the context, or the file system of a stage or image.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a Root,
    pub(crate) ignore: Option<&'a Ignore>,
    pub(crate) stats: Option<&'a StatCache>,
    /// Owners are kept, as between stages; files of the context become root's.
    pub(crate) keep_owner: bool,
    /// For messages: `the build context`, `stage build`.
    pub(crate) place: String,
}

/// One source after wildcards and links are resolved.
#[derive(Debug)]
pub(crate) struct Item {
    /// The last part of the path as it was asked for.
    pub(crate) name: PathBuf,
    /// Where it is in its tree.
    pub(crate) base: PathBuf,
    /// The thing itself at path "", then what is below it, parents first.
    pub(crate) entries: Vec<Entry>,
    /// With `--parents`: the path below the destination, and its directories.
    pub(crate) kept: Option<Kept>,
}

/// Directories that `--parents` keeps.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    /// Paths below the destination, where they are in the tree, and what they are.
    pub(crate) parents: Vec<(PathBuf, PathBuf, Entry)>,
}

/// One file, directory, link or node.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Below the item.
    pub(crate) path: PathBuf,
    pub(crate) metadata: Metadata,
    /// Target of a symlink.
    pub(crate) link: Option<PathBuf>,
    /// Content and attributes of a file, attributes of a directory.
    pub(crate) digest: Option<Digest>,
    /// A directory that is out itself and is made only because something below it is in.
    pub(crate) implied: bool,
}

impl Item {
    /// Returns what makes the destination and nothing in it.
    pub(crate) fn nothing() -> Self {
        let kept = Kept { path: PathBuf::new(), parents: Vec::new() };
        Self { name: PathBuf::new(), base: PathBuf::new(), entries: Vec::new(), kept: Some(kept) }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.entries.first().is_some_and(|entry| entry.metadata.is_directory())
    }
}

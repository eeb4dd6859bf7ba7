//! The build context: a directory that is read in place.

mod glob;
mod ignore;
mod stat_cache;

use std::path::{Path, PathBuf};

use shipway_linux::Root;

pub(crate) use glob::{Glob, has_wildcards};
pub(crate) use ignore::{Ignore, Matched, PatternList};
pub(crate) use stat_cache::StatCache;

use crate::BuildError;
use crate::copy::Tree;

/// An opened context.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) root: Root,
    pub(crate) ignore: Ignore,
    pub(crate) stats: StatCache,
}

impl Context {
    /// Opens the directory, reads the ignore file that belongs to the Dockerfile or the directory, and what is known about the files.
    pub(crate) fn open(
        directory: &Path,
        dockerfile: Option<&Path>,
        cache: &Path,
    ) -> Result<Self, BuildError> {
        let fail = |source| BuildError::OpenContext { path: directory.to_owned(), source };
        let canonical = fs_err::canonicalize(directory).map_err(fail)?;
        let root = Root::open(&canonical).map_err(fail)?;
        let ignore = Ignore::load(directory, dockerfile)?;
        let stats = StatCache::load(cache, &canonical);
        Ok(Self { root, ignore, stats })
    }

    /// Returns what copies read; `place` is how messages call it.
    pub(crate) fn tree(&self, place: String) -> Tree<'_> {
        let (root, ignore, stats) = (&self.root, Some(&self.ignore), Some(&self.stats));
        Tree { root, ignore, stats, keep_owner: false, place }
    }
}

/// Returns `<Dockerfile>.dockerignore` beside a Dockerfile.
fn own_ignore_file(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(".dockerignore");
    PathBuf::from(name)
}

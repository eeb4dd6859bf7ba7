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

/// An opened context.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) root: Root,
    pub(crate) ignore: Ignore,
    pub(crate) stats: StatCache,
}

impl Context {
    /// Opens the directory, reads the ignore file that belongs to the Dockerfile, and what is known about the files.
    pub(crate) fn open(directory: &Path, dockerfile: &Path, cache: &Path) -> Result<Self, BuildError> {
        let fail = |source| BuildError::OpenContext { path: directory.to_owned(), source };
        let canonical = fs_err::canonicalize(directory).map_err(fail)?;
        let root = Root::open(&canonical).map_err(fail)?;
        let ignore = Ignore::load(directory, dockerfile)?;
        let stats = StatCache::load(cache, &canonical);
        Ok(Self { root, ignore, stats })
    }
}

/// Returns `<Dockerfile>.dockerignore` beside a Dockerfile.
fn own_ignore_file(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(".dockerignore");
    PathBuf::from(name)
}

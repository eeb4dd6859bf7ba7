//! What the wildcards of COPY stand for.

use std::path::{Path, PathBuf};

use super::gather::{Gather, unescape};
use crate::Problem;
use crate::context::{Glob, has_wildcards};

impl Gather<'_> {
    /// Returns the paths below a directory that a word with wildcards may stand for; one without stands for itself.
    pub(super) fn matching(&self, top: &Path, path: &str) -> Result<Vec<PathBuf>, Problem> {
        let path = path.trim_start_matches('/');
        if !has_wildcards(path) {
            // Nothing is added for nothing, not even a slash.
            return Ok(vec![if path.is_empty() { top.to_owned() } else { top.join(unescape(path)) }]);
        }
        let mut found = vec![top.to_owned()];
        let mut is_behind_wildcard = false;
        for part in path.split('/') {
            if is_behind_wildcard && !self.parents {
                // Compat: BuildKit, there links are no way to anything.
                let mut ways = Vec::new();
                for way in found {
                    if self.is_plain_directory(&way)? {
                        ways.push(way);
                    }
                }
                found = ways;
            }
            is_behind_wildcard |= has_wildcards(part);
            if !has_wildcards(part) {
                let part = unescape(part);
                found.iter_mut().for_each(|path| path.push(&part));
                continue;
            }
            // Compat: here `**` is two stars of one directory, except with --parents.
            let crosses = part == "**" && self.parents;
            let glob = Glob::new(&part.replace("**", "*"))
                .map_err(|_bad| Problem::invalid(format!("the pattern `{path}` is malformed")))?;
            let mut next = Vec::new();
            for directory in found {
                if crosses {
                    next.extend(self.directories_below(&directory)?);
                    continue;
                }
                for name in self.names(&directory)? {
                    if glob.matches(&name.to_string_lossy()) {
                        next.push(directory.join(name));
                    }
                }
            }
            found = next;
        }
        Ok(found)
    }

    fn names(&self, directory: &Path) -> Result<Vec<std::ffi::OsString>, Problem> {
        let Some(resolved) = self.real(directory)? else { return Ok(Vec::new()) };
        match self.tree.root.metadata(&resolved).map_err(Problem::io("read", directory))? {
            Some(found) if found.is_directory() => {
                self.tree.root.names(&resolved).map_err(Problem::io("read", directory))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Returns whether what a path names is a directory itself, and no link to one.
    fn is_plain_directory(&self, path: &Path) -> Result<bool, Problem> {
        let Some(parent) = self.real(path.parent().unwrap_or(Path::new("")))? else { return Ok(false) };
        let at = parent.join(path.file_name().unwrap_or_default());
        let found = self.tree.root.metadata(&at).map_err(Problem::io("read", path))?;
        Ok(found.is_some_and(|found| found.is_directory()))
    }

    /// Returns whether one of the paths is there itself, wherever it leads.
    pub(super) fn is_any_there(&self, paths: &[PathBuf]) -> Result<bool, Problem> {
        for path in paths {
            let Some(parent) = self.real(path.parent().unwrap_or(Path::new("")))? else { continue };
            let at = parent.join(path.file_name().unwrap_or_default());
            let found = self.tree.root.metadata(&at).map_err(Problem::io("read", path))?;
            if found.is_some() && (!self.is_ignored(&at) || self.takes_back_below(&at)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether the directory is not there in which something was to match a wildcard. Compat: BuildKit, of a context only what
    /// matches is sent, and a directory in which nothing does is not, unless for something else.
    pub(super) fn lacks_directory(&self, word: &str) -> Result<bool, Problem> {
        let parts = word.trim_start_matches('/').split('/');
        let directory: PathBuf = parts.take_while(|part| !has_wildcards(part)).map(unescape).collect();
        if directory.as_os_str().is_empty() {
            return Ok(false);
        }
        let is_there = match self.real(&directory)? {
            Some(at) => self.tree.root.metadata(&at).map_err(Problem::io("read", &directory))?.is_some(),
            None => false,
        };
        Ok(!is_there || self.sent.is_some_and(|sent| !sent(&directory.to_string_lossy())))
    }

    fn directories_below(&self, top: &Path) -> Result<Vec<PathBuf>, Problem> {
        let mut all = vec![top.to_owned()];
        let mut at = 0;
        while let Some(directory) = all.get(at).cloned() {
            for name in self.names(&directory)? {
                let path = directory.join(name);
                let metadata = self.tree.root.metadata(&path).map_err(Problem::io("read", &path))?;
                if metadata.is_some_and(|found| found.is_directory()) {
                    all.push(path);
                }
            }
            at += 1;
        }
        Ok(all)
    }
}

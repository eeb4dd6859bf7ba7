//! From the words of COPY to a list of files with digests.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use shipway_linux::{Kind, Metadata};
use shipway_oci::{Digest, Hasher};

use super::resolve::resolve_by;
use super::{Entry, Item, Kept, Tree, resolve_in};
use crate::Problem;
use crate::context::{PatternList, has_wildcards};
use crate::request::Stop;
use crate::state::clean_path;

/// Reads what COPY names.
pub(crate) struct Gather<'a> {
    pub(crate) tree: &'a Tree<'a>,
    pub(crate) exclude: PatternList,
    pub(crate) parents: bool,
    /// Of the build's context: whether other sources name something of a directory, which is sent then, also if it is empty.
    pub(crate) sent: Option<&'a (dyn Fn(&str) -> bool + Sync)>,
    pub(crate) stop: &'a Stop,
}

impl fmt::Debug for Gather<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl Gather<'_> {
    /// Returns the items of one source word; a wildcard may have none. Files that must be read for that have no digests yet: see
    /// [`super::hash_all`].
    pub(crate) fn source(&self, word: &str) -> Result<Vec<Item>, Problem> {
        // What `..` takes away is no wildcard, see the key of a copy.
        let is_wild = if self.parents { has_wildcards(word) } else { has_wildcards(&clean_path(word)) };
        let (mut items, mut is_somewhere) = (Vec::new(), false);
        if self.parents {
            let (base, pattern) = word.split_once("/./").unwrap_or(("", word));
            for top in self.matching(Path::new(""), &clean_path(base))? {
                is_somewhere |= self.is_directory(&top)?;
                for found in self.matching(&top, &clean_path(pattern))? {
                    match self.item(&found, Some(&top))? {
                        // A link to nothing is a file as others, unless it is named itself.
                        None if is_wild && self.leads_nowhere(&found)? => {
                            items.push(self.link_itself(&found, &top)?);
                        }
                        item => items.extend(item),
                    }
                }
            }
        } else {
            let matching = self.matching(Path::new(""), &clean_path(word))?;
            if is_wild && !self.is_any_there(&matching)? && self.lacks_directory(&clean_path(word))? {
                return Err(self.missing(word));
            }
            for found in matching {
                match self.item(&found, None)? {
                    Some(item) => items.push(item),
                    None if is_wild && self.leads_nowhere(&found)? => {
                        return Err(self.missing(&found.to_string_lossy()));
                    }
                    None => {}
                }
            }
        }
        if items.is_empty() && !is_wild && !self.is_left_out(word)? {
            return Err(self.missing(word));
        }
        // Compat: BuildKit, with --parents the destination is made for what is below a directory that is there, be it nothing.
        if items.is_empty() && is_somewhere {
            items.push(Item::nothing());
        }
        Ok(items)
    }

    /// Returns whether a path leads to a directory.
    fn is_directory(&self, path: &Path) -> Result<bool, Problem> {
        let Some(at) = self.real(path)? else { return Ok(false) };
        let found = self.tree.root.metadata(&at).map_err(Problem::io("read", path))?;
        Ok(found.is_some_and(|found| found.is_directory()))
    }

    pub(super) fn is_ignored(&self, path: &Path) -> bool {
        // The top itself is always in.
        let text = path.to_string_lossy();
        !text.is_empty() && self.tree.ignore.is_some_and(|ignore| ignore.list.matches_alone(&text))
    }

    /// Returns where a path leads; `None` if a link on the way is left out. Compat: BuildKit, patterns are for the places of files and of
    /// links, and not for the ways to them.
    pub(super) fn real(&self, path: &Path) -> Result<Option<PathBuf>, Problem> {
        let mut is_way = true;
        let real = resolve_by(self.tree.root, path, |link| is_way &= !self.is_ignored(link));
        Ok(Some(real.map_err(Problem::io("read", path))?).filter(|_| is_way))
    }

    /// Returns whether a path is a link that is in, and what it leads to is not.
    fn leads_nowhere(&self, path: &Path) -> Result<bool, Problem> {
        let Some(parent) = self.real(path.parent().unwrap_or(Path::new("")))? else { return Ok(false) };
        let at = parent.join(path.file_name().unwrap_or_default());
        let found = self.tree.root.metadata(&at).map_err(Problem::io("read", path))?;
        if self.is_ignored(&at) || !found.is_some_and(|found| found.kind == Kind::Symlink) {
            return Ok(false);
        }
        let Some(end) = self.real(&at)? else { return Ok(true) };
        let found = self.tree.root.metadata(&end).map_err(Problem::io("read", path))?;
        Ok(found.is_none() || self.is_ignored(&end))
    }

    /// Reads one path with everything below it; `None` if it is not there or is left out.
    fn item(&self, path: &Path, parents_of: Option<&Path>) -> Result<Option<Item>, Problem> {
        let Some(base) = self.real(path)? else { return Ok(None) };
        let Some(metadata) = self.tree.root.metadata(&base).map_err(Problem::io("read", path))? else {
            return Ok(None);
        };
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let is_directory = metadata.is_directory();
        let out = self.is_ignored(&base);
        if out && !(is_directory && self.takes_back_below(&base)) {
            return Ok(None);
        }
        let kept = match parents_of {
            Some(top) => Some(self.kept(path, top)?),
            None => None,
        };
        // Patterns are for paths below the source, and with --parents for paths below where those begin.
        let within = kept.as_ref().map_or(PathBuf::new(), |kept| kept.path.clone());
        let out = out
            || match &kept {
                Some(kept) => self.exclude.matches_alone(&kept.path.to_string_lossy()),
                None => !is_directory && self.is_excluded(&name),
            };
        if out && !is_directory {
            return Ok(None);
        }
        let digest = self.known((self.tree.root, &base), &base, &metadata)?;
        let mut entries = vec![Entry { digest, ..self.entry(&base, PathBuf::new(), metadata, false)? }];
        if is_directory {
            self.below(&base, &within, &mut entries)?;
            if out && entries.len() == 1 {
                return Ok(None);
            }
        }
        Ok(Some(Item { name, base, entries, kept }))
    }

    /// Returns a link as it is, with its directories.
    fn link_itself(&self, path: &Path, top: &Path) -> Result<Item, Problem> {
        let parent = self.real(path.parent().unwrap_or(Path::new("")))?.unwrap_or_default();
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let base = parent.join(&name);
        let metadata = self.tree.root.metadata(&base).map_err(Problem::io("read", path))?;
        let metadata = metadata.ok_or_else(|| self.missing(&path.to_string_lossy()))?;
        let entries = vec![self.entry(&base, PathBuf::new(), metadata, false)?];
        Ok(Item { name, base, entries, kept: Some(self.kept(path, top)?) })
    }

    /// Returns whether what a word names is there, and only its `--exclude` leaves it out.
    fn is_left_out(&self, word: &str) -> Result<bool, Problem> {
        let word = clean_path(&word.replacen("/./", "/", usize::from(self.parents)));
        let Some(path) = self.real(Path::new(&unescape(word.trim_start_matches('/'))))? else {
            return Ok(false);
        };
        let found = self.tree.root.metadata(&path).map_err(Problem::io("read", &path))?;
        Ok(found.is_some() && !self.exclude.is_empty() && !self.is_ignored(&path))
    }

    /// Returns whether a file that a source names is left out by the name that it has.
    fn is_excluded(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.exclude.matches_alone(&name.to_string_lossy()))
    }

    fn kept(&self, path: &Path, top: &Path) -> Result<Kept, Problem> {
        let below = path.strip_prefix(top).unwrap_or(path).to_owned();
        let mut parents = Vec::new();
        let mut current = PathBuf::new();
        for part in below.parent().into_iter().flat_map(Path::components) {
            current.push(part);
            let at = resolve_in(self.tree.root, &top.join(&current)).map_err(Problem::io("read", path))?;
            if let Some(metadata) = self.tree.root.metadata(&at).map_err(Problem::io("read", path))? {
                let entry = self.entry(&at, PathBuf::new(), metadata, true)?;
                parents.push((current.clone(), at, entry));
            }
        }
        Ok(Kept { path: below, parents })
    }

    pub(super) fn takes_back_below(&self, directory: &Path) -> bool {
        self.tree.ignore.is_some_and(|ignore| ignore.list.may_take_back_below(&directory.to_string_lossy()))
    }

    fn entry(&self, at: &Path, path: PathBuf, metadata: Metadata, implied: bool) -> Result<Entry, Problem> {
        let link = match metadata.kind {
            Kind::Symlink => Some(self.tree.root.read_link(at).map_err(Problem::io("read", at))?),
            _ => None,
        };
        Ok(Entry { path, metadata, link, digest: None, implied })
    }

    fn missing(&self, word: &str) -> Problem {
        let path = clean_path(word);
        let path = path.trim_start_matches('/');
        let place = self.tree.place.clone();
        let mut hint = "the path is relative to the top of it; look for a typing mistake".to_owned();
        if let Ok(Some(found)) = self.tree.root.metadata(path) {
            let is_out =
                self.real(Path::new(path)).is_ok_and(|real| real.is_none_or(|at| self.is_ignored(&at)));
            let file = self
                .tree
                .ignore
                .filter(|_| is_out)
                .map(|ignore| ignore.file.as_deref().unwrap_or(".dockerignore"));
            let link = (found.kind == Kind::Symlink && !self.is_ignored(Path::new(path)))
                .then(|| self.tree.root.read_link(path).ok());
            hint = match (link.flatten(), file) {
                (Some(target), None) => {
                    format!("it is a symbolic link to `{}`, which is not inside", target.display())
                }
                (Some(target), Some(file)) => {
                    format!("it is a symbolic link to `{}`, which {file} leaves out", target.display())
                }
                (None, Some(file)) => format!("it exists, but {file} leaves it out"),
                (None, None) => hint,
            };
        } else if has_wildcards(path) {
            hint = "nothing matches the pattern, and its directory is empty or not there".to_owned();
        } else if word.starts_with("../") || word.contains("/../") {
            hint =
                "`..` does not lead out of the context; run the build in a directory further up".to_owned();
        } else if let Some(near) = self.near(path) {
            hint = format!("did you mean `{near}`?");
        }
        Problem::MissingSource { path: word.to_owned(), place, hint, word: None }
    }

    fn near(&self, path: &str) -> Option<String> {
        let path = Path::new(path);
        let directory = path.parent()?;
        let names: Vec<String> = self
            .tree
            .root
            .names(directory)
            .ok()?
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let near =
            shipway_dockerfile::suggest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
        Some(directory.join(near).display().to_string())
    }
}

/// Returns the attributes of a path that a copy keeps.
pub(super) fn kept_xattrs(tree: &Tree<'_>, path: &Path) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    Ok(kept(tree.root.xattrs(path).map_err(Problem::io("read", path))?))
}

/// Returns those of a file's attributes that a copy keeps.
pub(super) fn kept(mut xattrs: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    xattrs.retain(|(name, _)| {
        (name.starts_with("user.") && !name.starts_with("user.overlay.")) || name == "security.capability"
    });
    xattrs
}

pub(super) fn with_xattrs(content: Digest, xattrs: &[(String, Vec<u8>)]) -> Digest {
    if xattrs.is_empty() {
        return content;
    }
    let mut hasher = Hasher::default();
    hasher.update(content.to_string().as_bytes());
    for (name, value) in xattrs {
        for part in [name.as_bytes(), value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finish()
}

/// Removes escapes of a path without wildcards.
pub(super) fn unescape(path: &str) -> String {
    let mut out = String::new();
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

/// Returns the digest of everything that a copy of the items can show: paths, kinds, permissions, owners if
/// they are kept, link targets and bytes. Never a time.
pub(crate) fn digest_of(items: &[Item], keep_owner: bool) -> Digest {
    let mut hasher = Hasher::default();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for item in items {
        let mut first_names = std::collections::HashMap::new();
        add(item.name.as_os_str().as_bytes());
        for (path, _, entry) in item.kept.iter().flat_map(|kept| &kept.parents) {
            add(path.as_os_str().as_bytes());
            add(&entry.metadata.mode.to_le_bytes());
        }
        if let Some(kept) = &item.kept {
            add(kept.path.as_os_str().as_bytes());
        }
        for entry in &item.entries {
            let metadata = &entry.metadata;
            add(entry.path.as_os_str().as_bytes());
            add(&metadata.mode.to_le_bytes());
            if keep_owner {
                add(&metadata.uid.to_le_bytes());
                add(&metadata.gid.to_le_bytes());
            }
            match metadata.kind {
                Kind::File if metadata.links > 1 => {
                    // Which names share a file is part of the result.
                    let file = (metadata.device, metadata.inode);
                    let first = first_names.entry(file).or_insert_with(|| item.base.join(&entry.path));
                    add(first.as_os_str().as_bytes());
                }
                Kind::Special => add(&metadata.rdev.to_le_bytes()),
                _ => {}
            }
            add(entry.link.as_deref().map_or(&[], |link| link.as_os_str().as_bytes()));
            add(entry.digest.map(|digest| digest.hex()).unwrap_or_default().as_bytes());
        }
    }
    hasher.finish()
}

/// The same of the files of a commit, whose history in `.git` is another one at each fetch, if only by its times.
pub(crate) fn digest_of_commit(items: &[Item], keep_owner: bool, commit: &str) -> Digest {
    let is_history = |entry: &Entry| entry.path.starts_with(".git");
    let files = |item: &Item| {
        let entries = item.entries.iter().filter(|entry| !is_history(entry)).cloned().collect();
        Item { name: item.name.clone(), base: item.base.clone(), entries, kept: None }
    };
    if !items.iter().flat_map(|item| &item.entries).any(is_history) {
        return digest_of(items, keep_owner);
    }
    let files: Vec<Item> = items.iter().map(files).collect();
    Digest::of(format!("{} of {commit}", digest_of(&files, keep_owner)).as_bytes())
}

//! What is below a directory that COPY names.

use std::path::{Path, PathBuf};

use shipway_linux::{Kind, Metadata, Root};
use shipway_oci::Digest;

use super::crowd::do_all;
use super::gather::{kept, with_xattrs};
use super::{Entry, Gather};
use crate::Problem;
use crate::context::{Matched, PatternList};

/// A directory that is still to be read, and which patterns match it.
struct Place {
    /// Below the item.
    path: PathBuf,
    ignored: Matched,
    excluded: Matched,
}

impl Gather<'_> {
    /// Returns what is known of a file without reading it, and the digest of a directory that has attributes.
    pub(super) fn known(
        &self,
        (parent, name): (&Root, &Path),
        at: &Path,
        metadata: &Metadata,
    ) -> Result<Option<Digest>, Problem> {
        match metadata.kind {
            Kind::File => Ok(self.tree.stats.and_then(|stats| stats.get(at, metadata))),
            Kind::Directory => {
                let xattrs = kept(parent.xattrs(name).map_err(Problem::io("read", at))?);
                Ok((!xattrs.is_empty()).then(|| with_xattrs(Digest::of(b""), &xattrs)))
            }
            _ => Ok(None),
        }
    }

    /// Adds what is below a directory, parents first, in the order of names; patterns take it as what is below `within`.
    pub(super) fn below(&self, base: &Path, within: &Path, entries: &mut Vec<Entry>) -> Result<(), Problem> {
        let empty = PatternList::default();
        let ignore = self.tree.ignore.map_or(&empty, |ignore| &ignore.list);
        let top = Place {
            path: PathBuf::new(),
            ignored: ignore.matched_of(&base.to_string_lossy()),
            excluded: self.exclude.matched_of(&within.to_string_lossy()),
        };
        entries.extend(do_all(top, |place| self.directory((base, within), ignore, &place))?);
        drop_empty_implied(entries);
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    /// Returns what is in a directory, and its directories.
    fn directory(
        &self,
        (base, within): (&Path, &Path),
        ignore: &PatternList,
        Place { path: directory, ignored, excluded }: &Place,
    ) -> Result<(Vec<Entry>, Vec<Place>), Problem> {
        if self.stop.is_set() {
            return Err(Problem::Cancelled);
        }
        let full = base.join(directory);
        let opened = self.tree.root.open_root(&full).map_err(Problem::io("read", &full))?;
        let (mut entries, mut places) = (Vec::new(), Vec::new());
        for (name, metadata) in opened.entries(".").map_err(Problem::io("read", &full))? {
            let path = directory.join(&name);
            let in_tree = full.join(&name);
            let (mut implied, mut below) = (false, (ignored.clone(), excluded.clone()));
            if !ignore.is_empty() {
                let (out, matched) = ignore.matches(&in_tree.to_string_lossy(), &below.0);
                (implied, below.0) = (out, matched);
            }
            if !self.exclude.is_empty() {
                let (out, matched) = self.exclude.matches(&within.join(&path).to_string_lossy(), &below.1);
                (implied, below.1) = (implied || out, matched);
            }
            let back = |list: &PatternList, path: &Path| list.may_take_back_below(&path.to_string_lossy());
            if implied && !back(ignore, &in_tree) && !back(&self.exclude, &within.join(&path)) {
                continue;
            }
            let is_directory = metadata.is_directory();
            if (implied && !is_directory) || is_socket(&metadata) {
                continue;
            }
            let link = match metadata.kind {
                Kind::Symlink => Some(opened.read_link(&name).map_err(Problem::io("read", &in_tree))?),
                _ => None,
            };
            let digest = self.known((&opened, Path::new(&name)), &in_tree, &metadata)?;
            if is_directory {
                places.push(Place { path: path.clone(), ignored: below.0, excluded: below.1 });
            }
            entries.push(Entry { path, metadata, link, digest, implied });
        }
        Ok((entries, places))
    }
}

/// Directories that were only kept for what might be below them go when nothing is.
fn drop_empty_implied(entries: &mut Vec<Entry>) {
    if !entries.iter().any(|entry| entry.implied) {
        return;
    }
    let mut needed = std::collections::HashSet::new();
    for entry in entries.iter().filter(|entry| !entry.implied) {
        needed.extend(entry.path.ancestors().skip(1).map(Path::to_owned));
    }
    entries.retain(|entry| !entry.implied || needed.contains(&entry.path));
}

fn is_socket(metadata: &Metadata) -> bool {
    metadata.mode & 0o170_000 == 0o140_000
}

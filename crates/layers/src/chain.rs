//! What a layer needs because of the layers below it.
//!
//! A layer is unpacked without knowing what it will lie on. Some things in an archive speak of what lies below nevertheless: a
//! directory that is only implied leaves the one that is there as it is (or, if that is a symlink, means its target), a hard
//! link can name a file of another layer, and an opaque root hides what the layer itself does not name. Whiteouts, too,
//! can be of nothing.
//! [`plan`] finds them; `fixup` mends them in a small layer on top.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::{Attributes, Kind, Root};
use shipway_store::LayerNotes;

use crate::serialise::kept;
use crate::stack::{Seen, Stack, is_opaque};
use crate::unpack::is_whiteout;

/// Something to mend on top of a layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// A name right below the root that the layer hides.
    Hide(PathBuf),
    /// A directory that stays as it is below.
    Restore { path: PathBuf, attributes: Attributes, mtime: (i64, u32) },
    /// A symlink that stays; what the layer has there belongs to its target.
    Follow { path: PathBuf, target: PathBuf, owner: (u32, u32), mtime: (i64, u32) },
    /// A directory with whiteouts that lies on nothing: the kernel leaves whiteouts out only where directories are merged.
    Cover(PathBuf),
    /// A second name for a file of another layer.
    Link { name: PathBuf, target: PathBuf },
}

/// Finds what has to be mended when the layer with `tree` and `notes` lies on `below`, in the order in which it is to be done.
pub(crate) fn plan(below: &Stack, tree: &Root, notes: &LayerNotes) -> io::Result<Vec<Repair>> {
    let mut repairs = Vec::new();
    if notes.empties_root {
        for name in below.top_names()? {
            if tree.metadata(&name)?.is_none() && below.look(&name)?.is_some() {
                repairs.push(Repair::Hide(name));
            }
        }
    }
    let mut opaque = Opaque { tree, known: HashMap::new() };
    let mut followed: Option<&Path> = None;
    for path in notes.implied.iter().map(|path| path.0.as_path()) {
        if followed.is_some_and(|followed| path.starts_with(followed)) || opaque.above(path)? {
            continue;
        }
        let Some(seen) = below.look(path)? else { continue };
        match seen.metadata.kind {
            Kind::Directory => repairs.extend(restore(&seen, tree, path)?),
            Kind::Symlink => {
                followed = Some(path);
                repairs.push(Repair::Follow {
                    path: path.to_owned(),
                    target: seen.layer.read_link(path)?,
                    owner: (seen.metadata.uid, seen.metadata.gid),
                    mtime: seen.metadata.mtime,
                });
            }
            // Others fail here; the directory in place of a file does no harm.
            Kind::File | Kind::Special => {}
        }
    }
    for path in notes.hiding.iter().map(|path| path.0.as_path()) {
        let is_restored = |repair: &Repair| match repair {
            Repair::Restore { path: restored, .. } => restored == path,
            Repair::Follow { path: followed, .. } => path.starts_with(followed),
            _ => false,
        };
        if !repairs.iter().any(is_restored)
            && !lies_on_a_directory(below, &mut opaque, path)?
            && has_whiteouts(tree, path)?
        {
            repairs.push(Repair::Cover(path.to_owned()));
        }
    }
    repairs.extend(
        notes
            .links
            .iter()
            .map(|(name, target)| Repair::Link { name: name.0.clone(), target: target.0.clone() }),
    );
    Ok(repairs)
}

fn lies_on_a_directory(below: &Stack, opaque: &mut Opaque<'_>, path: &Path) -> io::Result<bool> {
    let hides = opaque.above(path)? || is_opaque(opaque.tree, path)?;
    Ok(!hides && below.look(path)?.is_some_and(|seen| seen.metadata.is_directory()))
}

fn has_whiteouts(tree: &Root, path: &Path) -> io::Result<bool> {
    if !tree.metadata(path)?.is_some_and(|own| own.is_directory()) {
        return Ok(false);
    }
    Ok(tree.entries(path)?.iter().any(|(_, metadata)| is_whiteout(metadata)))
}

/// Compares an implied directory with what it stands for. Times alone are not worth a layer.
fn restore(seen: &Seen<'_>, tree: &Root, path: &Path) -> io::Result<Option<Repair>> {
    let Some(own) = tree.metadata(path)? else { return Ok(None) };
    let xattrs = seen.xattrs(path)?;
    let below = &seen.metadata;
    let same = (own.mode, own.uid, own.gid) == (below.mode, below.uid, below.gid);
    if same && kept(tree.xattrs(path)?) == xattrs {
        return Ok(None);
    }
    let attributes = Attributes { uid: below.uid, gid: below.gid, mode: below.mode & 0o7777, xattrs };
    Ok(Some(Repair::Restore { path: path.to_owned(), attributes, mtime: below.mtime }))
}

/// Which directories of a tree hide what lies below them, each looked at once.
struct Opaque<'a> {
    tree: &'a Root,
    known: HashMap<PathBuf, bool>,
}

impl Opaque<'_> {
    /// Returns whether one of the directories that a path lies in is opaque.
    fn above(&mut self, path: &Path) -> io::Result<bool> {
        let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            return Ok(false);
        };
        if let Some(known) = self.known.get(parent) {
            return Ok(*known);
        }
        let found = self.above(parent)? || is_opaque(self.tree, parent)?;
        self.known.insert(parent.to_owned(), found);
        Ok(found)
    }
}

//! Names that say that something is gone.
//!
//! They hide what lower layers have, wherever they stand among the entries of their own layer: an own directory becomes opaque,
//! an own file stays.
//!
//! Spec: image-spec layer.md, "Whiteouts".

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::target::Node;
use super::{Unpacker, Whiteouts};
use crate::refusal::Refusal;
use crate::tar_reader::{Entry, EntryKind};

pub(super) const PREFIX: &[u8] = b".wh.";

/// Name of an opaque mark behind the prefix.
const OPAQUE_MARK: &[u8] = b".wh..opq";

impl Unpacker<'_> {
    /// Takes an entry if it is a whiteout; `false` if it is none.
    pub(super) fn whiteout(&mut self, entry: &Entry, path: &Path) -> Result<bool, Refusal> {
        if self.whiteouts == Whiteouts::Keep {
            return Ok(false);
        }
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new(""));
        let below = parent.iter().any(|name| name.as_bytes().starts_with(PREFIX));
        let Some(hidden) = name.strip_prefix(PREFIX).filter(|_| !below) else {
            return if below { Err(Refusal::Reason("an entry below a whiteout")) } else { Ok(false) };
        };
        if self.whiteouts == Whiteouts::Refuse {
            return Err(Refusal::Reason("a name that starts with .wh. is a whiteout"));
        }
        // Compat: aufs had them as hard links of each other, and so have images made on it.
        if !matches!(entry.kind, EntryKind::File | EntryKind::Link) || entry.size != 0 {
            return Err(Refusal::Reason("a whiteout that is not an empty file"));
        }
        if hidden == OPAQUE_MARK {
            self.opaque(parent)?;
        } else if matches!(hidden, b"" | b"." | b"..") || hidden.starts_with(PREFIX) {
            return Err(Refusal::Reason("not the name of a whiteout"));
        } else {
            self.hide(parent, OsStr::from_bytes(hidden))?;
        }
        Ok(true)
    }

    fn opaque(&mut self, parent: &Path) -> Result<(), Refusal> {
        if parent.as_os_str().is_empty() {
            // The kernel does not look for marks at the top: `finish` puts them on what is below.
            self.empties_root = true;
            return Ok(());
        }
        self.open_parent(parent)?;
        let path = self.parent_path();
        if path.as_os_str().is_empty() {
            self.empties_root = true;
        } else {
            self.tree.hide_below(&path)?;
        }
        Ok(())
    }

    fn hide(&mut self, parent: &Path, name: &OsStr) -> Result<(), Refusal> {
        self.open_parent(parent)?;
        let path = self.parent_path().join(name);
        match self.tree.metadata(&path)? {
            None if self.links.contains_key(&path) => {}
            None => {
                self.tree.node(&path, Node::Special(0o020_000, 0), (0, 0), (0, 0))?;
                let parent = self.parent_path();
                if self.hiding.insert(parent.clone()) {
                    self.budget.take_path(&parent)?;
                }
            }
            Some(found) if found.is_directory() => {
                // What the layer itself holds stays; only what lies below goes, the directory that it stood for too.
                self.hide_below(&path)?;
                self.implied.remove(&path);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Marks an own directory: nothing of lower layers is seen in it.
    pub(super) fn hide_below(&mut self, path: &Path) -> Result<(), Refusal> {
        Ok(self.tree.hide_below(path)?)
    }
}

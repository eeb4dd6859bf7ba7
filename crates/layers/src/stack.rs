//! What layers show together, found without mounting them.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use shipway_linux::{Metadata, Root};

use crate::serialise::{OPAQUE, kept};
use crate::unpack::is_whiteout;

/// The trees of layers, the top one first.
pub(crate) struct Stack {
    layers: Vec<Rc<Root>>,
}

/// What is seen at a path, and in which layer it lies.
pub(crate) struct Seen<'a> {
    pub(crate) layer: &'a Root,
    pub(crate) metadata: Metadata,
}

impl Seen<'_> {
    /// Returns the extended attributes that are the image's.
    pub(crate) fn xattrs(&self, path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
        Ok(kept(self.layer.xattrs(path)?))
    }
}

impl Stack {
    pub(crate) fn new(layers: Vec<Rc<Root>>) -> Self {
        Self { layers }
    }

    /// Returns what is seen at a path; no symlink is followed, so below one there is nothing.
    pub(crate) fn look(&self, path: &Path) -> io::Result<Option<Seen<'_>>> {
        let mut current = PathBuf::new();
        // The layers whose directories are merged at `current`.
        let mut merged: Vec<&Root> = self.layers.iter().map(|layer| &**layer).collect();
        let mut seen = match merged.first() {
            Some(layer) => layer.metadata("")?.map(|metadata| Seen { layer, metadata }),
            None => return Ok(None),
        };
        for name in path {
            current.push(name);
            if !seen.as_ref().is_some_and(|seen| seen.metadata.is_directory()) {
                return Ok(None);
            }
            (seen, merged) = look_in(&merged, &current)?;
        }
        Ok(seen)
    }

    /// Returns the names right below the root, of all layers.
    pub(crate) fn top_names(&self) -> io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for layer in &self.layers {
            names.extend(layer.names("")?.into_iter().map(PathBuf::from));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// Looks a path up in layers that all have its parent as a directory; returns also those that go on below it.
fn look_in<'a>(layers: &[&'a Root], path: &Path) -> io::Result<(Option<Seen<'a>>, Vec<&'a Root>)> {
    let mut seen = None;
    let mut merged = Vec::new();
    for layer in layers {
        let Some(metadata) = layer.metadata(path)? else { continue };
        if is_whiteout(&metadata) {
            break;
        }
        if !metadata.is_directory() {
            if seen.is_none() {
                seen = Some(Seen { layer, metadata });
            }
            break;
        }
        merged.push(*layer);
        seen = seen.or(Some(Seen { layer, metadata }));
        if is_opaque(layer, path)? {
            break;
        }
    }
    Ok((seen, merged))
}

/// Returns whether a directory hides what lower layers have in it.
pub(crate) fn is_opaque(layer: &Root, directory: &Path) -> io::Result<bool> {
    Ok(layer.xattrs(directory)?.iter().any(|(name, value)| name == OPAQUE && value == b"y"))
}

//! From what the kernel left in an upper directory to what a layer may hold.

use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::{Kind, Parents, Root};

use crate::serialise::{OPAQUE, is_socket};
use crate::walk::walk;

/// Prefix of the attributes that overlayfs writes for itself.
const OVERLAY: &str = "user.overlay.";

/// The time of a directory that nobody has given one, see [`crate::LayerStore::commit_apart`].
const UNKNOWN: (i64, u32) = (0, 0);

/// Removes sockets, the overlay's own attributes and the opaque marks that hide nothing; sets later times to `latest_mtime`.
///
/// A directory that was copied up from a layer that only implies it gets the time that it has below.
/// overlayfs marks each new directory opaque; the mark belongs into the layer only where a lower directory exists.
pub(crate) fn tidy(upper: &Path, lowers: &[PathBuf], latest_mtime: Option<i64>) -> io::Result<()> {
    let root = Root::open(upper)?;
    let mut lowers = Lowers { paths: lowers, roots: None };
    let mut times: Vec<(PathBuf, (i64, u32))> = vec![(PathBuf::new(), (0, 0))];
    let mut parents = Parents::new(&root);
    walk(&root, &mut |path, metadata| {
        let mut mtime = metadata.mtime;
        if is_socket(metadata) {
            return root.remove(path);
        }
        if matches!(metadata.kind, Kind::Directory | Kind::File) {
            let (parent, own) = parents.of(path)?;
            for (name, _) in parent.xattrs(own)?.iter().filter(|(name, _)| name.starts_with(OVERLAY)) {
                if name != OPAQUE || !lowers.have_a_directory(path)? {
                    root.remove_xattr(path, name)?;
                }
            }
        }
        if metadata.is_directory() && mtime == UNKNOWN && !path.as_os_str().is_empty() {
            mtime = lowers.time_of(path)?;
        }
        if let Some(latest) = latest_mtime.filter(|latest| mtime > (*latest, 0)) {
            mtime = (latest, 0);
        }
        // Directories get their time again: removing a socket changed it.
        if metadata.is_directory() || mtime != metadata.mtime {
            times.push((path.to_owned(), mtime));
        }
        Ok(())
    })?;
    times.iter().rev().try_for_each(|(path, mtime)| root.set_mtime(path, *mtime))
}

/// Lower layers, opened when they are first needed.
struct Lowers<'a> {
    paths: &'a [PathBuf],
    roots: Option<Vec<Root>>,
}

impl Lowers<'_> {
    fn roots(&mut self) -> io::Result<&[Root]> {
        match &mut self.roots {
            Some(roots) => Ok(roots),
            none => {
                let opened = self.paths.iter().map(|path| Root::open_layer(path));
                Ok(none.insert(opened.collect::<io::Result<_>>()?))
            }
        }
    }

    /// Returns the time of a directory that has none above them. Where it was copied up from a layer that only implies it, it is that of
    /// the one below.
    fn time_of(&mut self, path: &Path) -> io::Result<(i64, u32)> {
        let mut is_implied = false;
        for lower in self.roots()? {
            let Some(found) = lower.metadata(path)? else { continue };
            match (found.is_directory(), found.mtime == UNKNOWN) {
                (true, true) => is_implied = true,
                (true, false) if is_implied => return Ok(found.mtime),
                _ => break,
            }
        }
        Ok(UNKNOWN)
    }

    /// Returns whether one of them has a directory at the path. One that another lower layer hides counts too: the mark is then
    /// needless, and harmless.
    fn have_a_directory(&mut self, path: &Path) -> io::Result<bool> {
        for lower in self.roots()? {
            if lower.metadata(path)?.is_some_and(|found| found.is_directory()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

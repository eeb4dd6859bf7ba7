//! What layers are to those who use them.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::path::PathBuf;

use shipway_oci::{Beside, DiffId};
use shipway_store::LayerId;

use crate::snapshot::Snapshot;
use crate::{Drawing, LayerError};

/// A layer that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name on disk.
    pub id: LayerId,
    /// Digest of its tar.
    pub diff_id: DiffId,
    /// Length of its tar in bytes.
    pub size: u64,
}

/// Where layers are kept and how they become mountable.
///
/// Promises: `import` and `commit` record a layer only when its tree is complete under its final name; `diff_id` gives the same
/// answer for the same tree always; `prepare` makes a state that nobody else sees. Calls block.
pub trait LayerStore: Debug + Send + Sync {
    /// Takes in an uncompressed layer tar, whose diff ID must be `wanted` if given.
    fn import(&self, tar: &mut dyn Read, wanted: Option<DiffId>) -> Result<Layer, LayerError> {
        let layer = self.import_unseen(tar, wanted, None)?;
        Ok(Layer { id: self.publish(&[&layer])?.remove(0), ..layer })
    }

    /// Does the same, but nobody finds the layer by its diff ID before [`LayerStore::publish`]: an archive of others' making cannot be
    /// made again of its tree, so it has to be here first. What the tar comes out of may be hashed `beside` it.
    fn import_unseen(
        &self,
        tar: &mut dyn Read,
        wanted: Option<DiffId>,
        beside: Option<&dyn Beside>,
    ) -> Result<Layer, LayerError>;

    /// Lets layers be found by their diff IDs, and returns what stands for each from now on: an equal one may.
    fn publish(&self, layers: &[&Layer]) -> Result<Vec<LayerId>, LayerError>;

    /// Starts a writable state on top of layers, base first.
    fn prepare(&self, parents: &[LayerId]) -> Result<Snapshot, LayerError>;

    /// Finds a state that was kept, on top of the layers that it was prepared on.
    fn open_snapshot(&self, id: &str) -> Result<Snapshot, LayerError>;

    /// Removes a state that was kept; one that is gone is no error.
    fn remove_snapshot(&self, id: &str) -> Result<(), LayerError>;

    /// Returns the directories of layers given base first, the top one first; never none: an empty directory stands for no layers.
    /// A layer that is there twice is returned where it lies on top: below, it shows nothing that it does not show there.
    fn view(&self, layers: &[LayerId]) -> Vec<PathBuf>;

    /// Makes a layer of what was changed; nothing may be mounted on it any more. Its diff ID is not known yet.
    fn commit(&self, snapshot: Snapshot) -> Result<LayerId, LayerError>;

    /// Makes a layer of what was put into a state that was prepared on nothing. Those of its directories that are `implied`, relative
    /// to its root, are there only for what is in them: on other layers they leave what is there as it is.
    fn commit_apart(&self, snapshot: Snapshot, implied: Vec<PathBuf>) -> Result<LayerId, LayerError>;

    /// Returns whether [`LayerStore::commit_drawn`] can be used.
    fn draws(&self) -> bool;

    /// Makes a layer of what was changed, or put into a state on nothing with directories that are `implied`, and of a drawing, which is
    /// written to no tree. Only where [`LayerStore::draws`] says so.
    fn commit_drawn(
        &self,
        snapshot: Snapshot,
        implied: Option<Vec<PathBuf>>,
        drawing: Drawing<'_>,
    ) -> Result<LayerId, LayerError>;

    /// Puts a layer that was made without knowing them on other layers, as mounted, base first; returns all of them, with what mends
    /// the chain, as [`LayerStore::resolve`] would.
    fn stack(&self, below: &[LayerId], layer: &LayerId) -> Result<Vec<LayerId>, LayerError>;

    /// Returns the layer with its diff ID, hashing it if nobody has yet; an equal layer may stand for it.
    fn diff_id(&self, id: &LayerId) -> Result<Layer, LayerError>;

    /// Writes the layer as a tar; its digest is the diff ID.
    fn export(&self, id: &LayerId, out: &mut dyn Write) -> Result<(), LayerError>;

    /// Finds the layers of an image to be mounted, base first. Among them are layers that the image does not list: they mend what
    /// its layers, made without knowing each other, show wrongly together. They are made when a chain is first asked for.
    fn resolve(&self, diff_ids: &[DiffId]) -> Result<Vec<LayerId>, LayerError>;

    /// Returns those of the layers that an image lists: all but what [`LayerStore::resolve`] added.
    fn own(&self, layers: &[LayerId]) -> Result<Vec<LayerId>, LayerError>;

    /// Puts everything on the disk. No image gets a name before this.
    fn sync(&self) -> Result<(), LayerError>;
}

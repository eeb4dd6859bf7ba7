//! Layers as mountable trees: import, prepare, commit, hash, export.
//!
//! A layer is a directory below `layers/` that is whole by itself: overlay whiteouts (`0:0` character devices) and opaque
//! marks (`user.overlay.opaque`) are kept in it, so layers are made and shared independently of what lies below them. What is
//! drawn, or comes as an archive where that is wanted, is an archive that the kernel mounts by an index (docs/adr/0016).
//! Where a chain of them would not show what its archives mean one after the other, a small layer mends it (docs/adr/0008).
//! A change becomes a layer by rename; its diff ID is computed afterwards, from a canonical tar that is never written.
//!
//! What is not here: which layers an image has (`store` and its documents) and mounting them (`linux`).
//!
//! Promises: a snapshot that was not committed leaves nothing behind; a layer is recorded only under its final name;
//! [`LayerStore::sync`] puts all files of all layers on the disk, and no image may get a name before it was called.
//!
//! Specs: image-spec layer.md.
#![forbid(unsafe_code)]

mod ahead;
mod chain;
mod check;
mod decompress;
mod drawing;
mod earlier;
mod error;
mod fixup;
mod indexed;
mod layer_store;
mod refusal;
mod resolve;
mod serialise;
mod snapshot;
mod stack;
mod stargz;
mod tar_header;
mod tar_reader;
mod tidy;
mod together;
mod unpack;
mod unpacked;
mod walk;
mod whole;

pub use ahead::decompress_ahead;
pub use check::Checked;
pub use decompress::{decompress, decompress_unbounded};
pub use drawing::{Drawing, Pencil};
pub use error::LayerError;
pub use layer_store::{Layer, LayerStore};
pub use serialise::{SERIALISER_VERSION, Times, serialise, serialise_each, serialise_with_root};
pub use shipway_store::LayerId;
pub use snapshot::Snapshot;
pub use stargz::{Stargz, WriteStargzError, find_stargz_toc, write_stargz};
pub use together::{Clash, find_clash, serialise_together};
pub use unpack::{Added, Budget, OpenLink, unpack, unpack_added, unpack_files, unpack_owned};
pub use unpacked::Unpacked;

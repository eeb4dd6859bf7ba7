//! Blobs, image names, layer and build-cache records on disk.
//!
//! Several processes use one store at the same time: records change in short SQLite transactions (`BEGIN IMMEDIATE`, no
//! file is touched inside one), files appear by rename. The order is always: data synced, named, directory synced,
//! recorded. What was never finished lies below `tmp/` and means nothing. An operation that looks something up and relies on
//! it holds a [`Lease`]; [`Store::gc`] removes what nothing needs while nobody holds one. On a full disk removals still work: a little space is kept back for them.
//!
//! The store does not know what is in a layer's tree (that is `layers`) and does not talk to registries.
//!
//! Specs: image-spec image-layout.md for `blobs/` and `oci-layout`.
#![forbid(unsafe_code)]

mod atomic;
mod blobs;
mod cache;
mod chains;
mod containers;
mod database;
mod disk;
mod error;
mod fsck;
mod gc;
mod hosted;
mod images;
mod layer_rows;
mod lease;
mod ledger;
mod names;
mod proof;
mod registries;
mod reserve;
mod steady;
mod trash;
mod variants;

pub use atomic::{atomic_write, unique_name};
pub use blobs::Ingest;
pub use cache::{CachedLayer, CachedStep};
pub use chains::Chain;
pub use containers::ContainerRow;
pub use database::{Durability, Store};
pub use error::{StoreError, is_of_the_moment};
pub use fsck::{Fault, Subject, on_all_cores};
pub use gc::{Freed, Usage};
pub use hosted::HostedManifest;
pub use images::{ATTESTATION_LIMIT, CONFIG_LIMIT, ImageRecord, Removal};
pub use layer_rows::{LayerId, LayerNotes, LayerRow, NotedPath, NotedRoot};
pub use lease::Lease;
pub use ledger::{Holders, Ledger};
pub use names::Found;
pub use proof::MOUNT_PROOF;
pub use registries::{Packed, RepositoryDigest};
pub use shipway_linux::read_cached_at;
pub use variants::Renaming;

//! Blobs, image records, leases and garbage collection on disk.
//!
//! A store is a directory that many processes use at the same time: records are SQLite transactions (WAL, begun
//! immediate, without I/O inside), files appear by rename. The order is always: data synced, named, directory synced,
//! recorded. What a process did not finish is never visible and is removed by [`Store::gc`].
//!
//! It does not know what a layer looks like inside (crate `layers`) nor how images are made. Names of images are
//! [`shipway_oci::Reference`]s; an image's identity is its config digest.
//!
//! ```text
//! store.db                       images, names, layers, snapshots, leases, build cache, containers
//! oci-layout, blobs/sha256/HEX   manifests, configs, layer blobs: OCI image-layout naming
//! layers/ID/                     one layer as a tree
//! active/ID/{upper,work}         writable snapshots
//! containers/                    for the runtime's bundles
//! tmp/                           unfinished work
//! ```
#![forbid(unsafe_code)]

mod atomic;
mod blobs;
mod cache;
mod containers;
mod database;
mod error;
mod gc;
mod images;
mod layers;
mod lease;
mod owner;
mod snapshots;
mod store;

pub use atomic::{atomic_write, create_private_dir};
pub use blobs::{Ingest, IngestGuard};
pub use cache::CacheRow;
pub use containers::ContainerRow;
pub use error::StoreError;
pub use gc::{Freed, Usage};
pub use images::{ImageRecord, Removed};
pub use layers::{LayerId, LayerNotes, LayerRow};
pub use lease::Lease;
pub use snapshots::SnapshotRow;
pub use store::Store;

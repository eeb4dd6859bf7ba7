//! Layers from archives and back.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]

use shipway_layers::Unpacked;
use shipway_store::{Freed, Store, StoreError};

mod archives;
mod full_disk;
mod gnu_tar;
mod golden;
mod malformed;
mod model;
mod power_cut;
mod snapshots;
mod tar_bytes;

/// Opens the layers of a store.
type Open = fn(Store) -> Unpacked;

/// Both ways to keep an archive: with an index, where the kernel can mount one, and unpacked.
const OPENS: [Open; 2] = [Unpacked::open_archiving, Unpacked::open_unpacking];

/// Collects what nothing needs. A program that another test starts holds our lock open for the moment between its fork and its
/// first instruction: then it is tried again.
fn collect(store: &Store) -> Result<Freed, StoreError> {
    for _ in 0..100_000 {
        if let Some(freed) = store.gc(0)? {
            return Ok(freed);
        }
        std::thread::yield_now();
    }
    panic!("somebody holds a lease");
}

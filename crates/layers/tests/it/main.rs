//! Layers from archives and back.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]

mod archives;
mod full_disk;
mod gnu_tar;
mod golden;
mod malformed;
mod model;
mod power_cut;
mod snapshots;
mod tar_bytes;

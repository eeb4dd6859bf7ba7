//! Layers from archives and back.
#![forbid(unsafe_code)]

mod archives;
mod snapshots;

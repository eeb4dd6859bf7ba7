//! Blobs, image records, leases and garbage collection on disk.
#![forbid(unsafe_code)]

//! The server as its clients see it, called in-process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod access;
mod cluster;
mod deleting;
mod patching;
mod reading;
mod strictness;
mod watching;
mod writing;

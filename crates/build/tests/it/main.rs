//! Builds with real layers and a store of their own, and commands that only write files.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

mod archives;
mod attest;
mod cache;
mod copy;
mod debug;
mod errors;
mod harness;
mod link;
mod many_files;
mod mounts;
mod results;
mod secrets;
mod several;
mod shared;
mod solve;
mod wildcards;

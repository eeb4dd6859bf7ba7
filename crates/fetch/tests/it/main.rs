//! Tests of the whole crate against servers on this machine.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod download;
mod identity;
mod proxy;
mod server;

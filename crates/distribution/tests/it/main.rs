//! Tests of the client against a registry on this machine that does as it is told.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod attestations;
mod auth;
mod evil;
mod faults;
mod image;
mod machine;
mod mirrors;
mod pull;
mod push;

//! Tests of the whole program.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod flags;
mod layers;
mod logs;
mod machine;
mod network;
mod newcomer;
mod terminal;

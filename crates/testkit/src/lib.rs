//! What tests declare they need, and roots that clean up after themselves.
//!
//! A test that needs a privilege says so by [`require`]. Where the machine lacks it the test is skipped and the
//! reason is printed; with `CI` set in the environment a missing requirement is a failure, so that
//! nothing is skipped unseen.
#![forbid(unsafe_code)]

pub mod bucket;
mod dice;
mod disk;
pub mod registry;
mod require;

pub use dice::{Dice, rounds};
pub use disk::Disk;
pub use require::{Need, require};

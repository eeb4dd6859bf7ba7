//! Tests of the whole crate.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests may panic and print")]

mod chroot;
mod real_archive;

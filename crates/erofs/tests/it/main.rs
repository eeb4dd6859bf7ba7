//! Trees, and the indexes of them that the kernel mounts.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are no tests to clippy")]

mod fixture;
mod mounted;
mod random;
mod seen;
mod stacked;
mod tree;

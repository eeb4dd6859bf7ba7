//! Checks of this repository: `cargo xtask check` is what CI runs.
//!
//! - `check`: format, lints, the repository's own rules, all tests, documentation;
//! - `rules`: the repository's own rules alone (file lengths, names of modules);
//! - `differ`: builds Dockerfiles by Shipway and by Docker, and compares (not part of `check`, but of CI);
//! - `guest`: the program on another kernel, in an emulated machine (not part of `check`);
//! - `fuzz`: libFuzzer on what strangers send (not part of `check`);
//! - `soak`: the tests of chance and of endurance, many times more (not part of `check`);
//! - `bench`: measures Shipway beside its peers (not part of `check`).
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool for developers")]

mod bench;
mod check;
mod differ;
mod fuzz;
mod guest;
mod rules;
mod soak;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("check") => check::run(),
        Some("rules") => rules::run(),
        Some("bench") => bench::run(&arguments[1..]),
        Some("differ") => differ::run(&arguments[1..]),
        Some("guest") => guest::run(&arguments[1..]),
        Some("fuzz") => fuzz::run(&arguments[1..]),
        Some("soak") => soak::run(&arguments[1..]),
        _ => {
            eprintln!("usage: cargo xtask check|rules|differ|guest|bench|fuzz|soak");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

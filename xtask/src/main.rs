//! Checks of this repository: `cargo xtask check` is what CI runs.
//!
//! - `check`: format, lints, the repository's own rules, all tests, documentation;
//! - `rules`: the repository's own rules alone (file lengths, names of modules);
//! - `bench`: measures Shipway beside its peers; no part of `check`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool for developers")]

mod bench;
mod check;
mod rules;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next();
    let done = match task.as_deref() {
        Some("check") => check::run(),
        Some("rules") => rules::run(),
        Some("bench") => bench::run(&args.collect::<Vec<_>>()),
        _ => {
            eprintln!("usage: cargo xtask check|rules|bench");
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

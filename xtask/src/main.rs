//! Checks of this repository: `cargo xtask check` is what CI runs.
//!
//! - `check`: format, lints, the repository's own rules, all tests, documentation;
//! - `rules`: the repository's own rules alone (file lengths, names of modules).
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool for developers")]

mod check;
mod rules;

use std::process::ExitCode;

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("check") => check::run(),
        Some("rules") => rules::run(),
        _ => {
            eprintln!("usage: cargo xtask check|rules");
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

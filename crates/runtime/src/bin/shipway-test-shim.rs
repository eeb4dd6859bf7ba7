//! The shim and nothing else, for the tests of this crate.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((verb, rest)) if verb == "__shim" => shipway_runtime::shim_main(rest),
        Some((verb, rest)) if verb == "__exec" => shipway_runtime::exec_main(rest),
        _ => ExitCode::from(2),
    }
}

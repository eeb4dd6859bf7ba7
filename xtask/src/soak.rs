//! `cargo xtask soak`: the tests that try something many times, many times more.

use std::process::Command;

use anyhow::{Context as _, bail, ensure};

const USAGE: &str = "usage: cargo xtask soak [FACTOR [FILTER]]: runs the tests of chance and of endurance with FACTOR times their usual
rounds (100 if not given), only those whose names contain FILTER if given; SEED=NUMBER chooses other chances";

/// What those tests are called.
const NAMES: [&str; 7] =
    ["soak::", "whatever", "malformed", "random_chains", "another_reader", "power_cut", "full_disk"];

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (factor, filter) = match arguments {
        [] => ("100", None),
        [factor] => (factor.as_str(), None),
        [factor, filter] => (factor.as_str(), Some(filter)),
        _ => bail!(USAGE),
    };
    ensure!(factor.parse::<usize>().is_ok_and(|factor| factor > 0), USAGE);
    let mut wanted = format!("test(/{}/)", NAMES.join("|"));
    if let Some(filter) = filter {
        wanted = format!("({wanted}) and test({filter})");
    }
    let tests =
        ["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--profile", "soak", "-E", &wanted];
    let status = Command::new("cargo").args(tests).env("SOAK", factor).status();
    ensure!(status.context("could not start cargo nextest")?.success(), "something did not hold");
    Ok(())
}

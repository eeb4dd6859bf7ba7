//! `cargo xtask check`: everything that must hold before a change lands.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::rules;

/// Runs all checks in the order of what fails fastest.
pub(crate) fn run() -> anyhow::Result<()> {
    step("format", &["fmt", "--all", "--check"], &[])?;
    rules::run()?;
    step("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])?;
    if nextest_is_installed() {
        step("tests", &["nextest", "run", "--workspace", "--locked", "--no-fail-fast"], &[])?;
        step("documentation tests", &["test", "--doc", "--workspace", "--locked"], &[])?;
    } else {
        step("tests", &["test", "--workspace", "--locked", "--no-fail-fast"], &[])?;
    }
    step(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--locked"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    println!("all checks passed");
    Ok(())
}

fn step(name: &str, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<()> {
    println!("==> {name}: cargo {}", args.join(" "));
    let started = Instant::now();
    let status = Command::new("cargo")
        .args(args)
        .envs(env.iter().copied())
        .status()
        .with_context(|| format!("could not start cargo for `{name}`"))?;
    ensure!(status.success(), "{name} failed");
    println!("==> {name}: passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn nextest_is_installed() -> bool {
    let asked = Command::new("cargo")
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

//! `cargo xtask fuzz`: libFuzzer on what strangers send. It needs a C++ compiler and no other toolchain than the usual one.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

const USAGE: &str = "usage: cargo xtask fuzz [SECONDS|RUNSx [TARGET]]: fuzzes each target (reference, manifest, layer, range, dockerfile) for SECONDS
(60 if not given), or with so many inputs: 10000000x; what it finds lies in fuzz/artifacts, what it has learnt in fuzz/corpus";
const TARGETS: [&str; 5] = ["reference", "manifest", "layer", "range", "dockerfile"];
/// Coverage as libFuzzer reads it. Compat: cargo-fuzz.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    ensure!(arguments.len() <= 2, USAGE);
    let limit = limit(arguments.first().map_or("60", String::as_str))?;
    let wanted: Vec<&str> = match arguments.get(1) {
        Some(name) => TARGETS.into_iter().filter(|target| target == name).collect(),
        None => TARGETS.to_vec(),
    };
    ensure!(!wanted.is_empty(), USAGE);
    // A target that is named makes the flags hold for it alone, and not for build scripts.
    let host = host()?;
    let status = Command::new("cargo")
        .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host])
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", "fuzz/target")
        .status();
    ensure!(status.context("could not start cargo")?.success(), "the targets could not be built");
    for target in wanted {
        let corpus = format!("fuzz/corpus/{target}");
        std::fs::create_dir_all(&corpus)?;
        std::fs::create_dir_all("fuzz/artifacts")?;
        let program = Path::new("fuzz/target").join(&host).join("release").join(target);
        let status = Command::new(program)
            .args([&corpus, &format!("fuzz/seeds/{target}")])
            .arg(&limit)
            .args(["-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1", "-max_len=16384"])
            .arg(format!("-artifact_prefix=fuzz/artifacts/{target}-"))
            .status();
        ensure!(status.context("could not start the target")?.success(), "{target}: see fuzz/artifacts");
    }
    Ok(())
}

/// Returns when a target is fuzzed enough, as libFuzzer takes it.
fn limit(text: &str) -> anyhow::Result<String> {
    let (number, flag) = match text.strip_suffix('x') {
        Some(runs) => (runs, "-runs"),
        None => (text, "-max_total_time"),
    };
    let number: u64 = number.parse().context(USAGE)?;
    Ok(format!("{flag}={number}"))
}

fn host() -> anyhow::Result<String> {
    let said = Command::new("rustc").arg("-vV").output().context("could not ask rustc")?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it compiles for")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::limit;

    #[test]
    fn a_limit_is_a_time_or_a_count() {
        assert_eq!(limit("60").unwrap(), "-max_total_time=60");
        assert_eq!(limit("10000000x").unwrap(), "-runs=10000000");
        assert!(limit("10Mx").is_err() && limit("x").is_err());
    }
}

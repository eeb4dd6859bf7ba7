//! Rules of this repository that no lint knows.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// Lines a source file may have without its tests.
const LIMIT: usize = 600;

/// Bytes that a tracked file may have.
const BYTES: u64 = 1 << 20;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] =
    &[("crates/apiserver/src/kinds/table.rs", "one table: a row per kind, read as a whole")];

/// Checks every tracked file.
pub(crate) fn run() -> anyhow::Result<()> {
    let listed = Command::new("git").args(["ls-files"]).output().context("could not start git")?;
    ensure!(listed.status.success(), "`git ls-files` failed");
    let files = String::from_utf8(listed.stdout).context("a tracked file has no UTF-8 name")?;
    let mut broken = Vec::new();
    for file in files.lines().filter(|file| Path::new(file).exists()) {
        broken.extend(too_long(file)?);
        broken.extend(misplaced_module(file));
        broken.extend(too_large(file)?);
    }
    if broken.is_empty() {
        println!("==> rules: {} files", files.lines().count());
        return Ok(());
    }
    bail!("{}", broken.join("\n"))
}

fn too_long(file: &str) -> anyhow::Result<Option<String>> {
    let exempt = LONGER.iter().any(|(path, _reason)| *path == file);
    if !has_extension(file, "rs") || is_test(file) || exempt {
        return Ok(None);
    }
    let text = std::fs::File::open(file)
        .and_then(std::io::read_to_string)
        .with_context(|| format!("could not read {file}"))?;
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    Ok((lines > LIMIT)
        .then(|| format!("{file}: {lines} lines without its tests, {LIMIT} are allowed: split it")))
}

/// What is that large was made, or fetched, and does not belong into the history.
fn too_large(file: &str) -> anyhow::Result<Option<String>> {
    let bytes = std::fs::symlink_metadata(file).with_context(|| format!("could not examine {file}"))?.len();
    Ok((bytes > BYTES).then(|| format!("{file}: {bytes} bytes, {BYTES} are allowed: is it a source?")))
}

fn misplaced_module(file: &str) -> Option<String> {
    let name = Path::new(file).file_name()?.to_str()?;
    let banned = ["mod.rs", "utils.rs", "common.rs", "helpers.rs", "misc.rs", "types.rs", "manager.rs"];
    banned.contains(&name).then(|| format!("{file}: no module is named {name}: name it after what it holds"))
}

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grab_bag_modules_are_named() {
        assert!(misplaced_module("crates/app/src/utils.rs").is_some());
        assert!(misplaced_module("crates/app/src/up.rs").is_none());
    }

    #[test]
    fn large_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, is_named) in [(BYTES, false), (BYTES + 1, true)] {
            let path = dir.path().join("wheel");
            std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
            assert_eq!(too_large(path.to_str().unwrap()).unwrap().is_some(), is_named, "{bytes}");
        }
    }

    #[test]
    fn tests_may_be_long() {
        assert!(is_test("crates/app/tests/it/up.rs"));
        assert!(!is_test("crates/app/src/up.rs"));
    }
}

//! A Debian base image out of the archive that the host's apt uses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::inputs::Scratch;
use super::program::{self, Side, in_turn};
use super::shipway::Shipway;
use super::table::Table;

/// The suite that is assembled.
const SUITE: &str = "bookworm";

/// Where mmdebstrap has what makes it take `usr-is-merged`, as our resolver does, and not `usrmerge` with all of perl.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/merged-usr";

/// Measures `bootstrap` beside `mmdebstrap`, both without anything downloaded before.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let ours = |run: usize| scratch.path(&format!("shipway-{run}"));
    let theirs = |run: usize| scratch.path(&format!("mmdebstrap-{run}"));
    let image = format!("debian:{SUITE}");
    let shipway = |run| Ok(Shipway::new(&ours(run))?.command(&["bootstrap", &image]));
    let peer = program::find("MMDEBSTRAP", "mmdebstrap");
    let mut sides = vec![Side::command("Shipway", shipway)];
    if let Some(program) = &peer {
        table.note(format!("{}.", program::version(program)));
        sides.push(Side::command("mmdebstrap", |run| mmdebstrap(program, &theirs(run))));
    } else {
        table.note("mmdebstrap was left out: it is not installed.");
    }
    let what = format!("base image of {SUITE} (essential packages, apt, ca-certificates), nothing cached");
    table.row(&what, in_turn(&mut sides, 0, runs)?);
    drop(sides);
    table.note("Both read the sources that the host's apt has, and download from there.");
    if peer.is_some() {
        let archive = ["run", "--rm", "--network", "none", &image, "cat", "/var/lib/dpkg/status"];
        let output = program::output(&mut Shipway::new(&ours(0))?.command(&archive))?;
        let status = fs_err::read_to_string(theirs(0).join("var/lib/dpkg/status"))?;
        table.note(compared(&packages(&String::from_utf8_lossy(&output.stdout)), &packages(&status)));
    }
    Ok(table)
}

/// Returns a command that makes the same as a directory, and no archive of it.
fn mmdebstrap(program: &Path, target: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    command.args(["--mode=root", "--format=directory", "--variant=apt", "--include=ca-certificates"]);
    if Path::new(MERGED_USR).is_dir() {
        command.args(["--include=usr-is-merged".to_owned(), format!("--hook-dir={MERGED_USR}")]);
    }
    command.arg(SUITE).arg(target).args(sources()?);
    Ok(command)
}

/// Returns names and versions of what dpkg has installed.
fn packages(status: &str) -> BTreeSet<(String, String)> {
    let field = |paragraph: &str, name: &str| {
        let line = paragraph.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let paragraphs = status.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.map(|paragraph| (field(paragraph, "Package:"), field(paragraph, "Version:"))).collect()
}

/// Says whether both sides made the same.
fn compared(ours: &BTreeSet<(String, String)>, theirs: &BTreeSet<(String, String)>) -> String {
    if ours == theirs {
        return format!("Both hold the same {} packages in the same versions.", ours.len());
    }
    format!("The sets differ: {} packages here, {} with mmdebstrap.", ours.len(), theirs.len())
}

/// Returns the host's lists of package sources.
fn sources() -> anyhow::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    let list = PathBuf::from("/etc/apt/sources.list");
    if list.is_file() {
        found.push(list);
    }
    for file in fs_err::read_dir("/etc/apt/sources.list.d")? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "list" || extension == "sources") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_packages_are_compared_with_their_versions() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nVersion: 2\n\n";
        let both = packages(status);
        assert_eq!(both.len(), 2);
        assert!(compared(&both, &both).contains("same 2 packages"));
        assert!(compared(&both, &packages("Package: a\nVersion: 1\n")).contains("2 packages here, 1 with"));
    }
}

//! A Debian base image out of the archive that the host's apt uses.

use std::path::PathBuf;
use std::process::Command;

use super::inputs::Scratch;
use super::program::{self, Side, in_turn};
use super::shipway::Shipway;
use super::table::Table;

/// The suite that is assembled.
const SUITE: &str = "bookworm";

/// Measures `bootstrap` beside `mmdebstrap`, both without anything downloaded before.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let place = |side: &str, run: usize| scratch.path(&format!("{side}-{run}"));
    let ours = |run: usize| {
        let shipway = Shipway::new(&place("shipway", run))?;
        Ok(shipway.command(&["bootstrap", &format!("debian:{SUITE}")]))
    };
    let mut sides = vec![Side::command("Shipway", ours)];
    if let Some(mmdebstrap) = program::find("MMDEBSTRAP", "mmdebstrap") {
        table.note(format!("{}.", program::version(&mmdebstrap)));
        sides.push(Side::command("mmdebstrap", move |run| {
            let mut command = Command::new(&mmdebstrap);
            // The same set: what is essential, apt, and the certificates. A directory, like ours, and no archive.
            command.args(["--mode=root", "--format=directory", "--variant=apt", "--include=ca-certificates"]);
            command.arg(SUITE).arg(place("mmdebstrap", run)).args(sources()?);
            Ok(command)
        }));
    } else {
        table.note("mmdebstrap was left out: it is not installed.");
    }
    let what = format!("base image of {SUITE} (essential packages, apt, ca-certificates), nothing cached");
    table.row(&what, in_turn(&mut sides, 0, runs)?);
    table.note("Both read the sources that the host's apt has, and download from there.");
    Ok(table)
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

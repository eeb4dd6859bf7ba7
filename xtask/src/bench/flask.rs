//! The first build of the Flask example, the builds after it, and `up`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::docker::{Docker, Network};
use super::inputs::{Scratch, flask_apps};
use super::program::{Side, in_turn};
use super::samples::{Samples, Unit};
use super::shipway::Shipway;
use super::table::Table;

/// What the example is built on.
const BASE: &str = "debian:bookworm";
/// How often the quick builds are measured for each of the slow ones.
const QUICK: usize = 4;

/// A directory and who builds it.
struct Sides<'a> {
    shipway: &'a Shipway,
    ours: PathBuf,
    docker: Option<&'a Docker>,
    theirs: PathBuf,
}

/// Measures builds with the base image present on both sides, then `up` of what was built.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let (ours, theirs) = (scratch.path("flask"), scratch.path("flask-with-authorities"));
    flask_apps(&ours, &theirs)?;
    let shipway = Shipway::new(&scratch.path("shipway"))?;
    shipway.ok(&["bootstrap", BASE])?;
    let docker = Docker::start(&scratch.path("docker"), Network::Untouched, &mut table)?;
    if let Some(docker) = &docker {
        let archive = scratch.path("base.tar");
        shipway.export(BASE, &archive)?;
        docker.import(&archive, BASE)?;
        fs_err::remove_file(archive)?;
    }

    let sides = Sides { shipway: &shipway, ours, docker: docker.as_ref(), theirs };
    let first = in_turn(&mut sides.builds(true, |_run| Ok(())), 0, runs)?;
    table.row("first build (`--no-cache`), base image present", first);
    let again = in_turn(&mut sides.builds(false, |_run| Ok(())), 1, runs * QUICK)?;
    table.row("build again, nothing changed", again);
    let changed = in_turn(&mut sides.builds(false, |run| sides.edit(run)), 1, runs * QUICK)?;
    table.row("build again, `exampleapp.py` changed", changed);
    table.note(
        "Both sides have the same base image and trust the host's certificate authorities; a first build downloads \
         from the distribution and the Python index, each side for itself.",
    );
    up(&sides, &mut table, runs)?;
    Ok(table)
}

impl Sides<'_> {
    /// Returns a build of every side; `prepare` is not measured.
    fn builds<'a>(
        &'a self,
        no_cache: bool,
        prepare: impl Fn(usize) -> anyhow::Result<()> + Copy + 'a,
    ) -> Vec<Side<'a>> {
        let cache: &[&str] = if no_cache { &["--no-cache"] } else { &[] };
        let ours = move |run| {
            prepare(run)?;
            let mut command = self.shipway.command(&["build", "--host-ca", "-t", "flask"]);
            command.args(cache).arg(&self.ours);
            Ok(command)
        };
        let mut sides = vec![Side::command("Shipway", ours)];
        let Some(docker) = self.docker else { return sides };
        for (name, kit, tag) in
            [("docker build (BuildKit)", "1", "flask"), ("docker build (classic)", "0", "flask-classic")]
        {
            let build = move |run| {
                prepare(run)?;
                let mut command = docker.command(&["build", "--network", "host", "-t", tag]);
                command.env("DOCKER_BUILDKIT", kit).args(cache).arg(&self.theirs);
                Ok(command)
            };
            sides.push(Side::command(name, build));
        }
        sides
    }

    /// Changes the application in both directories.
    fn edit(&self, run: usize) -> anyhow::Result<()> {
        [&self.ours, &self.theirs].into_iter().try_for_each(|dir| append(dir, run))
    }
}

/// Adds a line that is different each time.
fn append(dir: &Path, run: usize) -> anyhow::Result<()> {
    let file = dir.join("exampleapp.py");
    let text = fs_err::read_to_string(&file)?;
    Ok(fs_err::write(&file, format!("{text}# change {run}\n"))?)
}

/// Measures `up` of the built image: with the cluster stopped, unchanged, after an edit.
fn up(sides: &Sides<'_>, table: &mut Table, runs: usize) -> anyhow::Result<()> {
    let up = || -> Command {
        let mut command = sides.shipway.command(&["up", "-d"]);
        command.arg(&sides.ours);
        command
    };
    let time = || super::program::time(&mut up());
    table.alone("`up -d`, image built, cluster not running", Samples::one(Unit::Seconds, time()?));
    let (mut again, mut changed) = (Samples::new(Unit::Seconds), Samples::new(Unit::Seconds));
    for run in 0..runs * QUICK {
        again.figures.push(time()?);
        if run < runs {
            append(&sides.ours, run)?;
            changed.figures.push(time()?);
        }
    }
    table.alone("`up -d` again, nothing changed", again);
    table.alone("`up -d`, `exampleapp.py` changed, until the new pod is ready", changed);
    sides.shipway.ok(&["cluster", "reset"])
}

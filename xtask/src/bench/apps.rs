//! The first build of an example, the builds after it, and `up`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::bare;
use super::docker::{Docker, Network};
use super::inputs::{Scratch, copy_example};
use super::program::{self, Side, in_turn};
use super::samples::{Samples, Unit};
use super::shipway::Shipway;
use super::table::Table;
use super::volume::Volume;

/// What the examples are built on.
const BASE: &str = "debian:bookworm";
const FLASK: App = App { name: "flask", source: "exampleapp.py", comment: "#", index: "the Python index" };
const EXPRESS: App = App { name: "express", source: "server.js", comment: "//", index: "npm's registry" };
/// How often the quick builds are measured for each of the slow ones.
const QUICK: usize = 4;

/// One of the examples.
#[derive(Clone, Copy, Debug)]
struct App {
    name: &'static str,
    /// What is changed, and how a comment begins there.
    source: &'static str,
    comment: &'static str,
    /// Where its packages come from.
    index: &'static str,
}

/// A directory and who builds it.
struct Sides<'a> {
    app: App,
    shipway: &'a Shipway,
    ours: PathBuf,
    docker: Option<&'a Docker>,
    theirs: PathBuf,
}

/// Measures the Flask example.
pub(crate) fn flask(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    measure(FLASK, scratch, runs)
}

/// Measures the Express example.
pub(crate) fn express(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    measure(EXPRESS, scratch, runs)
}

/// Measures builds with the base image present on both sides, then `up` of what was built.
fn measure(app: App, scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let (ours, theirs) = (scratch.path(app.name), scratch.path("with-authorities"));
    copy_example(app.name, &ours, &theirs)?;
    // What one side removes does not slow the other.
    let volumes = [Volume::journaled(&scratch.path("shipway"))?, Volume::journaled(&scratch.path("docker"))?];
    let [our_place, their_place] = volumes.each_ref().map(|volume| volume.dir.join("side"));
    let shipway = Shipway::new(&our_place)?;
    shipway.ok(&["bootstrap", BASE])?;
    let docker = Docker::start(&their_place, Network::Untouched, &mut table)?;
    let base = scratch.path("base.tar");
    shipway.export(BASE, &base)?;
    if let Some(docker) = &docker {
        docker.import(&base, BASE)?;
    }

    let sides = Sides { app, shipway: &shipway, ours, docker: docker.as_ref(), theirs };
    // No build pays for what another one has left to the disk.
    let settle = |_run| program::output(&mut Command::new("sync")).map(drop);
    let mut builds = sides.builds(true, settle);
    let alone = |run| settle(run).and_then(|()| bare::time(&sides.theirs, &base, &scratch.path("bare")));
    builds.push(Side { name: "its commands alone (a limit)".to_owned(), run: Box::new(alone) });
    let first = in_turn(&mut builds, 0, runs)?;
    drop(builds);
    table.row("first build (`--no-cache`), base image present", first);
    let again = in_turn(&mut sides.builds(false, |_run| Ok(())), 1, runs * QUICK)?;
    table.row("build again, nothing changed", again);
    let changed = in_turn(&mut sides.builds(false, |run| sides.edit(run)), 1, runs * QUICK)?;
    table.row(&format!("build again, `{}` changed", app.source), changed);
    table.note(format!(
        "Each side has a file system in a loop file; both have the same base image and trust the host's certificate authorities. A first build \
         downloads from the distribution and {}, each side for itself. \
         The limit is the RUN instructions one after another by chroot(8) on a tmpfs, with nothing of a builder.",
        app.index
    ));
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
            let mut command = self.shipway.command(&["build", "--host-ca", "-t", self.app.name]);
            command.args(cache).arg(&self.ours);
            Ok(command)
        };
        let mut sides = vec![Side::command("Shipway", ours)];
        let Some(docker) = self.docker else { return sides };
        for (name, kit, tag) in
            [("docker build (BuildKit)", "1", "app"), ("docker build (classic)", "0", "app-classic")]
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
        [&self.ours, &self.theirs].into_iter().try_for_each(|dir| self.app.append(dir, run))
    }
}

impl App {
    /// Adds a line that is different each time.
    fn append(self, dir: &Path, run: usize) -> anyhow::Result<()> {
        let file = dir.join(self.source);
        let text = fs_err::read_to_string(&file)?;
        Ok(fs_err::write(&file, format!("{text}{} change {run}\n", self.comment))?)
    }
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
            sides.app.append(&sides.ours, run)?;
            changed.figures.push(time()?);
        }
    }
    table.alone("`up -d` again, nothing changed", again);
    let what = format!("`up -d`, `{}` changed, until the new pod is ready", sides.app.source);
    table.alone(&what, changed);
    sides.shipway.ok(&["cluster", "reset"])
}

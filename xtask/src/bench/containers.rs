//! How long it takes to run a container that does nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::docker::{Docker, Network};
use super::inputs::{Scratch, busybox_root, pack};
use super::program::{self, Side, in_turn};
use super::shipway::Shipway;
use super::table::Table;

/// Rounds before those that count.
const WARM: usize = 2;

/// Measures `run --rm IMAGE true` in both networks, and bare OCI runtimes beside it.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let (rootfs, archive) = (scratch.path("rootfs"), scratch.path("box.tar"));
    busybox_root(&rootfs)?;
    pack(&rootfs, &archive)?;

    let shipway = Shipway::new(&scratch.path("shipway"))?;
    program::output(shipway.command(&["import"]).arg(&archive).arg("box"))?;
    let docker = Docker::start(&scratch.path("docker"), Network::Bridge, &mut table)?;
    if let Some(docker) = &docker {
        docker.import(&archive, "box")?;
    }
    let podman = Podman::find(&scratch.path("podman"), &archive, &mut table)?;
    let bundles: Vec<Bundle> = [("CRUN", "crun"), ("RUNC", "runc")]
        .into_iter()
        .map(|(variable, name)| {
            Bundle::find((variable, name), &rootfs, &scratch.path(&format!("bundle-{name}")), &mut table)
        })
        .collect::<anyhow::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();

    for network in ["bridge", "none"] {
        let args = ["run", "--rm", "--network", network, "box", "true"];
        let mut sides = vec![Side::command("Shipway", |_run| Ok(shipway.command(&args)))];
        if let Some(docker) = &docker {
            sides.push(Side::command("docker", |_run| Ok(docker.command(&args))));
        }
        if let Some(podman) = &podman {
            let args = podman.run(network);
            if works(&podman.name, &mut podman.command(&args), &mut table) {
                sides.push(Side::command(podman.name.as_str(), move |_run| Ok(podman.command(&args))));
            }
        }
        if network == "none" {
            sides.extend(
                bundles
                    .iter()
                    .map(|bundle| Side::command(bundle.name.as_str(), |run| Ok(bundle.command(run)))),
            );
        }
        let what = format!("`run --rm --network {network} IMAGE true`");
        table.row(&what, in_turn(&mut sides, WARM, runs)?);
    }
    table.note(
        "The image is a static busybox. `crun run` and `runc run` start a bundle that lies there already.",
    );
    Ok(table)
}

/// Podman on storage of its own.
struct Podman {
    name: String,
    program: PathBuf,
    dir: PathBuf,
    /// Another runtime than its default.
    runtime: Option<PathBuf>,
}

impl Podman {
    /// Makes the image in it, or notes why there is none.
    fn find(dir: &Path, archive: &Path, table: &mut Table) -> anyhow::Result<Option<Self>> {
        let Some(program) = program::find("PODMAN", "podman") else {
            table.note("Podman was left out: `podman` is not installed.");
            return Ok(None);
        };
        table.note(format!("Podman: {}.", program::version(&program)));
        let mut podman = Self { name: "podman".to_owned(), program, dir: dir.to_owned(), runtime: None };
        program::output(podman.command(&["import", "--quiet"]).arg(archive).arg("localhost/box"))?;
        if !works(&podman.name, &mut podman.command(&podman.run("none")), table) {
            podman.runtime = program::find("RUNC", "runc");
            podman.name = "podman with runc".to_owned();
        }
        Ok(Some(podman))
    }

    /// Returns the arguments that run the image. Limits are named because it wants to raise them otherwise.
    fn run<'a>(&self, network: &'a str) -> Vec<&'a str> {
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        [&["run", "--rm"], &limits[..], &["--network", network, "box", "true"]].concat()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (flag, name) in [
            ("--root", "storage"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
            ("--network-config-dir", "net"),
        ] {
            command.arg(flag).arg(self.dir.join(name));
        }
        command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "file"]);
        if let Some(runtime) = &self.runtime {
            command.arg("--runtime").arg(runtime);
        }
        command.args(args);
        command
    }
}

/// Says whether a command works at all, and notes why it does not: not every machine has what it needs.
fn works(name: &str, command: &mut Command, table: &mut Table) -> bool {
    let tried = program::output(command);
    if let Err(error) = &tried {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        table.note(format!("`{name}` fails here and was left out: {reason}."));
    }
    tried.is_ok()
}

/// A bundle and the runtime that starts it.
struct Bundle {
    name: String,
    program: PathBuf,
    dir: PathBuf,
}

impl Bundle {
    /// Writes the bundle by the runtime's own `spec`, without a terminal and with `true` as its process.
    fn find(
        (variable, name): (&str, &str),
        rootfs: &Path,
        dir: &Path,
        table: &mut Table,
    ) -> anyhow::Result<Option<Self>> {
        let Some(program) = program::find(variable, name) else {
            table.note(format!("`{name} run` was left out: `{name}` is not installed."));
            return Ok(None);
        };
        table.note(format!("{}.", program::version(&program)));
        fs_err::create_dir_all(dir)?;
        program::output(Command::new(&program).arg("spec").current_dir(dir))?;
        let file = dir.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs_err::read(&file)?)
            .with_context(|| format!("`{name} spec` wrote no JSON"))?;
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["true"]);
        spec["root"] = json!({ "path": rootfs, "readonly": true });
        fs_err::write(file, spec.to_string())?;
        let bundle = Self { name: format!("{name} run"), program, dir: dir.to_owned() };
        Ok(works(&bundle.name, &mut bundle.command(0), table).then_some(bundle))
    }

    fn command(&self, run: usize) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.dir.join("state")).args(["run", "--bundle"]).arg(&self.dir);
        command.arg(format!("swbench-{}-{run}", std::process::id()));
        command
    }
}

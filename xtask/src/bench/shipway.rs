//! The program that is measured, with roots of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::program;

/// Shipway on a root and a state directory below one directory; its cluster and its bridge end with the value.
#[derive(Debug)]
pub(crate) struct Shipway {
    program: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Shipway {
    /// Takes the program that `SHIPWAY` names, or the one on `PATH`.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let hint = "no `shipway` to measure: `cargo build --release`, then set SHIPWAY to the program";
        let program = program::find("SHIPWAY", "shipway").context(hint)?;
        let program = fs_err::canonicalize(program)?;
        fs_err::create_dir_all(dir)?;
        Ok(Self { program, dir: dir.to_owned() })
    }

    /// Returns a command of it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("SHIPWAY_ROOT", self.dir.join("root")).env("SHIPWAY_STATE", self.dir.join("state"));
        command.args(args);
        command
    }

    /// Runs a command of it to the end.
    pub(crate) fn ok(&self, args: &[&str]) -> anyhow::Result<()> {
        program::output(&mut self.command(args)).map(drop)
    }

    /// Returns how many seconds a command takes.
    pub(crate) fn time(&self, args: &[&str]) -> anyhow::Result<f64> {
        program::time(&mut self.command(args))
    }

    /// Returns what `cluster status` tells; the cluster must run.
    pub(crate) fn cluster(&self) -> anyhow::Result<Value> {
        let output = program::output(&mut self.command(&["cluster", "status", "-o", "json"]))?;
        serde_json::from_slice(&output.stdout).context("`cluster status` gave no JSON")
    }

    /// Returns the process of the cluster's daemon.
    pub(crate) fn daemon(&self) -> anyhow::Result<u64> {
        self.cluster()?["pid"].as_u64().context("`cluster status` names no process")
    }

    /// Returns the archive of an image's root file system.
    pub(crate) fn export(&self, image: &str, archive: &Path) -> anyhow::Result<()> {
        let file = fs_err::File::create(archive)?;
        let args =
            ["run", "--rm", "--network", "none", image, "tar", "-C", "/", "--one-file-system", "-c", "."];
        let status = self.command(&args).stdout(file.into_file()).status()?;
        ensure!(status.success(), "could not write the files of `{image}` to `{}`", archive.display());
        Ok(())
    }
}

impl Drop for Shipway {
    fn drop(&mut self) {
        // Also without a cluster: it takes the bridge of containers and RUN steps away.
        if self.dir.join("root").exists() {
            drop(self.command(&["cluster", "reset"]).output());
        }
    }
}

//! One case, built by both.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::case::Case;
use super::compare::{Difference, compare};
use super::image::Image;
use crate::bench::docker::Docker;
use crate::bench::program;
use crate::bench::shipway::Shipway;

/// Both builders, with the same base images.
pub(crate) struct Builders {
    pub(crate) shipway: Shipway,
    pub(crate) docker: Docker,
    /// The words of histories are compared too.
    pub(crate) with_words: bool,
}

/// The image that a case made, or the last lines of why there is none.
type Outcome = Result<Image, String>;

impl Builders {
    /// Builds a case by both in a directory of its own, and returns what differs.
    pub(crate) fn differences(&self, case: &Case, dir: &Path, name: &str) -> anyhow::Result<Vec<Difference>> {
        let context = dir.join("context");
        fs_err::create_dir_all(&context)?;
        fs_err::write(context.join("Dockerfile"), &case.dockerfile)?;
        prepare(&context, &case.context)?;
        let build = || -> anyhow::Result<(Outcome, Outcome)> {
            let theirs = self.build(case, &context, name, Who::Docker)?;
            Ok((theirs, self.build(case, &context, name, Who::Shipway)?))
        };
        let (mut theirs, mut ours) = build()?;
        if let Some(again) = &case.again {
            prepare(&context, again)?;
            (theirs, ours) = build()?;
        }
        fs_err::remove_dir_all(dir)?;
        Ok(match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => compare(theirs, ours, self.with_words),
            (Err(_), Err(_)) => Vec::new(),
            _ => {
                let told =
                    |outcome: &Outcome| outcome.as_ref().err().map_or("succeeds", String::as_str).to_owned();
                vec![Difference { place: "result".to_owned(), theirs: told(&theirs), ours: told(&ours) }]
            }
        })
    }

    fn build(&self, case: &Case, context: &Path, name: &str, who: Who) -> anyhow::Result<Outcome> {
        let command = |args: &[&str]| match who {
            Who::Docker => self.docker.command(args),
            Who::Shipway => self.shipway.command(args),
        };
        let mut build_args = Vec::new();
        let mut build = command(&["build", "--network", "none", "--progress", "plain", "-t", name]);
        if let Some(dockerfile) = &case.base {
            let base = format!("{name}-base");
            fs_err::write(context.with_extension("base"), dockerfile)?;
            let mut build =
                command(&["build", "-q", "--network", "none", "-t", &base, "-f", "../context.base", "."]);
            program::output(build.env("DOCKER_BUILDKIT", "1").current_dir(context))?;
            build_args = vec!["--build-arg".to_owned(), format!("BASE={base}")];
        }
        build.env("DOCKER_BUILDKIT", "1").current_dir(context).args(&case.args).args(build_args).arg(".");
        let built = build.stdin(Stdio::null()).output().context("could not start a builder")?;
        if !built.status.success() {
            return Ok(Err(last_lines(&built.stderr)));
        }
        let archive: PathBuf = context.with_extension("tar");
        program::output(command(&["save", "-o"]).arg(&archive).arg(name))?;
        let image = Image::read(&archive).with_context(|| format!("could not read what {who:?} saved"))?;
        fs_err::remove_file(archive)?;
        Ok(Ok(image))
    }
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Docker,
    Shipway,
}

/// Runs a script that makes or changes a context.
fn prepare(context: &Path, script: &str) -> anyhow::Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-euc", &format!("umask 022\n{script}")]).current_dir(context).stdin(Stdio::null());
    let output = shell.output().context("could not start `sh`")?;
    ensure!(output.status.success(), "the context's script failed: {}", last_lines(&output.stderr));
    Ok(())
}

/// Returns the end of what a program said, on one line.
fn last_lines(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

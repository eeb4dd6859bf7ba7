//! Builders that are compared: each with a store of its own on a volume of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::docker::{Docker, Network};
use super::machine;
use super::program;
use super::shipway::Shipway;
use super::table::Table;
use super::volume::Volume;

/// How often the memory of a running command is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// A kind of builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Shipway,
    Docker,
    Buildah,
}

/// Returns the builders that are installed, Shipway first, and notes which are not.
pub(crate) fn installed(table: &mut Table) -> Vec<Kind> {
    let mut kinds = vec![Kind::Shipway];
    match super::docker::Programs::find() {
        Some(programs) => {
            table.note(format!("Docker: {}, with BuildKit.", programs.version));
            kinds.push(Kind::Docker);
        }
        None => table.note("Docker was left out: `dockerd` or `docker` is not installed."),
    }
    match program::find("BUILDAH", "buildah") {
        Some(buildah) => {
            table.note(format!("{}, with `--isolation chroot`.", program::version(&buildah)));
            kinds.push(Kind::Buildah);
        }
        None => table.note("Buildah was left out: it is not installed."),
    }
    kinds
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shipway => "Shipway",
            Self::Docker => "docker build (BuildKit)",
            Self::Buildah => "buildah",
        }
    }

    /// Returns a name that paths and repositories can have.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Shipway => "shipway",
            Self::Docker => "docker",
            Self::Buildah => "buildah",
        }
    }
}

/// One that is ready: it has the image `box` and nothing else.
#[derive(Debug)]
pub(crate) struct Builder {
    // The program goes before the volume that it runs on.
    tool: Tool,
    _volume: Volume,
}

#[derive(Debug)]
enum Tool {
    Shipway(Shipway),
    Docker(Docker),
    Buildah { program: PathBuf, dir: PathBuf },
}

impl Builder {
    /// Makes a volume at `dir` and a builder on it; `root` is an archive of the image's files.
    pub(crate) fn new(kind: Kind, dir: &Path, root: &Path) -> anyhow::Result<Self> {
        let volume = Volume::new(dir)?;
        let at = volume.dir.join("builder");
        let tool = match kind {
            Kind::Shipway => {
                let shipway = Shipway::new(&at)?;
                program::output(shipway.command(&["import"]).arg(root).arg("box"))?;
                Tool::Shipway(shipway)
            }
            Kind::Docker => {
                let docker = Docker::start(&at, Network::Untouched, &mut Table::default())?;
                let docker = docker.ok_or_else(|| anyhow::anyhow!("docker is gone"))?;
                docker.import(root, "box")?;
                Tool::Docker(docker)
            }
            Kind::Buildah => {
                let program = program::find("BUILDAH", "buildah").unwrap_or_else(|| "buildah".into());
                let tool = Tool::Buildah { program, dir: at };
                let dockerfile = dir.join("Dockerfile.box");
                fs_err::write(&dockerfile, "FROM scratch\nADD root.tar /\n")?;
                fs_err::hard_link(root, dir.join("root.tar"))
                    .or_else(|_| fs_err::copy(root, dir.join("root.tar")).map(drop))?;
                let mut build = tool.command(&["bud", "-q", "-t", "localhost/box", "-f"]);
                program::output(build.arg(&dockerfile).arg(dir))?;
                tool
            }
        };
        Ok(Self { tool, _volume: volume })
    }

    /// Returns our own program, if this is it.
    pub(crate) fn shipway(&self) -> Option<&Shipway> {
        match &self.tool {
            Tool::Shipway(shipway) => Some(shipway),
            Tool::Docker(_) | Tool::Buildah { .. } => None,
        }
    }

    /// Returns a build of a directory that gives the image `name`.
    pub(crate) fn build(&self, context: &Path, name: &str, no_cache: bool) -> Command {
        let mut command = match &self.tool {
            Tool::Shipway(_) | Tool::Docker(_) => {
                self.tool.command(&["build", "--network", "none", "-q", "-t", name])
            }
            Tool::Buildah { .. } => {
                // Without containers it works on every host, and sooner.
                let chroot = ["bud", "--layers", "--jobs", "8", "--isolation", "chroot", "-q", "-t", name];
                self.tool.command(&chroot)
            }
        };
        command.args(no_cache.then_some("--no-cache")).arg(context);
        command
    }

    /// Returns the push of the image `name` to a registry that speaks HTTP; it is given that registry's name first.
    pub(crate) fn push(&self, name: &str, registry: &str, who: &str) -> anyhow::Result<Command> {
        let there = format!("{registry}/{who}/{name}:latest");
        program::output(&mut self.tool.command(&["tag", name, &there]))?;
        Ok(match &self.tool {
            Tool::Buildah { .. } => self.tool.command(&["push", "-q", "--tls-verify=false", &there]),
            _ => self.tool.command(&["push", "-q", &there]),
        })
    }

    /// Runs a command of it to its end and returns its seconds and the megabytes that it had in memory at its peak, those
    /// of the daemon with it.
    pub(crate) fn measure(&self, mut command: Command) -> anyhow::Result<(f64, f64)> {
        let begin = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut peak = 0.0;
        let status = loop {
            peak = machine::peak(child.id()).unwrap_or(peak);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            #[expect(clippy::disallowed_methods, reason = "nobody tells when memory was at its peak")]
            std::thread::sleep(INTERVAL);
        };
        let seconds = begin.elapsed().as_secs_f64();
        let said = child.stderr.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
        ensure!(status.success(), "{command:?}: {status}\n{said}");
        let daemon = match &self.tool {
            Tool::Docker(docker) => machine::peak(docker.pid()).unwrap_or(0.0),
            _ => 0.0,
        };
        Ok((seconds, peak + daemon))
    }
}

impl Tool {
    fn command(&self, args: &[&str]) -> Command {
        match self {
            Self::Shipway(shipway) => shipway.command(args),
            Self::Docker(docker) => {
                let mut command = docker.command(args);
                command.env("DOCKER_BUILDKIT", "1");
                command
            }
            Self::Buildah { program, dir } => {
                let mut command = Command::new(program);
                command.arg("--root").arg(dir.join("root")).arg("--runroot").arg(dir.join("run"));
                command.args(["--storage-driver", "overlay"]).args(args);
                // What it packs goes through here, and its memory of blobs belongs to the run.
                command.env("TMPDIR", dir).env("HOME", dir);
                command
            }
        }
    }
}

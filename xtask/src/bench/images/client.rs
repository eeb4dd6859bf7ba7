//! Programs that take images to registries and back: each with a store of its own on a volume of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::context::Context;
use crate::bench::docker::{Docker, Network, Programs};
use crate::bench::program;
use crate::bench::shipway::Shipway;
use crate::bench::table::Table;
use crate::bench::volume::Volume;

/// What the image is called in each store.
const IMAGE: &str = "image";

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Shipway,
    Skopeo,
    Docker,
}

impl Kind {
    /// Returns those that are installed, Shipway first, and notes which are not.
    pub(super) fn installed(table: &mut Table) -> Vec<Self> {
        let mut kinds = vec![Self::Shipway];
        match program::find("SKOPEO", "skopeo") {
            Some(skopeo) => {
                table.note(format!("{}.", program::version(&skopeo)));
                kinds.push(Self::Skopeo);
            }
            None => table.note("skopeo was left out: it is not installed."),
        }
        match Programs::find() {
            Some(programs) => {
                table.note(format!("Docker: {}.", programs.version));
                kinds.push(Self::Docker);
            }
            None => table.note("Docker was left out: `dockerd` or `docker` is not installed."),
        }
        kinds
    }

    /// Returns its name, which paths and repositories can have too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shipway => "Shipway",
            Self::Skopeo => "skopeo",
            Self::Docker => "docker",
        }
    }

    /// Returns the repository that it pushes to.
    pub(super) fn repository(self, registry: &str) -> String {
        format!("{registry}/{}/image", self.name().to_lowercase())
    }

    /// Whether containers can run when it has pulled.
    pub(super) fn unpacks(self) -> bool {
        self != Self::Skopeo
    }
}

/// One that has an image.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) kind: Kind,
    // The program goes before the volume that it runs on.
    tool: Tool,
    pub(super) volume: Volume,
}

#[derive(Debug)]
enum Tool {
    Shipway(Shipway),
    Skopeo(Skopeo),
    Docker(Docker),
}

impl Client {
    /// Makes a client of each kind, with the image that a context gives. `kinds` begins with Shipway, which builds it.
    pub(super) fn all(kinds: &[Kind], place: &Path, context: &Context) -> anyhow::Result<Vec<Self>> {
        let new = |kind: &Kind| {
            let client = Self::new(*kind, &place.join(kind.name().to_lowercase()), context)?;
            client.take_in(context).with_context(|| format!("{} did not get the image", kind.name()))?;
            Ok(client)
        };
        kinds.iter().map(new).collect()
    }

    fn new(kind: Kind, dir: &Path, context: &Context) -> anyhow::Result<Self> {
        let volume = Volume::new(dir)?;
        let from = volume.dir.join("from");
        let tool = match kind {
            Kind::Shipway => Tool::Shipway(Shipway::new(&from)?),
            Kind::Skopeo => Tool::Skopeo(Skopeo {
                program: program::find("SKOPEO", "skopeo").context("skopeo is gone")?,
                archive: context.archive.clone(),
                dir: volume.dir.clone(),
            }),
            Kind::Docker => Tool::Docker(start_docker(&from)?),
        };
        Ok(Self { kind, tool, volume })
    }

    /// Takes in what the context gives now, without a compressed form of any layer. Shipway goes first: it builds the image and
    /// writes the archive for the others.
    pub(super) fn take_in(&self, context: &Context) -> anyhow::Result<()> {
        match &self.tool {
            Tool::Shipway(shipway) => {
                program::output(shipway.command(&["build", "-q", "-t", IMAGE]).arg(&context.dir))?;
                program::output(shipway.command(&["save", IMAGE, "-o"]).arg(&context.archive))?;
            }
            Tool::Docker(docker) => {
                program::output(docker.command(&["load", "-q", "-i"]).arg(&context.archive))?;
            }
            // It pushes the archive itself.
            Tool::Skopeo(_) => (),
        }
        Ok(())
    }

    /// Pushes the image under a name, and returns the seconds.
    pub(super) fn push(&self, name: &str) -> anyhow::Result<f64> {
        match &self.tool {
            Tool::Shipway(shipway) => {
                shipway.ok(&["tag", IMAGE, name])?;
                shipway.time(&["push", "-q", name])
            }
            Tool::Docker(docker) => {
                program::output(&mut docker.command(&["tag", IMAGE, name]))?;
                program::time(&mut docker.command(&["push", "-q", name]))
            }
            Tool::Skopeo(skopeo) => skopeo.push(name),
        }
    }

    /// Pulls an image into another new store, where layers stay archives, and returns the seconds; `None` where there is no such thing.
    pub(super) fn pull_archives(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let Tool::Shipway(_) = &self.tool else { return Ok(None) };
        let volume = Volume::new(&self.volume.dir.with_file_name("archives"))?;
        let shipway = Shipway::new(&volume.dir)?;
        let mut command = shipway.command(&["pull", "-q", name]);
        program::time(command.env("SHIPWAY_LAYERS", "archives")).map(Some)
    }

    /// Pulls an image into a new store, and returns the seconds.
    pub(super) fn pull(self, name: &str) -> anyhow::Result<f64> {
        let Self { tool, volume, .. } = self;
        let to = volume.dir.join("to");
        match tool {
            Tool::Shipway(_from) => Shipway::new(&to)?.time(&["pull", "-q", name]),
            Tool::Docker(from) => {
                drop(from);
                let docker = start_docker(&to)?;
                program::time(&mut docker.command(&["pull", "-q", name]))
            }
            Tool::Skopeo(skopeo) => skopeo.pull(name, &to),
        }
    }
}

fn start_docker(dir: &Path) -> anyhow::Result<Docker> {
    Docker::start(dir, Network::Untouched, &mut Table::default())?.context("docker is gone")
}

/// Skopeo, which has no store: it pushes an archive and pulls into a layout.
#[derive(Debug)]
struct Skopeo {
    program: PathBuf,
    archive: PathBuf,
    /// Where it keeps what it needs.
    dir: PathBuf,
}

impl Skopeo {
    fn push(&self, name: &str) -> anyhow::Result<f64> {
        let archive = format!("docker-archive:{}", self.archive.display());
        program::time(&mut self.copy(&archive, &format!("docker://{name}")))
    }

    fn pull(&self, name: &str, to: &Path) -> anyhow::Result<f64> {
        let layout = format!("oci:{}:{IMAGE}", to.display());
        program::time(&mut self.copy(&format!("docker://{name}"), &layout))
    }

    fn copy(&self, from: &str, to: &str) -> Command {
        let mut command = Command::new(&self.program);
        // What it remembers of blobs belongs to the run: below HOME, if it does not take itself for root.
        command.env("HOME", &self.dir).env_remove("XDG_DATA_HOME").env("_CONTAINERS_ROOTLESS_UID", "1");
        command.env("TMPDIR", &self.dir).args(["--insecure-policy", "copy", "-q"]);
        command.args(["--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
        command
    }
}

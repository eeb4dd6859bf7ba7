//! Registries that are pushed to and pulled from: ours, and Debian's `docker-registry`.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::bench::machine;
use crate::bench::program;
use crate::bench::shipway::Shipway;
use crate::bench::table::Table;
use crate::bench::volume::Volume;

/// How long a registry may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the other registry listens; the network is the group's own.
const PEER: &str = "127.0.0.1:5001";

/// A registry that runs; it ends with the value.
pub(crate) struct Registry {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    process: Child,
}

impl Registry {
    pub(crate) fn ours(shipway: &Shipway) -> anyhow::Result<Self> {
        let mut command = shipway.command(&["registry", "serve", "--quiet", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        let out = process.stdout.take().context("it has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self { name: Kind::Ours.name(), address, process })
    }

    /// Starts Debian's `docker-registry`, or notes why there is none.
    pub(crate) fn theirs(dir: &Path, table: &mut Table) -> anyhow::Result<Option<Self>> {
        let Some(program) = program::find("DOCKER_REGISTRY", "docker-registry") else {
            table.note("`docker-registry` was left out: it is not installed.");
            return Ok(None);
        };
        table.note(format!("docker-registry: {}.", program::version(&program)));
        fs_err::create_dir_all(dir)?;
        let config = dir.join("config.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{PEER}'}}\nlog: {{level: error, accesslog: {{disabled: true}}}}\n",
            dir.display()
        );
        fs_err::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn()?;
        let registry = Self { name: Kind::Theirs.name(), address: PEER.to_owned(), process };
        let start = Instant::now();
        while TcpStream::connect(PEER).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("`docker-registry` does not answer");
            }
            std::thread::yield_now();
        }
        Ok(Some(registry))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It keeps nothing that is wanted.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}

/// A kind of registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Theirs,
}

impl Kind {
    /// Returns those that are installed, ours first.
    pub(super) fn installed() -> Vec<Self> {
        let theirs = program::find("DOCKER_REGISTRY", "docker-registry").map(|_program| Self::Theirs);
        std::iter::once(Self::Ours).chain(theirs).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "our registry",
            Self::Theirs => "docker-registry",
        }
    }
}

/// A registry that has nothing yet, on a volume of its own.
pub(super) struct Server {
    // The registry goes before what it runs on.
    pub(super) registry: Registry,
    /// The store that is served, if it is one of ours.
    pub(super) shipway: Option<Shipway>,
    pub(super) volume: Volume,
}

/// Memory of a registry's process in megabytes (of 1,000,000 bytes).
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Most of all pages that it had in memory.
    pub(super) peak: f64,
    /// Pages that no file stands behind, now.
    pub(super) anonymous: f64,
}

impl Server {
    /// Makes a volume at `dir` and starts a registry on it.
    pub(super) fn start(kind: Kind, dir: &Path, table: &mut Table) -> anyhow::Result<Self> {
        let volume = Volume::new(dir)?;
        let at = volume.dir.join("registry");
        let (registry, shipway) = match kind {
            Kind::Ours => {
                let shipway = Shipway::new(&at)?;
                (Registry::ours(&shipway)?, Some(shipway))
            }
            Kind::Theirs => (Registry::theirs(&at, table)?.context("`docker-registry` is gone")?, None),
        };
        Ok(Self { registry, shipway, volume })
    }

    /// Returns the memory of its process, which must still run.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        let pid = self.registry.process.id();
        let read = || Some(Memory { peak: machine::peak(pid)?, anonymous: machine::anonymous(pid)? });
        read().with_context(|| format!("{} has ended", self.registry.name))
    }
}

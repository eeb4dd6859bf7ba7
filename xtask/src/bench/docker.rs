//! A Docker daemon of our own: its data, sockets and containerd below the scratch directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::program;
use super::table::Table;

/// The control group of its containers.
const GROUP: &str = "shipway-bench-docker";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the daemon may do to the network that it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Nothing: containers get the host's network or none.
    Untouched,
    /// A bridge and its rules, as usual.
    Bridge,
}

/// Where the daemon and its client are.
#[derive(Debug)]
pub(crate) struct Programs {
    server: PathBuf,
    client: PathBuf,
    /// What the daemon says of itself.
    pub(crate) version: String,
}

impl Programs {
    /// Finds the daemon, and the client of the daemon's version if there is one: a newer client has no BuildKit of its own.
    pub(crate) fn find() -> Option<Self> {
        let server = program::find("DOCKERD", "dockerd")?;
        let version = program::version(&server);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut clients =
            std::env::split_paths(&path).map(|dir| dir.join("docker")).filter(|file| file.is_file());
        let number = number(&version);
        let client = match std::env::var_os("DOCKER") {
            Some(_named) => program::find("DOCKER", "docker"),
            None => clients.find(|client| self::number(&program::version(client)) == number),
        };
        let client = client.or_else(|| program::find("DOCKER", "docker"))?;
        Some(Self { server, client, version })
    }

    /// Returns the first number of the daemon's version.
    pub(crate) fn major(&self) -> u32 {
        number(&self.version).split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }
}

/// Returns `20.10.24` of `Docker version 20.10.24+dfsg1, build 5d6db84`.
fn number(version: &str) -> &str {
    let number = version.split(' ').nth(2).unwrap_or_default();
    number.split(['+', ',', '-']).next().unwrap_or_default()
}

/// A daemon that answers; it ends with the value.
#[derive(Debug)]
pub(crate) struct Docker {
    client: PathBuf,
    socket: PathBuf,
    dir: PathBuf,
    daemon: Child,
}

impl Docker {
    /// Starts a daemon, or notes why there is none.
    pub(crate) fn start(dir: &Path, network: Network, table: &mut Table) -> anyhow::Result<Option<Self>> {
        let Some(programs) = Programs::find() else {
            table.note("Docker was left out: `dockerd` or `docker` is not installed.");
            return Ok(None);
        };
        table.note(format!("Docker: {}.", programs.version));
        Self::start_at(&programs, dir, network).map(Some)
    }

    /// Starts a daemon with everything that it writes below `dir`.
    pub(crate) fn start_at(programs: &Programs, dir: &Path, network: Network) -> anyhow::Result<Self> {
        let (server, client) = (&programs.server, programs.client.clone());
        fs_err::create_dir_all(dir)?;
        fs_err::write(dir.join("daemon.json"), "{}\n")?;
        let socket = dir.join("docker.sock");
        let mut command = Command::new(server);
        command.arg("--config-file").arg(dir.join("daemon.json"));
        command.arg("--data-root").arg(dir.join("data"));
        command.arg("--exec-root").arg(dir.join("exec"));
        command.arg("--pidfile").arg(dir.join("docker.pid"));
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        command.args(["--storage-driver", "overlay2"]).arg("--cgroup-parent").arg(format!("/{GROUP}"));
        if network == Network::Untouched {
            command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        }
        let log = fs_err::File::create(dir.join("docker.log"))?.into_file();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = command.spawn().with_context(|| format!("could not start {}", server.display()))?;
        let mut docker = Self { client, socket, dir: dir.to_owned(), daemon };
        docker.wait()?;
        Ok(docker)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let answer = self.command(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if answer.is_ok_and(|status| status.success()) {
                return Ok(());
            }
            if self.daemon.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                let log = fs_err::read_to_string(self.dir.join("docker.log")).unwrap_or_default();
                bail!("dockerd did not start:\n{log}");
            }
        }
    }

    /// Returns a command of the client.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.client);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command.env("DOCKER_CONFIG", self.dir.join("client")).args(args);
        command
    }

    /// Returns the daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Makes an image of a root file system.
    pub(crate) fn import(&self, archive: &Path, name: &str) -> anyhow::Result<()> {
        program::output(self.command(&["import"]).arg(archive).arg(name)).map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = self.daemon.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        // It ends its containers and its containerd first.
        drop(self.daemon.wait());
        remove_groups();
    }
}

/// Removes the control groups that the daemon leaves, in all hierarchies.
fn remove_groups() {
    let hierarchies = fs_err::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let roots = hierarchies.map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
    for root in roots {
        remove_group(&root.join(GROUP));
    }
}

/// Removes a control group and those in it; one that is not there, or in use, stays as it is.
fn remove_group(group: &Path) {
    for child in fs_err::read_dir(group).into_iter().flatten().flatten() {
        if child.path().is_dir() {
            remove_group(&child.path());
        }
    }
    drop(fs_err::remove_dir(group));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_version_is_found() {
        assert_eq!(number("Docker version 20.10.24+dfsg1, build 5d6db84"), "20.10.24");
        assert_eq!(number("Docker version 28.2.2, build e6534b4"), "28.2.2");
        assert_eq!(number("of unknown version"), "version");
    }
}

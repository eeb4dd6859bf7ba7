//! RUN steps as containers.

mod agent;
mod emulation;
mod network;
mod shell;

use std::io::{self, Read as _, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shipway_build::{BuildNetwork, MountSource, RunStep, SeamError, StepMount, StepRunner};
use shipway_linux::{MountAttributes, Root, new_filesystem};
use shipway_runtime::{
    CapabilityProfile, ContainerSpec, Containers, Mount, MountKind, Network, ProcessLimit, Rootfs,
    RuntimeError, StdIo,
};

use crate::claim::Claim;
use crate::engine::Engine;
use crate::host_ca;
use crate::roots::Roots;
use crate::steps::agent::Agent;
use crate::steps::network::{Given, StepNetwork};

/// How often a running step looks whether it should stop.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// Beginning of the names of steps' containers.
pub(crate) const OF_STEP: &str = "step-";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Runs steps in containers that end with this process.
#[derive(Debug)]
pub(crate) struct ContainerSteps {
    roots: Roots,
    containers: Containers,
    network: StepNetwork,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum StepError {
    #[error("could not prepare `{path}` for a step")]
    #[diagnostic(code(build::prepare), help("see that the state directory is writable: --state DIR"))]
    Prepare { path: PathBuf, source: std::io::Error },
    #[error("could not keep a file of a step in memory")]
    #[diagnostic(code(build::memory), help("try again"))]
    Memory { source: std::io::Error },
    #[error("could not read the output of a step")]
    #[diagnostic(code(build::output), help("try again"))]
    Output { source: std::io::Error },
    #[error("no certificate authorities were found on this host")]
    #[diagnostic(
        code(build::host_ca),
        help("name the bundle: SSL_CERT_FILE=/path/to/bundle.crt shipway build …")
    )]
    NoHostCa,
}

impl StepRunner for ContainerSteps {
    fn run(&self, step: &RunStep, output: &mut dyn Write) -> Result<i32, SeamError> {
        emulation::check(&step.platform)?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{OF_STEP}{}-{number}", std::process::id());
        // What a build that was killed has left is nobody's.
        let _claim = Claim::take(&self.roots, &id).map_err(SeamError::new)?;
        // It goes with the step.
        let mut scratch = Scratch::new(self.roots.state.join("steps").join(&id));
        let given = self.network_of(step, output)?;
        let spec = self.spec(id, step, &mut scratch)?;
        let (spec, own) = given.to(spec, &step.hosts);
        let (mut reader, writer) = std::io::pipe().map_err(output_error)?;
        let stderr = writer.try_clone().map_err(output_error)?;
        let streams = StdIo::Streams { stdin: Stdio::null(), stdout: writer.into(), stderr: stderr.into() };
        let container = match self.containers.start(&spec, streams) {
            Ok(container) => container,
            Err(RuntimeError::Start { source, .. }) if source.exit_code() > 125 => {
                writeln!(output, "{source}").map_err(output_error)?;
                return Ok(source.exit_code().into());
            }
            Err(error) => return Err(SeamError::new(error)),
        };
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if !shipway_linux::wait_pidfd(&reader, STOP_INTERVAL).map_err(output_error)? {
                if step.stop.is_set() {
                    // One that has just ended needs no signal.
                    drop(container.kill(9));
                }
                continue;
            }
            let length = reader.read(&mut buffer).map_err(output_error)?;
            if length == 0 {
                break;
            }
            output.write_all(&buffer[..length]).map_err(output_error)?;
        }
        let code = container.wait().map_err(SeamError::new)?;
        container.delete().map_err(SeamError::new)?;
        drop(own);
        Ok(code)
    }
}

fn output_error(source: std::io::Error) -> SeamError {
    SeamError::new(StepError::Output { source })
}

impl ContainerSteps {
    /// Makes a runner of steps; their sandbox goes with it.
    pub(crate) fn new(engine: &Engine) -> Self {
        let (roots, containers) = (engine.roots.clone(), engine.containers.clone());
        Self { network: StepNetwork::new(roots.clone()), roots, containers }
    }

    fn network_of(&self, step: &RunStep, output: &mut dyn Write) -> Result<Given, SeamError> {
        match step.network {
            BuildNetwork::None => Ok(Given::plain(Network::None)),
            BuildNetwork::Host => Ok(Given::plain(Network::Host)),
            BuildNetwork::Default => {
                self.network.of_step(&step.env, step.insecure, output).map_err(SeamError::new)
            }
        }
    }

    fn spec(&self, id: String, step: &RunStep, scratch: &mut Scratch) -> Result<ContainerSpec, SeamError> {
        let mut mounts = step
            .mounts
            .iter()
            .map(|mount| mount_of(mount, scratch))
            .collect::<Result<Vec<_>, SeamError>>()?;
        let mut env = step.env.clone();
        if step.host_ca {
            let bundle = host_ca::bundle().ok_or_else(|| SeamError::new(StepError::NoHostCa))?;
            let apt = scratch.file(host_ca::apt_config().as_bytes(), (0o644, 0, 0))?;
            for (kind, target) in [(MountKind::Bind(bundle), host_ca::BUNDLE), (apt, host_ca::APT_CONFIG)] {
                mounts.push(Mount { kind, target: PathBuf::from(target), read_only: true, size: None });
            }
            env.extend(host_ca::variables());
        }
        let hostname = step.hostname.clone().unwrap_or_else(|| "buildkitsandbox".to_owned());
        Ok(ContainerSpec {
            hostname,
            keeps_hostname_file: true,
            args: step.args.clone(),
            env,
            cwd: step.cwd.clone(),
            user: step.user.clone(),
            rootfs: Rootfs {
                lowers: step.lowers.clone(),
                upper: step.upper.clone(),
                work: step.work.clone(),
                read_only: false,
                // A step that a power cut ended is run again, and one that counts was synced.
                volatile: true,
            },
            mounts,
            names_read_only: true,
            limits: step
                .limits
                .iter()
                .map(|limit| ProcessLimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard })
                .collect(),
            shm_size: step.shm_size,
            capabilities: CapabilityProfile::Build,
            privileged: step.insecure,
            cgroup_parent: format!("shipway-{}", self.roots.id),
            cgroup_above: step.cgroup_parent.clone().unwrap_or_default(),
            ends_with: i32::try_from(std::process::id()).ok(),
            id,
            ..ContainerSpec::default()
        })
    }
}

/// Returns what a step's mount is to the runtime.
fn mount_of(mount: &StepMount, scratch: &mut Scratch) -> Result<Mount, SeamError> {
    let target = PathBuf::from(&mount.target);
    let (kind, read_only, size) = match &mount.source {
        // Made by the builder.
        MountSource::Bind { fd, sub, .. } => (detached(fd, sub), false, None),
        MountSource::Cache { directory, read_only } => (MountKind::Bind(directory.clone()), *read_only, None),
        MountSource::Tmpfs { size, read_only } => (MountKind::Tmpfs, *read_only, *size),
        MountSource::Agent { agent, mode, uid, gid } => {
            let path = scratch.place(&format!("agent-{}", scratch.agents.len()))?;
            let agent = Agent::open(&path, agent, (*mode, *uid, *gid)).map_err(prepare(&path))?;
            scratch.agents.push(agent);
            (MountKind::Bind(path), false, None)
        }
        MountSource::File { content, mode, uid, gid } => {
            (scratch.file(content, (*mode, *uid, *gid))?, true, None)
        }
    };
    Ok(Mount { kind, target, read_only, size })
}

/// Returns what is at a path of a mount that has no place. The number of its descriptor stays valid while the step runs.
fn detached(mount: &OwnedFd, sub: &Path) -> MountKind {
    let link = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), mount.as_raw_fd()));
    MountKind::Detached { link, sub: sub.to_owned() }
}

/// What one step has beside its mounts, gone with it.
struct Scratch {
    /// Made for the first that wants a place in it.
    dir: PathBuf,
    agents: Vec<Agent>,
    /// File systems of its files.
    files: Vec<OwnedFd>,
}

impl Scratch {
    fn new(dir: PathBuf) -> Self {
        Self { dir, agents: Vec::new(), files: Vec::new() }
    }

    /// Returns where something of that name may be, which others of this machine do not reach.
    fn place(&self, name: &str) -> Result<PathBuf, SeamError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(prepare(&self.dir))?;
        Ok(self.dir.join(name))
    }

    /// Makes a file in memory. SECURITY row 21: it is in no directory of this machine, so nothing of it is left, however we end.
    fn file(&mut self, content: &[u8], owned: (u32, u32, u32)) -> Result<MountKind, SeamError> {
        let made = memory_file(content, owned);
        let made = made.map_err(|source| SeamError::new(StepError::Memory { source }))?;
        let kind = detached(&made, Path::new(FILE));
        self.files.push(made);
        Ok(kind)
    }
}

/// The file of a file system that has no other.
const FILE: &str = "file";

/// Returns a file system that has one file and no place.
fn memory_file(content: &[u8], (mode, uid, gid): (u32, u32, u32)) -> io::Result<OwnedFd> {
    let attributes = MountAttributes { no_suid: true, no_dev: true, ..MountAttributes::default() };
    let make = |options: &[(&str, &str)]| new_filesystem("tmpfs", options, attributes);
    let mounted = match make(&[("mode", "700"), ("noswap", "")]) {
        // Older kernels than 6.4 do not know the second.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => make(&[("mode", "700")])?,
        made => made?,
    };
    let root = Root::from_fd(mounted.try_clone()?);
    root.create_file(FILE, 0o600)?.write_all(content)?;
    root.set_owner(FILE, uid, gid)?;
    root.set_mode(FILE, mode)?;
    Ok(mounted)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.agents.clear();
        match fs_err::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "could not remove the files of a step");
            }
            _ => {}
        }
    }
}

fn prepare(path: &Path) -> impl FnOnce(std::io::Error) -> SeamError {
    let path = path.to_owned();
    move |source| SeamError::new(StepError::Prepare { path, source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::Scratch;

    #[test]
    fn the_places_of_a_step_are_for_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let scratch = Scratch::new(root.path().join("steps/one"));
        assert!(!scratch.dir.exists());
        scratch.place("agent").unwrap();
        for dir in [&scratch.dir, scratch.dir.parent().unwrap()] {
            assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
        }
        let dir = scratch.dir.clone();
        drop(scratch);
        assert!(!dir.exists());
    }
}

//! RUN steps as containers.

mod agent;
mod emulation;
mod network;
mod shell;

use std::io::{Read as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shipway_build::{BuildNetwork, MountSource, RunStep, SeamError, StepMount, StepRunner};
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
        let scratch = Scratch::new(self.roots.state.join("steps").join(&id))?;
        let given = self.network_of(step, output)?;
        // They go with the step.
        let mut agents = Vec::new();
        let spec = self.spec(id, step, (&scratch, &mut agents))?;
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

    fn spec(
        &self,
        id: String,
        step: &RunStep,
        (scratch, agents): (&Scratch, &mut Vec<Agent>),
    ) -> Result<ContainerSpec, SeamError> {
        let mut mounts = Vec::new();
        for (number, mount) in step.mounts.iter().enumerate() {
            mounts.push(mount_of(mount, number, scratch, agents)?);
        }
        let mut env = step.env.clone();
        if step.host_ca {
            let bundle = host_ca::bundle().ok_or_else(|| SeamError::new(StepError::NoHostCa))?;
            let apt = scratch.file("apt.conf", host_ca::apt_config().as_bytes(), 0o644)?;
            for (source, target) in [(bundle, host_ca::BUNDLE), (apt, host_ca::APT_CONFIG)] {
                mounts.push(Mount {
                    kind: MountKind::Bind(source),
                    target: PathBuf::from(target),
                    read_only: true,
                    size: None,
                });
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
fn mount_of(
    mount: &StepMount,
    number: usize,
    scratch: &Scratch,
    agents: &mut Vec<Agent>,
) -> Result<Mount, SeamError> {
    let target = PathBuf::from(&mount.target);
    let (kind, read_only, size) = match &mount.source {
        // Made by the builder; the number stays valid while the step runs.
        MountSource::Bind { fd, sub, .. } => {
            let link = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()));
            (MountKind::Detached { link, sub: sub.clone() }, false, None)
        }
        MountSource::Cache { directory, read_only } => (MountKind::Bind(directory.clone()), *read_only, None),
        MountSource::Tmpfs { size, read_only } => (MountKind::Tmpfs, *read_only, *size),
        MountSource::Agent { agent, mode, uid, gid } => {
            let path = scratch.dir.join(format!("agent-{number}"));
            let agent = Agent::open(&path, agent, (*mode, *uid, *gid)).map_err(prepare(&path))?;
            agents.push(agent);
            (MountKind::Bind(path), false, None)
        }
        MountSource::File { content, mode, uid, gid } => {
            let path = scratch.file(&number.to_string(), content, *mode)?;
            std::os::unix::fs::chown(&path, Some(*uid), Some(*gid)).map_err(prepare(&path))?;
            (MountKind::Bind(path), true, None)
        }
    };
    Ok(Mount { kind, target, read_only, size })
}

/// Files of one step, gone with it.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new(dir: PathBuf) -> Result<Self, SeamError> {
        // A secret may be there for all users of the step to read, but not for those of this machine, whoever made the state root.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(prepare(&dir))?;
        Ok(Self { dir })
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> Result<PathBuf, SeamError> {
        let path = self.dir.join(name);
        shipway_store::atomic_write(&path, content, mode).map_err(prepare(&path))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.dir) {
            tracing::warn!(%error, "could not remove the files of a step");
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
    fn the_files_of_a_step_are_for_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let scratch = Scratch::new(root.path().join("steps/one")).unwrap();
        let secret = scratch.file("0", b"secret", 0o444).unwrap();
        for dir in [&scratch.dir, scratch.dir.parent().unwrap()] {
            assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
        }
        let dir = scratch.dir.clone();
        drop(scratch);
        assert!(!secret.exists() && !dir.exists());
    }
}

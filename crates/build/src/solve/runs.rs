//! RUN steps: mounts, key, and the command itself.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use shipway_dockerfile::{Mount, MountKind};
use shipway_layers::Snapshot;
use shipway_linux::{OpenFlags, Root, clone_at};

use super::binds::Bind;
use super::debug::Failed;
use super::leaks::{OF_COMMAND, Redact, check, needles};
use super::steps::{Applied, Left, Slot};
use super::stubs::Stubs;
use super::ways::Ways;
use super::{Outcome, Solver};
use crate::caches::Held;
use crate::key::Key;
use crate::plan::{RunAction, Step};
use crate::progress::StepInfo;
use crate::seams::{HOST_CA_STUBS, MOUNT_STUBS, MountSource, RunStep, StepMount, StubKind};
use crate::variables::{proxy_variables, set_env};
use crate::{Event, Problem, ProcessLimit, Progress};

/// The confinement of commands; part of the key of each.
const CONFINEMENT: &str = "1";
/// The same for those that are not confined.
const INSECURE: &str = "insecure";
/// Build arguments for the name that commands are told to be on, and for whose caches theirs are. Compat: BuildKit.
const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";
const CACHES_OF: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// The mounts of one command, ready to be made.
pub(super) struct Mounts {
    /// Each with its place among all that the instruction names.
    mounts: Vec<(usize, StepMount)>,
    /// What of them goes into the key.
    described: Vec<String>,
    /// Variables that hold secrets.
    env: Vec<String>,
    /// Caches to take when the command really runs, and what new ones begin with.
    caches: Vec<(String, usize, Mount, Option<Bind>)>,
    /// What of contexts and stages to show when the command really runs.
    binds: Vec<(usize, Bind)>,
    /// The places of their descriptions.
    binds_described: Vec<usize>,
    /// How many agents were named.
    agents: usize,
    /// What belongs to the mounts; it goes with the step.
    held: Vec<Snapshot>,
}

impl Solver<'_> {
    /// Opens what `--mount` names. Nothing of a secret goes into the description.
    fn mount_sources(&self, run: &RunAction, way: &Outcome) -> Result<Mounts, Problem> {
        let mut all = Mounts {
            mounts: Vec::new(),
            described: Vec::new(),
            env: Vec::new(),
            caches: Vec::new(),
            binds: Vec::new(),
            binds_described: Vec::new(),
            agents: 0,
            held: Vec::new(),
        };
        if let Some((name, text)) = &run.script {
            all.described.push(format!("script {name} {text}"));
            let content = text.clone().into_bytes();
            let source = MountSource::File { content, mode: 0o755, uid: 0, gid: 0 };
            all.mounts.push((0, StepMount { target: format!("/dev/pipes/{name}"), source }));
        }
        for (place, (mount, origin)) in run.mounts.iter().enumerate() {
            let target = mount.target.clone().unwrap_or_default();
            match mount.kind {
                MountKind::Bind => {
                    let (bind, described) = self.find_bind(mount, (*origin, way), target)?;
                    all.binds_described.push(all.described.len());
                    all.described.push(described);
                    all.binds.push((place, bind));
                }
                MountKind::Tmpfs => {
                    let Mount { size, read_only, .. } = *mount;
                    let how = if read_only { " read-only" } else { "" };
                    all.described.push(format!("tmpfs {target} {size:?}{how}"));
                    let source = MountSource::Tmpfs { size, read_only };
                    all.mounts.push((place, StepMount { target, source }));
                }
                MountKind::Cache => {
                    let mut id =
                        mount.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| target.clone());
                    if let Some(of) = self.request.build_arg(CACHES_OF) {
                        id = format!("{of}/{id}");
                    }
                    let first = match (&mount.from, &mount.source) {
                        (Some(_), _) => {
                            let read = Mount { read_only: true, ..mount.clone() };
                            Some(self.find_bind(&read, (*origin, way), String::new())?)
                        }
                        // A part of what the cache has itself.
                        (None, _) => None,
                    };
                    if let Some((_, described)) = &first {
                        // Compat: BuildKit, what begins with other files is another cache.
                        id = format!("{id} filled by {}", described.trim_start_matches("bind").trim_start());
                    } else if let Some(owned) = owned(mount) {
                        // And so is one whose directory belongs to somebody else.
                        id = format!("{id} {owned}");
                    }
                    let part = mount.source.as_deref().filter(|_| mount.from.is_none()).unwrap_or_default();
                    let part = if part.is_empty() { String::new() } else { format!(" part {part}") };
                    all.described
                        .push(format!("cache {target} {id} {:?} {}{part}", mount.sharing, mount.read_only));
                    all.caches.push((id, place, mount.clone(), first.map(|(bind, _)| bind)));
                }
                MountKind::Secret => self.secret((place, mount), &mut all)?,
                MountKind::Ssh => self.agent((place, mount), &mut all)?,
            }
        }
        Ok(all)
    }

    /// Compat: BuildKit, where agents are found that name no target.
    fn agent(&self, (place, mount): (usize, &Mount), all: &mut Mounts) -> Result<(), Problem> {
        let id = agent_id(mount);
        let of = (mount.uid, mount.gid);
        all.described.push(format!("ssh {id} {:?} {:?} {of:?}", mount.target, mount.mode));
        let number = all.agents;
        all.agents += 1;
        let target = mount.target.clone().unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{number}"));
        // Also if there is none.
        if number == 0 {
            all.env.push(format!("SSH_AUTH_SOCK={target}"));
        }
        let Some((_, agent)) = self.request.agents.iter().find(|(known, _)| *known == id) else {
            return if mount.required { Err(Problem::MissingAgent { id }) } else { Ok(()) };
        };
        let source = MountSource::Agent {
            agent: agent.clone(),
            mode: mount.mode.unwrap_or(0o600),
            uid: mount.uid.unwrap_or(0),
            gid: mount.gid.unwrap_or(0),
        };
        all.mounts.push((place, StepMount { target, source }));
        Ok(())
    }

    fn secret(&self, (place, mount): (usize, &Mount), all: &mut Mounts) -> Result<(), Problem> {
        let id = secret_id(mount);
        let of = (mount.uid, mount.gid);
        all.described.push(format!("secret {id} {:?} {:?} {:?} {of:?}", mount.target, mount.env, mount.mode));
        let Some(secret) = self.request.secrets.iter().find(|secret| secret.id == id) else {
            if mount.required {
                return Err(Problem::MissingSecret { id });
            }
            // Compat: BuildKit, its variable is empty.
            all.env.extend(mount.env.iter().map(|name| format!("{name}=")));
            return Ok(());
        };
        if let Some(name) = &mount.env {
            all.env.push(format!("{name}={}", String::from_utf8_lossy(&secret.content)));
        }
        if let Some(target) = &mount.target {
            let source = MountSource::File {
                content: secret.content.clone(),
                mode: mount.mode.unwrap_or(0o400),
                uid: mount.uid.unwrap_or(0),
                gid: mount.gid.unwrap_or(0),
            };
            all.mounts.push((place, StepMount { target: target.clone(), source }));
        }
        Ok(())
    }

    pub(super) fn run_step(
        &self,
        slot: &Slot<'_>,
        run: &RunAction,
        ways: &mut Ways,
    ) -> Result<Applied, Problem> {
        let sources = ways.iter().map(|way| self.mount_sources(run, way));
        let mut sources = sources.collect::<Result<Vec<_>, Problem>>()?;
        let keys =
            ways.iter().zip(&sources).map(|(way, mounts)| vec![self.run_key(run, &mounts.described, way)]);
        let mut keys: Vec<Vec<Key>> = keys.collect();
        // As with a copy: only where a stage is not the same its files are looked at.
        if let Some(applied) = self.look_up(slot, &keys, ways)? {
            return Ok(applied);
        }
        let (way, mut keys, mounts) = (ways.choose(), keys.swap_remove(0), sources.swap_remove(0));
        let mut described = mounts.described.clone();
        for (place, (_, bind)) in mounts.binds_described.iter().zip(&mounts.binds) {
            if let Some(content) = self.describe_content(&slot.step.info, bind)? {
                described[*place] = content;
            }
        }
        if described != mounts.described {
            keys.push(self.run_key(run, &described, &way));
        }
        self.cached_or(slot, &keys, ways, |snapshot| {
            self.run_command(slot.step, run, mounts, snapshot).map(|()| Left::Changes)
        })
    }

    fn run_key(&self, run: &RunAction, described: &[String], outcome: &Outcome) -> Key {
        let mut key = self.key("run", outcome);
        key.text("instruction", &format!("{:?}", run.args));
        for variable in &run.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            key.text(&format!("variable {name}"), value);
        }
        key.text("working directory", &run.cwd)
            .text("user", &run.user)
            .text("network", run.network.name())
            .text("platform", &run.platform.to_string())
            .text("confinement", if run.insecure { INSECURE } else { CONFINEMENT });
        let request = self.request;
        for (name, address) in &request.hosts {
            key.text(&format!("host {name}"), &address.to_string());
        }
        for ProcessLimit { name, soft, hard } in &request.limits {
            key.text(&format!("limit {name}"), &format!("{soft:?} {hard:?}"));
        }
        if let Some(name) = request.build_arg(HOSTNAME) {
            key.text("hostname", name);
        }
        if let Some(bytes) = request.shm_size {
            key.text("/dev/shm", &bytes.to_string());
        }
        for described in described {
            key.text("mount", described);
        }
        key.finish()
    }

    /// Takes the caches of a command, which are its own or shared as long as the result lives, and adds their mounts.
    fn take_caches(&self, step: &Step, mounts: &mut Mounts) -> Result<Vec<(String, Held)>, Problem> {
        let mut caches = std::mem::take(&mut mounts.caches);
        // All take them in one order, so that no two wait for each other.
        caches.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let mut held: Vec<(String, Held)> = Vec::new();
        for (id, place, mount, first) in caches {
            // The same cache in two places is one to its command, a private one too. Compat: BuildKit.
            let known = held.iter().find(|(known, _)| *known == id);
            let directory = match known {
                Some((_, known)) => known.directory.clone(),
                None => {
                    let fill = |root: &Root| {
                        first.as_ref().map_or(Ok(()), |bind| self.copy_bind(&step.info, bind, root))
                    };
                    let taken = self.builder.caches().take(&id, &mount, &self.stop, &fill)?;
                    let directory = taken.directory.clone();
                    held.push((id, taken));
                    directory
                }
            };
            let part = match &first {
                Some(bind) => self.file_of(&step.info, bind)?,
                None => mount.source.as_deref().map(PathBuf::from).filter(|path| *path != Path::new("/")),
            };
            let source = match part {
                Some(part) => part_of_cache(&directory, &part, mount.read_only)
                    .map_err(Problem::io("open in a cache", &part))?,
                None => MountSource::Cache { directory, read_only: mount.read_only },
            };
            let target = mount.target.clone().unwrap_or_default();
            mounts.mounts.push((place, StepMount { target, source }));
        }
        Ok(held)
    }

    fn run_command(
        &self,
        step: &Step,
        run: &RunAction,
        mut mounts: Mounts,
        snapshot: &Snapshot,
    ) -> Result<(), Problem> {
        let held = self.take_caches(step, &mut mounts)?;
        let binds = std::mem::take(&mut mounts.binds);
        for (place, bind) in &binds {
            let mount = self.make_bind(&step.info, bind, &mut mounts.held)?;
            mounts.mounts.push((*place, mount));
        }
        let binds: Vec<Bind> = binds.into_iter().map(|(_, bind)| bind).collect();
        // Compat: BuildKit, of two with one target the last is the only one.
        mounts.mounts.sort_by_key(|(place, _)| *place);
        let mut step_mounts: Vec<StepMount> = mounts.mounts.into_iter().map(|(_, mount)| mount).collect();
        let mut targets = HashSet::new();
        step_mounts.reverse();
        step_mounts.retain(|mount| targets.insert(mount.target.clone()));
        step_mounts.reverse();
        sort(&mut step_mounts);
        let trust = HOST_CA_STUBS.iter().filter(|_| self.request.host_ca);
        let mut wanted: Vec<(PathBuf, StubKind)> =
            MOUNT_STUBS.iter().chain(trust).map(|(path, kind)| (PathBuf::from(path), *kind)).collect();
        for mount in &step_mounts {
            wanted.push((PathBuf::from(&mount.target), stub_kind(&mount.source)));
        }
        let stubs = Stubs::make(snapshot, &wanted)?;
        let mut env = run.env.clone();
        // Compat: BuildKit, they stand behind what ENV says.
        for (name, value) in proxy_variables(&self.request.build_args) {
            set_env(&mut env, &name, &value);
        }
        env.append(&mut mounts.env);
        let (command, start) = (run.args.join(" "), Instant::now());
        let run_step = RunStep {
            args: run.args.clone(),
            env,
            cwd: run.cwd.clone(),
            user: run.user.clone(),
            lowers: snapshot.lowers.clone(),
            upper: snapshot.upper.clone(),
            work: snapshot.work.clone(),
            mounts: step_mounts,
            network: run.network,
            insecure: run.insecure,
            host_ca: self.request.host_ca,
            hostname: self.request.build_arg(HOSTNAME).map(str::to_owned),
            hosts: self.request.hosts.clone(),
            limits: self.request.limits.clone(),
            shm_size: self.request.shm_size,
            platform: run.platform.clone(),
            cgroup_parent: self.request.cgroup_parent.clone(),
            stop: self.stop.clone(),
        };
        // Also those of other commands: what they left in a cache, or what is in a context, is a way to this one.
        let needles = needles(self.request.secrets.iter());
        let output = StepOutput { progress: &*self.builder.progress, step: &step.info };
        let mut output = Redact::new(output, &needles);
        let code = self
            .builder
            .runner
            .run(&run_step, &mut output)
            .map_err(|source| Problem::Runner { command: command.clone(), source })?;
        output.finish().map_err(Problem::io("show", "the command's output"))?;
        if self.stop.is_set() {
            return Err(Problem::Cancelled);
        }
        if code != 0 {
            let problem = Problem::Exit { command, code, hint: full_disk(self.builder.store.root()) };
            let failed = Failed { step, problem, start };
            return Err(self.debug(failed, run_step, (&run.shell, &binds)));
        }
        stubs.remove()?;
        drop(held);
        check(&snapshot.upper, &needles, OF_COMMAND)
    }
}

/// Opens a file or directory of a cache. SECURITY row 15: whoever writes there, links lead to nothing outside of it.
fn part_of_cache(directory: &Path, part: &Path, read_only: bool) -> io::Result<MountSource> {
    let opened = Root::open(directory)?.open_with(part, OpenFlags::PATH, 0)?;
    let found = File::from(opened.try_clone()?).metadata()?;
    if !found.is_dir() && !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is neither a directory nor a file"));
    }
    let fd = Arc::new(clone_at(opened, read_only)?);
    Ok(MountSource::Bind { fd, sub: PathBuf::new(), is_directory: found.is_dir() })
}

/// Says so where a command may have met with a full disk: what it wrote is gone before anybody can look.
fn full_disk(root: &Path) -> Option<String> {
    const BYTES: u64 = 4 << 20;
    const FILES: u64 = 64;
    let is_full = shipway_linux::free_bytes(root).is_ok_and(|free| free < BYTES)
        || shipway_linux::free_files(root).is_ok_and(|free| free < FILES);
    is_full.then(|| {
        format!(
            "the disk of `{}` is full: make room there (`shipway system df`, `shipway system prune`), then build again",
            root.display()
        )
    })
}

/// Returns the id of a secret, which has either a source or an id. Compat: BuildKit, one without is called as its target is.
pub(crate) fn secret_id(mount: &Mount) -> String {
    let base = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
    let given = [&mount.source, &mount.id].into_iter().flatten().find(|text| !text.is_empty());
    given.cloned().or_else(|| mount.target.as_ref().map(base)).unwrap_or_default()
}

/// Returns the id of an ssh agent.
pub(crate) fn agent_id(mount: &Mount) -> String {
    mount.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| "default".to_owned())
}

/// Returns whose a cache mount is and what they may, if that is not as usual.
fn owned(mount: &Mount) -> Option<String> {
    let (uid, gid, mode) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0), mount.mode.unwrap_or(0o755));
    ((uid, gid, mode) != (0, 0, 0o755)).then(|| format!("of {uid}:{gid} {mode:o}"))
}

/// Parents before what is in them.
pub(super) fn sort(mounts: &mut [StepMount]) {
    mounts.sort_by_key(|mount| mount.target.matches('/').count());
}

fn stub_kind(source: &MountSource) -> StubKind {
    match source {
        MountSource::File { .. } | MountSource::Agent { .. } => StubKind::File,
        MountSource::Cache { .. } => StubKind::Directory,
        MountSource::Tmpfs { .. } => StubKind::Open,
        MountSource::Bind { is_directory: true, .. } => StubKind::Directory,
        MountSource::Bind { .. } => StubKind::File,
    }
}

/// Hands a command's output to whoever shows it.
struct StepOutput<'a> {
    progress: &'a dyn Progress,
    step: &'a StepInfo,
}

impl Write for StepOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.progress.event(&Event::Output { step: self.step, bytes });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

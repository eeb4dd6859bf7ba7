//! Containers as their creators see them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use shipway_linux as linux;

use crate::mounts::cgroup_of;
use crate::{ContainerSpec, ContainerState, RuntimeError, StartFailure, Status};

/// Where a container's input comes from and its output goes to.
#[derive(Debug)]
pub enum StdIo {
    /// Nothing in; out into the log.
    Log,
    /// The given ones, held by the container itself.
    Streams {
        /// Standard input.
        stdin: Stdio,
        /// Standard output.
        stdout: Stdio,
        /// Standard error.
        stderr: Stdio,
    },
    /// A terminal, whose controlling end is sent through the other half of this socket before the start is over. Nothing is
    /// logged. With [`StdIo::Log`] the shim keeps the controlling end of a terminal and writes what it says to the log.
    Terminal(OwnedFd),
}

/// All containers of one state root.
#[derive(Clone, Debug)]
pub struct Containers {
    dir: PathBuf,
    program: PathBuf,
}

/// One container, running or ended.
#[derive(Clone, Debug)]
pub struct Container {
    id: String,
    dir: PathBuf,
    program: PathBuf,
}

impl Containers {
    /// Opens the containers below `state_root`. `program` is what serves as shim, by `__shim` as its first argument.
    pub fn open(state_root: &Path, program: &Path) -> Result<Self, RuntimeError> {
        let dir = state_root.join("containers");
        make_private(&dir).map_err(RuntimeError::io("make the directory", &dir))?;
        Ok(Self { dir, program: program.to_owned() })
    }

    /// Starts a container and returns once its program runs, or why it does not.
    pub fn start(&self, spec: &ContainerSpec, stdio: StdIo) -> Result<Container, RuntimeError> {
        if !is_file_name(&spec.id) {
            return Err(RuntimeError::InvalidId(spec.id.clone()));
        }
        let container = self.container(&spec.id);
        let dir = &container.dir;
        make_private(&dir.join("rootfs")).map_err(RuntimeError::io("make the directory", dir))?;
        let write = |name: &str, text: &[u8]| {
            let path = dir.join(name);
            fs_err::write(&path, text).map_err(RuntimeError::io("write", &path))
        };
        let hostname = format!("{}\n", spec.hostname);
        let files =
            [("resolv.conf", &spec.resolv_conf), ("hosts", &spec.hosts), ("hostname", &Some(hostname))];
        for (name, text) in files {
            text.as_ref().map_or(Ok(()), |text| write(name, text.as_bytes()))?;
        }
        write(
            "spec.json",
            &serde_json::to_vec(spec).map_err(|error| RuntimeError::io("describe", dir)(error.into()))?,
        )?;
        let done = container.spawn_shim(stdio);
        if done.is_err() {
            // The failure matters; what is left of a container that never ran does not.
            drop(container.delete());
        }
        done.map(|()| container)
    }

    /// Finds a container.
    pub fn get(&self, id: &str) -> Result<Container, RuntimeError> {
        let container = self.container(id);
        let known = is_file_name(id) && container.dir.join("spec.json").exists();
        if known { Ok(container) } else { Err(RuntimeError::NoContainer(id.to_owned())) }
    }

    /// Returns every container, in no order.
    pub fn list(&self) -> Result<Vec<Container>, RuntimeError> {
        Ok(self.names()?.iter().filter_map(|name| self.get(name).ok()).collect())
    }

    /// Returns the names of all containers, also of those that never came to run.
    pub fn names(&self) -> Result<Vec<String>, RuntimeError> {
        let entries = fs_err::read_dir(&self.dir).map_err(RuntimeError::io("list", &self.dir))?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }

    /// Kills a container and removes it, however far it has come; one that is gone is no error.
    pub fn clear(&self, id: &str) -> Result<(), RuntimeError> {
        if !is_file_name(id) {
            return Err(RuntimeError::InvalidId(id.to_owned()));
        }
        let container = self.container(id);
        if container.kill(9).is_ok() {
            container.wait()?;
        }
        container.delete()
    }

    fn container(&self, id: &str) -> Container {
        Container { id: id.to_owned(), dir: self.dir.join(id), program: self.program.clone() }
    }
}

impl Container {
    /// Returns its unique name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the file that its output is written to.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Returns what it was started from.
    pub fn spec(&self) -> Result<ContainerSpec, RuntimeError> {
        let path = self.dir.join("spec.json");
        let text = fs_err::read(&path).map_err(RuntimeError::io("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| RuntimeError::io("read", &path)(error.into()))
    }

    /// Returns its state. A container whose shim is gone without a word counts as ended with code 255.
    pub fn state(&self) -> Result<ContainerState, RuntimeError> {
        let state =
            ContainerState::load(&self.dir).map_err(RuntimeError::io("read the state of", &self.dir))?;
        if state.status == Status::Running && !state.is_alive() && self.shim_is_gone() {
            let state =
                ContainerState::load(&self.dir).map_err(RuntimeError::io("read the state of", &self.dir))?;
            if state.status == Status::Running {
                return Ok(ContainerState { status: Status::Exited, exit_code: Some(255), ..state });
            }
            return Ok(state);
        }
        Ok(state)
    }

    fn shim_is_gone(&self) -> bool {
        File::open(self.dir.join("lock")).is_ok_and(|lock| lock.try_lock_shared().is_ok())
    }

    /// Waits until the container has ended and returns its exit code.
    pub fn wait(&self) -> Result<i32, RuntimeError> {
        let path = self.dir.join("lock");
        let lock = File::open(&path).map_err(RuntimeError::io("open", &path))?;
        // The shim holds it for its whole life.
        lock.lock_shared().map_err(RuntimeError::io("wait for", &path))?;
        Ok(self.state()?.exit_code.unwrap_or(255))
    }

    /// Sends a signal to the container's first process.
    pub fn kill(&self, signal: i32) -> Result<(), RuntimeError> {
        let pidfd = self.pidfd()?;
        linux::signal_pidfd(pidfd, signal).map_err(RuntimeError::io("signal", &self.dir))
    }

    /// Asks the container to end and kills it after `grace`.
    pub fn stop(&self, signal: i32, grace: Duration) -> Result<i32, RuntimeError> {
        let pidfd = match self.pidfd() {
            Err(RuntimeError::NotRunning(_)) => return self.wait(),
            other => other?,
        };
        // One that has just ended needs no signal.
        drop(linux::signal_pidfd(&pidfd, signal));
        let ended = linux::wait_pidfd(&pidfd, grace).map_err(RuntimeError::io("wait for", &self.dir))?;
        if !ended {
            drop(linux::signal_pidfd(&pidfd, 9));
        }
        self.wait()
    }

    /// Returns the first process, made sure not to be another one with the same number.
    pub(crate) fn pidfd(&self) -> Result<OwnedFd, RuntimeError> {
        let not_running = || RuntimeError::NotRunning(self.id.clone());
        let state = self.state()?;
        if state.status != Status::Running {
            return Err(not_running());
        }
        let pidfd = linux::open_pidfd(state.pid).map_err(|_gone| not_running())?;
        // Looked at after the descriptor was opened: the number cannot be reused from here on.
        if state.is_alive() { Ok(pidfd) } else { Err(not_running()) }
    }

    /// Removes what is left of an ended container.
    pub fn delete(&self) -> Result<(), RuntimeError> {
        let running = match self.state() {
            Ok(state) => state.status == Status::Running,
            // Its shim has not got so far as to have a state.
            Err(_none) => File::open(self.dir.join("lock")).is_ok() && !self.shim_is_gone(),
        };
        if running {
            return Err(RuntimeError::Running(self.id.clone()));
        }
        if let Ok(spec) = self.spec() {
            // The shim has removed it, unless it was killed.
            drop(cgroup_of(&spec).remove());
        }
        match fs_err::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RuntimeError::io("remove", &self.dir)(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn spawn_shim(&self, stdio: StdIo) -> Result<(), RuntimeError> {
        let fail = |error| RuntimeError::io("start the shim of", &self.dir)(error);
        let (mut reader, writer) = io::pipe().map_err(fail)?;
        linux::keep_on_exec(writer.as_fd()).map_err(fail)?;
        let log = File::create(self.dir.join("shim.log")).map_err(fail)?;
        let (kind, stdin, stdout, stderr) = match stdio {
            StdIo::Log => ("log", Stdio::null(), Stdio::null(), Stdio::from(log)),
            StdIo::Terminal(socket) => ("terminal", socket.into(), Stdio::null(), Stdio::from(log)),
            StdIo::Streams { stdin, stdout, stderr } => ("inherit", stdin, stdout, stderr),
        };
        let mut shim = Command::new(&self.program);
        shim.arg("__shim").arg(&self.dir).arg(writer.as_raw_fd().to_string()).arg(kind);
        let spawned = shim.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
        // The command holds the streams; whoever reads them must see their end.
        drop(shim);
        drop(writer);
        let mut child = spawned.map_err(fail)?;
        // The writer's other end may live on in a process that another thread started just now: end of file is no sign.
        let pidfd = linux::open_pidfd(i32::try_from(child.id()).unwrap_or(0)).map_err(fail)?;
        let spoke = linux::wait_readable(&reader, &pidfd).map_err(fail)?;
        let line = if spoke { read_line(&mut reader).map_err(fail)? } else { Vec::new() };
        if line == b"{}" {
            // Reaped when it ends, so that it does not stay as a zombie of a long-lived creator.
            std::thread::spawn(move || drop(child.wait()));
            return Ok(());
        }
        drop(child.wait());
        let source: StartFailure =
            serde_json::from_slice(&line).map_err(|_silent| RuntimeError::Shim(self.id.clone()))?;
        Err(RuntimeError::Start { id: self.id.clone(), source })
    }
}

/// Reads up to a line break or the end. Byte by byte: the descriptor may live on in another process.
fn read_line(reader: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while reader.read(&mut byte)? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    Ok(line)
}

/// Ids become names of directories and control groups.
fn is_file_name(id: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    id.starts_with(|first: char| first.is_ascii_alphanumeric()) && id.len() <= 200 && id.bytes().all(letter)
}

fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

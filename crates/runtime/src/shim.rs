//! The shim: parent and keeper of one container.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use shipway_linux::{self as linux, Forked, Limits, Namespaces};

use crate::defaults::{DEVICE_RULES, EVERY_DEVICE};
use crate::error::{Stage, StartFailure};
use crate::log::{Lines, LogWriter};
use crate::mounts::cgroup_of;
use crate::state::{ContainerState, Status, VERSION, now, start_time};
use crate::terminal::close_standard_input;
use crate::{ContainerSpec, Network, PortMapping, TerminalSocket, init, proxy};

/// `SIGKILL`. Spec: signal(7).
const KILL: i32 = 9;

/// Runs as a shim: `DIR REPORT_FD [log|inherit|terminal]`, where `DIR` holds `spec.json`; for a terminal, standard input is the
/// socket that its controlling end is sent to.
///
/// Writes one line to the report descriptor, `{}` once the program runs or the [`StartFailure`] as JSON, and then stays until
/// the container has ended.
pub fn shim_main(arguments: &[OsString]) -> ExitCode {
    let [dir, report, stdio] = arguments else { return ExitCode::from(2) };
    linux::take_signals();
    linux::hear_of_children();
    linux::forget_caller();
    let dir = PathBuf::from(dir);
    let Some(mut report) = report.to_str().and_then(|number| number.parse().ok()).and_then(open_report)
    else {
        return ExitCode::from(2);
    };
    let sealed = linux::ensure_sealed().map_err(|error| StartFailure::new(Stage::Seal, "the shim", &error));
    let output = match stdio.to_str() {
        Some("log") => Output::Log,
        Some("terminal") => Output::Terminal,
        _ => Output::Inherited,
    };
    match sealed.and_then(|()| start(&dir, output)) {
        Ok(started) => {
            say(&mut report, "{}");
            drop(report);
            supervise(&dir, started)
        }
        Err(failure) => {
            say(&mut report, &serde_json::to_string(&failure).unwrap_or_default());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The creator waits for one line; if it is gone, nobody wants to know.
fn say(report: &mut File, line: &str) {
    drop(writeln!(report, "{line}"));
}

fn open_report(number: u32) -> Option<File> {
    // Opened anew by its name: nothing else knows the number, and the type owns what it opened.
    std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{number}")).ok()
}

/// Where the container's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// Into the log, also that of a terminal.
    Log,
    /// To whoever holds the other end of the terminal.
    Terminal,
    /// To the shim's own streams.
    Inherited,
}

/// What the container writes, as the shim reads it.
enum Streams {
    /// Standard output and standard error.
    Pipes(PipeReader, PipeReader),
    /// The controlling end of its terminal.
    Terminal(File),
}

struct Started {
    spec: ContainerSpec,
    pid: i32,
    state: ContainerState,
    streams: Option<(LogWriter, Streams)>,
    listeners: Vec<(TcpListener, PortMapping)>,
    /// Held until the end: others wait on it.
    lock: File,
    group: linux::OwnGroup,
    /// Whose end is the container's.
    creator: Option<OwnedFd>,
}

fn start(dir: &Path, output: Output) -> Result<Started, StartFailure> {
    let subject = dir.display().to_string();
    let fail = |stage| {
        let subject = subject.clone();
        move |error: io::Error| StartFailure::new(stage, subject, &error)
    };
    let text = fs_err::read(dir.join("spec.json")).map_err(fail(Stage::Spec))?;
    let spec: ContainerSpec =
        serde_json::from_slice(&text).map_err(|error| fail(Stage::Spec)(error.into()))?;
    // If it is gone by now, nobody would end the container.
    let creator = spec.ends_with.map(linux::open_parent).transpose().map_err(fail(Stage::Clone))?;
    linux::new_session().map_err(fail(Stage::Clone))?;
    // The caller's directory must not stay busy for as long as the container lives.
    std::env::set_current_dir("/").map_err(fail(Stage::Clone))?;
    linux::become_subreaper().map_err(fail(Stage::Clone))?;
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("lock"))
        .map_err(fail(Stage::Spec))?;
    lock.lock().map_err(fail(Stage::Spec))?;
    // Before anybody is told that the container runs: its log can be read from then on.
    let logs = output == Output::Log;
    let writer = logs.then(|| LogWriter::open(&dir.join("log"))).transpose().map_err(fail(Stage::Log))?;
    let listeners = proxy::listen(&spec)?;
    let cgroup = cgroup_of(&spec);
    let limits = Limits {
        memory: spec.resources.memory,
        pids: spec.resources.pids,
        cpu_millis: spec.resources.cpu_millis,
        cpu_shares: spec.resources.cpu_shares,
    };
    let devices = if spec.privileged { &EVERY_DEVICE[..] } else { &DEVICE_RULES };
    let in_cgroup = cgroup.create(limits).and_then(|()| cgroup.allow_devices(devices).map(drop));
    // What ends the caller with everything that it started must not end the container.
    let group = linux::OwnGroup::enter(&format!("{}/{}.shim", spec.cgroup_parent, spec.id));
    let group = in_cgroup.and(group).map_err(fail(Stage::Cgroup));
    let launched = group.and_then(|group| match launch(&spec, dir, output) {
        Ok(launched) => Ok((group, launched)),
        Err(failure) => {
            drop(group.leave());
            Err(failure)
        }
    });
    match launched {
        Ok((group, (pid, streams))) => {
            let state = ContainerState {
                version: VERSION,
                status: Status::Running,
                pid,
                start_time: start_time(pid).unwrap_or(0),
                started: now(),
                finished: None,
                exit_code: None,
                out_of_memory: false,
                ports: listeners.iter().map(|(_, mapping)| *mapping).collect(),
            };
            if let Err(error) = state.save(dir) {
                // Nobody would know of it: it must not go on.
                drop(linux::open_pidfd(pid).and_then(|pidfd| linux::signal_pidfd(pidfd, KILL)));
                drop(linux::wait_for(pid));
                remove_groups(&spec);
                return Err(fail(Stage::Spec)(error));
            }
            let streams = writer.zip(streams);
            Ok(Started { spec, pid, state, streams, listeners, lock, group, creator })
        }
        Err(failure) => {
            remove_groups(&spec);
            Err(failure)
        }
    }
}

/// Removes the container's group, and the one above it if that is ours alone and this was its last container.
fn remove_groups(spec: &ContainerSpec) {
    // What is not empty stays.
    drop(cgroup_of(spec).remove());
    if !spec.cgroup_parent.contains('/') {
        drop(linux::Cgroup::below(&spec.cgroup_above, &spec.cgroup_parent).remove());
    }
}

/// What the container's first process gets in place of the shim's streams.
enum Given {
    /// Standard output and standard error.
    Pipes(PipeWriter, PipeWriter),
    /// The socket for its terminal, as standard input.
    Socket(std::os::fd::OwnedFd),
    Nothing,
}

/// The two ends of the container's output.
enum Ends {
    Pipes(PipeReader, PipeReader),
    Socket(TerminalSocket),
    Nothing,
}

fn streams(spec: &ContainerSpec, output: Output) -> io::Result<(Ends, Given)> {
    match output {
        Output::Log if spec.terminal.is_some() => {
            let (ours, theirs) = TerminalSocket::pair()?;
            Ok((Ends::Socket(ours), Given::Socket(theirs)))
        }
        Output::Log => {
            let ((out, out_writer), (err, err_writer)) = (io::pipe()?, io::pipe()?);
            Ok((Ends::Pipes(out, err), Given::Pipes(out_writer, err_writer)))
        }
        Output::Terminal | Output::Inherited => Ok((Ends::Nothing, Given::Nothing)),
    }
}

/// Makes the container's first process and waits until it has become the program.
fn launch(spec: &ContainerSpec, dir: &Path, output: Output) -> Result<(i32, Option<Streams>), StartFailure> {
    let fail = |error: io::Error| StartFailure::new(Stage::Clone, &spec.id, &error);
    let (mut outcome, outcome_writer) = io::pipe().map_err(fail)?;
    let (ends, given) = streams(spec, output).map_err(fail)?;
    let namespaces = Namespaces::Own { network: spec.network == Network::None };
    let pid = match linux::fork_into(namespaces, &cgroup_of(spec)).map_err(fail)? {
        Forked::Child(placed) => {
            drop((outcome, ends));
            child(spec, dir, placed, (outcome_writer, given))
        }
        Forked::Parent { pid, pidfd: _ } => pid,
    };
    drop((outcome_writer, given));
    let mut text = String::new();
    outcome.read_to_string(&mut text).map_err(fail)?;
    if !text.is_empty() {
        drop(linux::wait_for(pid));
        return Err(serde_json::from_str(&text)
            .unwrap_or_else(|_garbled| StartFailure::rule(Stage::Clone, &spec.id, text)));
    }
    if output == Output::Terminal {
        // The container has its own by now.
        close_standard_input().map_err(fail)?;
    }
    let streams = match ends {
        Ends::Pipes(out, err) => Some(Streams::Pipes(out, err)),
        Ends::Socket(socket) => Some(Streams::Terminal(socket.received().map_err(fail)?.into())),
        Ends::Nothing => None,
    };
    Ok((pid, streams))
}

/// The other side of the fork; never comes back.
fn child(
    spec: &ContainerSpec,
    dir: &Path,
    placed: io::Result<()>,
    (mut outcome, given): (PipeWriter, Given),
) -> ! {
    let standard = match given {
        Given::Pipes(out, err) => close_standard_input()
            .and_then(|()| linux::replace_standard(out, 1))
            .and_then(|()| linux::replace_standard(err, 2)),
        Given::Socket(socket) => linux::replace_standard(socket, 0),
        Given::Nothing => Ok(()),
    };
    if standard.is_err() {
        linux::exit_now(125);
    }
    let failure = match placed {
        Ok(()) => init::run(spec, dir),
        Err(error) => StartFailure::new(Stage::Cgroup, &spec.id, &error),
    };
    // The shim reads it; if it is gone, the container must not start anyway.
    drop(outcome.write_all(serde_json::to_string(&failure).unwrap_or_default().as_bytes()));
    linux::exit_now(failure.exit_code().into())
}

fn supervise(dir: &Path, started: Started) -> ExitCode {
    let Started { spec, pid, mut state, streams, listeners, lock, group, creator } = started;
    if let Some(creator) = creator {
        end_with(creator, pid);
    }
    if let Some(address) = spec.address {
        // Each connection takes four; with the old limit there are fewer of them. The container's own limit is set already.
        drop(linux::limit_open_files(u64::MAX, u64::MAX));
        proxy::serve(listeners, address);
    }
    let logging = streams.map(|(writer, streams)| keep_log(writer, streams));
    let ended = linux::wait_for(pid);
    let cgroup = cgroup_of(&spec);
    // With its first process gone the kernel has ended the rest of the container; the log ends with the last of them.
    for thread in logging.into_iter().flatten() {
        drop(thread.join());
    }
    state.out_of_memory = cgroup.was_out_of_memory();
    state.status = Status::Exited;
    state.finished = Some(now());
    state.exit_code = Some(ended.map_or(125, linux::Ended::code));
    let saved = state.save(dir);
    // An empty group that stays does no harm.
    drop(group.leave());
    remove_groups(&spec);
    drop(lock);
    run_after(&spec.after);
    if saved.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Kills the container when its creator has ended; its first process takes all others along.
fn end_with(creator: OwnedFd, pid: i32) {
    // Not waited for yet, so the number is still its own.
    let Ok(first) = linux::open_pidfd(pid) else { return };
    let watch = move || {
        if linux::wait_end(creator).is_ok() {
            // One that has just ended needs no signal.
            drop(linux::signal_pidfd(first, KILL));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("creator".to_owned()).spawn(watch) {
        drop(writeln!(io::stderr(), "could not watch who started the container: {error}"));
    }
}

/// Becomes this program under the verb that cleans up, if there is one; whoever waits for the container has been told.
fn run_after(arguments: &[String]) {
    use std::os::unix::process::CommandExt as _;
    if !arguments.is_empty() {
        let error = std::process::Command::new("/proc/self/exe").args(arguments).exec();
        // Standard error is the shim's log.
        drop(writeln!(io::stderr(), "could not clean up: {error}"));
    }
}

/// Writes all streams to the log until they end. A terminal has one; its end is an error of reading.
fn keep_log(writer: LogWriter, streams: Streams) -> Vec<std::thread::JoinHandle<()>> {
    let writer = Arc::new(Mutex::new(writer));
    let streams: Vec<(&str, Box<dyn io::Read + Send>)> = match streams {
        Streams::Pipes(out, err) => vec![("stdout", Box::new(out)), ("stderr", Box::new(err))],
        Streams::Terminal(master) => vec![("stdout", Box::new(master))],
    };
    streams
        .into_iter()
        .map(|(name, mut stream)| {
            let writer = Arc::clone(&writer);
            std::thread::spawn(move || {
                let mut lines = Lines::default();
                let mut buffer = vec![0; 32 * 1024];
                let mut emit = |line: &[u8], complete| {
                    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                    // A full disk loses lines; blocking the application would be worse.
                    drop(writer.write(name, line, complete));
                    Ok(())
                };
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    drop(lines.push(&buffer[..length], &mut emit));
                }
                drop(lines.finish(&mut emit));
            })
        })
        .collect()
}

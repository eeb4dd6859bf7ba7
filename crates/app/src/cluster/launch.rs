//! Starting the daemon, once, whoever asks.

use std::io::{self, BufRead as _, BufReader, PipeReader};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shipway_linux as linux;

use super::client;
use super::control::build_of_process;
use super::end::end;
use super::{Control, DaemonRecord, State};
use crate::failure::Failure;
use crate::roots::Roots;

/// How long a daemon that starts or ends for somebody else is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time between two looks at it.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of the daemon's log that are shown when it did not start.
const LOG_LINES: usize = 10;
/// A log that has grown beyond this is begun anew with the next daemon.
const LOG_LIMIT: u64 = 8 << 20;

/// A daemon that answers.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) record: DaemonRecord,
    /// How long the start took; `None` if it ran already.
    pub(crate) took: Option<Duration>,
    /// Whether another build ran before.
    pub(crate) renewed: bool,
}

/// Starts the daemon unless it runs, and returns when it answers and its node is ready.
///
/// A daemon of another build of this program is replaced, which its pods do not notice.
pub(crate) fn ensure_running(roots: &Roots, control: &Control) -> Result<Launched, Failure> {
    let begin = Instant::now();
    let _turn = control.lock_launch()?;
    let mut renewed = false;
    // One that was killed a moment ago may still hold its lock, but answers nothing.
    if let Some(record) = settled(control, client::answers)? {
        if record.build == build_of_process() {
            return Ok(Launched { record, took: None, renewed });
        }
        renewed = true;
        drop(end(control, &record)?);
    }
    Ok(Launched { record: launch(roots, control)?, took: Some(begin.elapsed()), renewed })
}

/// Waits until the daemon either runs, in a way that `counts`, or does not.
pub(super) fn settled(
    control: &Control,
    counts: impl Fn(&Control) -> bool,
) -> Result<Option<DaemonRecord>, Failure> {
    let begin = Instant::now();
    let watch = linux::Inotify::new().and_then(|watch| {
        watch.watch_directory(control.log_path().parent().unwrap_or(&control.data)).map(|()| watch)
    });
    let watch = watch.map_err(|error| io_failure(&error))?;
    while begin.elapsed() < PATIENCE {
        match control.state()? {
            State::Stopped => return Ok(None),
            State::Running(record) if counts(control) => return Ok(Some(record)),
            State::Running(_) | State::Changing => {}
        }
        // The end of a lock is told by nobody, so it is looked at from time to time.
        linux::wait_pidfd(&watch, LOOK)
            .and_then(|_changed| watch.drain())
            .map_err(|error| io_failure(&error))?;
    }
    let log = control.log_path();
    Err(Failure::new(
        "the cluster's daemon neither answers nor ends",
        format!("see `{}`, end the process and run `shipway cluster start`", log.display()),
    ))
}

fn launch(roots: &Roots, control: &Control) -> Result<DaemonRecord, Failure> {
    let fail = |error: io::Error| io_failure(&error);
    control.withdraw();
    let log = control.log_path();
    let long = fs_err::metadata(&log).is_ok_and(|found| found.len() > LOG_LIMIT);
    let mut options = std::fs::OpenOptions::new();
    options.create(true).mode(0o600);
    if long {
        options.write(true).truncate(true)
    } else {
        options.append(true)
    };
    let log = options.open(&log).map_err(fail)?;
    let (reader, writer) = io::pipe().map_err(fail)?;
    linux::keep_on_exec(writer.as_fd()).map_err(fail)?;
    let mut daemon = Command::new("/proc/self/exe");
    // As `ps` shows it.
    daemon.arg0("shipway").arg("--root").arg(&roots.data).arg("--state").arg(&roots.state);
    daemon.args(["cluster", "run", "--ready-fd"]).arg(writer.as_raw_fd().to_string());
    if std::env::var_os("SHIPWAY_LOG").is_none() {
        daemon.env("SHIPWAY_LOG", "info");
    }
    let before = log.metadata().map_or(0, |found| found.len());
    let errors = log.try_clone().map_err(fail)?;
    let child = daemon.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(fail)?;
    drop(writer);
    wait_until_ready(control, (child, reader), before)
}

fn wait_until_ready(
    control: &Control,
    (mut child, reader): (Child, PipeReader),
    log_began: u64,
) -> Result<DaemonRecord, Failure> {
    let fail = |error: io::Error| io_failure(&error);
    let pidfd = linux::open_pidfd(i32::try_from(child.id()).unwrap_or(0)).map_err(fail)?;
    let spoke = linux::wait_readable(&reader, &pidfd).map_err(fail)?;
    let mut line = String::new();
    if spoke {
        BufReader::new(reader).read_line(&mut line).map_err(fail)?;
    }
    if let Ok(record) = serde_json::from_str(&line) {
        return Ok(record);
    }
    drop(child.wait());
    // What the daemon said last is its failure, message and hint.
    let log = fs_err::read(control.log_path()).unwrap_or_default();
    let log = String::from_utf8_lossy(log.get(usize::try_from(log_began).unwrap_or(0)..).unwrap_or_default());
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    let failure = match tail.rfind("error: ") {
        Some(at) => Failure::plain(format!("error: the cluster did not start\n{}", &tail[at..])),
        None => Failure::new(
            format!("the cluster did not start\n{tail}"),
            format!("its log is `{}`", control.log_path().display()),
        ),
    };
    Err(failure)
}

fn io_failure(error: &io::Error) -> Failure {
    Failure::new(
        format!("could not start the cluster's daemon: {error}"),
        "try again; the machine may be out of processes or of space",
    )
}

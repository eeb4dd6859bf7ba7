//! Why a container did not start, or could not be dealt with.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The step of a container's start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Reading what was asked for.
    Spec,
    /// Making the control group.
    Cgroup,
    /// Listening on a published port.
    Publish,
    /// Making the process and its namespaces.
    Clone,
    /// Joining or making the network namespace.
    Network,
    /// Mounting the root file system.
    Rootfs,
    /// Mounting something into it.
    Mounts,
    /// Making a terminal.
    Terminal,
    /// Looking up the user.
    User,
    /// Limiting its processes.
    Limits,
    /// Giving up privileges.
    Privileges,
    /// Entering the working directory.
    WorkingDirectory,
    /// Becoming the program.
    Execute,
    /// Opening the log.
    Log,
    /// Running from a copy of our program that a container cannot write to.
    Seal,
}

/// What the shim reports: which step failed, on what, and what the kernel said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, miette::Diagnostic)]
#[error("{}", self.message())]
#[diagnostic(code(runtime::start), help("{}", self.hint()))]
pub struct StartFailure {
    /// Which step.
    pub stage: Stage,
    /// What it was done to.
    pub subject: String,
    /// The kernel's number, 0 if the failure is not the kernel's.
    pub errno: i32,
    /// What was wrong, where no number says it.
    pub detail: String,
}

impl StartFailure {
    /// Makes a report of what the kernel said.
    pub(crate) fn new(stage: Stage, subject: impl Into<String>, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        let detail = if errno == 0 { error.to_string() } else { String::new() };
        Self { stage, subject: subject.into(), errno, detail }
    }

    /// Makes a report of a rule that was broken.
    pub(crate) fn rule(stage: Stage, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { stage, subject: subject.into(), errno: 0, detail: detail.into() }
    }

    /// Returns Docker's exit code: 127 for a program that is not there, 126 for one that cannot be run, else 125.
    pub fn exit_code(&self) -> u8 {
        match (self.stage, io::Error::from_raw_os_error(self.errno).kind()) {
            (Stage::Execute, io::ErrorKind::NotFound) => 127,
            (Stage::Execute, _) => 126,
            _ => 125,
        }
    }

    fn message(&self) -> String {
        if self.stage == Stage::Execute && self.subject.is_empty() {
            return "there is no command to run".to_owned();
        }
        let did = match self.stage {
            Stage::Spec => "could not read the description of",
            Stage::Cgroup => "could not make the control group",
            Stage::Publish => "could not publish port",
            Stage::Clone => "could not make a process for",
            Stage::Network => "could not enter the network namespace",
            Stage::Rootfs => "could not mount the root file system of",
            Stage::Mounts => "could not mount",
            Stage::Terminal => "could not make a terminal on",
            Stage::User => "could not find the user",
            Stage::Limits => "could not set the limit",
            Stage::Privileges => "could not give up privileges of",
            Stage::WorkingDirectory => "could not enter the working directory",
            Stage::Execute => "could not run",
            Stage::Log => "could not open the log",
            Stage::Seal => "could not seal",
        };
        let why = if self.errno == 0 { self.detail.clone() } else { kernel_words(self.errno) };
        format!("{did} `{}`: {why}", self.subject)
    }

    /// Returns whether something is no directory where one is needed.
    fn is_about_kinds(&self) -> bool {
        let kind = io::Error::from_raw_os_error(self.errno).kind();
        matches!(kind, io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
    }

    fn hint(&self) -> &'static str {
        match self.stage {
            Stage::Execute => {
                "see that the program is in the image and executable; name its full path, or give another command"
            }
            Stage::Publish => "stop what listens there, or publish another port: -p HOST:CONTAINER",
            Stage::User => {
                "name a user of the image, or a number: `USER UID[:GID]` in a Dockerfile, `--user UID[:GID]` for a container"
            }
            Stage::Limits => {
                "only a privileged user raises a limit above its own: name a lower one, see `ulimit -a`"
            }
            Stage::Privileges => {
                "name capabilities as in `man 7 capabilities`, and only those that this user has"
            }
            Stage::WorkingDirectory => {
                "choose another one: `WORKDIR DIR` in a Dockerfile, `--workdir DIR` for a container"
            }
            Stage::Mounts if self.is_about_kinds() => {
                "a directory is mounted on a directory, and a file on a file: choose another target"
            }
            _ => "run as root on Linux 5.15 or newer; `dmesg` may say more",
        }
    }
}

/// The kernel's message without Rust's `(os error 2)`.
fn kernel_words(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

/// Why an operation on containers failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RuntimeError {
    /// The container did not start.
    #[error("could not start container {id}")]
    Start {
        /// The container.
        id: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: StartFailure,
    },
    /// A file could not be used.
    #[error("could not {operation} `{path}`")]
    #[diagnostic(
        code(runtime::io),
        help("see that the path is writable, or choose another place: --state DIR")
    )]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The shim ended without a word.
    #[error("the shim of container {0} ended before it had started anything")]
    #[diagnostic(code(runtime::shim), help("see its log, `shim.log` in the container's state directory"))]
    Shim(String),
    /// The name cannot be one of a directory.
    #[error("invalid container id: {0:?}")]
    #[diagnostic(
        code(runtime::id),
        help("use letters, digits, `-`, `_` and `.`, and begin with a letter or digit")
    )]
    InvalidId(String),
    /// There is no such container.
    #[error("no such container: {0}")]
    #[diagnostic(code(runtime::container), help("`shipway ps -a` lists what there is"))]
    NoContainer(String),
    /// It does not run.
    #[error("container {0} is not running")]
    #[diagnostic(code(runtime::not_running), help("`shipway ps -a` says how it ended"))]
    NotRunning(String),
    /// It still runs.
    #[error("container {0} is running")]
    #[diagnostic(code(runtime::running), help("stop it first: `shipway stop NAME`"))]
    Running(String),
}

impl RuntimeError {
    pub(crate) fn io(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_dockers() {
        let failure =
            |stage, errno| StartFailure { stage, subject: "x".to_owned(), errno, detail: String::new() };
        assert_eq!(failure(Stage::Execute, 2).exit_code(), 127);
        assert_eq!(failure(Stage::Execute, 13).exit_code(), 126);
        assert_eq!(failure(Stage::Mounts, 2).exit_code(), 125);
        assert_eq!(failure(Stage::Execute, 2).to_string(), "could not run `x`: no such file or directory");
        let nothing = StartFailure { subject: String::new(), ..failure(Stage::Execute, 2) };
        assert_eq!(nothing.to_string(), "there is no command to run");
        assert!(failure(Stage::Mounts, 20).hint().contains("choose another target"));
        assert!(failure(Stage::Mounts, 1).hint().contains("run as root"));
    }
}

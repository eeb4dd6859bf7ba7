//! Programs run in containers for somebody else.

use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

use crate::error::ExecError;

/// A program that runs in a container. Dropping it kills the program.
pub struct ExecSession {
    /// Its standard input, if it has one; dropping it closes it.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output, if wanted.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its standard error, if wanted.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Becomes its exit code.
    pub exit: BoxFuture<'static, i32>,
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}

/// What to run, and which of its streams are wanted.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// In which container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether its input is wanted.
    pub stdin: bool,
    /// Whether its output is wanted.
    pub stdout: bool,
    /// Whether its errors are wanted.
    pub stderr: bool,
    /// Whether it wants a terminal.
    pub tty: bool,
}

/// Which streams of the program are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Ends the program with the session.
#[derive(Debug)]
struct Guard {
    child: Child,
    process: OwnedFd,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // One that has ended needs no signal and leaves no zombie.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            drop(shipway_linux::signal_pidfd(&self.process, 9));
            drop(self.child.wait());
        }
    }
}

/// Starts `command` with pipes.
pub(crate) fn start(
    mut command: Command,
    container: &str,
    streams: Streams,
) -> Result<ExecSession, ExecError> {
    let failed =
        |source: std::io::Error| ExecError::Start { container: container.to_owned(), source: source.into() };
    let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
    command.stdin(piped(streams.stdin)).stdout(piped(streams.stdout)).stderr(piped(streams.stderr));
    let mut child = command.spawn().map_err(failed)?;
    let pid = i32::try_from(child.id()).unwrap_or(-1);
    let stdin = child.stdin.take().map(|stream| pipe::Sender::from_owned_fd(stream.into())).transpose();
    let stdout = child.stdout.take().map(|stream| pipe::Receiver::from_owned_fd(stream.into())).transpose();
    let stderr = child.stderr.take().map(|stream| pipe::Receiver::from_owned_fd(stream.into())).transpose();
    let process = shipway_linux::open_pidfd(pid).map_err(failed)?;
    let ended = process.as_fd().try_clone_to_owned().map_err(failed)?;
    let ended = crate::readable::readable(ended).map_err(failed)?;
    let guard = Guard { child, process };
    let exit = async move {
        let mut guard = guard;
        drop(ended.readable().await);
        // It has ended, so this does not wait.
        guard.child.wait().ok().and_then(|status| status.code()).unwrap_or(137)
    };
    Ok(ExecSession {
        stdin: stdin.map_err(failed)?.map(|stream| Box::new(stream) as _),
        stdout: stdout.map_err(failed)?.map(|stream| Box::new(stream) as _),
        stderr: stderr.map_err(failed)?.map(|stream| Box::new(stream) as _),
        exit: exit.boxed(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn streams_and_exit_code_come_through() {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("cat; echo bad >&2; exit 3");
        let streams = Streams { stdin: true, stdout: true, stderr: true };
        let mut session = start(command, "c", streams).unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"hello").await.unwrap();
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        session.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
        assert_eq!((out.as_str(), err.as_str(), session.exit.await), ("hello", "bad\n", 3));
    }

    #[tokio::test]
    async fn a_dropped_session_kills_its_program() {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000");
        let streams = Streams { stdin: false, stdout: true, stderr: false };
        let mut session = start(command, "c", streams).unwrap();
        let mut stdout = session.stdout.take().unwrap();
        drop(session);
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}

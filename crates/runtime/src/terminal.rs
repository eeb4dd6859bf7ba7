//! Terminals of containers and of programs run in them.
//!
//! A terminal is made inside the container, on its own devpts file system, by the process that is about to become the program.
//! The other end travels to whoever asked for it through a unix socket: the *console socket*, which is the standard input
//! of that process until then. Its controlling end closes with the last holder, and the kernel hangs up the program's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::{Deserialize, Serialize};
use shipway_linux::{self as linux, OpenFlags, Root, WindowSize};

use crate::error::{Stage, StartFailure};

/// Size of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl From<TerminalSize> for WindowSize {
    fn from(size: TerminalSize) -> Self {
        Self { rows: size.rows, columns: size.columns }
    }
}

/// Where the controlling end of a terminal arrives.
#[derive(Debug)]
pub struct TerminalSocket(UnixStream);

impl TerminalSocket {
    /// Makes a socket; the second half is for the process that makes the terminal.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(ours), theirs.into()))
    }

    /// Waits for the controlling end of the terminal; `process` (a pidfd) having ended without one is an error.
    pub fn receive(&self, process: impl AsFd) -> io::Result<OwnedFd> {
        if linux::wait_readable(&self.0, process)? {
            linux::receive_descriptor(&self.0)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Returns the controlling end that has been sent; it not being there yet is an error.
    pub fn received(&self) -> io::Result<OwnedFd> {
        self.0.set_nonblocking(true)?;
        linux::receive_descriptor(&self.0)
    }
}

/// A terminal that this process has made for the program that it becomes.
#[derive(Debug)]
pub(crate) struct NewTerminal {
    master: OwnedFd,
    peer: OwnedFd,
}

impl NewTerminal {
    /// Makes a terminal on the devpts file system of the container whose root is given.
    pub(crate) fn open(root: &Root, size: TerminalSize) -> Result<Self, StartFailure> {
        let fail = |error: io::Error| StartFailure::new(Stage::Terminal, "/dev/pts", &error);
        // No symlink and no magic link is followed out of the container.
        let flags = OpenFlags::RDWR | OpenFlags::NOCTTY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
        let master = root.open_with("dev/pts/ptmx", flags, 0).map_err(fail)?;
        let peer = linux::terminal_peer(&master).map_err(fail)?;
        linux::set_window_size(&master, size.into()).map_err(fail)?;
        Ok(Self { master, peer })
    }

    /// Shows the terminal as `/dev/console` of a container that is being made.
    pub(crate) fn show_as_console(&self, root: &Root) -> Result<(), StartFailure> {
        let shown = linux::clone_at(&self.peer, false)
            .and_then(|mount| crate::mounts::place_file(root, Path::new("dev/console"), mount));
        shown.map_err(|error| StartFailure::new(Stage::Terminal, "/dev/console", &error))
    }

    /// Sends the controlling end through standard input, then makes the terminal this process's own. The user may open it anew.
    pub(crate) fn take(self, uid: u32) -> Result<(), StartFailure> {
        let fail = |error: io::Error| StartFailure::new(Stage::Terminal, "the terminal", &error);
        linux::give_to(&self.peer, uid).map_err(fail)?;
        linux::send_descriptor(io::stdin(), &self.master).map_err(fail)?;
        drop(self.master);
        linux::new_session().map_err(fail)?;
        linux::control_terminal(&self.peer).map_err(fail)?;
        (0..3).try_for_each(|place| linux::replace_standard(&self.peer, place)).map_err(fail)
    }
}

/// Lets go of the console socket that this process has as its standard input.
pub(crate) fn close_standard_input() -> io::Result<()> {
    File::open("/dev/null").and_then(|null| linux::replace_standard(null, 0))
}

/// Adds what programs on a terminal expect. Compat: docker.
pub(crate) fn with_term(env: &[String]) -> Vec<String> {
    let named = env.iter().any(|line| line.starts_with("TERM="));
    env.iter().cloned().chain((!named).then(|| "TERM=xterm".to_owned())).collect()
}

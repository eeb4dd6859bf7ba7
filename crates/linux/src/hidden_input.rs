//! Secrets typed on a terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// While it lives, a terminal does not show what is typed. Dropping it makes the terminal as it was.
#[derive(Debug)]
pub struct HiddenInput {
    terminal: OwnedFd,
    before: Termios,
}

impl HiddenInput {
    /// Begins to hide what is typed; an error if it is no terminal.
    pub fn begin(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        tcsetattr(&self.terminal, OptionalActions::Flush, &self.before).unwrap_or_default();
    }
}

//! Terminals: making one, taking it as one's own, and handing a person's keys through unchanged.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::fstatfs;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// Size of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Returns the program's end of a new terminal, whose other end is an open `ptmx` of a devpts file system.
///
/// Anything else in the place of such a file is refused.
pub fn terminal_peer(master: impl AsFd) -> io::Result<OwnedFd> {
    const DEVPTS_MAGIC: i64 = 0x1cd1;
    if fstatfs(&master)?.f_type != DEVPTS_MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not on a devpts file system"));
    }
    unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Ok(ioctl_tiocgptpeer(master, flags)?)
}

/// Makes a terminal the controlling one of this process, which must lead a session without one.
pub fn control_terminal(terminal: impl AsFd) -> io::Result<()> {
    Ok(rustix::process::ioctl_tiocsctty(terminal)?)
}

/// Gives an open file to a user.
pub fn give_to(file: impl AsFd, uid: u32) -> io::Result<()> {
    Ok(rustix::fs::fchown(file, Some(rustix::fs::Uid::from_raw(uid)), None)?)
}

/// Reading and writing an open file never waits, for whoever has it open by the same opening.
pub fn set_nonblocking(file: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags | rustix::fs::OFlags::NONBLOCK)?)
}

/// Returns the size of a terminal.
pub fn window_size(terminal: impl AsFd) -> io::Result<WindowSize> {
    let size = tcgetwinsize(terminal)?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Changes the size of a terminal; programs in its foreground are told.
pub fn set_window_size(terminal: impl AsFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

/// A terminal whose keys come through as they are typed, until this value goes.
#[derive(Debug)]
pub struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// Makes it so. What is no terminal is an error.
    pub fn enter(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // It may be gone.
        tcsetattr(&self.terminal, OptionalActions::Now, &self.before).unwrap_or(());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    use rustix::termios::LocalModes;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let ptmx = File::options().read(true).write(true).open("/dev/pts/ptmx").unwrap();
        let peer = terminal_peer(&ptmx).unwrap();
        (ptmx.into(), peer)
    }

    #[test]
    fn what_is_written_at_one_end_arrives_at_the_other_and_sizes_are_shared() {
        let (master, peer) = pair();
        let size = WindowSize { rows: 33, columns: 99 };
        set_window_size(&master, size).unwrap();
        assert_eq!(window_size(&peer).unwrap(), size);
        File::from(peer.try_clone().unwrap()).write_all(b"hello\n").unwrap();
        let mut text = [0; 7];
        File::from(master).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello\r\n");
    }

    #[test]
    fn raw_mode_ends_with_its_value() {
        let (_master, peer) = pair();
        let echoes = || tcgetattr(&peer).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ISIG);
        assert!(echoes());
        let raw = RawTerminal::enter(&peer).unwrap();
        assert!(!echoes());
        drop(raw);
        assert!(echoes());
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let null = File::open("/dev/null").unwrap();
        assert!(terminal_peer(&null).is_err() && RawTerminal::enter(&null).is_err());
    }
}

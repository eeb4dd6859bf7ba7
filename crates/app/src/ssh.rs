//! The agents that steps with `RUN --mount=type=ssh` talk to: those of this user, and one of our own for keys in files.

mod key;
mod key_file;
mod protocol;
mod remainder;
mod wire;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_build::SshAgent;

use self::key::Key;
pub(crate) use self::key_file::KeyFileError;
pub(crate) use self::protocol::relay;

/// An agent that listens at a socket.
#[derive(Debug)]
pub(crate) struct SocketAgent(pub(crate) PathBuf);

impl SshAgent for SocketAgent {
    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.0)
    }
}

/// An agent in this process. It has no place in the file system, and nothing of it outlives the process.
#[derive(Debug)]
pub(crate) struct KeyAgent(Arc<Vec<Identity>>);

/// A key and what it is called.
#[derive(Debug)]
struct Identity {
    key: Key,
    comment: String,
}

impl KeyAgent {
    /// Reads the keys of some files.
    pub(crate) fn load(files: &[&Path]) -> Result<Self, KeyFileError> {
        let keys = files.iter().map(|file| key_file::load(file)).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(keys)))
    }
}

impl SshAgent for KeyAgent {
    fn connect(&self) -> io::Result<UnixStream> {
        let (theirs, ours) = UnixStream::pair()?;
        let keys = Arc::clone(&self.0);
        std::thread::Builder::new().name("ssh-keys".to_owned()).spawn(move || {
            if let Err(error) = protocol::serve(&keys, ours) {
                tracing::debug!(%error, "a connection to the ssh keys broke off");
            }
        })?;
        Ok(theirs)
    }
}

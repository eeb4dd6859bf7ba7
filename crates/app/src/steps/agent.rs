//! The way from a step to an ssh agent: a socket of the step's own, with its own owner and mode. It signs; it cannot be changed.

use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use shipway_build::SshAgent;

use crate::ssh::relay;

/// A socket that leads to an agent; it goes with this value.
#[derive(Debug)]
pub(super) struct Agent {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Makes a socket at `path` that leads to `agent`.
    pub(super) fn open(
        path: &Path,
        agent: &Arc<dyn SshAgent>,
        (mode, uid, gid): (u32, u32, u32),
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        chown(path, Some(uid), Some(gid))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, agent) = (Arc::clone(&is_over), Arc::clone(agent));
        let accept = move || {
            for connection in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(from) = connection else { continue };
                match agent.connect() {
                    Ok(to) => carry(from, to),
                    Err(error) => tracing::warn!(%error, "the ssh agent does not answer"),
                }
            }
        };
        let thread = std::thread::Builder::new().name("ssh-agent".to_owned()).spawn(accept)?;
        Ok(Self { path: path.to_owned(), is_over, thread: Some(thread) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes the thread up, which then looks at the flag.
        drop(UnixStream::connect(&self.path));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Carries what may be asked, and the answers, until the step's end closes its side.
fn carry(from: UnixStream, to: UnixStream) {
    let way = move || {
        if let Err(error) = relay(from, to) {
            tracing::debug!(%error, "a connection to the ssh agent broke off");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("ssh-agent".to_owned()).spawn(way) {
        tracing::warn!(%error, "a connection to the ssh agent was not carried");
    }
}

#[cfg(test)]
mod tests;

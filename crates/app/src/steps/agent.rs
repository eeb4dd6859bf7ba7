//! The way from a step to an ssh agent: a socket of the step's own, with its own owner and mode. It signs; it cannot be changed.

use std::convert::Infallible;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use shipway_build::SshAgent;

use crate::ssh::relay;

/// Connections that one socket has at a time; further ones are closed. Each is a thread and some descriptors of the builder.
const MOST: usize = 32;
/// How long no connection is taken after one that could not be, for lack of descriptors above all.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that leads to an agent; nobody listens there after this value.
#[derive(Debug)]
pub(super) struct Agent {
    listening: UnixStream,
    /// Nothing is sent; the thread ends when this is gone.
    going_on: Option<Sender<Infallible>>,
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
        let listening = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let (going_on, over) = channel();
        let ways = Ways { agent: Arc::clone(agent), open: Arc::default(), troubles: Arc::default() };
        let accept = move || ways.accept(&listener, &over);
        let thread = std::thread::Builder::new().name("ssh-agent".to_owned()).spawn(accept)?;
        Ok(Self { listening, going_on: Some(going_on), thread: Some(thread) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.going_on.take());
        // Wakes the thread up, also where no descriptor is left to connect with.
        drop(self.listening.shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The connections of one socket.
struct Ways {
    agent: Arc<dyn SshAgent>,
    /// Each connection holds one.
    open: Arc<()>,
    troubles: Arc<Troubles>,
}

/// What is told once, however often a step brings it about.
#[derive(Default)]
struct Troubles {
    not_taken: OnceLock<()>,
    too_many: OnceLock<()>,
    not_carried: OnceLock<()>,
    no_answer: OnceLock<()>,
}

impl Ways {
    /// Takes connections until the step is over.
    fn accept(&self, listener: &UnixListener, over: &Receiver<Infallible>) {
        loop {
            let accepted = listener.accept();
            if over.try_recv() == Err(TryRecvError::Disconnected) {
                return;
            }
            match accepted {
                Ok((from, _)) => self.carry(from),
                Err(error) => {
                    self.troubles.not_taken.get_or_init(|| {
                        tracing::warn!(%error, "a connection to the ssh agent was not taken");
                    });
                    if over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                }
            }
        }
    }

    /// Carries what may be asked, and the answers, until the step's end closes its side.
    fn carry(&self, from: UnixStream) {
        if Arc::strong_count(&self.open) > MOST {
            self.troubles.too_many.get_or_init(|| {
                tracing::warn!("a step has {MOST} connections to the ssh agent; further ones are closed");
            });
            return;
        }
        let (agent, open, troubles) =
            (Arc::clone(&self.agent), Arc::clone(&self.open), Arc::clone(&self.troubles));
        let way = move || {
            match agent.connect() {
                Ok(to) => {
                    if let Err(error) = relay(from, to) {
                        tracing::debug!(%error, "a connection to the ssh agent broke off");
                    }
                }
                Err(error) => {
                    drop(from);
                    troubles
                        .no_answer
                        .get_or_init(|| tracing::warn!(%error, "the ssh agent does not answer"));
                }
            }
            drop(open);
        };
        if let Err(error) = std::thread::Builder::new().name("ssh-agent".to_owned()).spawn(way) {
            self.troubles.not_carried.get_or_init(|| {
                tracing::warn!(%error, "a connection to the ssh agent was not carried");
            });
        }
    }
}

#[cfg(test)]
mod tests;

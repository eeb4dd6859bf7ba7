//! The way from a step to an ssh agent: a socket of the step's own, with its own owner and mode, whose connections are carried on.

use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use shipway_build::SshAgent;

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

/// Carries both ways, each until its side has no more to say: who has asked all that he wants still waits for the answer. The step's end
/// closes its side.
fn carry(from: UnixStream, to: UnixStream) {
    let pair = || Ok::<_, io::Error>((from.try_clone()?, to.try_clone()?));
    let (Ok(there), Ok(back)) = (pair(), pair()) else { return };
    let way = |mut from: UnixStream, mut to: UnixStream| {
        move || {
            // A side that went away cannot be told that the other is done.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        }
    };
    for way in [way(there.0, there.1), way(back.1, back.0)] {
        if let Err(error) = std::thread::Builder::new().name("ssh-agent".to_owned()).spawn(way) {
            tracing::warn!(%error, "a connection to the ssh agent was not carried");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::ssh::SocketAgent;

    #[test]
    fn what_is_asked_reaches_the_agent_and_its_answer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (own, agent) = (dir.path().join("own"), dir.path().join("agent"));
        let listener = UnixListener::bind(&agent).unwrap();
        let target: Arc<dyn SshAgent> = Arc::new(SocketAgent(agent));
        let way = Agent::open(&own, &target, (0o600, 0, 0));
        let Ok(way) = way else {
            // Only root gives files away.
            return;
        };
        let mut client = UnixStream::connect(&own).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"ask").unwrap();
        let mut asked = [0; 3];
        server.read_exact(&mut asked).unwrap();
        server.write_all(b"answer").unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((&asked, answer.as_str()), (b"ask", "answer"));
        drop(way);
        assert!(UnixStream::connect(&own).is_err(), "nobody listens any more");
    }
}

//! Which local ports lead to which Deployment.
//!
//! Whoever forwards a port holds a lock on a file with the port's number, below the state root. So a second `up` of the
//! same application sees that its port is in good hands, and rolls the application out beneath it.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};

use serde::{Deserialize, Serialize};
use shipway_workflow::{Forward, ForwardError};

use crate::failure::Failure;
use crate::roots::Roots;

/// What a port leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A local port that leads to the application.
#[derive(Debug)]
pub(crate) enum Held {
    /// By this process.
    Here {
        forward: Forward,
        /// Closing it says that the port is free.
        lock: File,
    },
    /// By another `up` of the same application.
    Elsewhere {
        /// The process.
        pid: u32,
        port: u16,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pid: u32,
    target: Target,
}

impl Held {
    /// Listens on `port`, unless another process forwards it to the same target.
    pub(crate) async fn take(roots: &Roots, target: &Target, port: u16) -> Result<Self, Failure> {
        let dir = roots.state.join("forwards");
        fs_err::create_dir_all(&dir).map_err(broken)?;
        let path = dir.join(port.to_string());
        let mut lock = File::options().read(true).append(true).create(true).open(&path).map_err(broken)?;
        match lock.try_lock() {
            // Who comes now must not read what the one before has left.
            Ok(()) => lock.set_len(0).map_err(broken)?,
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                lock.read_to_string(&mut text).map_err(broken)?;
                return match serde_json::from_str::<Note>(&text) {
                    Ok(note) if note.target == *target => Ok(Self::Elsewhere { pid: note.pid, port }),
                    Ok(note) => Err(taken(port, &note)),
                    // Its owner has not written it yet: as if somebody else had the port.
                    Err(_unfinished) => Err(in_use(port)),
                };
            }
            Err(TryLockError::Error(error)) => return Err(broken(error)),
        }
        let forward = Forward::listen(port).await?;
        let note = Note { pid: std::process::id(), target: target.clone() };
        let text = serde_json::to_vec(&note).expect("plain texts and numbers");
        lock.write_all(&text).map_err(broken)?;
        Ok(Self::Here { forward, lock })
    }
}

fn taken(port: u16, note: &Note) -> Failure {
    let Note { pid, target } = note;
    Failure::new(
        format!("port {port} leads to {}/{} already (process {pid})", target.namespace, target.name),
        "stop that `shipway up` with Ctrl-C, or choose another port: `shipway up --port LOCAL`",
    )
}

fn in_use(port: u16) -> Failure {
    ForwardError::InUse { port, address: std::net::Ipv4Addr::LOCALHOST.into() }.into()
}

fn broken(error: std::io::Error) -> Failure {
    Failure::new(
        format!("could not note the forwarded port: {error}"),
        "see that the state directory is writable: --state DIR",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target { namespace: "default".to_owned(), name: name.to_owned() }
    }

    #[tokio::test]
    async fn a_port_of_the_same_application_is_left_to_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { data: dir.path().into(), state: dir.path().into(), id: "0".to_owned() };
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let first = Held::take(&roots, &target("web"), free).await.unwrap();
        assert!(matches!(first, Held::Here { .. }));
        let second = Held::take(&roots, &target("web"), free).await.unwrap();
        assert!(matches!(second, Held::Elsewhere { pid, port } if pid == std::process::id() && port == free));
        let other = Held::take(&roots, &target("db"), free).await.unwrap_err();
        assert!(other.text().contains("leads to default/web already"), "{}", other.text());
        drop(first);
        assert!(matches!(Held::take(&roots, &target("db"), free).await.unwrap(), Held::Here { .. }));
    }
}

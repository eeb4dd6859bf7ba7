//! What is known of a container: written by its shim, read by everybody.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::PortMapping;

/// Life of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its first process runs.
    Running,
    /// It has ended.
    Exited,
}

/// State of a container. Times are nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Version of this document.
    pub version: u32,
    /// Whether it runs.
    pub status: Status,
    /// Its first process, as the host sees it.
    pub pid: i32,
    /// When that process was started, in clock ticks since boot: with the pid, its identity.
    pub start_time: u64,
    /// When it was started.
    pub started: i128,
    /// When it ended.
    pub finished: Option<i128>,
    /// Its exit code, 128 + signal for a killed one.
    pub exit_code: Option<i32>,
    /// The kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// Ports of the host that lead to it, with the numbers that free ones got.
    #[serde(default)]
    pub ports: Vec<PortMapping>,
}

/// Version that this program writes.
pub(crate) const VERSION: u32 = 1;

impl ContainerState {
    /// Reads the state of the container whose directory is `dir`.
    pub(crate) fn load(dir: &Path) -> io::Result<Self> {
        let text = fs_err::read(dir.join("state.json"))?;
        serde_json::from_slice(&text).map_err(io::Error::from)
    }

    /// Replaces the state: a reader sees the old one or the new one.
    pub(crate) fn save(&self, dir: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        let unfinished = dir.join("state.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&bytes)?;
        fs_err::rename(&unfinished, dir.join("state.json"))
    }

    /// Returns whether the process is still the one that was started.
    pub(crate) fn is_alive(&self) -> bool {
        self.status == Status::Running && start_time(self.pid) == Some(self.start_time)
    }
}

/// Returns when a process was started, or `None` if there is none. Spec: proc_pid_stat(5), field 22.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 2..];
    let mut fields = after_name.split(' ');
    // A zombie has ended, whoever is to reap it.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Returns the time of day.
#[expect(clippy::disallowed_methods, reason = "when something happened is a fact about now")]
pub(crate) fn now() -> i128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = start_time(pid).unwrap();
        let state = ContainerState {
            version: VERSION,
            status: Status::Running,
            pid,
            start_time: own,
            started: now(),
            finished: None,
            exit_code: None,
            out_of_memory: false,
            ports: Vec::new(),
        };
        assert!(state.is_alive());
        assert!(!ContainerState { start_time: own + 1, ..state.clone() }.is_alive());
        let dir = tempfile::tempdir().unwrap();
        state.save(dir.path()).unwrap();
        assert_eq!(ContainerState::load(dir.path()).unwrap(), state);
    }
}

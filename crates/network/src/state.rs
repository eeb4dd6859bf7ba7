//! What is remembered in the state folder: range, addresses given out, host settings to put back.
//!
//! One file, replaced as a whole while a lock is held. It need not survive a power cut: nor do the namespaces.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::NetworkError;
use crate::subnet::{Subnet, number};

/// Numbers of addresses that sandboxes may have: all but the range itself, the host and the last, which is for everybody.
const FIRST: u16 = 2;
const LAST: u16 = u16::MAX - 1;
const FILE: &str = "state.json";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) subnet: Subnet,
    /// Where to look for the next free address; moves on, so that none is used again soon.
    next: u16,
    /// `net.ipv4.ip_forward` before we switched it on.
    pub(crate) forwarding_before: Option<String>,
    pub(crate) sandboxes: BTreeMap<String, Ipv4Addr>,
}

impl State {
    pub(crate) fn new(subnet: Subnet) -> Self {
        Self { subnet, next: FIRST, forwarding_before: None, sandboxes: BTreeMap::new() }
    }

    /// Returns whether a folder holds a state.
    pub(crate) fn is_in(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// Gives an address to a sandbox.
    pub(crate) fn assign(&mut self, id: &str) -> Result<Ipv4Addr, NetworkError> {
        let used: std::collections::HashSet<u16> =
            self.sandboxes.values().map(|address| number(*address)).collect();
        let mut candidate = self.next.clamp(FIRST, LAST);
        for _ in FIRST..=LAST {
            let following = if candidate == LAST { FIRST } else { candidate + 1 };
            if !used.contains(&candidate) {
                self.next = following;
                let address = self.subnet.at(candidate);
                self.sandboxes.insert(id.to_owned(), address);
                return Ok(address);
            }
            candidate = following;
        }
        Err(NetworkError::Full { subnet: self.subnet.to_string() })
    }
}

/// The folder with the state; while a value of this type lives, nobody else changes it.
#[derive(Debug)]
pub(crate) struct Locked {
    directory: PathBuf,
    /// Closing it unlocks.
    _lock: File,
}

impl Locked {
    /// Waits for the lock.
    pub(crate) fn new(directory: &Path) -> Result<Self, NetworkError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o711);
        builder.create(directory).map_err(NetworkError::io("create", directory))?;
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        let lock = options.open(&path).map_err(NetworkError::io("open", &path))?;
        lock.lock().map_err(NetworkError::io("lock", &path))?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    pub(crate) fn load(&self) -> Result<Option<State>, NetworkError> {
        let path = self.path();
        match fs_err::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(state) => Ok(Some(state)),
                Err(source) => Err(NetworkError::Damaged { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(NetworkError::io("read", path)(error)),
        }
    }

    pub(crate) fn save(&self, state: &State) -> Result<(), NetworkError> {
        let path = self.path();
        // Only the holder of the lock writes it, so one name is enough and a left-over is overwritten.
        let unfinished = self.directory.join("state.json.new");
        let bytes = serde_json::to_vec(state).expect("plain texts and numbers");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&unfinished).and_then(|mut file| file.write_all(&bytes));
        written.and_then(|()| fs_err::rename(&unfinished, &path)).map_err(NetworkError::io("write", &path))
    }

    pub(crate) fn forget(&self) -> Result<(), NetworkError> {
        match fs_err::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetworkError::io("remove", self.path())(error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_before_one_comes_again() {
        let mut state = State::new(Subnet::new(10, 210));
        assert_eq!(state.assign("a").unwrap().to_string(), "10.210.0.2");
        assert_eq!(state.assign("b").unwrap().to_string(), "10.210.0.3");
        state.sandboxes.remove("a");
        assert_eq!(state.assign("c").unwrap().to_string(), "10.210.0.4");
        state.next = LAST;
        assert_eq!(state.assign("d").unwrap().to_string(), "10.210.255.254");
        assert_eq!(state.assign("e").unwrap().to_string(), "10.210.0.2");
        assert_eq!(state.assign("f").unwrap().to_string(), "10.210.0.5");
    }

    #[test]
    fn a_full_range_is_an_error() {
        let mut state = State::new(Subnet::new(10, 210));
        for number in FIRST..=LAST {
            state.sandboxes.insert(number.to_string(), state.subnet.at(number));
        }
        assert!(matches!(state.assign("one more"), Err(NetworkError::Full { .. })));
    }

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let locked = Locked::new(dir.path()).unwrap();
        assert!(locked.load().unwrap().is_none());
        let mut state = State::new(Subnet::new(10, 210));
        state.assign("a").unwrap();
        locked.save(&state).unwrap();
        assert_eq!(locked.load().unwrap().unwrap().sandboxes, state.sandboxes);
        fs_err::write(dir.path().join("state.json"), "{\"subnet\":\"1.2.3.4/8\"}").unwrap();
        assert!(matches!(locked.load(), Err(NetworkError::Damaged { .. })));
        locked.forget().unwrap();
        locked.forget().unwrap();
        assert!(locked.load().unwrap().is_none());
    }
}

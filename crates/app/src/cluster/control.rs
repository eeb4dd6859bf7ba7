//! Whether there is a daemon, and where it answers.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::roots::Roots;

/// What a running daemon says of itself. Only its process is in the record of every build, past and future.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DaemonRecord {
    /// Version of the program that runs as the daemon.
    pub(crate) version: String,
    /// Which build of it: another one that wants to use the cluster renews it.
    pub(crate) build: String,
    /// Its process.
    pub(crate) pid: i32,
    /// When that was started, in clock ticks since boot: with the number, its identity.
    start_time: u64,
    /// Address of the API server, `https://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// When it was ready, seconds since the epoch.
    pub(crate) started: i64,
}

impl DaemonRecord {
    /// Returns the record of this process.
    pub(crate) fn of_process(url: String) -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let start_time = shipway_runtime::start_time(pid).unwrap_or(0);
        Self { start_time, version, build: build_of_process(), pid, url, started: crate::clock::now() }
    }
}

impl DaemonRecord {
    /// Returns whether the process lives and is the one that wrote the record.
    pub(super) fn is_alive(&self) -> bool {
        shipway_runtime::start_time(self.pid) == Some(self.start_time)
    }
}

/// Tells this program's file from those of other builds; empty if it is gone.
pub(crate) fn build_of_process() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs_err::metadata("/proc/self/exe");
    found.map_or_else(
        |_gone| String::new(),
        |file| format!("{:x}-{:x}-{:x}.{:x}", file.dev(), file.ino(), file.mtime(), file.mtime_nsec()),
    )
}

/// What can be said of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none.
    Stopped,
    /// It starts or ends.
    Changing,
    /// It answers.
    Running(DaemonRecord),
}

/// The files that a daemon and those who ask for it share.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    /// Lock and record.
    state: PathBuf,
    /// Database, keys, kubeconfig.
    pub(crate) data: PathBuf,
}

impl Control {
    /// Makes the directory of the files.
    pub(crate) fn open(roots: &Roots) -> Result<Self, Failure> {
        let state = roots.state.join("cluster");
        fs_err::create_dir_all(&state).map_err(broken)?;
        Ok(Self { state, data: roots.data.join("cluster") })
    }

    /// Returns the file that the daemon writes its log to.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.state.join("daemon.log")
    }

    /// Returns the file with the administrator's access; it is there once a daemon has run.
    pub(crate) fn kubeconfig_path(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    /// Looks at lock and record.
    pub(crate) fn state(&self) -> Result<State, Failure> {
        // Shared, so that two who look do not take each other for the daemon.
        match self.lock_file("lock")?.try_lock_shared() {
            Ok(()) => return Ok(State::Stopped),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(broken(error)),
        }
        let text = match fs_err::read(self.record_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Changing),
            other => other.map_err(broken)?,
        };
        let record: DaemonRecord = serde_json::from_slice(&text).map_err(|error| {
            let hint = "end the cluster's daemon by hand, then run `shipway cluster start`";
            Failure::new(format!("could not read `{}`: {error}", self.record_path().display()), hint)
        })?;
        // What a killed daemon has left is not of the one that holds the lock now.
        if record.is_alive() { Ok(State::Running(record)) } else { Ok(State::Changing) }
    }

    /// Takes the daemon's lock; `None` if a daemon has it, or who ends one.
    pub(crate) fn try_lock(&self) -> Result<Option<File>, Failure> {
        let file = self.lock_file("lock")?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(broken(error)),
            }
            // Those who look share the lock for a moment; only a daemon keeps it for itself.
            match file.try_lock_shared() {
                Ok(()) => file.unlock().map_err(broken)?,
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(broken(error)),
            }
        }
    }

    /// Waits for the end of the daemon and takes its lock.
    pub(crate) fn lock(&self) -> Result<File, Failure> {
        let file = self.lock_file("lock")?;
        file.lock().map_err(broken)?;
        Ok(file)
    }

    /// Waits for the right to start a daemon: of several who want one, the first starts it.
    pub(crate) fn lock_launch(&self) -> Result<File, Failure> {
        let file = self.lock_file("launch")?;
        file.lock().map_err(broken)?;
        Ok(file)
    }

    /// Says that the daemon answers.
    pub(crate) fn publish(&self, record: &DaemonRecord) -> Result<(), Failure> {
        let text = serde_json::to_vec(record).expect("plain texts and numbers");
        shipway_store::atomic_write(&self.record_path(), &text, 0o600).map_err(broken)
    }

    /// Says that it does not answer any more.
    pub(crate) fn withdraw(&self) {
        // One that is not there says the same.
        drop(fs_err::remove_file(self.record_path()));
    }

    fn record_path(&self) -> PathBuf {
        self.state.join("daemon.json")
    }

    fn lock_file(&self, name: &str) -> Result<File, Failure> {
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.append(true).create(true).open(self.state.join(name)).map_err(broken)
    }
}

fn broken(error: io::Error) -> Failure {
    Failure::new(
        format!("could not use the cluster's state: {error}"),
        "see that the state directory is writable: --state DIR",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_look_are_no_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { data: dir.path().into(), state: dir.path().into(), id: "0".to_owned() };
        let control = Control::open(&roots).unwrap();
        control.publish(&DaemonRecord::of_process("https://127.0.0.1:1".to_owned())).unwrap();
        let look = || (0..500).all(|_| control.state().unwrap() == State::Stopped);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(look)).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
        assert!(control.try_lock().unwrap().is_some());
    }

    #[test]
    fn the_record_of_another_build_tells_at_least_the_process() {
        let record: DaemonRecord = serde_json::from_str(r#"{"pid": 7, "later": true}"#).unwrap();
        assert_eq!((record.pid, record.build.as_str()), (7, ""));
    }

    #[test]
    fn a_daemon_runs_while_it_holds_the_lock_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { data: dir.path().into(), state: dir.path().into(), id: "0".to_owned() };
        let control = Control::open(&roots).unwrap();
        assert_eq!(control.state().unwrap(), State::Stopped);
        let lock = control.try_lock().unwrap().unwrap();
        assert!(control.try_lock().unwrap().is_none());
        assert_eq!(control.state().unwrap(), State::Changing);
        let record = DaemonRecord::of_process("https://127.0.0.1:1".to_owned());
        control.publish(&record).unwrap();
        assert_eq!(control.state().unwrap(), State::Running(record));
        drop(lock);
        assert_eq!(
            control.state().unwrap(),
            State::Stopped,
            "a record that a killed daemon left is no daemon"
        );
    }
}

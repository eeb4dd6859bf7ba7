//! Ending the daemon; its pods run on.

use std::fs::File;
use std::time::Duration;

use shipway_linux as linux;

use super::launch::settled;
use super::{Control, DaemonRecord};
use crate::failure::Failure;

/// Signals. Spec: signal(7).
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
/// How long the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the daemon and returns whether there was one, and its lock: no other starts while that is held.
pub(crate) fn end_daemon(control: &Control) -> Result<(bool, File), Failure> {
    let _turn = control.lock_launch()?;
    match settled(control, |_runs| true)? {
        Some(record) => Ok((true, end(control, &record)?)),
        None => Ok((false, control.lock()?)),
    }
}

/// Ends the daemon that `record` is of, and returns its lock.
pub(super) fn end(control: &Control, record: &DaemonRecord) -> Result<File, Failure> {
    // The record is there only while the lock is held, so the process is the daemon, or one that has just ended.
    if let Ok(pidfd) = linux::open_pidfd(record.pid) {
        drop(linux::signal_pidfd(&pidfd, SIGTERM));
        let ended = linux::wait_pidfd(&pidfd, PATIENCE);
        if !ended.is_ok_and(|ended| ended) {
            drop(linux::signal_pidfd(&pidfd, SIGKILL));
        }
    }
    let lock = control.lock()?;
    control.withdraw();
    Ok(lock)
}

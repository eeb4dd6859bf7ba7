//! `shipway cluster stop`

use std::fs::File;
use std::time::Duration;

use shipway_kubelet::end_all_pods;
use shipway_linux as linux;

use crate::cluster::{Control, Parts, State};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Signals. Spec: signal(7).
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
/// How long the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(engine: &Engine, control: &Control, keep_pods: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let (ran, _lock) = end_daemon(control)?;
    if keep_pods {
        ui.note(if ran { "cluster: stopped, its pods run on" } else { "cluster: did not run" });
        return Ok(0);
    }
    end_pods(&Parts::open(engine)?)?;
    ui.note(if ran { "cluster: stopped" } else { "cluster: did not run; its pods are ended" });
    Ok(0)
}

/// Ends the daemon and returns whether there was one, and its lock: no other starts while that is held.
pub(super) fn end_daemon(control: &Control) -> Result<(bool, File), Failure> {
    let _turn = control.lock_launch()?;
    let State::Running(record) = control.state()? else {
        // One that is about to end is waited for.
        return Ok((false, control.lock()?));
    };
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
    Ok((true, lock))
}

/// Ends all pods; the API server's database still wants them, so they come back with the next start.
pub(super) fn end_pods(parts: &Parts) -> Result<(), Failure> {
    let runtime = crate::tasks::runtime()?;
    runtime.block_on(end_all_pods(parts.kubelet_config(None), parts.machine.clone()));
    Ok(())
}

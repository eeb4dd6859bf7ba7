//! Ends: of containers, of the pod, of everything that was made for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::adopt::reason;
use super::{Report, Worker};
use crate::clock::now;
use crate::error::chain;
use crate::machine::Exit;
use crate::pod::record::{Ended, State};
use crate::probe::{Target, get_page, run};

/// Longest last words that are shown.
const LAST_WORDS: usize = 4096;
/// Signals. Spec: signal(7).
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

impl Worker {
    /// Waits for a container's end in a task of its own.
    pub(super) fn wait_for(&mut self, name: &str, id: &str) {
        let ended = self.context.machine.wait(id);
        let (reports, name, id) = (self.reports.0.clone(), name.to_owned(), id.to_owned());
        self.tasks.spawn(async move {
            let exit = ended.await;
            // The worker is gone only when nobody wants to know.
            drop(reports.send(Report::Exited { name, id, exit }));
        });
    }

    pub(super) fn on_exit(&mut self, name: &str, id: &str, exit: &Exit) {
        let words = self.last_words(name, id, exit);
        let Some(container) = self.record.containers.get_mut(name) else { return };
        let State::Running { id: running, since } = &container.state else { return };
        if running != id {
            return;
        }
        let since = *since;
        let ran = Duration::try_from(exit.finished.duration_since(since)).unwrap_or_default();
        container.state = State::Ended(Ended {
            id: id.to_owned(),
            code: exit.code,
            reason: reason(exit).to_owned(),
            message: words,
            started: Some(since),
            finished: exit.finished,
        });
        container.ready = false;
        container.started = false;
        container.stopping = false;
        let wait = container.back_off.restart(ran);
        container.again = Some(Instant::now() + wait);
        if let Some(watching) = self.watching.remove(name) {
            watching.cancel();
        }
    }

    /// Returns what a container left as its last words.
    fn last_words(&self, name: &str, id: &str, exit: &Exit) -> Option<String> {
        let container = self.container(name)?;
        let file = read_last_words(&self.places.last_words(name));
        let falls_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if file.is_none() && falls_back && exit.code != 0 {
            return crate::logs::last_lines(&self.context.machine.log_path(id));
        }
        file
    }

    /// Stops a container in a task of its own: hook, SIGTERM, and SIGKILL when the time is up.
    pub(super) fn stop(&mut self, name: &str, grace: Duration, say: bool) {
        let Some(container) = self.container(name) else { return };
        let record = self.record.container(name);
        if record.stopping {
            return;
        }
        let Some(id) = record.id().map(ToOwned::to_owned) else { return };
        record.stopping = true;
        if self.pod.metadata.deletion_timestamp.is_some() {
            self.record.container(name).ready = false;
        }
        if say {
            let message = format!("Stopping container {name}");
            self.context.recorder.normal(&self.pod, Some(name), "Killing", message);
        }
        if let Some(watching) = self.watching.remove(name) {
            watching.cancel();
        }
        let target = self.target(&id, Arc::clone(&container));
        let (context, pod, name) = (Arc::clone(&self.context), Arc::clone(&self.pod), name.to_owned());
        self.tasks.spawn(async move {
            let deadline = Instant::now() + grace;
            let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone());
            if let Some(hook) = hook.filter(|_| !grace.is_zero()) {
                match tokio::time::timeout_at(deadline, handle(&target, &hook)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => {
                        context.recorder.warning(&pod, Some(&name), "FailedPreStopHook", why);
                    }
                    Err(_late) => {
                        let message = "PreStopHook did not end in time".to_owned();
                        context.recorder.warning(&pod, Some(&name), "FailedPreStopHook", message);
                    }
                }
            }
            let ended = target.machine.wait(&id);
            if !grace.is_zero() {
                let signal = stop_signal(&container);
                send(&target, signal).await;
                if tokio::time::timeout_at(deadline, ended).await.is_ok() {
                    return;
                }
            }
            send(&target, SIGKILL).await;
        });
    }

    /// Returns what probes and hooks look at.
    pub(super) fn target(&self, id: &str, container: Arc<Container>) -> Target {
        Target {
            machine: Arc::clone(&self.context.machine),
            id: id.to_owned(),
            address: self.address(),
            container,
        }
    }

    pub(super) fn on_hook(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                let container = self.container(name);
                if container.is_some_and(|container| container.startup_probe.is_none()) {
                    self.set_started(name);
                }
            }
            Err(why) => {
                self.context.recorder.warning(&self.pod, Some(name), "FailedPostStartHook", why);
                let message = format!("Container {name} failed its postStart hook, will be killed");
                self.context.recorder.normal(&self.pod, Some(name), "Killing", message);
                self.stop(name, self.grace(), false);
            }
        }
    }

    /// Gives the network back. A pod that goes away is taken out of the API first and cleaned up after.
    pub(super) async fn release(&mut self) {
        self.record.released = true;
        if self.pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let Some(sandbox) = self.record.sandbox.take() else { return };
        self.refresh = None;
        if sandbox.netns.is_none() {
            return;
        }
        let (machine, uid) = (Arc::clone(&self.context.machine), self.uid().to_owned());
        let removed = spawn_blocking(move || machine.remove_sandbox(&uid)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(pod = self.pod_name(), error = chain(&error), "could not give the network back");
        }
    }

    /// Removes everything that was made for the pod.
    pub(super) async fn clean_up(&mut self) {
        let (ground, uid) = (self.context.ground(), self.uid().to_owned());
        // A panic in it has been reported by its thread.
        drop(spawn_blocking(move || ground.clean_up(&uid)).await);
    }
}

async fn send(target: &Target, signal: i32) {
    let (machine, id) = (Arc::clone(&target.machine), target.id.clone());
    if let Ok(Err(error)) = spawn_blocking(move || machine.signal(&id, signal)).await {
        tracing::warn!(id = target.id, error = chain(&error), "could not signal a container");
    }
}

/// Runs a hook.
pub(super) async fn handle(target: &Target, hook: &LifecycleHandler) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        run(target, exec).await
    } else if let Some(get) = &hook.http_get {
        get_page(target, get).await
    } else if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        Ok(())
    } else {
        Err("hooks of this kind are not available".to_owned())
    }
}

/// Returns the signal that asks a container to end.
fn stop_signal(container: &Container) -> i32 {
    let name = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    match name.unwrap_or_default().trim_start_matches("SIG") {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "KILL" => SIGKILL,
        "USR1" => 10,
        "USR2" => 12,
        "WINCH" => 28,
        _ => SIGTERM,
    }
}

fn read_last_words(path: &Path) -> Option<String> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let no_follow = i32::try_from(shipway_linux::OpenFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path).ok()?;
    let mut text = Vec::new();
    file.take(LAST_WORDS as u64).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns how a container ended that never began.
pub(super) fn not_started(code: i32, reason: &str, message: String) -> Ended {
    Ended {
        id: String::new(),
        code,
        reason: reason.to_owned(),
        message: Some(message),
        started: None,
        finished: now(),
    }
}

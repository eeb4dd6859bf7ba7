//! What to do next for a pod, decided from the pod and from what is known of it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::record::{ContainerRecord, PodRecord, State};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the sandbox and the volumes.
    SetUp,
    /// Start this container.
    Start(String),
    /// Say that this container waits for its next start.
    BackOff(String),
    /// Stop this container within this time.
    Stop {
        /// Its name.
        name: String,
        /// How long it may take.
        grace: Duration,
    },
    /// End the pod as a whole.
    Fail {
        /// One CamelCase word.
        reason: &'static str,
        /// A sentence.
        message: String,
    },
    /// Give back the network and, if the pod goes away, everything else.
    Release,
    /// Remove the pod from the API.
    Remove,
}

/// The steps, and when to look again if nothing happens before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Steps; `Start`s may be done at the same time.
    pub actions: Vec<Action>,
    /// When to look again.
    pub wake: Option<Instant>,
}

/// Time as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For waits.
    pub instant: Instant,
    /// For deadlines that objects name.
    pub time: Timestamp,
}

/// How a pod as a whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not all init containers are through, or nothing was started yet.
    Pending,
    /// Something runs or will run again.
    Running,
    /// All ended well.
    Succeeded,
    /// All ended, not all well.
    Failed,
}

impl Phase {
    /// Returns its name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Returns whether it stays so for ever.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Returns the steps towards what the pod asks for.
pub(crate) fn plan(pod: &Pod, record: &PodRecord, now: Now) -> Plan {
    let Some(spec) = &pod.spec else { return Plan::default() };
    if pod.metadata.deletion_timestamp.is_some() {
        return end(record, grace(pod, now.time));
    }
    let phase = phase(pod, record);
    if phase.is_final() {
        return settle(record);
    }
    let mut plan = Plan::default();
    if let Some(deadline) = deadline(spec, record) {
        let left = deadline.as_second() - now.time.as_second();
        match u64::try_from(left) {
            Ok(left) if left > 0 => plan.wake = Some(now.instant + Duration::from_secs(left)),
            _ => {
                let message = "Pod was active on the node longer than the specified deadline".to_owned();
                return Plan {
                    actions: vec![Action::Fail { reason: "DeadlineExceeded", message }],
                    wake: None,
                };
            }
        }
    }
    if record.sandbox.is_none() || !record.volumes_ready {
        plan.when(record.setup_again, now, Action::SetUp);
        return plan;
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for container in init {
        let state = record.containers.get(&container.name);
        plan.start_if_due(spec, container, state, now);
        if !is_through(container, state) {
            return plan;
        }
    }
    for container in &spec.containers {
        plan.start_if_due(spec, container, record.containers.get(&container.name), now);
    }
    plan
}

impl Plan {
    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn when(&mut self, again: Option<Instant>, now: Now, action: Action) {
        match again {
            Some(again) if again > now.instant => self.wake_at(again),
            _ => self.actions.push(action),
        }
    }

    fn start_if_due(
        &mut self,
        spec: &PodSpec,
        container: &Container,
        record: Option<&ContainerRecord>,
        now: Now,
    ) {
        let Some(record) = record else {
            self.actions.push(Action::Start(container.name.clone()));
            return;
        };
        match &record.state {
            State::Running { .. } => {}
            State::Waiting { .. } => self.when(record.again, now, Action::Start(container.name.clone())),
            State::Ended(ended) => {
                if !restarts(spec, container, ended.code) {
                    return;
                }
                if record.again.is_some_and(|again| again > now.instant) {
                    self.actions.push(Action::BackOff(container.name.clone()));
                } else {
                    self.actions.push(Action::Start(container.name.clone()));
                }
            }
        }
    }
}

/// Stops everything, then gives everything back, then removes the pod.
fn end(record: &PodRecord, grace: Duration) -> Plan {
    let running = record.containers.iter().filter(|(_, container)| container.id().is_some());
    let actions = if record.any_runs() {
        let waiting = running.filter(|(_, container)| !container.stopping);
        waiting.map(|(name, _)| Action::Stop { name: name.clone(), grace }).collect()
    } else if record.released {
        vec![Action::Remove]
    } else {
        vec![Action::Release, Action::Remove]
    };
    Plan { actions, wake: None }
}

/// Stops what still runs of a finished pod and gives its network back; logs stay until it is deleted.
fn settle(record: &PodRecord) -> Plan {
    let grace = Duration::from_secs(30);
    let running = record.containers.iter().filter(|(_, container)| container.id().is_some());
    let actions = if record.any_runs() {
        let waiting = running.filter(|(_, container)| !container.stopping);
        waiting.map(|(name, _)| Action::Stop { name: name.clone(), grace }).collect()
    } else if record.sandbox.is_some() {
        vec![Action::Release]
    } else {
        Vec::new()
    };
    Plan { actions, wake: None }
}

/// Returns how long the containers of a pod that is being deleted may take from now on.
fn grace(pod: &Pod, now: Timestamp) -> Duration {
    let from_spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let granted = pod.metadata.deletion_grace_period_seconds.or(from_spec).unwrap_or(30);
    // deletionTimestamp is when the grace ends.
    let end = pod.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let left = end.duration_since(now).as_secs().clamp(0, granted.max(0));
    Duration::from_secs(u64::try_from(left.max(i64::from(granted > 0))).unwrap_or(0))
}

fn deadline(spec: &PodSpec, record: &PodRecord) -> Option<Timestamp> {
    let seconds = spec.active_deadline_seconds?;
    let start = record.start_time?;
    Timestamp::from_second(start.as_second() + seconds).ok()
}

/// Returns whether an init container that restarts for ever runs beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Returns whether the init containers after this one may start.
fn is_through(container: &Container, record: Option<&ContainerRecord>) -> bool {
    record.is_some_and(|record| match &record.state {
        State::Ended(ended) => ended.code == 0 && !is_sidecar(container),
        State::Running { .. } => is_sidecar(container) && record.started,
        State::Waiting { .. } => false,
    })
}

/// Returns whether a container is started again after it ended with `code`.
fn restarts(spec: &PodSpec, container: &Container, code: i32) -> bool {
    let init = spec.init_containers.iter().flatten().any(|init| init.name == container.name);
    if init && is_sidecar(container) {
        return true;
    }
    match spec.restart_policy.as_deref() {
        Some("Never") => false,
        Some("OnFailure") => code != 0,
        // Init containers run to success once.
        _ => !init || code != 0,
    }
}

/// Returns how a pod as a whole is.
pub(crate) fn phase(pod: &Pod, record: &PodRecord) -> Phase {
    let Some(spec) = &pod.spec else { return Phase::Pending };
    if record.failed.is_some() {
        return Phase::Failed;
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for container in init.iter().filter(|container| !is_sidecar(container)) {
        let ended = record.containers.get(&container.name).and_then(ContainerRecord::ended);
        match ended {
            Some(ended) if ended.code == 0 => {}
            Some(ended) if !restarts(spec, container, ended.code) => return Phase::Failed,
            _ => return Phase::Pending,
        }
    }
    let mut running = false;
    let mut waiting = false;
    let mut failed = false;
    for container in &spec.containers {
        let record = record.containers.get(&container.name);
        match record.map(|record| (&record.state, record.last.is_some())) {
            Some((State::Running { .. }, _) | (State::Waiting { .. }, true)) => running = true,
            Some((State::Ended(ended), _)) if restarts(spec, container, ended.code) => running = true,
            Some((State::Ended(ended), _)) => failed |= ended.code != 0,
            Some((State::Waiting { .. }, false)) | None => waiting = true,
        }
    }
    match (waiting, running, failed) {
        (true, ..) => Phase::Pending,
        (_, true, _) => Phase::Running,
        (_, _, true) => Phase::Failed,
        _ => Phase::Succeeded,
    }
}

#[cfg(test)]
mod tests;

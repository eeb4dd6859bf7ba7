//! Taking over what an earlier kubelet left.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use tokio::time::Instant;

use super::Worker;
use crate::clock::now;
use crate::machine::{Adopted, Exit};
use crate::pod::order::{ATTEMPT, CONTAINER_NAME, IMAGE_ID};
use crate::pod::record::{ContainerRecord, Ended, PodRecord, State};
use crate::pod::status::ID_PREFIX;

/// Returns what is known of a pod from what runs and from what its status says.
///
/// What runs counts; the status fills in what is not to be seen any more.
pub(super) fn record_of(pod: &Pod, adopted: &[Adopted]) -> PodRecord {
    let status = pod.status.clone().unwrap_or_default();
    let mut record =
        PodRecord { start_time: status.start_time.as_ref().map(|time| time.0), ..PodRecord::default() };
    if status.phase.as_deref() == Some("Failed")
        && let Some("DeadlineExceeded") = status.reason.as_deref()
    {
        record.failed = Some(("DeadlineExceeded", status.message.clone().unwrap_or_default()));
    }
    let said: Vec<ContainerStatus> =
        status.container_statuses.into_iter().chain(status.init_container_statuses).flatten().collect();
    let Some(spec) = &pod.spec else { return record };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let mut found: Vec<(u32, &Adopted)> = adopted
            .iter()
            .filter(|one| one.labels.get(CONTAINER_NAME) == Some(&container.name))
            .map(|one| (one.labels.get(ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(0), one))
            .collect();
        found.sort_by_key(|(attempt, _)| *attempt);
        let said = said.iter().find(|status| status.name == container.name);
        let known = match found.split_last() {
            Some(((attempt, newest), older)) => {
                Some(from_machine(container, (*attempt, newest), older.last().map(|(_, one)| *one), said))
            }
            None => said.and_then(from_status),
        };
        if let Some(known) = known {
            record.containers.insert(container.name.clone(), known);
        }
    }
    record
}

fn from_machine(
    container: &Container,
    (attempt, newest): (u32, &Adopted),
    before: Option<&Adopted>,
    said: Option<&ContainerStatus>,
) -> ContainerRecord {
    let same =
        said.is_some_and(|said| said.container_id.as_deref() == Some(&format!("{ID_PREFIX}{}", newest.id)));
    let said = said.filter(|_| same);
    let runs = newest.exit.is_none();
    let state = match &newest.exit {
        None => State::Running { id: newest.id.clone(), since: newest.started },
        Some(exit) => State::Ended(ended(newest, exit)),
    };
    let started = container.startup_probe.is_none() || said.and_then(|said| said.started) == Some(true);
    let ready = container.readiness_probe.is_none() || said.is_some_and(|said| said.ready);
    ContainerRecord {
        state,
        last: before.and_then(|before| Some(ended(before, before.exit.as_ref()?))),
        restarts: attempt,
        next_attempt: attempt + 1,
        image_id: newest.labels.get(IMAGE_ID).cloned().unwrap_or_default(),
        started: runs && started,
        ready: runs && started && ready,
        ..ContainerRecord::default()
    }
}

fn ended(one: &Adopted, exit: &Exit) -> Ended {
    Ended {
        id: one.id.clone(),
        code: exit.code,
        reason: reason(exit).to_owned(),
        message: None,
        started: Some(one.started),
        finished: exit.finished,
    }
}

/// Returns the reason for a container's end in one word.
pub(super) fn reason(exit: &Exit) -> &'static str {
    match exit {
        Exit { out_of_memory: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        Exit { .. } => "Error",
    }
}

/// Returns what a status tells of a container that is not to be found; nothing if it never ran.
fn from_status(said: &ContainerStatus) -> Option<ContainerRecord> {
    let state = said.state.clone().unwrap_or_default();
    let restarts = u32::try_from(said.restart_count).unwrap_or(0);
    let terminated = |one: k8s_openapi::api::core::v1::ContainerStateTerminated| Ended {
        id: one.container_id.unwrap_or_default().trim_start_matches(ID_PREFIX).to_owned(),
        code: one.exit_code,
        reason: one.reason.unwrap_or_default(),
        message: one.message,
        started: one.started_at.map(|time| time.0),
        finished: one.finished_at.map_or_else(now, |time| time.0),
    };
    let last = said.last_state.clone().and_then(|last| last.terminated).map(terminated);
    let state = match (state.terminated, state.running) {
        (Some(one), _) => State::Ended(terminated(one)),
        (None, Some(running)) => State::Ended(Ended {
            id: said.container_id.clone().unwrap_or_default().trim_start_matches(ID_PREFIX).to_owned(),
            code: 137,
            reason: "ContainerStatusUnknown".to_owned(),
            message: Some("The container could not be located when the pod was taken over".to_owned()),
            started: running.started_at.map(|time| time.0),
            finished: now(),
        }),
        (None, None) => {
            last.as_ref()?;
            State::default()
        }
    };
    Some(ContainerRecord {
        state,
        last,
        restarts,
        next_attempt: restarts + 1,
        image_id: said.image_id.clone(),
        ..ContainerRecord::default()
    })
}

impl Worker {
    /// Waits for the ends of what was taken over, and goes on probing it.
    pub(super) fn watch_adopted(&mut self) {
        let running: BTreeMap<String, String> = self
            .record
            .containers
            .iter()
            .filter_map(|(name, container)| Some((name.clone(), container.id()?.to_owned())))
            .collect();
        for (name, id) in running {
            tracing::info!(pod = self.pod_name(), container = name, "taking over a running container");
            self.wait_for(&name, &id);
        }
        for container in self.record.containers.values_mut() {
            if container.ended().is_some() {
                container.again = Some(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{from_value, json};

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [{"name": "c"}]}, "status": status})).unwrap()
    }

    fn found(attempt: u32, exit: Option<i32>) -> Adopted {
        let labels = [(CONTAINER_NAME, "c".to_owned()), (ATTEMPT, attempt.to_string())];
        Adopted {
            id: format!("u.c.{attempt}"),
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
            started: Timestamp::UNIX_EPOCH,
            exit: exit.map(|code| Exit { code, out_of_memory: false, finished: Timestamp::UNIX_EPOCH }),
        }
    }

    #[test]
    fn a_running_container_is_taken_over_with_its_history() {
        let record = record_of(&pod(json!({})), &[found(1, None), found(0, Some(1))]);
        let container = &record.containers["c"];
        assert_eq!((container.id(), container.restarts, container.next_attempt), (Some("u.c.1"), 1, 2));
        assert_eq!(container.last.as_ref().unwrap().code, 1);
        assert!(container.ready && container.started);
    }

    #[test]
    fn one_that_died_meanwhile_has_ended() {
        let record = record_of(&pod(json!({})), &[found(0, Some(3))]);
        assert_eq!(record.containers["c"].ended().unwrap().code, 3);
        assert_eq!(record.containers["c"].next_attempt, 1);
    }

    #[test]
    fn what_is_gone_is_known_from_the_status() {
        let status = |state: serde_json::Value| json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 2, "state": state}]});
        let done =
            record_of(&pod(status(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}))), &[]);
        assert_eq!(done.containers["c"].ended().unwrap().code, 0);
        let lost = record_of(&pod(status(json!({"running": {}}))), &[]);
        assert_eq!(lost.containers["c"].ended().unwrap().reason, "ContainerStatusUnknown");
        assert_eq!((lost.containers["c"].restarts, lost.containers["c"].next_attempt), (2, 3));
        let never = record_of(&pod(status(json!({"waiting": {}}))), &[]);
        assert!(never.containers.is_empty());
    }
}

//! What a pod says of itself.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::plan::{Phase, is_sidecar, phase};
use super::record::{ContainerRecord, Ended, PodRecord, State};

/// Prefix of container ids in the API.
pub(crate) const ID_PREFIX: &str = "shipway://";
/// Conditions that the kubelet writes.
const OURS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Returns the status of a pod; `sent` is what was said last, which the pod's object may not show yet.
pub(crate) fn status_of(
    pod: &Pod,
    record: &PodRecord,
    (sent, node_ip): (Option<&PodStatus>, &str),
    now: Timestamp,
) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let Some(spec) = &pod.spec else { return old };
    let phase = phase(pod, record);
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let initialized = init.iter().all(|container| is_initialized(container, record));
    let status = |container: &Container, waiting: &'static str| container_status(container, record, waiting);
    let waiting = if initialized { "ContainerCreating" } else { "PodInitializing" };
    let (reason, message) = match &record.failed {
        Some((reason, message)) => (Some((*reason).to_owned()), Some(message.clone())),
        None => (None, None),
    };
    let address = record.sandbox.as_ref().map(|sandbox| sandbox.address.to_string()).or(old.pod_ip.clone());
    let init_statuses: Vec<_> = init.iter().map(|container| status(container, "PodInitializing")).collect();
    PodStatus {
        phase: Some(phase.as_str().to_owned()),
        reason,
        message,
        conditions: Some(conditions(pod, record, (phase, initialized, sent), now)),
        host_ip: Some(node_ip.to_owned()),
        host_ips: Some(vec![HostIP { ip: node_ip.to_owned() }]),
        pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: address,
        start_time: record.start_time.map(Time),
        init_container_statuses: (!init_statuses.is_empty()).then_some(init_statuses),
        container_statuses: Some(
            spec.containers.iter().map(|container| status(container, waiting)).collect(),
        ),
        qos_class: old
            .qos_class
            .clone()
            .or_else(|| Some(quality(spec.containers.iter().chain(init)).to_owned())),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

/// Returns the status as a merge patch in which what is gone is null.
pub(crate) fn patch(status: &PodStatus, uid: Option<&str>) -> Value {
    let mut patch = json!({
        "phase": status.phase,
        "reason": status.reason,
        "message": status.message,
        "conditions": status.conditions,
        "hostIP": status.host_ip,
        "hostIPs": status.host_ips,
        "podIP": status.pod_ip,
        "podIPs": status.pod_ips,
        "startTime": status.start_time,
        "initContainerStatuses": status.init_container_statuses,
        "containerStatuses": status.container_statuses,
        "qosClass": status.qos_class,
    });
    if status.observed_generation.is_some() {
        patch["observedGeneration"] = json!(status.observed_generation);
    }
    json!({"metadata": {"uid": uid}, "status": patch})
}

/// Returns whether two statuses say the same.
pub(crate) fn same(one: &PodStatus, other: &PodStatus) -> bool {
    patch(one, None) == patch(other, None)
}

fn is_initialized(container: &Container, record: &PodRecord) -> bool {
    record.containers.get(&container.name).is_some_and(|record| match &record.state {
        State::Ended(ended) => ended.code == 0,
        State::Running { .. } => is_sidecar(container) && record.started,
        State::Waiting { .. } => false,
    })
}

fn conditions(
    pod: &Pod,
    record: &PodRecord,
    (phase, initialized, sent): (Phase, bool, Option<&PodStatus>),
    now: Timestamp,
) -> Vec<PodCondition> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let unready =
        |container: &&Container| !record.containers.get(&container.name).is_some_and(|found| found.ready);
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let unready: Vec<&str> = spec
        .containers
        .iter()
        .chain(sidecars)
        .filter(unready)
        .map(|container| container.name.as_str())
        .collect();
    let old = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let gate_open =
        |gate: &str| old.iter().any(|condition| condition.type_ == gate && condition.status == "True");
    let gates = spec.readiness_gates.iter().flatten().all(|gate| gate_open(&gate.condition_type));
    let (reason, message) = match phase {
        Phase::Succeeded => (Some("PodCompleted"), None),
        Phase::Failed => (Some("PodFailed"), None),
        _ if unready.is_empty() => (None, None),
        _ => (
            Some("ContainersNotReady"),
            Some(format!("containers with unready status: [{}]", unready.join(" "))),
        ),
    };
    let all_ready = unready.is_empty() && !phase.is_final();
    let init_message = || {
        let not_through = |container: &&Container| !is_initialized(container, record);
        let names = spec
            .init_containers
            .iter()
            .flatten()
            .filter(not_through)
            .map(|container| container.name.as_str());
        format!("containers with incomplete status: [{}]", names.collect::<Vec<_>>().join(" "))
    };
    let ready = match (all_ready, gates) {
        (true, false) => (false, Some("ReadinessGatesNotReady"), None),
        _ => (all_ready, reason, message.clone()),
    };
    let initialized = match (initialized, phase) {
        (true, Phase::Succeeded) => (true, Some("PodCompleted"), None),
        (true, _) => (true, None, None),
        (false, _) => (false, Some("ContainersNotInitialized"), Some(init_message())),
    };
    let wanted = [
        (OURS[0], (record.sandbox.is_some(), None, None)),
        (OURS[1], initialized),
        (OURS[2], ready),
        (OURS[3], (all_ready, reason, message)),
        (OURS[4], (true, None, None)),
    ];
    let foreign = old.iter().filter(|condition| !OURS.contains(&condition.type_.as_str())).cloned();
    let ours = wanted.into_iter().map(|(kind, (holds, reason, message))| {
        let status = if holds { "True" } else { "False" };
        let known = sent.and_then(|sent| sent.conditions.as_ref()).unwrap_or(&old);
        let before = known.iter().find(|condition| condition.type_ == kind && condition.status == status);
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.map(ToOwned::to_owned),
            message,
            last_transition_time: before
                .and_then(|before| before.last_transition_time.clone())
                .or_else(|| Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now)))),
            observed_generation: pod.metadata.generation,
            last_probe_time: None,
        }
    });
    ours.collect::<Vec<_>>().into_iter().chain(foreign).collect()
}

fn container_status(container: &Container, record: &PodRecord, waiting: &'static str) -> ContainerStatus {
    let unknown = ContainerRecord::default();
    let found = record.containers.get(&container.name).unwrap_or(&unknown);
    let id = match &found.state {
        State::Running { id, .. } => Some(id.as_str()),
        State::Ended(ended) => Some(ended.id.as_str()),
        State::Waiting { .. } => found.last.as_ref().map(|last| last.id.as_str()),
    };
    let mounts = container.volume_mounts.iter().flatten().map(|mount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only.filter(|read_only| *read_only),
        recursive_read_only: mount.read_only.filter(|read_only| *read_only).map(|_| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    });
    let mounts: Vec<_> = mounts.collect();
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: found.image_id.clone(),
        container_id: id.filter(|id| !id.is_empty()).map(|id| format!("{ID_PREFIX}{id}")),
        ready: found.ready,
        started: Some(found.id().is_some() && found.started),
        restart_count: i32::try_from(found.restarts).unwrap_or(i32::MAX),
        state: Some(state(&found.state, waiting, record)),
        last_state: Some(found.last.as_ref().map_or_else(ContainerState::default, terminated)),
        resources: container.resources.clone(),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..ContainerStatus::default()
    }
}

fn state(state: &State, waiting: &'static str, record: &PodRecord) -> ContainerState {
    match state {
        State::Waiting { reason: "ContainerCreating", message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(waiting.to_owned()),
                message: message.clone().or_else(|| record.setup_problem.clone()),
            }),
            ..ContainerState::default()
        },
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: message.clone(),
            }),
            ..ContainerState::default()
        },
        State::Running { since, .. } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
            ..ContainerState::default()
        },
        State::Ended(ended) => terminated(ended),
    }
}

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(&ended.id).filter(|id| !id.is_empty()).map(|id| format!("{ID_PREFIX}{id}")),
            exit_code: ended.code,
            reason: Some(ended.reason.clone()),
            message: ended.message.clone(),
            started_at: ended.started.map(Time),
            finished_at: Some(Time(ended.finished)),
            signal: None,
        }),
        ..ContainerState::default()
    }
}

/// Returns the quality of service class.
fn quality<'a>(containers: impl Iterator<Item = &'a Container>) -> &'static str {
    let (mut any, mut all) = (false, true);
    for container in containers {
        let resources = container.resources.clone().unwrap_or_default();
        let limits = resources.limits.unwrap_or_default();
        let requests = resources.requests.unwrap_or_default();
        any |= !limits.is_empty() || !requests.is_empty();
        all &= ["cpu", "memory"].iter().all(|name| {
            limits.get(*name).is_some_and(|limit| requests.get(*name).is_none_or(|request| request == limit))
        });
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::from_value;

    use super::*;
    use crate::machine::Sandbox;

    fn pod() -> Pod {
        from_value(json!({
            "metadata": {"name": "k1", "namespace": "default", "uid": "u", "generation": 1},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "k1", "image": "alpine", "args": ["sleep", "3600"],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}]}]},
        }))
        .unwrap()
    }

    fn record(state: State, ready: bool) -> PodRecord {
        let mut record = PodRecord {
            sandbox: Some(Sandbox { netns: None, address: Ipv4Addr::new(10, 244, 0, 68) }),
            volumes_ready: true,
            start_time: Some(Timestamp::UNIX_EPOCH),
            ..PodRecord::default()
        };
        let container = record.container("k1");
        container.state = state;
        container.ready = ready;
        container.started = ready;
        record
    }

    fn status(record: &PodRecord) -> Value {
        serde_json::to_value(status_of(&pod(), record, (None, "172.31.77.1"), Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn a_running_pod_says_what_upstream_says() {
        let running = State::Running { id: "abc".to_owned(), since: Timestamp::UNIX_EPOCH };
        let status = status(&record(running, true));
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["qosClass"], "BestEffort");
        assert_eq!(status["podIPs"], json!([{"ip": "10.244.0.68"}]));
        assert_eq!(status["hostIPs"], json!([{"ip": "172.31.77.1"}]));
        let conditions = status["conditions"].as_array().unwrap();
        let kinds: Vec<_> = conditions.iter().map(|condition| condition["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, OURS);
        assert!(
            conditions
                .iter()
                .all(|condition| condition["status"] == "True" && condition["observedGeneration"] == 1)
        );
        let container = &status["containerStatuses"][0];
        assert_eq!(container["containerID"], "shipway://abc");
        assert_eq!(container["state"], json!({"running": {"startedAt": "1970-01-01T00:00:00Z"}}));
        assert_eq!(
            (&container["ready"], &container["started"], &container["restartCount"]),
            (&json!(true), &json!(true), &json!(0))
        );
        let mount =
            json!({"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Disabled"});
        assert_eq!(container["volumeMounts"], json!([mount]));
    }

    #[test]
    fn an_unready_pod_names_what_it_waits_for() {
        let status = status(&record(State::default(), false));
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["conditions"][2]["reason"], "ContainersNotReady");
        assert_eq!(status["conditions"][2]["message"], "containers with unready status: [k1]");
        assert_eq!(
            status["containerStatuses"][0]["state"],
            json!({"waiting": {"reason": "ContainerCreating"}})
        );
    }

    #[test]
    fn a_finished_pod_says_how_it_ended() {
        let ended = Ended {
            id: "abc".to_owned(),
            code: 0,
            reason: "Completed".to_owned(),
            message: None,
            started: Some(Timestamp::UNIX_EPOCH),
            finished: Timestamp::UNIX_EPOCH,
        };
        let status = status(&record(State::Ended(ended), false));
        assert_eq!(status["phase"], "Succeeded");
        assert_eq!(status["conditions"][2]["reason"], "PodCompleted");
        assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    }

    #[test]
    fn transition_times_move_only_with_the_status() {
        let mut pod = pod();
        let later = Timestamp::from_second(100).unwrap();
        pod.status =
            Some(status_of(&pod, &record(State::default(), false), (None, "h"), Timestamp::UNIX_EPOCH));
        let running = State::Running { id: "abc".to_owned(), since: Timestamp::UNIX_EPOCH };
        let conditions = status_of(&pod, &record(running, true), (None, "h"), later).conditions.unwrap();
        let time = |at: usize| conditions[at].last_transition_time.clone().unwrap().0;
        assert_eq!((time(1), time(2)), (Timestamp::UNIX_EPOCH, later));
    }
}

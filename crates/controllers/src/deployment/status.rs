//! What a Deployment says of itself.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::rollout::{Limits, available, wanted};
use crate::clock::seconds_since;

/// Progress that no deadline ends.
const NO_DEADLINE: i32 = i32::MAX;

/// A condition, without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// Returns the status, and in how many seconds the progress deadline is to be looked at.
pub(super) fn status_of(
    deployment: &Deployment,
    all: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> (DeploymentStatus, Option<i64>) {
    let old = deployment.status.clone().unwrap_or_default();
    let limits = Limits::of(deployment);
    let field = |pick: fn(&ReplicaSet) -> i32| all.iter().map(|set| pick(set)).sum::<i32>();
    let actual = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let available_now = field(available);
    let count = |number: i32| (number > 0).then_some(number);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(field(actual)),
        updated_replicas: count(new.map_or(0, actual)),
        ready_replicas: count(field(ready)),
        available_replicas: count(available_now),
        unavailable_replicas: count(field(wanted) - available_now),
        terminating_replicas: None,
        collision_count: old.collision_count,
        conditions: old.conditions.clone(),
    };
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let (progress, deadline) = progress(deployment, &old, &status, new, now);
    if let Some(progress) = progress {
        set(&mut conditions, progress, now);
    }
    set(&mut conditions, availability(available_now, limits), now);
    copy_failure(&mut conditions, all, now);
    status.conditions = Some(conditions);
    (status, deadline)
}

/// Returns whether every wanted pod is of the new template and available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = deployment.spec.replicas.unwrap_or(1);
    [status.updated_replicas, status.replicas, status.available_replicas]
        .iter()
        .all(|count| count.unwrap_or(0) == replicas)
}

/// Returns the status as a merge patch in which what is gone is null.
pub(super) fn patch(status: &DeploymentStatus) -> Value {
    json!({
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "updatedReplicas": status.updated_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "unavailableReplicas": status.unavailable_replicas,
        "conditions": status.conditions,
    })
}

fn availability(available: i32, limits: Limits) -> Verdict {
    if available >= limits.least() {
        verdict(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".to_owned(),
        )
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        verdict("Available", "False", "MinimumReplicasUnavailable", message)
    }
}

fn verdict(kind: &'static str, status: &'static str, reason: &'static str, message: String) -> Verdict {
    Verdict { kind, status, reason, message }
}

fn progress(
    deployment: &Deployment,
    old: &DeploymentStatus,
    new_status: &DeploymentStatus,
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> (Option<Verdict>, Option<i64>) {
    let deadline = deployment.spec.progress_deadline_seconds.unwrap_or(600);
    let found = find(old.conditions.as_deref(), "Progressing");
    let reason = found.and_then(|condition| condition.reason.as_deref());
    if deployment.spec.paused == Some(true) {
        let paused = verdict("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".to_owned());
        return (Some(paused).filter(|_| reason != Some("DeploymentPaused")), None);
    }
    if reason == Some("DeploymentPaused") {
        let resumed =
            verdict("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned());
        return (Some(resumed), None);
    }
    let name = new.and_then(|set| set.metadata.name.as_deref());
    let subject = name.map_or_else(
        || format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
        |name| format!("ReplicaSet \"{name}\""),
    );
    if deadline == NO_DEADLINE {
        return (None, None);
    }
    // After completion, pods that come and go are no progress any more.
    let settled =
        reason == Some("NewReplicaSetAvailable") && new_status.replicas == new_status.updated_replicas;
    if is_complete(deployment, new_status) {
        let done = format!("{subject} has successfully progressed.");
        return (Some(verdict("Progressing", "True", "NewReplicaSetAvailable", done)), None);
    }
    if settled {
        return (None, None);
    }
    let Some(found) = found else {
        let created = name.map_or_else(
            || format!("{subject} is progressing."),
            |name| format!("Created new replica set \"{name}\""),
        );
        let reason = if name.is_some() { "NewReplicaSetCreated" } else { "ReplicaSetUpdated" };
        return (Some(verdict("Progressing", "True", reason, created)), Some(i64::from(deadline)));
    };
    let more =
        |pick: fn(&DeploymentStatus) -> Option<i32>| pick(new_status).unwrap_or(0) > pick(old).unwrap_or(0);
    let olds =
        |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    let moved = more(|status| status.updated_replicas)
        || more(|status| status.ready_replicas)
        || more(|status| status.available_replicas)
        || olds(new_status) < olds(old)
        || old.observed_generation != new_status.observed_generation
            && reason == Some("NewReplicaSetAvailable");
    if moved {
        let message = format!("{subject} is progressing.");
        return (
            Some(verdict("Progressing", "True", "ReplicaSetUpdated", message)),
            Some(i64::from(deadline)),
        );
    }
    if reason == Some("ProgressDeadlineExceeded") {
        return (None, None);
    }
    let since = found.last_update_time.as_ref().map_or(0, |since| seconds_since(since, now));
    if since >= i64::from(deadline) && reason != Some("NewReplicaSetAvailable") {
        let message = format!("{subject} has timed out progressing.");
        return (Some(verdict("Progressing", "False", "ProgressDeadlineExceeded", message)), None);
    }
    (None, Some((i64::from(deadline) - since).max(1)))
}

fn find<'a>(conditions: Option<&'a [DeploymentCondition]>, kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.unwrap_or_default().iter().find(|condition| condition.type_.as_deref() == Some(kind))
}

/// Sets a condition; its transition time moves only when the status changes, its update time when anything does.
fn set(conditions: &mut Vec<DeploymentCondition>, wanted: Verdict, now: Timestamp) {
    let found = conditions.iter_mut().find(|condition| condition.type_.as_deref() == Some(wanted.kind));
    let time = Some(Time(now));
    let new = DeploymentCondition {
        type_: Some(wanted.kind.to_owned()),
        status: Some(wanted.status.to_owned()),
        reason: Some(wanted.reason.to_owned()),
        message: Some(wanted.message),
        last_update_time: time.clone(),
        last_transition_time: time,
    };
    let Some(found) = found else {
        conditions.push(new);
        return;
    };
    let unchanged = found.status == new.status && found.reason == new.reason && found.message == new.message;
    // "is progressing" said again still means that something moved.
    if unchanged && wanted.reason != "ReplicaSetUpdated" {
        return;
    }
    let transition = if found.status == new.status {
        found.last_transition_time.clone()
    } else {
        new.last_transition_time
    };
    *found = DeploymentCondition { last_transition_time: transition, ..new };
}

fn is_failure(condition: &ReplicaSetCondition) -> bool {
    condition.type_.as_deref() == Some("ReplicaFailure") && condition.status.as_deref() == Some("True")
}

fn copy_failure(conditions: &mut Vec<DeploymentCondition>, all: &[&ReplicaSet], now: Timestamp) {
    let failures = all.iter().filter_map(|set| set.status.as_ref()?.conditions.as_ref());
    let failure = failures.flatten().find(|condition| is_failure(condition));
    match failure {
        Some(failure) => {
            let message = failure.message.clone().unwrap_or_default();
            set(conditions, verdict("ReplicaFailure", "True", "FailedCreate", message), now);
        }
        None => conditions.retain(|condition| condition.type_.as_deref() != Some("ReplicaFailure")),
    }
}

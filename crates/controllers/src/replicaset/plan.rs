//! What to do for a ReplicaSet, decided from the whole state.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::seconds_since;
use crate::owners::controller_reference;

/// Most pods made in one go; the rest follows in the next.
const MOST: usize = 500;
/// Lets a pod be deleted sooner (low) or later (high) than others.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The steps towards the wanted state.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// How many pods to create.
    pub create: usize,
    /// Which pods to delete.
    pub delete: Vec<Arc<Pod>>,
}

/// Why the last attempt did not do all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// One CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Returns the steps from what is to what is wanted; `pods` are those the set controls.
pub(super) fn plan(set: &ReplicaSet, pods: &[Arc<Pod>]) -> Plan {
    let mut active: Vec<&Arc<Pod>> = pods.iter().filter(|pod| is_active(pod)).collect();
    if set.metadata.deletion_timestamp.is_some() {
        return Plan { create: 0, delete: Vec::new() };
    }
    let wanted = set.spec.replicas.unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    active.sort_by_cached_key(|pod| rank(pod));
    let surplus = active.len().saturating_sub(wanted).min(MOST);
    Plan {
        create: wanted.saturating_sub(active.len()).min(MOST),
        delete: active.into_iter().take(surplus).map(Arc::clone).collect(),
    }
}

/// Returns whether a pod counts: neither over nor being deleted.
pub(super) fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Orders pods by how little is lost with them: unplaced, pending, unready, cheap, young in readiness, often restarted, young.
fn rank(pod: &Pod) -> impl Ord + use<> {
    let status = pod.status.as_ref();
    let placed =
        pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()));
    let phase = match status.and_then(|status| status.phase.as_deref()) {
        Some("Running") => 2,
        Some("Unknown") => 1,
        _ => 0,
    };
    let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    let cost: i32 = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
    let since = ready(pod).and_then(|condition| condition.last_transition_time.clone());
    let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let restarts = containers.map(|container| container.restart_count).max().unwrap_or(0);
    let youth = Reverse(pod.metadata.creation_timestamp.clone());
    let name = pod.metadata.name.clone();
    (placed, phase, ready(pod).is_some(), cost, Reverse(since), Reverse(restarts), youth, name)
}

/// Returns the pod's Ready condition if it is true.
fn ready(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Returns the pod of a ReplicaSet's template.
pub(super) fn pod_of(set: &ReplicaSet) -> Pod {
    let template = set.spec.template.clone().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// Returns the status, and in how many seconds another pod becomes available by age.
pub(super) fn status_of(
    set: &ReplicaSet,
    pods: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<u64>) {
    let spec = &set.spec;
    let needed = i64::from(spec.min_ready_seconds.unwrap_or(0));
    let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let (mut replicas, mut labelled, mut ready_pods, mut available) = (0, 0, 0, 0);
    let mut next: Option<u64> = None;
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        replicas += 1;
        labelled += i32::from(crate::selector::matches_map(&labels, pod.metadata.labels.as_ref()));
        let Some(condition) = ready(pod) else { continue };
        ready_pods += 1;
        let age = condition.last_transition_time.as_ref().map_or(i64::MAX, |since| seconds_since(since, now));
        match u64::try_from(needed - age.min(needed)) {
            Ok(left) if left > 0 => next = Some(next.map_or(left, |next| next.min(left))),
            _ => available += 1,
        }
    }
    let count = |number: i32| (number > 0).then_some(number);
    let status = ReplicaSetStatus {
        replicas,
        fully_labeled_replicas: count(labelled),
        ready_replicas: count(ready_pods),
        available_replicas: count(available),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
        terminating_replicas: None,
    };
    (status, next)
}

fn conditions(
    set: &ReplicaSet,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let old = set.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let (ours, mut kept): (Vec<_>, Vec<_>) =
        old.into_iter().partition(|condition| condition.type_.as_deref() == Some("ReplicaFailure"));
    if let Some(failure) = failure {
        let since = ours.first().and_then(|condition| condition.last_transition_time.clone());
        kept.push(ReplicaSetCondition {
            type_: Some("ReplicaFailure".to_owned()),
            status: Some("True".to_owned()),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        });
    }
    (!kept.is_empty()).then_some(kept)
}

/// Returns the status as a merge patch in which what is gone is null.
pub(super) fn status_patch(status: &ReplicaSetStatus) -> Value {
    json!({
        "replicas": status.replicas,
        "fullyLabeledReplicas": status.fully_labeled_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "observedGeneration": status.observed_generation,
        "conditions": status.conditions,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    fn set(replicas: i32, min_ready: i32) -> ReplicaSet {
        from_value(json!({
            "metadata": {"name": "web-1", "namespace": "ns", "uid": "rs", "generation": 3},
            "spec": {
                "replicas": replicas, "minReadySeconds": min_ready,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            },
        }))
        .unwrap()
    }

    fn pod(name: &str, phase: &str, ready_since: Option<&str>) -> Arc<Pod> {
        let conditions = ready_since
            .map(|since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]));
        Arc::new(
            from_value(json!({
                "metadata": {"name": name, "uid": name, "labels": {"app": "web"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"containers": [], "nodeName": "n"},
                "status": {"phase": phase, "conditions": conditions},
            }))
            .unwrap(),
        )
    }

    const OLD: Option<&str> = Some("2026-01-01T00:00:10Z");
    const NEW: Option<&str> = Some("2026-01-01T00:00:50Z");

    #[test]
    fn pods_move_towards_the_wanted_count() {
        let deleting = |pod: Arc<Pod>| {
            let mut pod = Pod::clone(&pod);
            pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
            Arc::new(pod)
        };
        let cases = [
            ("scale up", 3, vec![pod("a", "Running", OLD)], 2, vec![]),
            ("settled", 1, vec![pod("a", "Running", OLD)], 0, vec![]),
            ("a finished one does not count", 1, vec![pod("a", "Failed", None)], 1, vec![]),
            ("nor one that is going", 1, vec![deleting(pod("a", "Running", OLD))], 1, vec![]),
            (
                "unready goes first",
                1,
                vec![pod("a", "Running", OLD), pod("b", "Running", None)],
                0,
                vec!["b"],
            ),
            (
                "pending goes before",
                1,
                vec![pod("a", "Running", None), pod("b", "Pending", None)],
                0,
                vec!["b"],
            ),
            (
                "the last to become ready",
                1,
                vec![pod("a", "Running", OLD), pod("b", "Running", NEW)],
                0,
                vec!["b"],
            ),
        ];
        for (name, replicas, pods, create, delete) in cases {
            let plan = plan(&set(replicas, 0), &pods);
            let deleted: Vec<_> = plan.delete.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect();
            assert_eq!(
                (plan.create, deleted),
                (create, delete.iter().map(ToString::to_string).collect()),
                "case {name}"
            );
        }
    }

    #[test]
    fn a_set_that_goes_away_makes_no_pods() {
        let mut set = set(3, 0);
        set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(plan(&set, &[]), Plan { create: 0, delete: vec![] });
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let pods = [pod("a", "Running", OLD), pod("b", "Running", NEW), pod("c", "Pending", None)];
        let (status, again) = status_of(&set(3, 30), &pods, None, now);
        assert_eq!(
            (status.replicas, status.ready_replicas, status.available_replicas),
            (3, Some(2), Some(1))
        );
        assert_eq!(
            (status.fully_labeled_replicas, status.observed_generation, again),
            (Some(3), Some(3), Some(20))
        );
    }

    #[test]
    fn a_pod_is_named_after_and_owned_by_its_set() {
        let pod = pod_of(&set(1, 0));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-1-"));
        let owner = &pod.metadata.owner_references.unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.uid.as_str(), owner.controller),
            ("ReplicaSet", "rs", Some(true))
        );
    }
}

//! Why the pods of a rollout do not start, said while it goes on.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};

use crate::manifest::selector;
use crate::{Deployed, RolloutError, RolloutStep};

/// A container that has ended so often will not come to life by itself.
const ENOUGH: i32 = 3;

/// Reports what the new pods of `deployed` wait for, each reason once, and returns when one of them ends again and again.
pub async fn wait_for_crashes(
    client: &kube::Client,
    deployed: &Deployed,
    mut report: impl FnMut(RolloutStep),
) -> RolloutError {
    let wrap = |source| RolloutError::Watch { name: deployed.name.clone(), source };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &deployed.namespace);
    let labels = selector(&deployed.name);
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let listed = match pods.list(&ListParams::default().labels(&labels)).await {
            Ok(listed) => listed,
            Err(error) => return wrap(error),
        };
        let since = listed.metadata.resource_version.unwrap_or_default();
        let changes = match pods.watch(&WatchParams::default().labels(&labels), &since).await {
            Ok(changes) => changes,
            Err(error) => return wrap(error),
        };
        let mut changes = std::pin::pin!(changes);
        let mut seen = listed.items;
        loop {
            for pod in seen.drain(..).filter(|pod| counts(pod, &deployed.replaced)) {
                for step in waiting_containers(&pod) {
                    let RolloutStep::Waiting { pod, reason, .. } = &step else { continue };
                    if said.insert(pod.clone(), reason.clone()).as_ref() != Some(reason) {
                        report(step);
                    }
                }
                if let Some(why) = crashes(&pod) {
                    return RolloutError::Crashing { name: deployed.name.clone(), why };
                }
            }
            match changes.try_next().await {
                Ok(Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => seen.push(pod),
                Ok(Some(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_))) => {}
                Ok(Some(WatchEvent::Error(_)) | None) => break,
                Err(error) => return wrap(error),
            }
        }
    }
}

/// Whether it is a pod that the rollout is about: those of older templates, and those that go, may fail as they like.
fn counts(pod: &Pod, replaced: &BTreeSet<String>) -> bool {
    let old = pod.metadata.name.as_ref().is_some_and(|name| replaced.contains(name));
    !old && pod.metadata.deletion_timestamp.is_none()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

/// Returns what the containers of a pod wait for, but for what every start waits for.
pub(crate) fn waiting_containers(pod: &Pod) -> Vec<RolloutStep> {
    let waiting = statuses(pod).filter_map(|status| status.state.as_ref()?.waiting.as_ref());
    waiting
        .filter(|waiting| {
            !matches!(waiting.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing"))
        })
        .map(|waiting| RolloutStep::Waiting {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            reason: waiting.reason.clone().unwrap_or_default(),
            message: waiting.message.clone().unwrap_or_default(),
        })
        .collect()
}

fn crashes(pod: &Pod) -> Option<String> {
    let runs = |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    let often = statuses(pod).find(|status| status.restart_count >= ENOUGH && !runs(status))?;
    let ended = often.last_state.as_ref().and_then(|last| last.terminated.as_ref())?;
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    let reason = ended.reason.as_deref().unwrap_or("Error");
    Some(format!(
        "{pod} has ended {} times, last with exit code {} ({reason})",
        often.restart_count, ended.exit_code
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "web-1"}, "spec": {"containers": [{"name": "c", "image": "web:1"}]},
            "status": {"containerStatuses": [status]}}),
        )
        .unwrap()
    }

    fn status(state: serde_json::Value, restarts: i32) -> serde_json::Value {
        json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}})
    }

    #[test]
    fn only_what_keeps_a_container_from_starting_is_told() {
        for (name, state, want) in [
            ("every start", json!({"waiting": {"reason": "ContainerCreating"}}), None),
            (
                "no image",
                json!({"waiting": {"reason": "ErrImagePull", "message": "no"}}),
                Some("ErrImagePull"),
            ),
            ("runs", json!({"running": {}}), None),
        ] {
            let found = waiting_containers(&pod(status(state, 0)));
            let reason = found.first().map(|step| match step {
                RolloutStep::Waiting { reason, .. } => reason.as_str(),
                RolloutStep::Ready { .. } => "",
            });
            assert_eq!(reason, want, "case {name}");
        }
    }

    #[test]
    fn one_crash_may_be_an_accident() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(crashes(&pod(status(waiting.clone(), 2))), None);
        assert_eq!(crashes(&pod(status(json!({"running": {}}), 9))), None, "it has come to life");
        let why = crashes(&pod(status(waiting, 3))).unwrap();
        assert_eq!(why, "web-1 has ended 3 times, last with exit code 3 (Error)");
    }

    #[test]
    fn pods_of_older_templates_do_not_count() {
        let mut pod = pod(status(json!({"running": {}}), 0));
        assert!(counts(&pod, &BTreeSet::new()));
        assert!(!counts(&pod, &BTreeSet::from(["web-1".to_owned()])));
        pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(!counts(&pod, &BTreeSet::new()));
    }
}

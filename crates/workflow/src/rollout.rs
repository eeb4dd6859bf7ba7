//! Waiting until a rollout is over, and saying why it is not.

use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};

use crate::Deployed;
use crate::manifest::selector;
use crate::troubles::waiting_containers;

/// Progress of a rollout, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutStep {
    /// So many of the wanted pods run the new template and are ready.
    Ready {
        /// Ready now.
        ready: i32,
        /// Wanted.
        wanted: i32,
    },
    /// A container does not start, with the kubelet's reason and message.
    Waiting {
        /// The pod.
        pod: String,
        /// Such as `ImagePullBackOff`.
        reason: String,
        /// What the kubelet said.
        message: String,
    },
}

/// Why a rollout did not end well.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RolloutError {
    /// The API server could not be asked.
    #[error("could not watch the Deployment `{name}`")]
    #[diagnostic(code(up::watch), help("run `shipway cluster status`"))]
    Watch {
        /// The Deployment.
        name: String,
        /// What the client said.
        source: kube::Error,
    },
    /// The Deployment was deleted by somebody else.
    #[error("the Deployment `{name}` is gone")]
    #[diagnostic(code(up::gone), help("run `shipway up` again"))]
    Gone {
        /// The Deployment.
        name: String,
    },
    /// A container of the new pods ends again and again.
    #[error("the application ends again and again: {why}")]
    #[diagnostic(
        code(up::crashing),
        help(
            "its last words are above; mend it and run `shipway up` again, or see `kubectl logs deployment/{name} --previous`"
        )
    )]
    Crashing {
        /// The Deployment.
        name: String,
        /// Pod, exit code, reason.
        why: String,
    },
    /// The controller gave up.
    #[error("the Deployment `{name}` made no progress: {why}")]
    #[diagnostic(
        code(up::stuck),
        help("see `kubectl describe pods -l app={name}` and `kubectl logs deployment/{name}`")
    )]
    Stuck {
        /// The Deployment.
        name: String,
        /// The waiting containers, or the condition's message.
        why: String,
    },
}

/// Waits until every wanted pod of `deployed` runs its newest template and is ready.
///
/// `report` hears of each change. Ends with [`RolloutError::Stuck`] when the controller reports
/// `ProgressDeadlineExceeded`.
pub async fn wait_for_rollout(
    client: &kube::Client,
    deployed: &Deployed,
    mut report: impl FnMut(RolloutStep),
) -> Result<(), RolloutError> {
    let wrap = |source| RolloutError::Watch { name: deployed.name.clone(), source };
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &deployed.namespace);
    let only = format!("metadata.name={}", deployed.name);
    let mut said = None;
    loop {
        let listed = deployments.list(&ListParams::default().fields(&only)).await.map_err(wrap)?;
        let since = listed.metadata.resource_version.clone().unwrap_or_default();
        let Some(mut current) = listed.items.into_iter().next() else {
            return Err(RolloutError::Gone { name: deployed.name.clone() });
        };
        let changes = deployments.watch(&WatchParams::default().fields(&only), &since).await.map_err(wrap)?;
        let mut changes = std::pin::pin!(changes);
        loop {
            let state = state_of(&current, deployed.generation);
            if let State::Rolling { ready, wanted } | State::Done { ready, wanted } = state
                && said.replace((ready, wanted)) != Some((ready, wanted))
            {
                report(RolloutStep::Ready { ready, wanted });
            }
            match state {
                State::Done { .. } => return Ok(()),
                State::Rolling { .. } => {}
                State::Stuck(message) => return Err(stuck(client, deployed, message, &mut report).await),
            }
            match changes.try_next().await.map_err(wrap)? {
                Some(WatchEvent::Added(changed) | WatchEvent::Modified(changed)) => current = changed,
                Some(WatchEvent::Deleted(_)) => {
                    return Err(RolloutError::Gone { name: deployed.name.clone() });
                }
                Some(WatchEvent::Bookmark(_)) => {}
                Some(WatchEvent::Error(_)) | None => break,
            }
        }
    }
}

/// What a Deployment's status says about one generation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Rolling { ready: i32, wanted: i32 },
    Done { ready: i32, wanted: i32 },
    Stuck(String),
}

/// Compat: kubectl rollout status, which waits for observed generation, updated, total and available pods in turn.
fn state_of(deployment: &Deployment, generation: i64) -> State {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let Some(status) = &deployment.status else { return State::Rolling { ready: 0, wanted } };
    if status.observed_generation.unwrap_or(0) < generation {
        return State::Rolling { ready: 0, wanted };
    }
    let exceeded = status.conditions.iter().flatten().find(|condition| {
        condition.type_.as_deref() == Some("Progressing")
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    if let Some(condition) = exceeded {
        return State::Stuck(condition.message.clone().unwrap_or_default());
    }
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let total = status.replicas.unwrap_or(0);
    let ready = updated.min(available);
    if updated >= wanted && total <= updated && available >= updated {
        State::Done { ready, wanted }
    } else {
        State::Rolling { ready, wanted }
    }
}

/// Names the containers that wait, which is what the person needs to know.
async fn stuck(
    client: &kube::Client,
    deployed: &Deployed,
    message: String,
    report: &mut impl FnMut(RolloutStep),
) -> RolloutError {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &deployed.namespace);
    let found = pods.list(&ListParams::default().labels(&selector(&deployed.name))).await;
    let waiting: Vec<RolloutStep> =
        found.iter().flat_map(|list| &list.items).flat_map(waiting_containers).collect();
    let mut why = message;
    for step in waiting {
        if let RolloutStep::Waiting { pod, reason, message } = &step {
            why = format!("{pod}: {reason}: {message}");
        }
        report(step);
    }
    RolloutError::Stuck { name: deployed.name.clone(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rollout_is_over_when_all_pods_are_new_and_available() {
        let cases = [
            ("no status", json!({}), State::Rolling { ready: 0, wanted: 2 }),
            (
                "old generation",
                json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                State::Rolling { ready: 0, wanted: 2 },
            ),
            (
                "an old pod is left",
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}),
                State::Rolling { ready: 2, wanted: 2 },
            ),
            (
                "done",
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                State::Done { ready: 2, wanted: 2 },
            ),
            (
                "deadline",
                json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False",
                       "reason": "ProgressDeadlineExceeded", "message": "timed out"}]}),
                State::Stuck("timed out".to_owned()),
            ),
        ];
        for (name, status, want) in cases {
            let deployment: Deployment = serde_json::from_value(json!({
                "metadata": {"name": "web"}, "status": status,
                "spec": {"replicas": 2, "selector": {}, "template": {}},
            }))
            .unwrap();
            assert_eq!(state_of(&deployment, 2), want, "case {name}");
        }
    }
}

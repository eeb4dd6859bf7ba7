//! Revision numbers and the annotations that ReplicaSets of a Deployment carry.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

/// The revision a ReplicaSet, and the Deployment that uses it, is at.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions that a ReplicaSet had before it was rolled back to.
pub(super) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's replicas when the ReplicaSet was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same plus maxSurge.
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// What `kubectl apply` keeps for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Annotations to set.
pub(super) type Annotations = BTreeMap<String, String>;

/// Returns the revision of a ReplicaSet; 0 if it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    number(set.metadata.annotations.as_ref(), REVISION).unwrap_or(0)
}

/// Returns an annotation that holds a number.
pub(super) fn number(annotations: Option<&Annotations>, key: &str) -> Option<i64> {
    annotations?.get(key)?.parse().ok()
}

/// Returns the two annotations that say what the Deployment wanted.
pub(super) fn wanted(replicas: i32, surge: i32) -> Annotations {
    let entry = |key: &str, value: i32| (key.to_owned(), value.to_string());
    Annotations::from([entry(DESIRED, replicas), entry(MAXIMUM, replicas + surge)])
}

/// Returns the annotations of a Deployment that its ReplicaSets carry too.
pub(super) fn inherited(deployment: &Deployment) -> Annotations {
    let own = [REVISION, HISTORY, DESIRED, MAXIMUM, LAST_APPLIED];
    let annotations = deployment.metadata.annotations.iter().flatten();
    annotations
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Returns what the new ReplicaSet's annotations lack, for the given revision.
pub(super) fn missing(set: &ReplicaSet, deployment: &Deployment, revision_wanted: i64) -> Annotations {
    let found = set.metadata.annotations.as_ref();
    let mut wanted = inherited(deployment);
    let old = revision(set);
    if old < revision_wanted {
        wanted.insert(REVISION.to_owned(), revision_wanted.to_string());
        if old > 0 {
            let history = found.and_then(|found| found.get(HISTORY)).filter(|history| !history.is_empty());
            let history = history.map_or_else(|| old.to_string(), |history| format!("{history},{old}"));
            wanted.insert(HISTORY.to_owned(), history);
        }
    }
    wanted.retain(|key, value| found.and_then(|found| found.get(key)) != Some(value));
    wanted
}

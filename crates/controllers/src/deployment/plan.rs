//! What to do for a Deployment, decided from the whole state.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::proportional::{self, Share};
use super::revision::{self, Annotations, revision};
use super::rollout::{Limits, Old, available, new_size, old_sizes, wanted};
use super::status::{is_complete, status_of};
use crate::owners::controller_reference;
use crate::queue::Requeue;
use crate::selector::Labels;
use crate::template_hash::template_hash;

/// The label that tells the pods of one ReplicaSet from another's.
const HASH_LABEL: &str = "pod-template-hash";

/// One step towards the wanted state.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Create the ReplicaSet of the current template.
    Create(Box<ReplicaSet>),
    /// Give a ReplicaSet another size.
    Scale { name: String, from: i32, to: i32, annotations: Annotations },
    /// Set annotations of a ReplicaSet.
    Annotate { name: String, annotations: Annotations },
    /// Note the current revision on the Deployment.
    SetRevision(i64),
    /// Delete old ReplicaSets.
    Delete(Vec<String>),
    /// Write the status.
    SetStatus(Box<DeploymentStatus>),
}

/// The steps, and when to look again.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// Steps, in order.
    pub actions: Vec<Action>,
    /// When to look again.
    pub requeue: Requeue,
}

/// Returns the steps from what is to what is wanted.
pub(super) fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    pods_run_for: &dyn Fn(&ReplicaSet) -> bool,
    now: Timestamp,
) -> Plan {
    let mut all: Vec<&ReplicaSet> = sets.iter().map(Arc::as_ref).collect();
    all.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
    let new = all.iter().copied().find(|set| same_template(set, deployment));
    let olds: Vec<&ReplicaSet> = all.iter().copied().filter(|set| !is_same(new, set)).collect();
    let limits = Limits::of(deployment);
    let paused = deployment.spec.paused == Some(true);
    let mut actions = Vec::new();
    if deployment.metadata.deletion_timestamp.is_none() {
        let newest_old = olds.iter().map(|set| revision(set)).max().unwrap_or(0);
        note_revisions(deployment, new, newest_old, &mut actions);
        if paused || was_scaled(&all, limits) {
            scale(&all, new, limits, &mut actions);
        } else if limits.recreate {
            recreate(deployment, new, &olds, pods_run_for, &mut actions);
        } else {
            roll(deployment, new, &olds, limits, &mut actions);
        }
    }
    let (status, deadline) = status_of(deployment, &all, new, now);
    if is_complete(deployment, &status) {
        clean_up(deployment, &olds, &mut actions);
    }
    if deployment.status.as_ref() != Some(&status) {
        actions.push(Action::SetStatus(Box::new(status)));
    }
    let requeue = deadline.and_then(|seconds| u64::try_from(seconds).ok());
    let requeue = requeue.map_or(Requeue::OnEvent, |seconds| Requeue::After(Duration::from_secs(seconds)));
    Plan { actions, requeue }
}

/// Returns whether a ReplicaSet has the Deployment's template; the hash label does not count.
pub(super) fn same_template(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let Some(template) = &set.spec.template else { return false };
    let wanted = &deployment.spec.template;
    let plain = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        let meta = template.metadata.get_or_insert_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH_LABEL);
        }
        meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
        meta.creation_timestamp = None;
        template
    };
    template.spec == wanted.spec && plain(template) == plain(wanted)
}

fn is_same(new: Option<&ReplicaSet>, set: &ReplicaSet) -> bool {
    new.is_some_and(|new| new.metadata.name == set.metadata.name)
}

fn name(set: &ReplicaSet) -> String {
    set.metadata.name.clone().unwrap_or_default()
}

/// Keeps the revision numbers of the new ReplicaSet and of the Deployment right.
fn note_revisions(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    newest_old: i64,
    actions: &mut Vec<Action>,
) {
    let Some(new) = new else { return };
    let annotations = revision::missing(new, deployment, newest_old + 1);
    let current = revision(new).max(newest_old + 1);
    if !annotations.is_empty() {
        actions.push(Action::Annotate { name: name(new), annotations });
    }
    if revision::number(deployment.metadata.annotations.as_ref(), revision::REVISION) != Some(current) {
        actions.push(Action::SetRevision(current));
    }
}

/// Returns whether the Deployment's size changed since its ReplicaSets were last sized.
fn was_scaled(all: &[&ReplicaSet], limits: Limits) -> bool {
    all.iter().filter(|set| wanted(set) > 0).any(|set| {
        let desired = revision::number(set.metadata.annotations.as_ref(), revision::DESIRED);
        desired.is_some_and(|desired| desired != i64::from(limits.replicas))
    })
}

fn push_scale(set: &ReplicaSet, to: i32, limits: Limits, actions: &mut Vec<Action>) {
    let mut annotations = revision::wanted(limits.replicas, limits.surge);
    let found = set.metadata.annotations.as_ref();
    annotations.retain(|key, value| found.and_then(|found| found.get(key)) != Some(value));
    let from = wanted(set);
    if from != to || (!annotations.is_empty() && from > 0) {
        actions.push(Action::Scale { name: name(set), from, to, annotations });
    }
}

/// Sizes ReplicaSets after the Deployment itself was scaled.
fn scale(all: &[&ReplicaSet], new: Option<&ReplicaSet>, limits: Limits, actions: &mut Vec<Action>) {
    let mut active: Vec<&ReplicaSet> = all.iter().copied().filter(|set| wanted(set) > 0).collect();
    if active.len() <= 1 {
        let only = active.first().copied().or(new).or_else(|| all.last().copied());
        if let Some(only) = only {
            push_scale(only, limits.replicas, limits, actions);
        }
        return;
    }
    if let Some(new) = new
        && wanted(new) == limits.replicas
        && available(new) == limits.replicas
    {
        push_scale(new, limits.replicas, limits, actions);
        for old in active.iter().filter(|set| !is_same(Some(new), set)) {
            push_scale(old, 0, limits, actions);
        }
        return;
    }
    if limits.recreate {
        // Sizes are the strategy's business; only note what was wanted.
        active.iter().for_each(|set| push_scale(set, wanted(set), limits, actions));
        return;
    }
    let allowed = if limits.replicas > 0 { limits.replicas + limits.surge } else { 0 };
    active.sort_by_key(|set| (-wanted(set), std::cmp::Reverse(set.metadata.creation_timestamp.clone())));
    let maximum = |set: &ReplicaSet| {
        let noted = revision::number(set.metadata.annotations.as_ref(), revision::MAXIMUM);
        noted.and_then(|noted| i32::try_from(noted).ok())
    };
    let shares: Vec<Share> =
        active.iter().map(|set| Share { wanted: wanted(set), maximum: maximum(set) }).collect();
    for (set, size) in active.iter().zip(proportional::sizes(&shares, allowed, allowed)) {
        push_scale(set, size, limits, actions);
    }
}

fn recreate(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    olds: &[&ReplicaSet],
    pods_run_for: &dyn Fn(&ReplicaSet) -> bool,
    actions: &mut Vec<Action>,
) {
    let limits = Limits::of(deployment);
    let active: Vec<_> = olds.iter().filter(|set| wanted(set) > 0).collect();
    if !active.is_empty() {
        active.iter().for_each(|set| push_scale(set, 0, limits, actions));
        return;
    }
    if olds.iter().any(|set| pods_run_for(set)) {
        return;
    }
    match new {
        Some(new) => push_scale(new, limits.replicas, limits, actions),
        None => actions.extend(create(deployment, olds, limits.replicas)),
    }
}

fn roll(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    olds: &[&ReplicaSet],
    limits: Limits,
    actions: &mut Vec<Action>,
) {
    let old_total: i32 = olds.iter().map(|set| wanted(set)).sum();
    let size_now = new.map_or(0, wanted);
    let size = new_size(limits, size_now, old_total + size_now);
    let Some(new) = new else {
        actions.extend(create(deployment, olds, size));
        return;
    };
    push_scale(new, size, limits, actions);
    if size != size_now || old_total == 0 {
        return;
    }
    let view = |set: &ReplicaSet| Old { wanted: wanted(set), available: available(set) };
    let views: Vec<Old> = olds.iter().map(|set| view(set)).collect();
    for (set, size) in olds.iter().zip(old_sizes(limits, &views, view(new))) {
        if size != wanted(set) {
            push_scale(set, size, limits, actions);
        }
    }
}

/// Returns the ReplicaSet of the current template, and the revision that goes with it.
fn create(deployment: &Deployment, olds: &[&ReplicaSet], replicas: i32) -> Vec<Action> {
    let spec = &deployment.spec;
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let with_hash = |labels: Option<&Labels>| {
        let mut labels = labels.cloned().unwrap_or_default();
        labels.insert(HASH_LABEL.to_owned(), hash.clone());
        labels
    };
    let mut template = spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    meta.labels = Some(with_hash(meta.labels.as_ref()));
    let labels = meta.labels.clone();
    let next = olds.iter().map(|set| revision(set)).max().unwrap_or(0) + 1;
    let limits = Limits::of(deployment);
    let mut annotations = revision::inherited(deployment);
    annotations.extend(revision::wanted(limits.replicas, limits.surge));
    annotations.insert(revision::REVISION.to_owned(), next.to_string());
    let selector = LabelSelector {
        match_labels: Some(with_hash(spec.selector.match_labels.as_ref())),
        match_expressions: spec.selector.match_expressions.clone(),
    };
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default())),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    };
    vec![Action::Create(Box::new(set)), Action::SetRevision(next)]
}

/// Deletes the oldest ReplicaSets beyond `revisionHistoryLimit`.
fn clean_up(deployment: &Deployment, olds: &[&ReplicaSet], actions: &mut Vec<Action>) {
    let limit = deployment.spec.revision_history_limit.unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(0);
    let idle = |set: &&&ReplicaSet| {
        wanted(set) == 0
            && set.status.as_ref().is_none_or(|status| status.replicas == 0)
            && set.metadata.deletion_timestamp.is_none()
    };
    let mut idle: Vec<_> = olds.iter().filter(idle).collect();
    idle.sort_by_key(|set| revision(set));
    let surplus = idle.len().saturating_sub(limit);
    if surplus > 0 {
        actions.push(Action::Delete(idle.into_iter().take(surplus).map(|set| name(set)).collect()));
    }
}

#[cfg(test)]
mod tests;

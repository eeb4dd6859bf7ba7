//! The garbage collector: what is owned goes with its owners.
//!
//! It watches the metadata of every kind the server has, keeps who owns whom by uid, and looks at an object when it or one
//! of its owners changes. An owner that it has not seen is asked for before anything is deleted because of it.

mod graph;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, Preconditions};
use kube::core::PartialObjectMeta;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::informer::{Change, Informer};
use crate::queue::{Queue, Requeue, ignore_gone, work};
use crate::resources::{ListedKind, listed_kinds};
use crate::run::{Cluster, patch_params};

use graph::{FOREGROUND, Graph, Node, ORPHAN, OwnerState, Verdict, verdict};

/// Objects looked at at the same time.
const WORKERS: usize = 8;
/// First and longest wait until discovery is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

type Meta = PartialObjectMeta<DynamicObject>;

#[derive(Debug)]
struct Collector {
    cluster: Arc<Cluster>,
    graph: Mutex<Graph>,
    kinds: Mutex<HashMap<String, ListedKind>>,
    queue: Queue<String>,
    rediscover: Notify,
}

/// Returns the collector, which runs until `stop`.
pub(crate) async fn run(cluster: Arc<Cluster>, stop: CancellationToken) {
    let collector = Arc::new(Collector {
        cluster,
        graph: Mutex::default(),
        kinds: Mutex::default(),
        queue: Queue::new(),
        rediscover: Notify::new(),
    });
    let worker = async {
        work(&collector.queue, WORKERS, &stop, |uid| collector.look_at(uid)).await;
    };
    tokio::join!(worker, watch_kinds(&collector, &stop));
}

/// Watches every kind the server has, and new ones as they come.
async fn watch_kinds(collector: &Arc<Collector>, stop: &CancellationToken) {
    let mut tasks = JoinSet::new();
    let mut watched = HashMap::<String, CancellationToken>::new();
    let mut wait = BACK_OFF.0;
    while !stop.is_cancelled() {
        match listed_kinds(&collector.cluster.client).await {
            Ok(kinds) => {
                wait = BACK_OFF.0;
                follow(collector, kinds, &mut watched, (&mut tasks, stop));
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = collector.rediscover.notified() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not learn which kinds there are, trying again");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

fn follow(
    collector: &Arc<Collector>,
    kinds: Vec<ListedKind>,
    watched: &mut HashMap<String, CancellationToken>,
    (tasks, stop): (&mut JoinSet<()>, &CancellationToken),
) {
    let kinds: HashMap<String, ListedKind> = kinds
        .into_iter()
        .filter(|kind| kind.watched && kind.resource.kind != "Event")
        .map(|kind| (identity(&kind.resource.api_version, &kind.resource.kind), kind))
        .collect();
    watched.retain(|name, token| {
        let stays = kinds.contains_key(name);
        if !stays {
            token.cancel();
        }
        stays
    });
    for (name, kind) in &kinds {
        if watched.contains_key(name) {
            continue;
        }
        let token = stop.child_token();
        watched.insert(name.clone(), token.clone());
        let api = Api::<Meta>::all_with(collector.cluster.client.clone(), &kind.resource);
        let informer = Informer::over(api).trimmed(|object| {
            object.metadata.labels = None;
            object.metadata.annotations = None;
        });
        let (to, name) = (Arc::clone(collector), name.clone());
        informer.on_change(move |change| to.note(&name, change));
        tasks.spawn(async move { informer.run(token).await });
    }
    *collector.kinds.lock().unwrap_or_else(PoisonError::into_inner) = kinds;
}

/// Returns what tells one kind from another.
fn identity(api_version: &str, kind: &str) -> String {
    format!("{api_version}/{kind}")
}

impl Collector {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change and asks for everything it touches to be looked at.
    fn note(&self, kind: &str, change: &Change<Meta>) {
        if kind.ends_with("/CustomResourceDefinition") {
            self.rediscover.notify_one();
        }
        let mut graph = self.graph();
        if let Some(old) = &change.old
            && change.new.as_ref().is_none_or(|new| new.metadata.uid != old.metadata.uid)
        {
            let touched = graph.remove(old.metadata.uid.as_deref().unwrap_or_default());
            touched.into_iter().for_each(|uid| self.queue.add(uid));
        }
        if let Some(new) = &change.new {
            let touched = graph.put(Node::of(kind, &new.metadata));
            touched.into_iter().for_each(|uid| self.queue.add(uid));
        }
    }

    /// Decides about one object.
    async fn look_at(&self, uid: String) -> Result<Requeue, kube::Error> {
        let Some(node) = self.graph().get(&uid).cloned() else {
            return Ok(Requeue::OnEvent);
        };
        if node.deleting {
            self.finish(&node).await?;
            return Ok(Requeue::OnEvent);
        }
        let mut owners = Vec::with_capacity(node.owners.len());
        for owner in &node.owners {
            owners.push((owner.clone(), self.owner_state(&node, owner).await?));
        }
        let has_dependents = !self.graph().dependents(&uid).is_empty();
        match verdict(&owners, has_dependents) {
            Verdict::Keep => {}
            Verdict::Drop(uids) => {
                let kept: Vec<_> = node.owners.iter().filter(|owner| !uids.contains(&owner.uid)).collect();
                let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
                self.patch(&node, json!({"metadata": {"uid": node.uid, "ownerReferences": kept}})).await?;
            }
            Verdict::Delete { foreground } => self.delete(&node, foreground).await?,
        }
        Ok(Requeue::OnEvent)
    }

    /// Removes the finalizers that are ours once their condition holds.
    async fn finish(&self, node: &Node) -> Result<(), kube::Error> {
        let dependents = self.graph().dependents(&node.uid);
        if node.has_finalizer(ORPHAN) {
            for dependent in &dependents {
                let kept: Vec<_> = dependent.owners.iter().filter(|owner| owner.uid != node.uid).collect();
                let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
                self.patch(dependent, json!({"metadata": {"uid": dependent.uid, "ownerReferences": kept}}))
                    .await?;
            }
            return self.remove_finalizer(node, ORPHAN).await;
        }
        if !node.has_finalizer(FOREGROUND) {
            return Ok(());
        }
        let blocks =
            |owner: &OwnerReference| owner.uid == node.uid && owner.block_owner_deletion == Some(true);
        let blocked = dependents.iter().any(|dependent| dependent.owners.iter().any(blocks));
        for dependent in &dependents {
            self.queue.add(dependent.uid.clone());
        }
        if blocked { Ok(()) } else { self.remove_finalizer(node, FOREGROUND).await }
    }

    async fn owner_state(&self, node: &Node, owner: &OwnerReference) -> Result<OwnerState, kube::Error> {
        if let Some(found) = self.graph().get(&owner.uid) {
            let waits =
                found.deleting && found.has_finalizer(FOREGROUND) && owner.block_owner_deletion == Some(true);
            return Ok(if waits { OwnerState::WaitsForUs } else { OwnerState::There });
        }
        let Some(kind) = self.kind(&identity(&owner.api_version, &owner.kind)) else {
            // A kind that we do not know, or know in another version: never delete for it.
            return Ok(OwnerState::There);
        };
        let api = self.api(&kind, &node.namespace);
        let found = ignore_gone(api.get_metadata(&owner.name).await)?;
        let same = found.is_some_and(|found| found.metadata.uid.as_ref() == Some(&owner.uid));
        Ok(if same { OwnerState::There } else { OwnerState::Gone })
    }

    fn kind(&self, identity: &str) -> Option<ListedKind> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(identity).cloned()
    }

    fn api(&self, kind: &ListedKind, namespace: &str) -> Api<DynamicObject> {
        let client = self.cluster.client.clone();
        if kind.namespaced {
            Api::namespaced_with(client, namespace, &kind.resource)
        } else {
            Api::all_with(client, &kind.resource)
        }
    }

    async fn delete(&self, node: &Node, foreground: bool) -> Result<(), kube::Error> {
        let Some(kind) = self.kind(&node.kind) else { return Ok(()) };
        let params = match (foreground, node.has_finalizer(ORPHAN)) {
            (_, true) => DeleteParams::orphan(),
            (true, _) => DeleteParams::foreground(),
            _ => DeleteParams::background(),
        };
        let same = Preconditions { uid: Some(node.uid.clone()), resource_version: None };
        let answer = self.api(&kind, &node.namespace).delete(&node.name, &params.preconditions(same)).await;
        match ignore_gone(answer) {
            Err(error) if crate::queue::is_conflict(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn remove_finalizer(&self, node: &Node, finalizer: &str) -> Result<(), kube::Error> {
        let kept: Vec<_> = node.finalizers.iter().filter(|name| *name != finalizer).collect();
        let patch = json!({"metadata": {
            "uid": node.uid, "resourceVersion": node.resource_version, "finalizers": kept,
        }});
        self.patch(node, patch).await
    }

    async fn patch(&self, node: &Node, patch: Value) -> Result<(), kube::Error> {
        let Some(kind) = self.kind(&node.kind) else { return Ok(()) };
        let api = self.api(&kind, &node.namespace);
        ignore_gone(api.patch_metadata(&node.name, &patch_params(), &Patch::Merge(patch)).await).map(drop)
    }
}

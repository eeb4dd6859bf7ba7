//! Namespaces that go away take their contents with them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use tokio_util::sync::CancellationToken;

use crate::informer::Key;
use crate::queue::{Queue, Requeue, ignore_gone, work};
use crate::resources::{ListedKind, listed_kinds};
use crate::run::Cluster;

/// What holds a namespace until its contents are gone.
const FINALIZER: &str = "kubernetes";

/// Subscribes to what matters and returns the controller, which runs until `stop`.
pub(crate) fn run(cluster: Arc<Cluster>, stop: CancellationToken) -> impl Future<Output = ()> {
    let queue = Arc::new(Queue::<Key>::new());
    let to = Arc::clone(&queue);
    cluster.namespaces.on_change(move |change| {
        if let Some(namespace) = change.new.as_ref().filter(|namespace| is_ending(namespace)) {
            to.add(Key::of(&**namespace));
        }
    });
    // The last pod is what usually takes its time.
    let (to, weak) = (Arc::clone(&queue), Arc::downgrade(&cluster));
    cluster.pods.on_change(move |change| {
        let (Some(pod), None, Some(cluster)) = (&change.old, &change.new, weak.upgrade()) else { return };
        let key = Key::new("", pod.metadata.namespace.as_deref().unwrap_or_default());
        if cluster.namespaces.get(&key).is_some_and(|namespace| is_ending(&namespace)) {
            to.add(key);
        }
    });
    async move {
        cluster.namespaces.wait_synced().await;
        work(&queue, 2, &stop, |key| reconcile(&cluster, key)).await;
    }
}

/// Returns whether a namespace is to be emptied by us.
fn is_ending(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    namespace.metadata.deletion_timestamp.is_some()
        && finalizers.into_iter().flatten().any(|name| name == FINALIZER)
}

async fn reconcile(cluster: &Cluster, key: Key) -> Result<Requeue, kube::Error> {
    let Some(namespace) = cluster.namespaces.get(&key).filter(|namespace| is_ending(namespace)) else {
        return Ok(Requeue::OnEvent);
    };
    let mut left = 0;
    for kind in listed_kinds(&cluster.client).await?.into_iter().filter(|kind| kind.namespaced) {
        left += empty(cluster, &key.name, &kind).await?;
    }
    if left > 0 {
        tracing::debug!(namespace = %key, left, "waiting for the contents to go");
        return Ok(Requeue::Later);
    }
    let api = Api::<Namespace>::all(cluster.client.clone());
    let finalized = without_finalizer(&namespace);
    ignore_gone(api.replace_subresource("finalize", &key.name, &PostParams::default(), &finalized).await)?;
    Ok(Requeue::OnEvent)
}

/// Returns the namespace as it is to be when it is empty.
fn without_finalizer(namespace: &Namespace) -> Namespace {
    let mut namespace = namespace.clone();
    let spec = namespace.spec.get_or_insert_default();
    spec.finalizers = spec.finalizers.take().map(|mut names| {
        names.retain(|name| name != FINALIZER);
        names
    });
    namespace
}

/// Deletes all objects of one kind; returns how many are still there.
async fn empty(cluster: &Cluster, namespace: &str, kind: &ListedKind) -> Result<usize, kube::Error> {
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, &kind.resource);
    let found = match ignore_gone(api.list_metadata(&ListParams::default()).await) {
        Ok(found) => found,
        // Kinds that cannot be listed here (405) hold nothing.
        Err(kube::Error::Api(status)) if status.code == 405 => None,
        Err(error) => return Err(error),
    };
    let mut left = 0;
    for object in found.into_iter().flatten() {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        if object.metadata.deletion_timestamp.is_some() {
            left += 1;
            continue;
        }
        let answer = ignore_gone(api.delete(name, &DeleteParams::background()).await)?;
        left += usize::from(answer.is_some_and(|answer| answer.is_left()));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn only_our_finalizer_goes() {
        let namespace: Namespace = from_value(json!({
            "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes", "example.com/other"]},
        }))
        .unwrap();
        assert!(is_ending(&namespace));
        let after = without_finalizer(&namespace);
        assert_eq!(after.spec.unwrap().finalizers.unwrap(), ["example.com/other"]);
    }
}

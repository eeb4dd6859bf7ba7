//! Removing what `up` made.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, WatchEvent, WatchParams};

use futures::TryStreamExt as _;

use crate::manifest::selector;
use crate::{DeployError, Project};

/// What `down` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The Deployment is gone and its pods with it.
    Deployment,
    /// There was none.
    Nothing,
}

/// Deletes the Deployment of `project` and waits until its pods are gone.
pub async fn down(client: &kube::Client, project: &Project) -> Result<Removed, DeployError> {
    let wrap = |source| DeployError::of(&project.name, source);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &project.namespace);
    match deployments.delete(&project.name, &DeleteParams::background()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Removed::Nothing),
        Err(source) => return Err(wrap(source)),
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &project.namespace);
    let labels = selector(&project.name);
    loop {
        let listed = pods.list(&ListParams::default().labels(&labels)).await.map_err(wrap)?;
        if listed.items.is_empty() {
            return Ok(Removed::Deployment);
        }
        let since = listed.metadata.resource_version.unwrap_or_default();
        let changes = pods.watch(&WatchParams::default().labels(&labels), &since).await.map_err(wrap)?;
        let mut changes = std::pin::pin!(changes);
        // A pod went, or the watch ended: list again.
        while let Some(change) = changes.try_next().await.map_err(wrap)? {
            if matches!(change, WatchEvent::Deleted(_) | WatchEvent::Error(_)) {
                break;
            }
        }
    }
}

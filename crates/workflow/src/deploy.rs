//! Telling the cluster what should run.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams, PostParams};

use crate::manifest::{FIELD_MANAGER, deployment};
use crate::{Project, pods_of};

/// A Deployment as the API server stored it.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Namespace of the Deployment.
    pub namespace: String,
    /// Name of the Deployment.
    pub name: String,
    /// Its generation: a rollout is over once the controller has observed this one.
    pub generation: i64,
    /// Pods of older templates: what becomes of them is no matter of this rollout.
    pub replaced: BTreeSet<String>,
}

/// The cluster did not take the Deployment.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the cluster refused a change of the Deployment `{name}`")]
#[diagnostic(code(up::apply), help("run `shipway cluster status`"))]
pub struct DeployError {
    name: String,
    source: kube::Error,
}

impl DeployError {
    pub(crate) fn of(name: &str, source: kube::Error) -> Self {
        Self { name: name.to_owned(), source }
    }
}

impl Deployed {
    /// Applies the Deployment of `project` running `image` (server-side apply); applying it twice changes nothing.
    pub async fn apply(client: &kube::Client, project: &Project, image: &str) -> Result<Self, DeployError> {
        ensure_namespace(client, &project.namespace).await.map_err(|e| DeployError::of(&project.name, e))?;
        let known = pods_of(client, project).await.map_err(|e| DeployError::of(&project.name, e))?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &project.namespace);
        let before =
            deployments.get_opt(&project.name).await.map_err(|e| DeployError::of(&project.name, e))?;
        let manifest = deployment(project, image);
        let how = PatchParams::apply(FIELD_MANAGER).force();
        let stored = deployments
            .patch(&project.name, &how, &Patch::Apply(&manifest))
            .await
            .map_err(|source| DeployError::of(&project.name, source))?;
        let generation = |found: &Deployment| found.metadata.generation;
        let changed = before.as_ref().and_then(generation) != generation(&stored);
        Ok(Self {
            namespace: project.namespace.clone(),
            name: project.name.clone(),
            generation: stored.metadata.generation.unwrap_or(0),
            replaced: if changed { known } else { BTreeSet::new() },
        })
    }
}

async fn ensure_namespace(client: &kube::Client, name: &str) -> Result<(), kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    match namespaces.create(&PostParams::default(), &namespace).await {
        // Somebody was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

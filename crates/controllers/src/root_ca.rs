//! What every namespace is born with: service account `default` and ConfigMap `kube-root-ca.crt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::informer::Key;
use crate::queue::{Queue, Requeue, work};
use crate::run::{Cluster, patch_params};

/// The ConfigMap's name and its key.
const CONFIG_MAP: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
/// Why the ConfigMap is there, as upstream annotates it.
const DESCRIPTION: &str = "kubernetes.io/description";

/// One step towards the wanted state.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    CreateServiceAccount,
    CreateConfigMap,
    PatchConfigMap,
}

/// Returns the steps for one namespace.
fn plan(active: bool, has_account: bool, config_map: Option<&ConfigMap>, root_ca: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    if !active {
        return actions;
    }
    if !has_account {
        actions.push(Action::CreateServiceAccount);
    }
    if root_ca.is_empty() {
        return actions;
    }
    match config_map {
        None => actions.push(Action::CreateConfigMap),
        Some(found)
            if found.data.as_ref().and_then(|data| data.get(KEY)).is_none_or(|found| found != root_ca) =>
        {
            actions.push(Action::PatchConfigMap);
        }
        Some(_) => {}
    }
    actions
}

/// Subscribes to what matters and returns the controller, which runs until `stop`.
pub(crate) fn run(
    cluster: Arc<Cluster>,
    root_ca: String,
    stop: CancellationToken,
) -> impl Future<Output = ()> {
    let queue = Arc::new(Queue::<String>::new());
    let to = Arc::clone(&queue);
    cluster.namespaces.on_change(move |change| {
        let name = change.latest().and_then(|namespace| namespace.metadata.name.clone());
        name.into_iter().for_each(|name| to.add(name));
    });
    let to = Arc::clone(&queue);
    cluster.service_accounts.on_change(move |change| {
        let namespace = change.latest().and_then(|account| account.metadata.namespace.clone());
        namespace.into_iter().for_each(|namespace| to.add(namespace));
    });
    let to = Arc::clone(&queue);
    cluster.root_cas.on_change(move |change| {
        let namespace = change.latest().and_then(|map| map.metadata.namespace.clone());
        namespace.into_iter().for_each(|namespace| to.add(namespace));
    });
    async move {
        tokio::join!(
            cluster.namespaces.wait_synced(),
            cluster.service_accounts.wait_synced(),
            cluster.root_cas.wait_synced()
        );
        work(&queue, 1, &stop, |namespace| reconcile(&cluster, namespace, &root_ca)).await;
    }
}

async fn reconcile(cluster: &Cluster, namespace: String, root_ca: &str) -> Result<Requeue, kube::Error> {
    let found = cluster.namespaces.get(&Key::new("", &namespace));
    let active = found.is_some_and(|found| found.metadata.deletion_timestamp.is_none());
    let has_account = cluster.service_accounts.get(&Key::new(&namespace, "default")).is_some();
    let config_map = cluster.root_cas.get(&Key::new(&namespace, CONFIG_MAP));
    for action in plan(active, has_account, config_map.as_deref(), root_ca) {
        let outcome = apply(cluster, &namespace, &action, root_ca).await;
        match outcome {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            other => other?,
        }
    }
    Ok(Requeue::OnEvent)
}

async fn apply(
    cluster: &Cluster,
    namespace: &str,
    action: &Action,
    root_ca: &str,
) -> Result<(), kube::Error> {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), namespace);
    let named = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    match action {
        Action::CreateServiceAccount => {
            let api = Api::<ServiceAccount>::namespaced(cluster.client.clone(), namespace);
            let account = ServiceAccount { metadata: named("default"), ..ServiceAccount::default() };
            cluster.service_accounts.remember(api.create(&PostParams::default(), &account).await?);
        }
        Action::CreateConfigMap => {
            let mut metadata = named(CONFIG_MAP);
            let why = "Certificate authority of this cluster's API server.".to_owned();
            metadata.annotations = Some(BTreeMap::from([(DESCRIPTION.to_owned(), why)]));
            let data = BTreeMap::from([(KEY.to_owned(), root_ca.to_owned())]);
            let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
            cluster.root_cas.remember(maps.create(&PostParams::default(), &map).await?);
        }
        Action::PatchConfigMap => {
            let patch = Patch::Merge(json!({"data": {KEY: root_ca}}));
            cluster.root_cas.remember(maps.patch(CONFIG_MAP, &patch_params(), &patch).await?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gets_what_it_lacks() {
        let map = |ca: &str| ConfigMap {
            data: Some(BTreeMap::from([(KEY.to_owned(), ca.to_owned())])),
            ..ConfigMap::default()
        };
        let (good, stale) = (map("ca"), map("old"));
        let cases = [
            ("new", true, false, None, "ca", vec![Action::CreateServiceAccount, Action::CreateConfigMap]),
            ("complete", true, true, Some(&good), "ca", vec![]),
            ("after a new authority", true, true, Some(&stale), "ca", vec![Action::PatchConfigMap]),
            ("no authority known", true, true, None, "", vec![]),
            ("going away", false, false, None, "ca", vec![]),
        ];
        for (name, active, account, found, ca, want) in cases {
            assert_eq!(plan(active, account, found, ca), want, "case {name}");
        }
    }
}

//! Which kinds the server has.

use kube::Client;
use kube::discovery::{ApiCapabilities, ApiResource, Discovery, Scope, verbs};

/// A kind that can be listed and deleted.
#[derive(Clone, Debug)]
pub(crate) struct ListedKind {
    /// Group, version, kind, plural.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it can be watched.
    pub watched: bool,
}

/// Returns every kind whose objects can be listed and deleted, each in its preferred version.
pub(crate) async fn listed_kinds(client: &Client) -> Result<Vec<ListedKind>, kube::Error> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        // Servers before 1.27 have no aggregated form.
        Err(_) => Discovery::new(client.clone()).run().await?,
    };
    let resources = discovery.groups().flat_map(|group| group.recommended_resources());
    Ok(resources
        .filter(|(resource, can)| is_wanted(resource, can))
        .map(|(resource, can)| ListedKind {
            namespaced: can.scope == Scope::Namespaced,
            watched: can.supports_operation(verbs::WATCH),
            resource,
        })
        .collect())
}

fn is_wanted(resource: &ApiResource, can: &ApiCapabilities) -> bool {
    // Events are many, own nothing and expire by themselves; one of their two groups is enough to empty a namespace.
    let second_events = resource.group == "events.k8s.io";
    can.supports_operation(verbs::LIST) && can.supports_operation(verbs::DELETE) && !second_events
}

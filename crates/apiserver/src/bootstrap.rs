//! The objects that every cluster has from the start.

use std::net::IpAddr;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::call::{Call, Target};
use crate::handlers::create::store_new;
use crate::server::ApiServer;
use crate::{Identity, Status};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Creates what is missing. The service's endpoint follows when the server listens on an address of its own.
pub(crate) async fn run(server: &ApiServer) -> Result<(), Status> {
    for name in NAMESPACES {
        ensure(server, "/api/v1/namespaces", json!({"metadata": {"name": name}})).await?;
    }
    for namespace in NAMESPACES {
        let account = json!({"metadata": {"name": "default", "namespace": namespace}});
        ensure(server, &format!("/api/v1/namespaces/{namespace}/serviceaccounts"), account).await?;
        let root = json!({"metadata": {"name": "kube-root-ca.crt", "namespace": namespace},
            "data": {"ca.crt": server.ca_certificate()}});
        ensure(server, &format!("/api/v1/namespaces/{namespace}/configmaps"), root).await?;
    }
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
    {
        let class =
            json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": "PreemptLowerPriority"});
        ensure(server, "/apis/scheduling.k8s.io/v1/priorityclasses", class).await?;
    }
    let address = server.config.service_address().to_string();
    let service = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]}});
    ensure(server, "/api/v1/namespaces/default/services", service).await
}

impl ApiServer {
    /// Says in the `kubernetes` endpoint slice that pods reach the server on `port` of the first of
    /// [`crate::Config::addresses`]; does nothing if there is none.
    pub async fn publish_endpoint(&self, port: u16) -> Result<(), Status> {
        let Some(IpAddr::V4(address)) = self.config.addresses.iter().find(|a| a.is_ipv4()) else {
            return Ok(());
        };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}]});
        let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        let call = call(&format!("{path}/kubernetes"), "fieldManager=shipway-apiserver&force=true")?;
        let bytes = slice.to_string().into_bytes();
        crate::handlers::modify::patch(&self.api, &call, &bytes, "application/apply-patch+yaml")
            .await
            .map(drop)
    }
}

fn call(path: &str, query: &str) -> Result<Call, Status> {
    let target = Target::parse(path).ok_or_else(Status::no_such_path)?;
    Call::new(target, query, &HeaderMap::new(), Identity::admin())
}

async fn ensure(server: &ApiServer, path: &str, object: Value) -> Result<(), Status> {
    let call = call(path, "")?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if server.api.store.get(call.kind, &call.key(name)).is_some() {
        return Ok(());
    }
    match store_new(&server.api, &call, object, &mut Vec::new(), |_object| {}).await {
        Err(status) if status.reason != "AlreadyExists" => Err(status),
        _ => Ok(()),
    }
}

//! A cluster in a temporary folder.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use shipway_apiserver::{ApiServer, Config, Identity};
use tower::ServiceExt as _;

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    _dir: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Cluster {
    pub(crate) async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(Config::new(dir.path().join("cluster"))).await.unwrap();
        Self { server, _dir: dir }
    }

    pub(crate) async fn raw(
        &self,
        who: Option<Identity>,
        request: http::request::Builder,
        body: String,
    ) -> http::Response<Body> {
        let mut request = request.body(Body::from(body)).unwrap();
        if let Some(who) = who {
            request.extensions_mut().insert(who);
        }
        self.server.router().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: String) -> Answer {
        self.send_as(Some(Identity::admin()), request, body).await
    }

    pub(crate) async fn send_as(
        &self,
        who: Option<Identity>,
        request: http::request::Builder,
        body: String,
    ) -> Answer {
        let (head, body) = self.raw(who, request, body).await.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_text| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code: head.status, headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path), String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::post(path).header("content-type", "application/json"), body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::put(path).header("content-type", "application/json"), body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, media: &str, body: &Value) -> Answer {
        self.send(Request::patch(path).header("content-type", media), body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path), String::new()).await
    }
}

pub(crate) fn map(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "alpine"}]}})
}

pub(crate) fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "alpine"}]}}}})
}

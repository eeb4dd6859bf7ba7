//! A registry on what is its own, and questions to it.

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use shipway_registry::{Config, Registry};

use crate::keep::Kept;

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Long after the epoch: what was pushed without a manifest is young.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) struct World {
    pub(crate) kept: Kept,
    pub(crate) registry: Registry,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the code of the error that it tells of.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": sha256(bytes), "size": bytes.len()})
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|config| config)
    }

    pub(crate) fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let kept = Kept::new();
        let registry = Registry::new(kept.keep(), change(Config::new(|| NOW)));
        Self { kept, registry }
    }

    pub(crate) async fn ask(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.registry.answer(request.body(body.into()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), &[], "").await
    }

    /// Begins an upload and returns where it is.
    pub(crate) async fn begin(&self, repository: &str) -> String {
        let begun = self.ask(&format!("POST /v2/{repository}/blobs/uploads/"), &[], "").await;
        begun.is(202).header("location").to_owned()
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let line = format!("POST /v2/{repository}/blobs/uploads/?digest={digest}");
        self.ask(&line, &[], bytes.to_vec()).await.is(201);
        digest
    }

    /// Pushes an image of one layer, and returns its digest.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, layer: &str) -> String {
        self.push_manifest(repository, tag, &self.image(repository, layer).await).await
    }

    /// Pushes the blobs of an image, and returns its manifest.
    pub(crate) async fn image(&self, repository: &str, layer: &str) -> Value {
        self.push_blob(repository, b"{}").await;
        self.push_blob(repository, layer.as_bytes()).await;
        json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("x/config", b"{}"),
            "layers": [descriptor("x/layer", layer.as_bytes())],
        })
    }

    pub(crate) async fn push_manifest(&self, repository: &str, reference: &str, manifest: &Value) -> String {
        let line = format!("PUT /v2/{repository}/manifests/{reference}");
        let kind = manifest["mediaType"].as_str().unwrap();
        let pushed = self.ask(&line, &[("content-type", kind)], manifest.to_string()).await;
        pushed.is(201).header("docker-content-digest").to_owned()
    }
}

//! Lists: tags, repositories, referrers.

use axum::response::Response;
use serde_json::{Value, json};

use crate::answer::{document, set};
use crate::digest::AnyDigest;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::server::Registry;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Most entries of one answer.
const PAGE: usize = 10_000;

/// Which part of a list is wanted.
pub(crate) struct Page {
    count: usize,
    /// It comes after this one.
    last: String,
}

impl Page {
    pub(crate) fn of(query: &Query) -> Result<Self, Refusal> {
        let count = match query.get("n").filter(|text| !text.is_empty()) {
            None => PAGE,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().unwrap_or(PAGE).min(PAGE)
            }
            Some(_) => {
                let mut refusal = Refusal::manifest_invalid("`n` is no number");
                refusal.code = "PAGINATION_NUMBER_INVALID";
                return Err(refusal);
            }
        };
        Ok(Self { count, last: query.get("last").unwrap_or_default().to_owned() })
    }
}

/// Returns the answer with a list.
pub(crate) fn list(value: &Value) -> Response {
    document("application/json", value.to_string())
}

/// Returns the answer for a page, which says where the next one is. `entries` has one more than wanted if there is a next one.
fn answer(path: &str, key: &str, mut value: Value, mut entries: Vec<String>, count: usize) -> Response {
    let more = entries.len() > count;
    entries.truncate(count);
    let next =
        entries.last().filter(|_| more).map(|last| format!("<{path}?n={count}&last={last}>; rel=\"next\""));
    value[key] = json!(entries);
    let mut response = list(&value);
    if let Some(next) = next {
        set(response.headers_mut(), "link", &next);
    }
    response
}

/// Lists the tags of a repository, which the store may know by another name than the one that is asked for.
pub(crate) async fn tags(
    registry: &Registry,
    (name, kept_as): (&str, String),
    query: &Query,
) -> Result<Response, Refusal> {
    let Page { count, last } = Page::of(query)?;
    let found = registry.tags_after(kept_as, last, count + 1).await?;
    let tags = found.ok_or_else(|| Refusal::name_unknown(name))?;
    Ok(answer(&format!("/v2/{name}/tags/list"), "tags", json!({"name": name}), tags, count))
}

/// Lists the repositories.
pub(crate) async fn repositories(registry: &Registry, query: &Query) -> Result<Response, Refusal> {
    let Page { count, last } = Page::of(query)?;
    let found = registry.repositories_after(last, count + 1).await?;
    Ok(answer("/v2/_catalog", "repositories", json!({}), found, count))
}

/// Lists the manifests that are about another one, which need not be there.
pub(crate) async fn referrers(
    registry: &Registry,
    name: String,
    digest: &AnyDigest,
    query: &Query,
) -> Result<Response, Refusal> {
    let found = registry.referrers_of(name, digest).await?;
    let entries = found.iter().map(|manifest| {
        let mut entry = json!({
            "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size,
        });
        if !manifest.artifact_type.is_empty() {
            entry["artifactType"] = json!(manifest.artifact_type);
        }
        let annotations: Value = serde_json::from_str(&manifest.annotations).unwrap_or_default();
        if annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
            entry["annotations"] = annotations;
        }
        entry
    });
    Ok(index(entries.collect(), query))
}

/// Returns the answer with those of a list of manifests that are asked for.
pub(crate) fn index(mut entries: Vec<Value>, query: &Query) -> Response {
    let kind = query.get("artifactType").filter(|kind| !kind.is_empty());
    if let Some(kind) = kind {
        entries.retain(|entry| entry["artifactType"] == kind);
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let mut response = document(INDEX, index.to_string());
    if kind.is_some() {
        set(response.headers_mut(), "oci-filters-applied", "artifactType");
    }
    response
}

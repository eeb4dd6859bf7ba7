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

/// Returns how many entries are wanted, and after which one.
fn page(query: &Query) -> Result<(usize, String), Refusal> {
    let count = match query.get("n").filter(|text| !text.is_empty()) {
        None => PAGE,
        Some(text) => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let wrong = || {
                let mut refusal = Refusal::manifest_invalid("`n` is no number");
                refusal.code = "PAGINATION_NUMBER_INVALID";
                refusal
            };
            if !is_number {
                return Err(wrong());
            }
            text.parse().unwrap_or(PAGE).min(PAGE)
        }
    };
    Ok((count, query.get("last").unwrap_or_default().to_owned()))
}

/// Returns the answer for a page, which says where the next one is. `entries` has one more than wanted if there is a next one.
fn answer(path: &str, key: &str, mut value: Value, mut entries: Vec<String>, count: usize) -> Response {
    let more = entries.len() > count;
    entries.truncate(count);
    let next =
        entries.last().filter(|_| more).map(|last| format!("<{path}?n={count}&last={last}>; rel=\"next\""));
    value[key] = json!(entries);
    let mut response = document("application/json", value.to_string());
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
    let (count, last) = page(query)?;
    let found = registry.tags_after(kept_as, last, count + 1).await?;
    let tags = found.ok_or_else(|| Refusal::name_unknown(name))?;
    Ok(answer(&format!("/v2/{name}/tags/list"), "tags", json!({"name": name}), tags, count))
}

/// Lists the repositories.
pub(crate) async fn repositories(registry: &Registry, query: &Query) -> Result<Response, Refusal> {
    let (count, last) = page(query)?;
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
    let kind = query.get("artifactType").filter(|kind| !kind.is_empty());
    let entries: Vec<Value> = found
        .iter()
        .filter(|manifest| kind.is_none_or(|kind| manifest.artifact_type == kind))
        .map(|manifest| {
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
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let mut response = document(INDEX, index.to_string());
    if kind.is_some() {
        set(response.headers_mut(), "oci-filters-applied", "artifactType");
    }
    Ok(response)
}

//! Lists of another registry, page by page as it gives them.
//!
//! What is known here is only a part: it is served where the other registry does not answer, and never as if it were all.

use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::patience::Otherwise;
use super::{Remote, UpstreamError, UpstreamList, UpstreamPage, refusal, set_stale};
use crate::answer::set;
use crate::digest::AnyDigest;
use crate::listings::{self, Page};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::server::Registry;

#[derive(Deserialize)]
struct Tags {
    /// Some registries write `null` for none.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Value>>,
}

impl Remote {
    pub(super) async fn tags(&self, registry: &Registry, query: &Query) -> Result<Response, Refusal> {
        Page::of(query)?;
        let known = registry.tags_after(self.cached.clone(), String::new(), 1).await?.is_some();
        let page = self.list::<Tags>(None, query, known).await?;
        match page {
            Ok((page, next)) => {
                let body = json!({"name": self.name, "tags": page.tags.unwrap_or_default()});
                let mut response = listings::list(&body);
                self.link(&mut response, &format!("/v2/{}/tags/list", self.name), next, query);
                Ok(response)
            }
            Err(UpstreamError::NotFound(reason)) => {
                tracing::debug!(reason, "the other registry does not list its tags");
                Err(Refusal::name_unknown(&self.name))
            }
            Err(error) if known => {
                tracing::debug!(%error, "the tags that are known are served");
                let mut response = listings::tags(registry, (&self.name, self.cached.clone()), query).await?;
                set_stale(&mut response);
                Ok(response)
            }
            Err(error) => Err(refusal(error)),
        }
    }

    /// A registry that does not list what is about a manifest has no such page, and its clients look for a tag instead.
    pub(super) async fn referrers(
        &self,
        registry: &Registry,
        digest: &AnyDigest,
        query: &Query,
    ) -> Result<Response, Refusal> {
        let known = !registry.referrers_of(self.cached.clone(), digest).await?.is_empty();
        match self.list::<Index>(Some(digest.to_string()), query, known).await? {
            Ok((index, next)) => {
                let mut response = listings::index(index.manifests.unwrap_or_default(), query);
                self.link(&mut response, &format!("/v2/{}/referrers/{digest}", self.name), next, query);
                Ok(response)
            }
            Err(error) if known && !matches!(error, UpstreamError::NotFound(_)) => {
                tracing::debug!(%error, "the referrers that are known are served");
                let mut response = listings::referrers(registry, self.cached.clone(), digest, query).await?;
                set_stale(&mut response);
                Ok(response)
            }
            // None may be known here where the other registry has some: a signature that is not seen is none.
            Err(error) => Err(refusal(error)),
        }
    }

    /// Asks for a page, and returns it and where the next one is.
    async fn list<T: for<'de> Deserialize<'de>>(
        &self,
        of: Option<String>,
        query: &Query,
        known: bool,
    ) -> Result<Result<(T, Option<String>), UpstreamError>, Refusal> {
        let otherwise = if known { Otherwise::Known } else { Otherwise::Nothing };
        let query = query.without("ns");
        let ask = move |remote: &Self| {
            let list = of.as_deref().map_or(UpstreamList::Tags, UpstreamList::Referrers);
            remote.upstream.list(&remote.registry, &remote.name, list, &query)
        };
        let page = self.ask(otherwise, ask).await?;
        Ok(page.and_then(|UpstreamPage { bytes, next }| {
            let read = serde_json::from_slice(&bytes);
            let read = read.map_err(|error| UpstreamError::Failed(format!("its list is none: {error}")));
            read.map(|page| (page, next))
        }))
    }

    /// Says where the next page is: here, asked for as the other registry wants it.
    fn link(&self, response: &mut Response, path: &str, next: Option<String>, query: &Query) {
        let Some(next) = next else { return };
        let mut next = Query::parse(&next).without("ns");
        if query.get("ns").is_some() {
            next.push_str(&format!("&ns={}", self.registry));
        }
        set(response.headers_mut(), "link", &format!("<{path}?{next}>; rel=\"next\""));
    }
}

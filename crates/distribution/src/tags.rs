//! Which tags a repository has. Spec: distribution-spec, Listing tags; RFC 8288 for pages.

use std::io::Read as _;

use serde::Deserialize;
use shipway_fetch::Method;
use shipway_oci::{MediaType, Reference};

use crate::documents::Repository;
use crate::refusal::{Attempt, refusal};
use crate::registry::{ANSWER_LIMIT, Ask};
use crate::upload::join;
use crate::{Registries, RegistryError};

/// A list that never ends is no list.
const PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// Some registries write `null` for none.
    tags: Option<Vec<String>>,
}

/// Returns the tags of the repository that a name is of, as the registry itself lists them.
pub fn list_tags(registries: &Registries, reference: &Reference) -> Result<Vec<String>, RegistryError> {
    let registry = registries.of(reference).map_err(RegistryError::Settings)?;
    Repository::new(registry, reference.repository()).fetch_tags()
}

/// What of a repository is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed<'a> {
    /// Its tags.
    Tags,
    /// What is about the manifest with this digest.
    Referrers(&'a str),
}

/// A page of a list, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What stands behind the `?` of the next page's address, if there is one.
    pub next: Option<String>,
}

/// Returns a page of what the registry itself lists; `query` is what stands behind the `?` of its address.
pub fn list_page(
    registries: &Registries,
    repository: &Reference,
    listed: Listed<'_>,
    query: &str,
) -> Result<ListPage, RegistryError> {
    let registry = registries.of(repository).map_err(RegistryError::Settings)?;
    let repository = Repository::new(registry, repository.repository());
    let (path, kind) = match listed {
        Listed::Tags => ("tags/list".to_owned(), "application/json"),
        Listed::Referrers(digest) => (format!("referrers/{digest}"), MediaType::OCI_INDEX),
    };
    let mark = if query.is_empty() { "" } else { "?" };
    let url = repository.registry.url(&format!("{}/{path}{mark}{query}", repository.path));
    let (bytes, next) = repository.fetch_page(&url, kind)?;
    let next = next.map(|url| url.split_once('?').map_or(String::new(), |(_, query)| query.to_owned()));
    Ok(ListPage { bytes, next })
}

impl Repository {
    fn fetch_tags(&self) -> Result<Vec<String>, RegistryError> {
        let mut url = self.registry.url(&format!("{}/tags/list", self.path));
        let mut tags = Vec::new();
        for _page in 0..PAGES {
            let (bytes, next) = self.fetch_page(&url, "application/json")?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| self.wrong_list(format!("it cannot be read: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = next else { return Ok(tags) };
            url = next;
        }
        Err(self.wrong_list(format!("it has more than {PAGES} pages")))
    }

    /// Fetches a page of a list, and returns where the next one is.
    fn fetch_page(&self, url: &str, kind: &str) -> Result<(Vec<u8>, Option<String>), RegistryError> {
        let ask = Ask::new(Method::Get, url, &self.pull_scope).header("accept", kind);
        let response = self.registry.ask(&ask, &[])?;
        if response.status() != 200 {
            return Err(refusal(&self.registry, Attempt { operation: "list", what: &self.path }, response));
        }
        let next = response.header("link").and_then(next).map(|next| {
            let endpoint = &self.registry.inner.host.endpoint;
            join(endpoint, &absolute(url, next))
                .map_err(|reason| self.wrong_list(format!("its next page `{next}` {reason}")))
        });
        let next = next.transpose()?;
        let mut bytes = Vec::new();
        let read = response.into_body().take(ANSWER_LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.wrong_list(format!("it cannot be read: {error}")))?;
        if bytes.len() as u64 > ANSWER_LIMIT {
            return Err(self.wrong_list(format!("a page is larger than {ANSWER_LIMIT} bytes")));
        }
        Ok((bytes, next))
    }

    fn wrong_list(&self, reason: String) -> RegistryError {
        self.wrong(&format!("list of {}", self.path), reason)
    }
}

/// Returns the address that a reference on a page stands for; that of another host stays one. Spec: RFC 3986, 5.2.
fn absolute(url: &str, reference: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let is_whole = reference.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'));
    if reference.starts_with('/') || reference.is_empty() || is_whole {
        return reference.to_owned();
    }
    if reference.starts_with('?') {
        return format!("{path}{reference}");
    }
    let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
    format!("{folder}{reference}")
}

/// Returns where the next page is, if there is one.
fn next(link: &str) -> Option<&str> {
    let is_next = |link: &&str| link.contains("rel=\"next\"") || link.ends_with("rel=next");
    let link = link.split(',').map(str::trim).find(is_next)?;
    link.strip_prefix('<')?.split_once('>').map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (link, want) in [
            ("</v2/x/tags/list?n=2&last=b>; rel=\"next\"", Some("/v2/x/tags/list?n=2&last=b")),
            ("<a>; rel=\"prev\", <b>; rel=\"next\"", Some("b")),
            ("<b>;rel=next", Some("b")),
            ("<b>; rel=\"last\"", None),
            ("b; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next(link), want, "case {link}");
        }
    }

    #[test]
    fn a_page_may_be_named_from_where_one_is() {
        let url = "https://reg.test/v2/x/tags/list?n=2";
        for (reference, want) in [
            ("?n=2&last=b", "https://reg.test/v2/x/tags/list?n=2&last=b"),
            ("list?last=b", "https://reg.test/v2/x/tags/list?last=b"),
            ("/v2/x/tags/list?last=b", "/v2/x/tags/list?last=b"),
            ("https://other.test/list", "https://other.test/list"),
            ("//other.test/list", "//other.test/list"),
            ("?last=a:b", "https://reg.test/v2/x/tags/list?last=a:b"),
        ] {
            assert_eq!(absolute(url, reference), want, "case {reference}");
        }
    }
}

//! Which tags a repository has. Spec: distribution-spec, Listing tags; RFC 8288 for pages.

use serde::Deserialize;
use shipway_fetch::Method;
use shipway_oci::Reference;

use crate::documents::Repository;
use crate::refusal::{Attempt, refusal};
use crate::registry::Ask;
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

impl Repository {
    fn fetch_tags(&self) -> Result<Vec<String>, RegistryError> {
        let what = format!("list of tags of {}", self.path);
        let wrong = |reason: String| self.wrong(&what, reason);
        let endpoint = &self.registry.inner.host.endpoint;
        let mut url = self.registry.url(&format!("{}/tags/list", self.path));
        let mut tags = Vec::new();
        for _page in 0..PAGES {
            let response = self.registry.ask(&Ask::new(Method::Get, &url, &self.pull_scope), &[])?;
            if response.status() != 200 {
                return Err(refusal(
                    &self.registry,
                    Attempt { operation: "list", what: &self.path },
                    response,
                ));
            }
            let next = response.header("link").and_then(next).map(str::to_owned);
            let page: Page = serde_json::from_reader(response.into_body())
                .map_err(|error| wrong(format!("it cannot be read: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = next else { return Ok(tags) };
            url =
                join(endpoint, &next).map_err(|reason| wrong(format!("its next page `{next}` {reason}")))?;
        }
        Err(wrong(format!("it has more than {PAGES} pages")))
    }
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
}

//! Requests that are meant for one version of something only. Spec: RFC 9110, 13.
//!
//! The tag of a blob or manifest is its digest, in quotes: it has no other versions, but a name of a manifest may stand for another one.

use http::HeaderMap;

use crate::answer::text;
use crate::refusal::Refusal;

/// Refuses a request for another version than the one that is here. Spec: RFC 9110, 13.1.1, of tags that are weak none is the same.
pub(crate) fn require(headers: &HeaderMap, tag: &str) -> Result<(), Refusal> {
    match text(headers, "if-match") {
        Some(wanted) if !tags(wanted).any(|wanted| wanted == "*" || wanted == tag) => {
            Err(Refusal::another_version(Some(tag)))
        }
        _ => Ok(()),
    }
}

/// Returns whether the client has what it asks for already. Spec: RFC 9110, 13.1.2.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    text(headers, "if-none-match")
        .is_some_and(|known| tags(known).any(|known| known == "*" || known.trim_start_matches("W/") == tag))
}

/// What must be there for a manifest to be changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    headers: HeaderMap,
}

impl Condition {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let both = ["if-match", "if-none-match"];
        let said = both.into_iter().filter_map(|name| Some((name.parse().ok()?, headers.get(name)?.clone())));
        Self { headers: said.collect() }
    }

    /// Returns whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.headers.is_empty()
    }

    /// Refuses a change where something else is there: a manifest of this digest, or nothing.
    pub(crate) fn check(&self, digest: Option<&str>) -> Result<(), Refusal> {
        let Some(digest) = digest else {
            // Spec: RFC 9110, 13.1.1, `*` stands for anything that is there.
            let wants = text(&self.headers, "if-match").is_some();
            return if wants { Err(Refusal::another_version(None)) } else { Ok(()) };
        };
        let tag = format!("\"{digest}\"");
        require(&self.headers, &tag)?;
        if is_known(&self.headers, &tag) { Err(Refusal::another_version(Some(&tag))) } else { Ok(()) }
    }
}

fn tags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

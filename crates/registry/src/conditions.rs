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
            Err(Refusal::another_version(tag))
        }
        _ => Ok(()),
    }
}

/// Returns whether the client has what it asks for already. Spec: RFC 9110, 13.1.2.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    text(headers, "if-none-match")
        .is_some_and(|known| tags(known).any(|known| known == "*" || known.trim_start_matches("W/") == tag))
}

fn tags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

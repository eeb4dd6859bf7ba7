//! Names of images that are here: what is meant by one, and what may be meant by one that is not.

use std::collections::BTreeSet;

use shipway_oci::Reference;
use shipway_store::{Found, StoreError};

use crate::engine::Engine;
use crate::failure::Failure;

/// How many tags a hint lists.
const LISTED: usize = 5;

/// Returns the image that somebody named.
pub(crate) fn resolve(engine: &Engine, name: &str) -> Result<Found, Failure> {
    engine.store.resolve(name).map_err(|error| explain(engine, name, error))
}

/// Returns all names of images here that are of one repository, in order.
pub(crate) fn tags_of(engine: &Engine, repository: &Reference) -> Result<Vec<Reference>, Failure> {
    let names = engine.store.images()?.into_iter().filter_map(|image| image.name);
    let is_of_it = |name: &Reference| name.name() == repository.name() && name.digest().is_none();
    let mut found: Vec<Reference> = names.filter(is_of_it).collect();
    found.sort_by(|one, other| one.tag().cmp(&other.tag()));
    Ok(found)
}

/// Says why there is no such image, and which one may be meant.
pub(crate) fn explain(engine: &Engine, name: &str, error: StoreError) -> Failure {
    let is_missing = matches!(error, StoreError::NoImage(_));
    let failure = Failure::from(error);
    match near(engine, name).filter(|_| is_missing) {
        Some(near) => failure.with_hint(near),
        None => failure,
    }
}

/// Reads a name that an image is to get.
pub(crate) fn parse_new(text: &str) -> Result<Reference, Failure> {
    let reference: Reference = text.parse()?;
    if reference.digest().is_some() {
        return Err(Failure::new(
            format!("`{text}` has a digest: it cannot be given to an image"),
            format!("give it a tag: `{}:TAG`", reference.familiar_name()),
        ));
    }
    if reference.reads_as_id() {
        return Err(StoreError::NameLikeId(text.to_owned()).into());
    }
    Ok(reference)
}

/// Returns a question about what may be meant by a name that is not here.
pub(crate) fn near(engine: &Engine, name: &str) -> Option<String> {
    let wanted: Reference = name.parse().ok()?;
    let images = engine.store.images().ok()?;
    let names: Vec<Reference> =
        images.into_iter().filter_map(|image| image.name).filter(|name| name.digest().is_none()).collect();
    question(&wanted, &names)
}

fn question(wanted: &Reference, names: &[Reference]) -> Option<String> {
    let same: BTreeSet<String> =
        names.iter().filter(|name| name.name() == wanted.name()).map(Reference::familiar).collect();
    let mut same = same.into_iter();
    match (same.next(), same.len()) {
        (Some(only), 0) => return Some(format!("did you mean `{only}`?")),
        (Some(first), more) => {
            let rest = if more < LISTED { "" } else { ", …" };
            let all: Vec<String> = std::iter::once(first).chain(same.take(LISTED - 1)).collect();
            return Some(format!("there are {}{rest}", all.join(", ")));
        }
        (None, _) => {}
    }
    // Who is nearest in its name, of those with the tag before those without.
    let last = |name: &Reference| name.repository().rsplit('/').next().unwrap_or_default().to_owned();
    let of_tag = |tagged: bool| names.iter().filter(move |name| (name.tag() == wanted.tag()) == tagged);
    let named_so = |tagged| of_tag(tagged).find(|name| last(name) == last(wanted)).map(Reference::familiar);
    let spelt_so = |tagged| {
        let known: Vec<(String, String)> =
            of_tag(tagged).map(|name| (name.familiar_name(), name.familiar())).collect();
        let near = shipway_dockerfile::suggest(
            &wanted.familiar_name(),
            known.iter().map(|(name, _)| name.as_str()),
        )?;
        known.iter().find(|(name, _)| name == near).map(|(_, whole)| whole.clone())
    };
    let found =
        spelt_so(true).or_else(|| named_so(true)).or_else(|| spelt_so(false)).or_else(|| named_so(false));
    found.map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_near() {
        let names = |text: &str| -> Vec<Reference> {
            text.split_whitespace().map(|name| name.parse().unwrap()).collect()
        };
        for (wanted, here, want) in [
            ("web:2", "web:1 debian:bookworm", Some("did you mean `web:1`?")),
            ("web:2", "web:1 web:1.0 debian:bookworm", Some("there are web:1, web:1.0")),
            (
                "web",
                "web:1 web:2 web:3 web:4 web:5 web:6",
                Some("there are web:1, web:2, web:3, web:4, web:5, …"),
            ),
            ("debain:bookworm", "web debian:trixie debian:bookworm", Some("did you mean `debian:bookworm`?")),
            ("web", "quay.io/team/web:1 box", Some("did you mean `quay.io/team/web:1`?")),
            ("alpine", "debian:bookworm web:1", None),
            ("alpine", "", None),
        ] {
            let question = question(&wanted.parse().unwrap(), &names(here));
            assert_eq!(question.as_deref(), want, "{wanted} of {here}");
        }
    }

    #[test]
    fn a_name_to_give_has_no_digest_and_is_no_id() {
        let id = "a".repeat(64);
        for (text, want) in [
            (format!("web@sha256:{id}"), "has a digest"),
            (id.clone(), "looks like the id"),
            (format!("sha256:{id}"), "looks like the id"),
            ("sha256:1".to_owned(), "looks like the id"),
            ("Web".to_owned(), "must be lowercase"),
        ] {
            let failure = parse_new(&text).unwrap_err();
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
        for text in [format!("team/{id}"), format!("{id}:1"), "web".to_owned()] {
            assert!(parse_new(&text).is_ok(), "{text}");
        }
    }
}

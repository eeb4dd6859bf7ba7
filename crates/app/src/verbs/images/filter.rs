//! Which images are listed.

use super::pattern::NamePattern;
use super::row::Row;
use crate::failure::Failure;
use crate::label_filter::LabelFilter;
use crate::{clock, filters, since, units};

/// What all listed images have.
#[derive(Debug, Default)]
pub(super) struct Filters {
    dangling: Option<bool>,
    labels: Vec<LabelFilter>,
    /// Nanoseconds since the epoch.
    before: Option<i128>,
    since: Option<i128>,
    until: Option<i128>,
    /// One of them is enough.
    references: Vec<NamePattern>,
}

impl Filters {
    /// Reads `--filter` and the name that was typed; `created` says when an image was made.
    pub(super) fn parse(
        texts: &[String],
        name: Option<&str>,
        created: impl Fn(&str) -> Result<i128, Failure>,
    ) -> Result<Self, Failure> {
        let references = name.map(NamePattern::parse).transpose()?.into_iter().collect();
        let mut found = Self { references, ..Self::default() };
        for filter in texts {
            let (key, value) = filters::parts(filter).ok_or_else(|| {
                Failure::of_flag(
                    format!("filter `{filter}` is no KEY=VALUE"),
                    "write it like `dangling=true`",
                )
            })?;
            match key.as_str() {
                "dangling" => found.dangling = Some(truth(value)?),
                "label" => found.labels.push(LabelFilter::parse(value)),
                "before" => found.before = Some(created(value)?),
                "since" => found.since = Some(created(value)?),
                "reference" => found.references.push(NamePattern::parse(value)?),
                "until" => {
                    let until = since::parse(value, clock::nanoseconds())?;
                    found.until = Some(found.until.map_or(until, |before| before.min(until)));
                }
                _ => {
                    return Err(Failure::new(
                        format!("there is no filter `{key}`"),
                        "there are dangling, label, before, since, until and reference",
                    ));
                }
            }
        }
        Ok(found)
    }

    /// Returns whether an image is listed.
    pub(super) fn accept(&self, row: &Row) -> bool {
        let labels = &row.config.config.labels;
        let value_of = |key: &str| labels.get(key).map(String::as_str);
        self.dangling.is_none_or(|dangling| dangling == row.image.name.is_none())
            && self.labels.iter().all(|label| label.accept(value_of))
            && self.before.is_none_or(|before| row.created < before)
            && self.since.is_none_or(|since| row.created > since)
            && self.until.is_none_or(|until| row.created < until)
            && (self.references.is_empty() || self.references.iter().any(|pattern| names(row, pattern)))
    }
}

fn truth(text: &str) -> Result<bool, Failure> {
    units::truth(text)
        .ok_or_else(|| Failure::new(format!("`{text}` is neither true nor false"), "write `dangling=true`"))
}

/// Compat: docker, a pattern is for the whole name, or for the name without its tag, as people type it.
fn names(row: &Row, pattern: &NamePattern) -> bool {
    let Some(name) = &row.image.name else { return false };
    // `docker.io/library/web` is typed by somebody who wants to be exact.
    let exact = [name.to_string(), name.name()];
    let typed = [name.familiar(), name.familiar_name()];
    typed.iter().chain(&exact).any(|name| pattern.fits(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_there_are_not_are_refused() {
        for (filter, want) in [
            ("dangling", "no KEY=VALUE"),
            ("dangling=maybe", "neither true nor false"),
            ("reference=[", "syntax error in pattern `[`"),
            ("size=3", "there is no filter `size`"),
            ("until=soon", "`soon` is no time"),
        ] {
            let failure = Filters::parse(&[filter.to_owned()], None, |_| Ok(0)).unwrap_err();
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
    }
}

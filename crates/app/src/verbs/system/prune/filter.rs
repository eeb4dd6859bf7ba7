//! `--filter` of `system prune`. Compat: docker; what goes must have passed all of them.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::label_filter::LabelFilter;
use crate::{filters, since};

const THERE: &str = "there are `until=24h`, `label=KEY`, `label=KEY=VALUE` and `label!=KEY`";

/// What is removed.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// Made before, nanoseconds since the epoch.
    pub(super) until: Option<i128>,
    /// What is to have it, and what is not.
    labels: Vec<(LabelFilter, bool)>,
}

/// Returns what was typed, and after it what is configured. Compat: docker, of a label the opposite that was typed wins.
pub(super) fn with_configured(typed: &[String], configured: Vec<String>) -> Vec<String> {
    let is_typed = |key: &str, value: &str| {
        typed.iter().filter_map(|text| filters::parts(text)).any(|typed| typed == (key.to_owned(), value))
    };
    let holds = |text: &String| match filters::parts(text) {
        Some((key, value)) if key == "label" => !is_typed("label!", value),
        Some((key, value)) if key == "label!" => !is_typed("label", value),
        parts => parts.is_some(),
    };
    typed.iter().cloned().chain(configured.into_iter().filter(holds)).collect()
}

impl Filters {
    pub(super) fn parse(texts: &[String], now: i128) -> Result<Self, Failure> {
        let mut found = Self::default();
        for text in texts {
            let refuse = |what: String| Failure::new(what, THERE);
            let (key, value) = filters::parts(text)
                .ok_or_else(|| Failure::of_flag(format!("filter `{text}` is no KEY=VALUE"), THERE))?;
            match key.as_str() {
                "until" if found.until.is_some() => {
                    return Err(refuse("there are two filters `until`".to_owned()));
                }
                "until" => found.until = Some(since::parse(value, now)?),
                "label" | "label!" => {
                    let label = LabelFilter::parse(value);
                    if label.is_empty() {
                        return Err(refuse(format!("filter `{text}` names no label")));
                    }
                    found.labels.push((label, key == "label"));
                }
                _ => return Err(refuse(format!("there is no filter `{key}`"))),
            }
        }
        Ok(found)
    }

    /// Returns whether labels decide: what has none is not meant then.
    pub(super) fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Returns whether something goes that was made at a time, in nanoseconds since the epoch.
    pub(super) fn accept(&self, made: i128, labels: &BTreeMap<String, String>) -> bool {
        let value_of = |key: &str| labels.get(key).map(String::as_str);
        self.until.is_none_or(|until| made < until)
            && self.labels.iter().all(|(label, is_wanted)| label.accept(value_of) == *is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SECOND;

    fn parse(texts: &[&str]) -> Result<Filters, Failure> {
        Filters::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), 100_000 * SECOND)
    }

    #[test]
    fn what_goes_has_passed_all_filters() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (texts, want) in [
            (&[][..], true),
            (&["until=10s"], true),
            (&["until=1h"], false),
            (&["label=a"], true),
            (&["label=a=1"], true),
            (&["label=a=2"], false),
            (&["label!=a"], false),
            (&["label!=a=2"], true),
            (&["label=a", "label=b"], false),
            (&["label=a", "until=1h"], false),
        ] {
            assert_eq!(parse(texts).unwrap().accept(98_000 * SECOND, &labels), want, "{texts:?}");
        }
    }

    #[test]
    fn what_is_configured_holds_unless_the_opposite_was_typed() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (typed, want) in [
            (&[][..], &["label!=keep", "until=1h"][..]),
            (&["label=a"], &["label=a", "label!=keep", "until=1h"]),
            (&["label = keep"], &["label = keep", "until=1h"]),
        ] {
            let configured = texts(&["label!=keep", "until=1h", "nonsense"]);
            assert_eq!(with_configured(&texts(typed), configured), texts(want), "{typed:?}");
        }
    }

    #[test]
    fn filters_that_there_are_not_are_refused() {
        for (text, want) in [
            ("until", "no KEY=VALUE"),
            ("until=soon", "`soon` is no time"),
            ("label=", "names no label"),
            ("dangling=true", "there is no filter `dangling`"),
        ] {
            let failure = parse(&[text]).unwrap_err();
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
        assert!(parse(&["until=1h", "until=2h"]).is_err());
    }
}

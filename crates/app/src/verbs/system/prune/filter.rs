//! `--filter` of `system prune`. Compat: docker; what goes must have passed all of them.

use std::collections::BTreeMap;

use crate::clock;
use crate::failure::Failure;
use crate::units;

const THERE: &str = "there are `until=24h`, `label=KEY`, `label=KEY=VALUE` and `label!=KEY`";

/// What is removed.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// Made before, seconds since the epoch.
    pub(super) until: Option<i64>,
    labels: Vec<Label>,
}

#[derive(Debug, PartialEq)]
struct Label {
    is_wanted: bool,
    key: String,
    value: Option<String>,
}

impl Filters {
    pub(super) fn parse(texts: &[String], now: i64) -> Result<Self, Failure> {
        let mut found = Self::default();
        for text in texts {
            let refuse = |what: String| Failure::new(what, THERE);
            let (key, value) =
                text.split_once('=').ok_or_else(|| refuse(format!("filter `{text}` is no KEY=VALUE")))?;
            match key {
                "until" if found.until.is_some() => {
                    return Err(refuse("there are two filters `until`".to_owned()));
                }
                "until" => {
                    let until = moment(value, now);
                    found.until = Some(until.ok_or_else(|| refuse(format!("`{value}` is no time")))?);
                }
                "label" | "label!" => {
                    let (name, value) = match value.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (value, None),
                    };
                    if name.is_empty() {
                        return Err(refuse(format!("filter `{text}` names no label")));
                    }
                    found.labels.push(Label { is_wanted: key == "label", key: name.to_owned(), value });
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

    /// Returns whether something goes that was made at a time, in seconds since the epoch.
    pub(super) fn accept(&self, made: i64, labels: &BTreeMap<String, String>) -> bool {
        let passes = |label: &Label| {
            let has = labels
                .get(&label.key)
                .is_some_and(|found| label.value.as_ref().is_none_or(|value| value == found));
            has == label.is_wanted
        };
        self.until.is_none_or(|until| made < until) && self.labels.iter().all(passes)
    }
}

/// Reads a time that was typed, or how long ago it was. Compat: docker, without a zone it is UTC.
pub(super) fn moment(text: &str, now: i64) -> Option<i64> {
    if let Some(ago) = units::duration(text) {
        return now.checked_sub(i64::try_from(ago / units::SECOND).ok()?);
    }
    let seconds = text.split_once('.').map_or(text, |(whole, _)| whole);
    if let Ok(seconds) = seconds.parse() {
        return Some(seconds);
    }
    let tails = ["", "Z", ":00Z", ":00:00Z", "T00:00:00Z"];
    tails.iter().find_map(|tail| clock::parse(&format!("{text}{tail}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Filters, Failure> {
        Filters::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), 100_000)
    }

    #[test]
    fn times_are_read_as_docker_does() {
        for (text, want) in [
            ("1h", Some(96_400)),
            ("90s", Some(99_910)),
            ("1700000000", Some(1_700_000_000)),
            ("1700000000.5", Some(1_700_000_000)),
            ("2026-01-02T03:04:05Z", Some(1_767_323_045)),
            ("2026-01-02T03:04:05+01:00", Some(1_767_319_445)),
            ("2026-01-02T03:04", Some(1_767_323_040)),
            ("2026-01-02", Some(1_767_312_000)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment(text, 100_000), want, "{text}");
        }
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
            assert_eq!(parse(texts).unwrap().accept(98_000, &labels), want, "{texts:?}");
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

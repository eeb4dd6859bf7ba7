//! `--filter label=KEY[=VALUE]`. Compat: docker, a key alone asks for any value.

/// A label that something has to have.
#[derive(Debug, PartialEq)]
pub(crate) struct LabelFilter {
    key: String,
    value: Option<String>,
}

impl LabelFilter {
    /// Reads what stands behind `label=`.
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((key, value)) => Self { key: key.to_owned(), value: Some(value.to_owned()) },
            None => Self { key: text.to_owned(), value: None },
        }
    }

    /// Returns whether no label is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.key.is_empty()
    }

    /// Returns whether something has the label, whose value `value_of` gives.
    pub(crate) fn accept<'a>(&self, value_of: impl FnOnce(&str) -> Option<&'a str>) -> bool {
        let found = value_of(&self.key);
        found.is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_asks_for_any_value() {
        for (text, want) in [("a", true), ("a=1=2", true), ("a=1", false), ("a=", false), ("b", false)] {
            let filter = LabelFilter::parse(text);
            assert_eq!(filter.accept(|key| (key == "a").then_some("1=2")), want, "{text}");
        }
        assert!(LabelFilter::parse("=x").is_empty() && !LabelFilter::parse("a").is_empty());
    }
}

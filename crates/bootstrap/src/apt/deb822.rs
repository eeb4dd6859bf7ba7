//! Paragraphs of `Name: value` lines, as in `.sources`, `Release`, `control` and `status`. Spec: `deb822(5)`.

/// One paragraph: fields in order; continuation lines are joined with newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// Returns the value of a field; names are matched in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the words of a field.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        self.get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}

/// Returns the paragraphs of a text. Lines that start with `#` are comments.
pub(crate) fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut current = Paragraph::default();
    for line in text.lines() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(take_filled(&mut current));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = current.fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            current.fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found.extend(take_filled(&mut current));
    found
}

fn take_filled(paragraph: &mut Paragraph) -> Option<Paragraph> {
    (!paragraph.fields.is_empty()).then(|| std::mem::take(paragraph))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_continue_and_comments_do_not_count() {
        let text = "# top\nTypes: deb\n# inside\nSuites: a\n b\n\n\n \nKey:\n .\n text:more\n";
        let found = paragraphs(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].words("suites"), ["a", "b"]);
        assert_eq!(found[1].get("KEY"), Some("\n.\ntext:more"));
        assert_eq!(found[0].get("missing"), None);
    }
}

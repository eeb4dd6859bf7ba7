//! How lists are printed: as a table, as JSON, or as a template says. Compat: docker's `--format`.

use serde_json::Value;

use crate::failure::Failure;
use crate::table;
use crate::template::Template;

/// A way to print a list.
#[derive(Debug)]
pub(crate) enum Listing {
    /// A line for each, below heads.
    Table { template: Template, heads: Vec<String> },
    /// A JSON document for each.
    Json,
    /// A line for each.
    Lines(Template),
}

impl Listing {
    /// Reads a `--format`; without one, `short` is a template for each line, if given, else `columns` are a table's.
    pub(crate) fn new(
        format: Option<&str>,
        short: Option<&str>,
        columns: &str,
        heads: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let table = |columns: &str| -> Result<Self, Failure> {
            let template = Template::new(columns)?;
            let head = |field: String| {
                let known = heads.iter().find(|(name, _)| *name == field);
                known.map_or_else(|| field.to_uppercase(), |(_, head)| (*head).to_owned())
            };
            Ok(Self::Table { heads: template.fields().into_iter().map(head).collect(), template })
        };
        match (format, short) {
            // Compat: docker, `-q` makes nothing of a table but its ids.
            (None | Some("table"), Some(short)) => Ok(Self::Lines(Template::new(short)?)),
            (None | Some("table"), None) => table(columns),
            (Some("json"), _) => Ok(Self::Json),
            (Some(format), _) => match format.strip_prefix("table ") {
                Some(columns) => table(columns),
                None => Ok(Self::Lines(Template::new(format)?)),
            },
        }
    }

    /// Returns what to print.
    pub(crate) fn lines(&self, values: &[Value]) -> Result<Vec<String>, Failure> {
        match self {
            Self::Json => Ok(values.iter().map(Value::to_string).collect()),
            Self::Lines(template) => {
                Ok(values.iter().map(|value| template.fill(value)).collect::<Result<_, _>>()?)
            }
            Self::Table { template, heads } => {
                let mut rows = vec![heads.clone()];
                for value in values {
                    rows.push(template.fill(value)?.split('\t').map(str::to_owned).collect());
                }
                Ok(table::render(&rows))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_printed_as_it_was_asked_for() {
        let values = [json!({ "ID": "a", "Size": "1kB" }), json!({ "ID": "b", "Size": "2kB" })];
        let heads = [("ID", "IMAGE ID"), ("Size", "SIZE")];
        for (format, short, want) in [
            (None, None, vec!["IMAGE ID   SIZE", "a          1kB", "b          2kB"]),
            (Some("table"), None, vec!["IMAGE ID   SIZE", "a          1kB", "b          2kB"]),
            (None, Some("{{.ID}}"), vec!["a", "b"]),
            (
                Some("table {{.Size}}\\t{{.ID}}"),
                None,
                vec!["SIZE      IMAGE ID", "1kB       a", "2kB       b"],
            ),
            (Some("{{.ID}}={{.Size}}"), None, vec!["a=1kB", "b=2kB"]),
            (Some("json"), None, vec!["{\"ID\":\"a\",\"Size\":\"1kB\"}", "{\"ID\":\"b\",\"Size\":\"2kB\"}"]),
        ] {
            let listing = Listing::new(format, short, "{{.ID}}\t{{.Size}}", &heads).unwrap();
            assert_eq!(listing.lines(&values).unwrap(), want, "{format:?} {short:?}");
        }
        assert!(Listing::new(Some("{{.ID"), None, "", &heads).is_err());
    }
}

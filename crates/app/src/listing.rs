//! How lists are printed: as a table, as JSON, or as a template says. Compat: docker's `--format`.

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::table;
use crate::template::{Shape, Template};

/// A way to print a list.
#[derive(Debug)]
pub(crate) enum Listing {
    /// A line for each, below heads.
    Table { template: Template, heads: Map<String, Value>, fields: Vec<String> },
    /// A line for each.
    Lines(Template),
}

impl Listing {
    /// Reads a `--format`; without one, `short` is a template for each line, if given, else `columns` are a table's. Heads that are
    /// not given are the names of their fields.
    pub(crate) fn new(
        format: Option<&str>,
        short: Option<&str>,
        columns: &str,
        heads: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        // Compat: docker, shells hand `\t` and `\n` on as they are typed.
        let plain = |text: &str| text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        let table = |columns: &str| -> Result<Self, Failure> {
            let heads = heads.iter().map(|(name, head)| ((*name).to_owned(), Value::from(*head))).collect();
            Ok(Self::Table { heads, template: Template::new(&plain(columns))?, fields: fields(columns) })
        };
        match (format.filter(|format| !format.is_empty()), short) {
            // Compat: docker, `-q` makes nothing of a table but its ids.
            (None | Some("table"), Some(short)) => Ok(Self::Lines(Template::new(short)?)),
            (None | Some("table"), None) => table(columns),
            (Some("json"), _) => Ok(Self::Lines(Template::new("{{json .}}")?)),
            (Some(format), _) => match format.strip_prefix("table") {
                Some(columns) => table(columns),
                None => Ok(Self::Lines(Template::new(&plain(format))?)),
            },
        }
    }

    /// Returns what to print.
    pub(crate) fn lines(&self, values: &[Value]) -> Result<Vec<String>, Failure> {
        let all = |template: &Template| -> Result<Vec<String>, Failure> {
            let filled = values.iter().map(|value| template.fill_shaped(value, &Shape::Row));
            Ok(filled.collect::<Result<_, _>>()?)
        };
        match self {
            Self::Lines(template) => all(template),
            Self::Table { template, heads, fields } => {
                let mut heads = heads.clone();
                let of_first = values.first().and_then(Value::as_object).into_iter().flat_map(Map::keys);
                // A list of nothing has heads, too.
                let of_columns = fields.iter().filter(|_| values.is_empty());
                for name in of_first.chain(of_columns) {
                    heads.entry(name).or_insert_with(|| Value::from(name.to_uppercase()));
                }
                let rows = std::iter::once(template.heads(&heads)).chain(all(template)?);
                let cells = |row: String| row.split('\t').map(str::to_owned).collect();
                Ok(table::render(&rows.map(cells).collect::<Vec<_>>()))
            }
        }
    }
}

/// Returns the fields that stand alone in a template: `{{.Size}}`.
fn fields(template: &str) -> Vec<String> {
    let inner = template.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
    let names = inner.filter_map(|(inner, _)| inner.trim().strip_prefix('.'));
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric())).map(str::to_owned).collect()
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
        let none =
            Listing::new(None, None, "{{.ID}}\t{{ .Image }}\t{{.Size}}", &[("ID", "IMAGE ID")]).unwrap();
        assert_eq!(none.lines(&[]).unwrap(), ["IMAGE ID   IMAGE     SIZE"]);
    }
}

//! The part of Go's templates that people use in `--format`.
//!
//! Fields (`.Config.Env`), `range`, `if`, `else`, pipes, and the functions `json`, `index`, `len`, `join`, `split`, `lower`, `upper`,
//! `title`, `print`, `println`, `eq`, `ne`, `not`, `and`, `or`. Compat: docker's `--format`, Go's text/template.

mod call;
mod parse;

use serde_json::Value;

use call::{is_true, text};
use parse::{Node, parse};

/// A template that was understood.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum TemplateError {
    #[error("the template has a mistake: {0}")]
    #[diagnostic(code(format::template), help("write it like '{{{{.ID}}}} {{{{json .}}}}'"))]
    Parse(String),
    #[error("the template asks for `{field}`, which is not there")]
    #[diagnostic(code(format::field), help("{hint}"))]
    Field { field: String, hint: String },
    #[error("the template cannot be filled in: {0}")]
    #[diagnostic(code(format::value), help("`{{{{json .}}}}` shows what there is"))]
    Value(String),
}

impl Template {
    /// Understands a template.
    pub(crate) fn new(source: &str) -> Result<Self, TemplateError> {
        parse(source).map(|nodes| Self { nodes })
    }

    /// Returns the text for a value.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, TemplateError> {
        let mut out = String::new();
        fill(&self.nodes, value, value, &mut out)?;
        Ok(out)
    }

    /// Returns the fields of the value that the template shows, for a table's head.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.nodes.iter().filter_map(Node::field).collect()
    }
}

fn fill(nodes: &[Node], root: &Value, here: &Value, out: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(words) => out.push_str(words),
            Node::Show(pipe) => out.push_str(&text(&pipe.value(root, here)?)),
            Node::If { condition, then, otherwise } => {
                let chosen = if is_true(&condition.value(root, here)?) { then } else { otherwise };
                fill(chosen, root, here, out)?;
            }
            Node::Range { over, each, otherwise } => {
                let value = over.value(root, here)?;
                let values: Vec<&Value> = match &value {
                    Value::Array(values) => values.iter().collect(),
                    Value::Object(fields) => fields.values().collect(),
                    Value::Null => Vec::new(),
                    other => return Err(TemplateError::Value(format!("cannot range over {}", text(other)))),
                };
                if values.is_empty() {
                    fill(otherwise, root, here, out)?;
                }
                for value in values {
                    fill(each, root, value, out)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_filled_in_as_go_does() {
        let value = json!({
            "Repository": "web", "Tag": "1", "Size": 12, "Cmd": ["sh", "-c"], "Empty": [], "None": null, "Yes": true,
            "Config": { "Env": ["A=1", "B=2"], "Labels": { "a.b": "c" } },
        });
        for (source, want) in [
            ("plain", "plain"),
            ("{{.Repository}}:{{.Tag}}", "web:1"),
            ("{{ .Repository }}\\t{{.Size}}\\n", "web\t12\n"),
            ("{{.Cmd}} {{.Config.Labels}}", "[sh -c] map[a.b:c]"),
            ("{{json .Cmd}}", "[\"sh\",\"-c\"]"),
            ("{{.Cmd | json}}", "[\"sh\",\"-c\"]"),
            ("{{join .Cmd \" \"}}", "sh -c"),
            ("{{index .Cmd 1}} {{index .Config.Labels \"a.b\"}}", "-c c"),
            ("{{len .Cmd}} {{upper .Repository}}", "2 WEB"),
            ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
            ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
            ("{{range .Empty}}x{{else}}nothing{{end}}", "nothing"),
            ("{{if .Yes}}yes{{else}}no{{end}}{{if .Empty}}x{{end}}", "yes"),
            ("{{if eq .Tag \"1\"}}one{{end}}{{if and .Yes (not .Empty)}}!{{end}}", "one!"),
            ("{{if .Empty}}a{{else if eq .Tag \"2\"}}b{{else if .Yes}}c{{else}}d{{end}}!", "c!"),
            ("a {{- .Tag -}} b", "a1b"),
            ("{{/* a remark */}}{{.None}}", "<no value>"),
            ("{{range .Cmd}}{{$.Tag}}{{end}}", "11"),
        ] {
            let filled = Template::new(source).and_then(|template| template.fill(&value));
            assert_eq!(filled.unwrap_or_else(|error| format!("{error}")), want, "{source}");
        }
    }

    #[test]
    fn mistakes_in_templates_are_told() {
        let value = json!({ "ID": "x", "Tag": "1" });
        for (source, want) in [
            ("{{.Id}}", "asks for `.Id`"),
            ("{{.ID", "`{{` without `}}`"),
            ("{{if .ID}}x", "`end` is missing"),
            ("x{{end}}", "`end` stands alone"),
            ("{{nonsense .ID}}", "no function `nonsense`"),
            ("{{join .ID \",\"}}", "join wants a list"),
            ("{{index .ID}}", "`index` wants"),
            ("{{}}", "is empty"),
            ("{{\"open}}", "a text is not closed"),
            ("{{if .ID}}{{else what}}{{end}}", "`else what` is not known"),
            (&format!("{{{{{}.ID{}}}}}", "(".repeat(100_000), ")".repeat(100_000)), "are in each other"),
            (&"{{if .ID}}".repeat(100_000), "are in each other"),
        ] {
            let error = Template::new(source).and_then(|template| template.fill(&value)).unwrap_err();
            assert!(error.to_string().contains(want), "{source}: {error}");
        }
        let error = Template::new("{{.Id}}").unwrap().fill(&value).unwrap_err();
        let failure = crate::failure::Failure::from(error);
        assert!(failure.text().ends_with("hint: did you mean `.ID`?"), "{}", failure.text());
    }

    #[test]
    fn the_fields_of_a_table_are_known() {
        let template = Template::new("{{.Repository}}\\t{{.Config.Env}}\\t{{upper .Tag}}").unwrap();
        assert_eq!(template.fields(), ["Repository", "Config.Env", "Tag"]);
    }
}

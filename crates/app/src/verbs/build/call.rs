//! `shipway build --call`: what a Dockerfile offers, without building. Compat: buildx, `check`, `targets`, `outline`, each with `format=json`.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use shipway_build::{BuildRequest, Outlook, Source, Span, Stage, Wanted, described};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::remotes::repository;
use crate::ui::Ui;
use crate::units;
use crate::verbs::build::metadata;

/// What is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) what: What,
    /// The answer is a JSON document.
    pub(super) json: bool,
    /// What is found is no failure.
    pub(super) ignore_status: bool,
}

/// What an answer is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum What {
    #[default]
    Check,
    Targets,
    Outline,
    /// What can be asked.
    Describe,
}

/// How an answer is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct How<'a> {
    /// As a JSON document.
    pub(super) json: bool,
    /// Where the document goes as well: `--metadata-file`.
    pub(super) file: Option<&'a Path>,
}

impl How<'_> {
    /// Gives an answer as a document where one is wanted; returns whether that is all.
    pub(super) fn tell(self, answer: &Value, ui: &mut Ui) -> Result<bool, Failure> {
        if let Some(file) = self.file {
            // Compat: buildx, its name.
            metadata::write(file, &json!({ "result.json": answer }))?;
        }
        if self.json {
            ui.line(serde_json::to_string_pretty(answer).expect("a value is always JSON"));
        }
        Ok(self.json)
    }
}

/// Reads what was typed; `build` asks nothing.
pub(super) fn parse(text: &str) -> Result<Option<Question>, Failure> {
    let wrong = |why: String, hint: &str| Failure::new(format!("--call `{text}`: {why}"), hint);
    let (mut kind, mut question) = ("", Question::default());
    for field in text.split(',').filter(|field| !field.is_empty()) {
        match field.split_once('=') {
            None if kind.is_empty() => kind = field,
            None => return Err(wrong(format!("`{field}` is one question too many"), "ask one at a time")),
            Some(("format", "text")) => question.json = false,
            Some(("format", "json")) => question.json = true,
            Some(("ignorestatus", text)) => {
                let hint = "write it as ignorestatus=true";
                let wrong = || wrong(format!("`{text}` is neither true nor false"), hint);
                question.ignore_status = units::truth(text).ok_or_else(wrong)?;
            }
            Some(_) => {
                let hint = "there are format=json and ignorestatus=true: `--call targets,format=json`";
                return Err(wrong(format!("`{field}` is not there yet"), hint));
            }
        }
    }
    question.what = match kind {
        "build" | "" => return Ok(None),
        "check" | "lint" => What::Check,
        "targets" => What::Targets,
        "outline" => What::Outline,
        "subrequests.describe" => What::Describe,
        other => {
            return Err(Failure::new(
                format!("--call `{other}` is not there"),
                "ask for check, targets or outline",
            ));
        }
    };
    Ok(Some(question))
}

/// Lets somebody look at a Dockerfile with what is known here.
pub(super) fn with_outlook<T>(engine: Option<&Engine>, look: impl FnOnce(Outlook<'_>) -> T) -> T {
    let image = |name: &str| {
        let store = &engine?.store;
        let found = store.resolve(name).ok()?;
        store.config(&found.image_id).ok()
    };
    look(Outlook { image: &image, repository: &|source, flags| Some(repository(source, flags)?.map(drop)) })
}

/// Lists what can be asked. Compat: BuildKit's words and versions, and that `check` is not among them.
pub(super) fn describe(how: How<'_>, ui: &mut Ui) -> Result<(), Failure> {
    let target = json!([{"name": "target", "description": "Target build stage"}]);
    let all = [
        ("outline", "List all parameters current build target supports", target),
        ("targets", "List all targets current build supports", json!([])),
        ("subrequests.describe", "List available subrequest types", Value::Null),
    ];
    let one = |(name, description, opts): &(&str, &str, Value)| {
        json!({
            "name": format!("frontend.{name}"),
            "version": "1.0.0",
            "type": "rpc",
            "description": description,
            "opts": opts,
            "inputs": null,
            "metadata": [
                {"name": "result.json", "description": ""},
                {"name": "result.txt", "description": ""},
            ],
            "refs": null,
        })
    };
    if how.tell(&all.iter().map(one).collect(), ui)? {
        return Ok(());
    }
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let rows = all.iter().map(|(name, description, _)| row([name, "1.0.0", description]));
    table(&std::iter::once(row(["NAME", "VERSION", "DESCRIPTION"])).chain(rows).collect::<Vec<_>>(), 1, ui);
    Ok(())
}

/// Lists the stages.
pub(super) fn targets(request: &BuildRequest, how: How<'_>, ui: &mut Ui) -> Result<(), Failure> {
    let (file, mistake) = shipway_build::read_until_mistake(request)?;
    // Compat: BuildKit, what has no FROM has no stages, which is an answer too.
    if let Some(mistake) = mistake.filter(|mistake| !mistake.is_no_stages() || file.global_args.is_empty()) {
        return Err(mistake.into());
    }
    let last = file.stages.len().checked_sub(1);
    let name = |stage: &Stage| stage.name.clone().unwrap_or_default();
    let target = |(number, stage): (usize, &Stage)| {
        filled([
            ("name", json!(name(stage))),
            ("default", json!(Some(number) == last)),
            ("description", json!(described(&stage.comments, &name(stage)))),
            ("base", json!(stage.image.text)),
            ("platform", json!(stage.platform.as_ref().map_or("", |word| &word.text))),
            ("location", location(&file.source, &[stage.span])),
        ])
    };
    let targets: Vec<Value> = file.stages.iter().enumerate().map(target).collect();
    let targets = if targets.is_empty() { Value::Null } else { targets.into() };
    if how.tell(&json!({"targets": targets, "sources": [text(&file.source)]}), ui)? {
        return Ok(());
    }
    let mut rows = vec![vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
    for (number, stage) in file.stages.iter().enumerate() {
        let name = name(stage);
        let shown = match (name.as_str(), Some(number) == last) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        rows.push(vec![shown, described(&stage.comments, &name)]);
    }
    table(&rows, 1, ui);
    Ok(())
}

/// Lists what a stage takes, and what those take that it needs.
pub(super) fn outline(
    engine: Option<&Engine>,
    request: &BuildRequest,
    how: How<'_>,
    ui: &mut Ui,
) -> Result<(), Failure> {
    let (source, outline) = with_outlook(engine, |outlook| shipway_build::outline(request, outlook))?;
    let args = outline.args.iter().map(|arg| {
        filled([
            ("name", json!(arg.name)),
            ("description", json!(arg.description)),
            ("value", json!(arg.value)),
            ("location", location(&source, &[arg.place])),
        ])
    });
    let wanted = |list: &[Wanted]| -> Value {
        let one = |wanted: &Wanted| {
            filled([
                ("name", json!(wanted.id)),
                ("required", json!(wanted.required)),
                ("location", location(&source, &[wanted.place])),
            ])
        };
        list.iter().map(one).collect()
    };
    let all = filled([
        ("name", json!(outline.name)),
        ("description", json!(outline.description)),
        ("args", args.collect()),
        ("secrets", wanted(&outline.secrets)),
        ("ssh", wanted(&outline.agents)),
        ("sources", json!([text(&source)])),
    ]);
    if how.tell(&all, ui)? {
        return Ok(());
    }
    let named = !outline.name.is_empty();
    let heading = [("TARGET:", &outline.name), ("DESCRIPTION:", &outline.description)];
    let heading = heading.into_iter().filter(|(_, text)| !text.is_empty());
    let heading = heading.map(|(title, text)| vec![title.to_owned(), text.clone()]).collect();
    let args = outline.args.into_iter().map(|arg| vec![arg.name, arg.value, arg.description]).collect();
    let rows = |list: Vec<Wanted>| -> Vec<Vec<String>> {
        let required = |wanted: &Wanted| if wanted.required { "true".to_owned() } else { String::new() };
        list.into_iter().map(|wanted| vec![wanted.id.clone(), required(&wanted)]).collect()
    };
    if named {
        tables(&[], heading, 1, ui);
    }
    tables(&["BUILD ARG", "VALUE", "DESCRIPTION"], args, 3, ui);
    tables(&["SECRET", "REQUIRED"], rows(outline.secrets), 3, ui);
    tables(&["SSH", "REQUIRED"], rows(outline.agents), 3, ui);
    Ok(())
}

/// Returns an object without what is empty, zero or false. Compat: buildx leaves it out.
pub(super) fn filled<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let is_there = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| is_there(value));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// Returns places as buildx writes them: one range for each line.
pub(super) fn location(source: &Source, places: &[Span]) -> Value {
    let mut lines: Vec<usize> = places.iter().flat_map(|place| lines(source, *place)).collect();
    lines.sort_unstable();
    lines.dedup();
    let ranges = lines.iter().map(|line| json!({"start": {"line": line}, "end": {"line": line}}));
    filled([("ranges", ranges.collect())])
}

/// Returns the lines of a place.
pub(super) fn lines(source: &Source, place: Span) -> std::ops::RangeInclusive<usize> {
    let first = source.position(place.start).line;
    first..=source.position(place.end).line.max(first)
}

/// Returns a text as it is in a JSON document.
pub(super) fn text(source: &Source) -> Value {
    json!(STANDARD.encode(source.text()))
}

/// Shows a table that has rows, and an empty line.
fn tables(heads: &[&str], rows: Vec<Vec<String>>, gap: usize, ui: &mut Ui) {
    if rows.is_empty() {
        return;
    }
    let heads = heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> =
        std::iter::once(heads).filter(|heads| !heads.is_empty()).chain(rows).collect();
    table(&rows, gap, ui);
    ui.line("");
}

/// Shows columns. Compat: buildx, all but the last one are filled up with spaces.
fn table(rows: &[Vec<String>], gap: usize, ui: &mut Ui) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + gap;
    for row in rows {
        let (last, others) = row.split_last().expect("a row has columns");
        let cells = others.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        ui.line(cells.collect::<String>() + last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_as_buildx_reads_them() {
        let of = |what, json, ignore_status| Some(Question { what, json, ignore_status });
        for (text, want) in [
            ("", None),
            ("build", None),
            ("check", of(What::Check, false, false)),
            ("lint,format=json", of(What::Check, true, false)),
            ("check,ignorestatus=1", of(What::Check, false, true)),
            ("format=json,targets", of(What::Targets, true, false)),
            ("outline,format=text", of(What::Outline, false, false)),
            ("subrequests.describe", of(What::Describe, false, false)),
        ] {
            assert_eq!(parse(text).unwrap(), want, "case {text}");
        }
        for text in ["nosuch", "check,targets", "check,ignorestatus=x", "check,colour=red"] {
            assert!(parse(text).unwrap_err().text().contains("hint: "), "case {text}");
        }
    }
}

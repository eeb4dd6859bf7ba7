//! `shipway inspect`

mod container;
mod image;

use serde_json::Value;
use shipway_store::StoreError;

use crate::cli::{InspectArgs, InspectKind};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::template::Template;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &InspectArgs, ui: &mut Ui) -> Result<u8, Failure> {
    // They can be large: only who asks for them gets them.
    let with_attested =
        args.format.as_ref().is_some_and(|format| format.contains(".SBOM") || format.contains(".Provenance"));
    let template =
        args.format.as_deref().filter(|format| *format != "json").map(Template::new).transpose()?;
    let mut found = Vec::new();
    let mut missing = false;
    for name in &args.names {
        match one(engine, name, args.kind, with_attested) {
            Ok(document) => found.push(document),
            Err(failure) => {
                ui.note(failure.text());
                missing = true;
            }
        }
    }
    match (template, &args.format) {
        (Some(template), _) => {
            for document in &found {
                ui.line(template.fill(document)?);
            }
        }
        (None, Some(_)) => ui.line(Value::Array(found)),
        (None, None) => ui.line(indented(&Value::Array(found))),
    }
    Ok(u8::from(missing))
}

/// Compat: docker, containers win over images.
fn one(
    engine: &Engine,
    name: &str,
    kind: Option<InspectKind>,
    with_attested: bool,
) -> Result<Value, Failure> {
    if kind != Some(InspectKind::Image) {
        match engine.store.container(name) {
            Ok(row) => return container::document(engine, &row),
            Err(StoreError::NoContainer(_)) if kind.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let found = engine.store.resolve(name)?;
    let mut document = image::document(engine, &found)?;
    if with_attested {
        let (sbom, provenance) = image::attested(engine, &found);
        document["SBOM"] = sbom;
        document["Provenance"] = provenance;
    }
    Ok(document)
}

/// Compat: docker indents by four.
fn indented(value: &Value) -> String {
    let two = serde_json::to_string_pretty(value).unwrap_or_default();
    let line = |line: &str| {
        let text = line.trim_start();
        format!("{}{text}", " ".repeat((line.len() - text.len()) * 2))
    };
    two.lines().map(line).collect::<Vec<_>>().join("\n")
}

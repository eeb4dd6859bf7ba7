//! `shipway inspect`

mod container;
mod image;
mod shapes;

use serde_json::Value;
use shipway_store::StoreError;

use crate::cli::{InspectArgs, InspectKind};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::local_names;
use crate::template::{MISWRITTEN, Shape, Template};
use crate::ui::Ui;
use crate::variants::image_for;

pub(in crate::verbs) use image::index_of;

pub(crate) fn run(engine: &Engine, args: &InspectArgs, ui: &mut Ui) -> Result<u8, Failure> {
    // Compat: docker, an empty format is none.
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    // They can be large: only who asks for them gets them.
    let with_attested =
        format.is_some_and(|format| format.contains(".SBOM") || format.contains(".Provenance"));
    let template = format.filter(|format| *format != "json").map(Template::new).transpose();
    let template = template.map_err(|error| Failure::from(error).with_code(MISWRITTEN))?;
    let mut found = Vec::new();
    let mut shown = Vec::new();
    let mut failed = false;
    for name in &args.names {
        let filled = one(engine, name, args, with_attested).and_then(|(document, shape)| {
            // Only images have one.
            if args.size && document.get("RootFS").is_some() {
                ui.note("WARNING: --size ignored for image");
            }
            match &template {
                Some(template) => shown.push(template.fill_shaped(&document, shape)?),
                None => found.push(document),
            }
            Ok(())
        });
        if let Err(failure) = filled {
            ui.note(failure.text());
            failed = true;
        }
    }
    match (&template, format) {
        // Compat: docker, where nothing was found there is an empty line.
        (Some(_), _) if shown.is_empty() => ui.line(""),
        (Some(_), _) => shown.iter().for_each(|text| ui.line(text)),
        (None, Some(_)) => ui.line(Value::Array(found)),
        (None, None) => ui.line(indented(&Value::Array(found))),
    }
    Ok(u8::from(failed))
}

/// Compat: docker, containers win over images.
fn one(
    engine: &Engine,
    name: &str,
    args: &InspectArgs,
    with_attested: bool,
) -> Result<(Value, &'static Shape), Failure> {
    let kind = args.kind;
    if kind != Some(InspectKind::Image) && args.platform.is_none() {
        match engine.store.container(name) {
            Ok(row) => {
                let mut document = container::document(engine, &row)?;
                if args.size {
                    container::add_sizes(engine, &row, &mut document)?;
                }
                return Ok((document, &shapes::CONTAINER));
            }
            Err(StoreError::NoContainer(_)) if kind.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let found = engine.store.resolve(name).map_err(|error| missing(engine, name, kind, error))?;
    let found = image_for(engine, name, found, args.platform.as_ref())?;
    let mut document = image::document(engine, &found)?;
    if with_attested {
        let (sbom, provenance) = image::attested(engine, &found);
        document["SBOM"] = sbom;
        document["Provenance"] = provenance;
    }
    Ok((document, &shapes::IMAGE))
}

/// Says that there is no such thing, and which one may be meant.
fn missing(engine: &Engine, name: &str, kind: Option<InspectKind>, error: StoreError) -> Failure {
    if kind.is_some() || !matches!(error, StoreError::NoImage(_)) {
        return local_names::explain(engine, name, error);
    }
    let containers = engine.store.containers().unwrap_or_default();
    let container = shipway_dockerfile::suggest(name, containers.iter().map(|row| row.name.as_str()));
    let question = container.map(|near| format!("did you mean the container `{near}`?"));
    let hint = local_names::near(engine, name).or(question);
    // Compat: docker's words.
    Failure::new(
        format!("no such object: {name}"),
        hint.unwrap_or_else(|| "`shipway images` and `shipway ps -a` list what there is".to_owned()),
    )
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

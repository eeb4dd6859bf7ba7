//! `shipway inspect`

mod container;
mod image;

use serde_json::Value;

use crate::cli::NamesArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &NamesArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let mut found = Vec::new();
    let mut missing = false;
    for name in &args.names {
        match one(engine, name) {
            Ok(document) => found.push(document),
            Err(failure) => {
                ui.note(failure.text());
                missing = true;
            }
        }
    }
    ui.line(indented(&Value::Array(found)));
    Ok(u8::from(missing))
}

/// Compat: docker, containers win over images.
fn one(engine: &Engine, name: &str) -> Result<Value, Failure> {
    if let Ok(row) = engine.store.container(name) {
        return container::document(engine, &row);
    }
    image::document(engine, &engine.store.resolve(name)?)
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

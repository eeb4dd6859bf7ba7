//! `shipway build --check`. Compat: buildx, also that a warning is enough to fail.

use serde_json::{Value, json};
use shipway_build::{BuildRequest, Examined, Warning};

use super::call::{How, Question, filled, lines, location, text, with_outlook};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Shows what is odd about a Dockerfile, up to a mistake in it. Base images that are not here are not fetched for it; what depends on them
/// is not looked at.
pub(super) fn run(
    engine: Option<&Engine>,
    request: &BuildRequest,
    (question, how): (Question, How<'_>),
    ui: &mut Ui,
) -> Result<u8, Failure> {
    let examined = with_outlook(engine, |outlook| shipway_build::examine(request, outlook))?;
    if !how.tell(&as_json(&examined), ui)? {
        let name = request.dockerfile_text.is_none().then(|| request.dockerfile.display().to_string());
        show(&examined, name, ui);
    }
    match examined.mistake {
        Some(mistake) => Err(mistake.error.into()),
        None => Ok(u8::from(!examined.warnings.is_empty() && !question.ignore_status)),
    }
}

fn as_json(examined: &Examined) -> Value {
    let Examined { source, warnings, mistake } = examined;
    let found = warnings.iter().map(|warning| {
        filled([
            ("ruleName", json!(warning.rule.name())),
            ("description", json!(warning.rule.description())),
            ("url", json!(warning.rule.url())),
            ("detail", json!(warning.message)),
            ("location", location(source, &[warning.span])),
        ])
    });
    // Compat: buildx writes no list where nothing was found.
    let found = if warnings.is_empty() { Value::Null } else { found.collect() };
    let of_file = json!({"filename": source.name(), "data": text(source), "language": "Dockerfile"});
    let mut all = json!({"warnings": found, "sources": [of_file]});
    if let Some(mistake) = mistake {
        all["buildError"] =
            json!({"message": mistake.message(), "location": location(source, &mistake.places)});
    }
    all
}

fn show(examined: &Examined, name: Option<String>, ui: &mut Ui) {
    let Examined { source, warnings, mistake } = examined;
    let name = name.unwrap_or_else(|| source.name().to_owned());
    let name = name.strip_prefix("./").unwrap_or(&name);
    match warnings.len() {
        // Compat: buildx, what has a mistake is not said to be without fault.
        0 if mistake.is_some() => {}
        0 => ui.line("Check complete, no warnings found."),
        1 => ui.line("Check complete, 1 warning has been found!"),
        count => ui.line(format!("Check complete, {count} warnings have been found!")),
    }
    let mut sorted: Vec<&Warning> = warnings.iter().collect();
    sorted.sort_by_key(|warning| *lines(source, warning.span).start());
    for warning in sorted {
        ui.line(format!("\nWARNING: {} - {}\n{}", warning.rule.name(), warning.rule.url(), warning.message));
        ui.line(shipway_dockerfile::marked(name, source.text(), lines(source, warning.span)));
    }
    if mistake.is_some() && !warnings.is_empty() {
        ui.line("");
    }
}

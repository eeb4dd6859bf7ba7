//! `shipway build --check`. Compat: buildx, also that a warning is enough to fail.

use serde_json::{Value, json};
use shipway_build::{BuildRequest, Examined, Source, Span, Warning};

use super::call::{Question, document, filled, lines, location, text, with_outlook};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Lines shown around a finding of one line, and of several.
const AROUND_ONE: usize = 4;
const AROUND_SEVERAL: usize = 2;
const RULER: &str = "--------------------";

/// Shows what is odd about a Dockerfile, up to a mistake in it. Base images that are not here are not fetched for it; what depends on them
/// is not looked at.
pub(super) fn run(
    engine: &Engine,
    request: &BuildRequest,
    question: Question,
    ui: &mut Ui,
) -> Result<u8, Failure> {
    let examined = with_outlook(engine, |outlook| shipway_build::examine(request, outlook))?;
    if question.json {
        document(&as_json(&examined), ui);
    } else {
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
        ui.line(excerpt(name, source, warning.span));
    }
    if mistake.is_some() && !warnings.is_empty() {
        ui.line("");
    }
}

/// Returns the lines around a place, its own marked. Compat: buildx, which shows as many as it does.
fn excerpt(name: &str, source: &Source, place: Span) -> String {
    let all: Vec<&str> = source.text().split('\n').collect();
    let marked = lines(source, place);
    let (mut first, mut last) = (*marked.start(), (*marked.end()).min(all.len()));
    let mut text = format!("{name}:{first}\n{RULER}\n");
    let wanted = if first == last { AROUND_ONE } else { AROUND_SEVERAL };
    let mut shown = 0;
    while shown < wanted {
        shown += 1 + usize::from(first > 1) + usize::from(last < all.len());
        first = (first - 1).max(1);
        last = (last + 1).min(all.len());
    }
    for (index, line) in all.iter().enumerate().take(last).skip(first - 1) {
        let number = index + 1;
        let mark = if marked.contains(&number) { ">>>" } else { "   " };
        text.push_str(&format!("{number:>4} | {mark} {line}\n"));
    }
    text.push_str(RULER);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_what_is_around_it() {
        let text = "FROM scratch\n\nENV a \\\n  b\nRUN x\nRUN y\nRUN z\n";
        let file = shipway_build::parse("Dockerfile".as_ref(), text.as_bytes()).unwrap();
        let of = |number: usize| file.stages[0].instructions[number].span;
        let several = "Dockerfile:3\n--------------------\n   2 |     \n   3 | >>> ENV a \\\n   4 | >>>   b\n   5 |     RUN x\n\
                       --------------------";
        assert_eq!(excerpt("Dockerfile", &file.source, of(0)), several);
        let last = "x/Dockerfile:7\n--------------------\n   5 |     RUN x\n   6 |     RUN y\n   7 | >>> RUN z\n   8 |     \n\
                    --------------------";
        assert_eq!(excerpt("x/Dockerfile", &file.source, of(3)), last);
    }
}

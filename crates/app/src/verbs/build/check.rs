//! `shipway build --check`. Compat: buildx, also that a warning is enough to fail.

use shipway_build::{BuildRequest, KnownImage, Linted, Source, Warning};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Lines shown around a finding.
const AROUND: usize = 2;
const RULER: &str = "--------------------";

/// Shows what is odd about a Dockerfile, up to a mistake in it. Base images that are not here are not fetched for it; what depends on them
/// is not looked at.
pub(super) fn run(engine: &Engine, request: &BuildRequest, ui: &mut Ui) -> Result<u8, Failure> {
    let (file, mistake) = shipway_build::read_until_mistake(request)?;
    let image = |name: &str| {
        let found = engine.store.resolve(name).ok()?;
        let config = engine.store.config(&found.image_id).ok()?;
        let platform = format!("{}/{}", config.os, config.architecture);
        Some(KnownImage { env: config.config.env, platform })
    };
    let Linted { warnings, error } = shipway_build::lint(&file, request, &image);
    let found = match warnings.len() {
        0 => "no warnings found.".to_owned(),
        1 => "1 warning has been found!".to_owned(),
        count => format!("{count} warnings have been found!"),
    };
    // Compat: buildx, what was not read to its end is not checked.
    if mistake.is_none() {
        ui.line(format!("Check complete, {found}"));
    }
    for warning in &warnings {
        let kind = if error { "ERROR" } else { "WARNING" };
        ui.line(format!("\n{kind}: {} - {}\n{}", warning.rule.name(), warning.rule.url(), warning.message));
        ui.line(excerpt(&file.source, warning));
    }
    match mistake {
        Some(mistake) => Err(mistake.into()),
        None => Ok(u8::from(!warnings.is_empty())),
    }
}

/// Returns the lines around a place, its own marked.
fn excerpt(source: &Source, warning: &Warning) -> String {
    let first = source.position(warning.span.start).line;
    let last = source.position(warning.span.end.saturating_sub(1).max(warning.span.start)).line;
    let mut text = format!("{}:{first}\n{RULER}\n", source.name());
    let shown = first.saturating_sub(AROUND + 1)..last + AROUND;
    for (index, line) in source.text().lines().enumerate().filter(|(index, _)| shown.contains(index)) {
        let number = index + 1;
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        text.push_str(format!("{number:>4} | {mark} {line}").trim_end());
        text.push('\n');
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
        let span = file.stages[0].instructions[0].span;
        let warning =
            Warning { rule: shipway_build::Rule::LegacyKeyValueFormat, message: String::new(), span };
        let want = "Dockerfile:3\n--------------------\n   1 |     FROM scratch\n   2 |\n   3 | >>> ENV a \\\n   4 | >>>   b\n\
                    \x20  5 |     RUN x\n   6 |     RUN y\n--------------------";
        assert_eq!(excerpt(&file.source, &warning), want);
    }
}

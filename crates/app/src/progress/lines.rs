//! A line per event, in BuildKit's plain form or the legacy one.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use shipway_build::{Event, StepInfo, StepKind};

/// Writes events to the standard error.
#[derive(Debug)]
pub(crate) struct Lines {
    style: Style,
    /// Output of a step since its last line break, by the step's number.
    rest: Mutex<std::collections::BTreeMap<usize, Vec<u8>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Legacy,
}

impl Lines {
    /// Writes BuildKit's plain form.
    pub(crate) fn plain() -> Self {
        Self { style: Style::Plain, rest: Mutex::default() }
    }

    /// Writes `Step 1/9 : …`.
    pub(crate) fn legacy() -> Self {
        Self { style: Style::Legacy, rest: Mutex::default() }
    }

    /// Takes an event of a build.
    pub(crate) fn build(&self, event: &Event<'_>) {
        match event {
            Event::Output { step, bytes } => return self.output(step, bytes),
            Event::Done { step, .. } | Event::Failed { step, .. } => self.finish_output(step),
            _ => {}
        }
        if self.is_legacy() { self.classic(event) } else { self.buildkit(event) }
    }

    fn output(&self, step: &StepInfo, bytes: &[u8]) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let line = rest.entry(step.id).or_default();
        line.extend_from_slice(bytes);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(&line[..end]).into_owned();
            line.drain(..=end);
            self.say(&if self.is_legacy() { text } else { format!("#{} {text}", step.id) });
        }
    }

    fn finish_output(&self, step: &StepInfo) {
        let left = self.rest.lock().unwrap_or_else(PoisonError::into_inner).remove(&step.id);
        if let Some(mut left) = left.filter(|left| !left.is_empty()) {
            left.push(b'\n');
            self.output(step, &left);
        }
    }

    fn is_legacy(&self) -> bool {
        self.style == Style::Legacy
    }

    /// Writes a line.
    pub(crate) fn say(&self, line: &str) {
        // A reader that went away does not stop the build.
        drop(writeln!(std::io::stderr().lock(), "{line}"));
    }

    fn buildkit(&self, event: &Event<'_>) {
        match event {
            Event::Started { step } if step.kind != StepKind::Metadata => {
                self.say(&format!("#{} {}", step.id, step.name));
            }
            Event::Cached { step, .. } if step.kind != StepKind::Metadata => {
                self.say(&format!("#{} CACHED", step.id));
            }
            Event::Missed { step, why } => self.say(&format!("#{} not cached: {why}", step.id)),
            Event::Done { step, elapsed, .. } if step.kind != StepKind::Metadata => {
                self.say(&format!("#{} DONE {:.1}s", step.id, elapsed.as_secs_f64()));
            }
            // Compat: BuildKit's word.
            Event::Failed { step, cancelled: true, .. } => self.say(&format!("#{} CANCELED", step.id)),
            Event::Failed { step, error, .. } => self.say(&format!("#{} ERROR: {error}", step.id)),
            Event::Written { image_id, .. } => self.say(&format!("writing image {image_id} done")),
            Event::Listed { index } => self.say(&format!("exporting manifest list {index} done")),
            Event::Named { name } => self.say(&format!("naming to {name} done")),
            Event::Warning { message, .. } => self.say(&format!("warning: {message}")),
            _ => {}
        }
    }

    /// Compat: docker's classic builder.
    fn classic(&self, event: &Event<'_>) {
        let numbered = |step: &StepInfo| {
            step.legacy.map(|(number, all)| format!("Step {number}/{all} : {}", step.instruction))
        };
        match event {
            Event::Started { step } => {
                if let Some(line) = numbered(step) {
                    self.say(&line);
                }
            }
            Event::Cached { step, key } if step.legacy.is_some() => {
                self.say(&format!(" ---> Using cache\n ---> {}", key.short()));
            }
            Event::Done { step, key: Some(key), .. } if step.legacy.is_some() => {
                self.say(&format!(" ---> {}", key.short()));
            }
            Event::Written { image_id, .. } => self.say(&format!("Successfully built {}", image_id.short())),
            Event::Named { name } => self.say(&format!("Successfully tagged {}", name.familiar())),
            Event::Warning { message, .. } => self.say(&format!("[Warning] {message}")),
            _ => {}
        }
    }
}

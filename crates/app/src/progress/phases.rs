//! How a base image's making is shown: a row, or some lines, for each phase.

use std::sync::{Mutex, MutexGuard, PoisonError};

use shipway_bootstrap::{Event, Phase, Progress};

use super::board::{Board, Key, Status};
use super::rawjson::{Ended, RawJson, Share};
use super::{End, Kind, Show};
use crate::clock;

/// Tells of one image's making.
#[derive(Debug)]
pub(crate) struct Phases {
    show: Show,
    image: String,
    at: Mutex<At>,
}

#[derive(Debug, Default)]
struct At {
    phase: Option<Phase>,
    /// Quarters of the packages that lines have told of.
    quarters: usize,
}

impl Phases {
    pub(super) fn new(show: Show, image: &str) -> Self {
        Self { show, image: image.to_owned(), at: Mutex::default() }
    }

    /// Says how it ended.
    pub(crate) fn end(&self, end: End) {
        let phase = self.at().phase.take();
        if let Some(phase) = phase {
            match &*self.show.0 {
                Kind::Json(raw) => raw.end(&self.key(phase), Ended::from(end)),
                kind => {
                    let status = if end == End::Well { Status::Done } else { Status::Failed };
                    kind.change(|board, now| board.finish(&self.key(phase), status, now));
                }
            }
        }
    }

    fn tell_raw(&self, raw: &RawJson, event: &Event<'_>) {
        let mut at = self.at();
        if let Event::Phase(phase) = event {
            if let Some(before) = at.phase.replace(*phase) {
                raw.end(&self.key(before), Ended::Well);
            }
            return raw.begin(self.key(*phase), self.name(*phase));
        }
        let Some(phase) = at.phase else { return };
        let key = self.key(phase);
        match event {
            Event::Packages { done, total, bytes, total_bytes } => {
                let share =
                    Share { id: "packages", done: *bytes, total: *total_bytes, is_over: done == total };
                raw.share(&key, share);
            }
            Event::Output(line) => raw.log(&key, format!("{line}\n").as_bytes()),
            Event::Note(note) => raw.log(&key, format!("note: {note}\n").as_bytes()),
            Event::Phase(_) => {}
        }
    }

    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, phase: Phase) -> Key {
        Key::Part(self.name(phase))
    }

    fn name(&self, phase: Phase) -> String {
        format!("[{}] {}", self.image, phase.title())
    }
}

impl Progress for Phases {
    fn event(&self, event: &Event<'_>) {
        match &*self.show.0 {
            Kind::Lines(lines) => {
                if let Some(line) = line(event, &mut self.at().quarters) {
                    lines.say(&line);
                }
            }
            Kind::Json(raw) => self.tell_raw(raw, event),
            kind => {
                let mut at = self.at();
                if let Event::Phase(phase) = event {
                    let before = at.phase.replace(*phase);
                    kind.change(|board, now| {
                        if let Some(before) = before {
                            board.finish(&self.key(before), Status::Done, now);
                        }
                        board.start(self.key(*phase), self.name(*phase), now);
                    });
                } else if let Some(phase) = at.phase {
                    kind.change(|board, _| tell(board, &self.key(phase), event));
                }
            }
        }
    }
}

fn tell(board: &mut Board, key: &Key, event: &Event<'_>) {
    match event {
        Event::Packages { done, total, bytes, total_bytes } => {
            let (bytes, total_bytes) = (clock::size(*bytes), clock::size(*total_bytes));
            board.detail(key, format!("{done}/{total}, {bytes}/{total_bytes}"));
        }
        Event::Output(line) => board.output(key, format!("{line}\n").as_bytes()),
        Event::Note(note) => board.notes.push(format!("note: {note}")),
        Event::Phase(_) => {}
    }
}

/// Returns the line for an event, if there is one: packages are told of at each quarter.
fn line(event: &Event<'_>, quarters: &mut usize) -> Option<String> {
    match event {
        Event::Phase(phase) => Some(format!("bootstrap: {}", phase.title())),
        Event::Note(note) => Some(format!("note: {note}")),
        Event::Packages { done, total, bytes, total_bytes } => {
            let now = (done * 4).checked_div(*total).unwrap_or(4);
            let grown = now > *quarters;
            *quarters = now;
            let (bytes, total_bytes) = (clock::size(*bytes), clock::size(*total_bytes));
            grown.then(|| format!("bootstrap: {done} of {total} packages, {bytes} of {total_bytes}"))
        }
        Event::Output(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_of_packages_four_times() {
        let mut quarters = 0;
        let mut said = Vec::new();
        for done in 0..=10 {
            let event = Event::Packages { done, total: 10, bytes: done as u64 * 1000, total_bytes: 10_000 };
            said.extend(line(&event, &mut quarters));
        }
        assert_eq!(said.len(), 4, "{said:?}");
        assert_eq!(said[3], "bootstrap: 10 of 10 packages, 10kB of 10kB");
        assert_eq!(line(&Event::Output("Setting up"), &mut quarters), None);
    }
}

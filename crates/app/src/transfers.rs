//! What a person sees while layers come and go: lines that change in place on a terminal, a line per event elsewhere.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shipway_distribution::{Event, LayerState, Progress};
use shipway_oci::Digest;

use crate::clock;

/// Which way layers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Pull,
    Push,
}

/// So often lines change while bytes move.
const PAUSE: Duration = Duration::from_millis(100);
/// More layers than fit on a small terminal cannot change in place.
const ROWS: usize = 20;
/// Width of a bar. Compat: docker.
const BAR: usize = 50;

/// Shows layers in Docker's words.
pub(crate) struct Transfers {
    direction: Direction,
    /// Printed once something is known to be there.
    heading: Option<String>,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    in_place: bool,
    rows: Vec<(Digest, String)>,
    /// Where the row of a layer is.
    places: HashMap<Digest, usize>,
    drawn: Option<Instant>,
}

impl Debug for Transfers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfers").field("direction", &self.direction).finish_non_exhaustive()
    }
}

impl Transfers {
    /// Shows layers on the standard output.
    pub(crate) fn on_stdout(direction: Direction, heading: Option<String>) -> Self {
        let in_place = std::io::stdout().is_terminal();
        Self::new(direction, heading, Box::new(std::io::stdout()), in_place)
    }

    /// Shows layers on the standard error, where results must stay apart.
    pub(crate) fn on_stderr(direction: Direction, heading: Option<String>) -> Self {
        let in_place = std::io::stderr().is_terminal();
        Self::new(direction, heading, Box::new(std::io::stderr()), in_place)
    }

    fn new(
        direction: Direction,
        heading: Option<String>,
        out: Box<dyn Write + Send>,
        in_place: bool,
    ) -> Self {
        let state = State { out, in_place, rows: Vec::new(), places: HashMap::new(), drawn: None };
        Self { direction, heading, state: Mutex::new(state) }
    }

    /// Returns the words for a state; `None` for those that are only shown in place.
    fn words(&self, state: LayerState<'_>, in_place: bool) -> Option<String> {
        Some(match (state, self.direction) {
            (LayerState::Waiting, _) => "Waiting".to_owned(),
            (LayerState::Exists, Direction::Pull) => "Already exists".to_owned(),
            (LayerState::Exists, Direction::Push) => "Layer already exists".to_owned(),
            (LayerState::Mounted { from }, _) => format!("Mounted from {from}"),
            (LayerState::Preparing, _) => "Preparing".to_owned(),
            (LayerState::Moving { done, total }, direction) if in_place => {
                let word = if direction == Direction::Pull { "Downloading" } else { "Pushing" };
                format!("{word} {} {}/{}", bar(done, total), clock::size(done), clock::size(total))
            }
            (LayerState::Moving { .. }, _) => return None,
            (LayerState::Arrived, _) if in_place => "Extracting".to_owned(),
            (LayerState::Arrived, _) => "Download complete".to_owned(),
            (LayerState::Done, Direction::Pull) => "Pull complete".to_owned(),
            (LayerState::Done, Direction::Push) => "Pushed".to_owned(),
        })
    }

    fn first_words(&self) -> &'static str {
        match self.direction {
            Direction::Pull => "Pulling fs layer",
            Direction::Push => "Preparing",
        }
    }
}

impl Progress for Transfers {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Found => {
                if let Some(heading) = &self.heading {
                    state.say(heading);
                }
            }
            Event::Note(note) => state.say(&format!("note: {note}")),
            Event::Layers(digests) => {
                state.in_place &= digests.len() <= ROWS;
                let rows = digests.iter().map(|digest| (*digest, self.first_words().to_owned())).collect();
                state.begin(rows);
            }
            Event::Layer { digest, state: layer } => {
                let in_place = state.in_place;
                if let Some(words) = self.words(*layer, in_place) {
                    state.change(digest, words, matches!(layer, LayerState::Moving { .. }));
                }
            }
        }
    }
}

impl State {
    fn begin(&mut self, rows: Vec<(Digest, String)>) {
        self.rows = rows;
        // Of one that is there twice the first row changes.
        self.places = self.rows.iter().enumerate().rev().map(|(at, (digest, _))| (*digest, at)).collect();
        for at in 0..self.rows.len() {
            let line = self.line(at);
            self.say(&line);
        }
    }

    fn change(&mut self, digest: &Digest, words: String, is_passing: bool) {
        let Some(at) = self.places.get(digest).copied() else { return };
        let is_new = self.rows[at].1 != words;
        self.rows[at].1 = words;
        if !self.in_place {
            if is_new {
                let line = self.line(at);
                self.say(&line);
            }
            return;
        }
        let now = Instant::now();
        if is_passing && self.drawn.is_some_and(|drawn| now.duration_since(drawn) < PAUSE) {
            return;
        }
        self.drawn = Some(now);
        // Up to the first of the rows, then each one anew.
        let mut text = format!("\x1b[{}A", self.rows.len());
        for at in 0..self.rows.len() {
            text.push_str("\r\x1b[2K");
            text.push_str(&self.line(at));
            text.push('\n');
        }
        self.write(&text);
    }

    fn line(&self, at: usize) -> String {
        let (digest, words) = &self.rows[at];
        format!("{}: {words}", digest.short())
    }

    fn say(&mut self, line: &str) {
        self.write(&format!("{line}\n"));
    }

    fn write(&mut self, text: &str) {
        // A reader that went away does not stop the transfer.
        drop(self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()));
    }
}

/// `[=====>     ]`
fn bar(done: u64, total: u64) -> String {
    let width = u64::try_from(BAR).unwrap_or(u64::MAX);
    let filled = done.min(total).saturating_mul(width).checked_div(total).unwrap_or(width);
    let filled = usize::try_from(filled).unwrap_or(BAR);
    let head = if filled < BAR { ">" } else { "" };
    format!("[{:<BAR$}]", format!("{}{head}", "=".repeat(filled)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::written::Written;

    fn shown(in_place: bool, events: &[Event<'_>]) -> String {
        let written = Written::default();
        let heading = Some("1: Pulling from x".to_owned());
        let transfers = Transfers::new(Direction::Pull, heading, Box::new(written.clone()), in_place);
        events.iter().for_each(|event| transfers.event(event));
        written.text()
    }

    #[test]
    fn a_pipe_gets_a_line_per_event_and_a_terminal_lines_that_change() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let layer = |digest, state| Event::Layer { digest, state };
        let all = [one, two];
        let events = [
            Event::Found,
            Event::Layers(&all),
            layer(&one, LayerState::Moving { done: 1_000_000, total: 2_000_000 }),
            layer(&one, LayerState::Arrived),
            layer(&two, LayerState::Exists),
            layer(&one, LayerState::Done),
        ];
        let (first, second) = (one.short(), two.short());
        let plain = format!(
            "1: Pulling from x\n{first}: Pulling fs layer\n{second}: Pulling fs layer\n{first}: Download complete\n\
             {second}: Already exists\n{first}: Pull complete\n"
        );
        assert_eq!(shown(false, &events), plain);
        let terminal = shown(true, &events);
        let bar = format!("Downloading [{}>{}] 1MB/2MB", "=".repeat(25), " ".repeat(24));
        assert!(terminal.contains(&bar), "{terminal}");
        let last = format!("\x1b[2A\r\x1b[2K{first}: Pull complete\n\r\x1b[2K{second}: Already exists\n");
        assert!(terminal.ends_with(&last), "{terminal}");
    }

    #[test]
    fn a_bar_is_never_longer_than_it_may_be() {
        for (done, total) in [(0, 0), (0, 1), (1, 1), (5, 1), (u64::MAX, u64::MAX)] {
            assert_eq!(bar(done, total).len(), BAR + 2, "{done}/{total}");
        }
    }
}

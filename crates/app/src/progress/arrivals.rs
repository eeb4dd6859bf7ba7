//! How the way of an image from a registry, or to it, is shown: a row, or some lines.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use shipway_distribution::{Event, LayerState, Progress, Pulled};
use shipway_oci::Digest;

use super::board::{Board, Key, Status};
use super::rawjson::{Ended, RawJson, Share};
use super::{Kind, Show};
use crate::clock;
use crate::transfers::Direction;

/// Tells of one image's way.
#[derive(Debug)]
pub(crate) struct Arrivals {
    show: Show,
    image: String,
    direction: Direction,
    began: Instant,
    /// Bytes of each layer: those that came, and all.
    bytes: Mutex<BTreeMap<Digest, (u64, u64)>>,
}

impl Arrivals {
    pub(super) fn new(show: Show, image: &str, direction: Direction) -> Self {
        let arrivals =
            Self { show, image: image.to_owned(), direction, began: Instant::now(), bytes: Mutex::default() };
        match &*arrivals.show.0 {
            Kind::Lines(lines) => lines.begin(arrivals.key(), &format!("pulling {image}")),
            Kind::Json(raw) => raw.begin(arrivals.key(), arrivals.name()),
            kind => kind.change(|board, now| board.start(arrivals.key(), arrivals.name(), now)),
        }
        arrivals
    }

    /// Says how it ended.
    pub(crate) fn end<E: Display>(&self, pulled: &Result<Pulled, E>) {
        match (&*self.show.0, pulled) {
            (Kind::Lines(lines), Ok(pulled)) => {
                let line = format!("pulled {}@{}", self.image, pulled.digest);
                lines.end(&self.key(), &line, self.began.elapsed());
            }
            (Kind::Lines(lines), Err(error)) => lines.give_up(&self.key(), error),
            (Kind::Json(_), pulled) => {
                self.end_raw(pulled.as_ref().err().map(ToString::to_string).as_deref());
            }
            (kind, pulled) => {
                let status = if pulled.is_ok() { Status::Done } else { Status::Failed };
                kind.change(|board, now| board.finish(&self.key(), status, now));
            }
        }
    }

    /// Says how it ended, where it is told as documents.
    pub(crate) fn end_raw(&self, error: Option<&str>) {
        if let Kind::Json(raw) = &*self.show.0 {
            raw.end(&self.key(), error.map_or(Ended::Well, Ended::Failed));
        }
    }

    fn key(&self) -> Key {
        Key::Part(self.name())
    }

    fn name(&self) -> String {
        match self.direction {
            Direction::Pull => format!("[{}] pull", self.image),
            Direction::Push => format!("[{}] push", self.image),
        }
    }

    /// Compat: BuildKit, the bytes of a layer, and its unpacking after them.
    fn share(&self, raw: &RawJson, digest: &Digest, state: LayerState<'_>) {
        let layer = digest.to_string();
        let id = match (state, self.direction) {
            (LayerState::Arrived | LayerState::Done, Direction::Pull) => format!("extracting {layer}"),
            _ => layer,
        };
        let is_over = matches!(state, LayerState::Done | LayerState::Exists | LayerState::Mounted { .. });
        let (done, total) = self.bytes_of(digest, state);
        raw.share(&self.key(), Share { id: &id, done, total, is_over });
    }

    /// Returns how many bytes of a layer are there, and how many it has, as far as they are known.
    fn bytes_of(&self, digest: &Digest, state: LayerState<'_>) -> (u64, u64) {
        self.count(digest, state);
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).get(digest).copied().unwrap_or_default()
    }

    /// Notes how far a layer is, and returns the sums of all.
    fn count(&self, digest: &Digest, state: LayerState<'_>) -> Option<(u64, u64)> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            LayerState::Moving { done, total } => bytes.insert(*digest, (done, total)),
            _ => return None,
        };
        let sum = |(done, total): (u64, u64), one: &(u64, u64)| {
            (done.saturating_add(one.0), total.saturating_add(one.1))
        };
        Some(bytes.values().fold((0, 0), sum))
    }
}

impl Progress for Arrivals {
    fn event(&self, event: &Event<'_>) {
        match (&*self.show.0, event) {
            (Kind::Lines(lines), Event::Note(note)) => lines.say(&format!("note: {note}")),
            (Kind::Json(raw), Event::Note(note)) => {
                raw.log(&self.key(), format!("note: {note}\n").as_bytes());
            }
            (Kind::Json(raw), Event::Layer { digest, state }) => self.share(raw, digest, *state),
            (kind, Event::Note(note)) => kind.change(|board, _| board.notes.push(format!("note: {note}"))),
            (Kind::Lines(_), _) | (_, Event::Found | Event::Layers(_)) => {}
            (kind, Event::Layer { digest, state }) => {
                if let Some((done, total)) = self.count(digest, *state) {
                    let detail = format!("{}/{}", clock::size(done), clock::size(total));
                    kind.change(|board: &mut Board, _| board.detail(&self.key(), detail));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::quiet::Unseen;
    use super::*;

    #[test]
    fn bytes_of_all_layers_are_summed() {
        let show = Show(Arc::new(Kind::Unseen(Unseen::new())));
        let arrivals = show.arrivals("web");
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        for (digest, state, want) in [
            (one, LayerState::Moving { done: 1, total: 10 }, Some((1, 10))),
            (two, LayerState::Moving { done: 5, total: 5 }, Some((6, 15))),
            (two, LayerState::Arrived, None),
            (one, LayerState::Moving { done: 10, total: 10 }, Some((15, 15))),
        ] {
            assert_eq!(arrivals.count(&digest, state), want, "case {state:?}");
        }
    }
}

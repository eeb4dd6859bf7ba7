//! How the arrival of an image from a registry is shown: a row, or some lines.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use shipway_distribution::{Event, LayerState, Progress, Pulled};
use shipway_oci::Digest;

use super::board::{Board, Key, Status};
use super::{Kind, Show};
use crate::clock;

/// Tells of one image's arrival.
#[derive(Debug)]
pub(crate) struct Arrivals {
    show: Show,
    image: String,
    /// Bytes of each layer: those that came, and all.
    bytes: Mutex<BTreeMap<Digest, (u64, u64)>>,
}

impl Arrivals {
    pub(super) fn new(show: Show, image: &str) -> Self {
        let arrivals = Self { show, image: image.to_owned(), bytes: Mutex::default() };
        match &*arrivals.show.0 {
            Kind::Lines(lines) => lines.say(&format!("pulling {image}")),
            kind => kind.change(|board, now| board.start(arrivals.key(), arrivals.name(), now)),
        }
        arrivals
    }

    /// Says how it ended.
    pub(crate) fn end<E>(&self, pulled: &Result<Pulled, E>) {
        match (&*self.show.0, pulled) {
            (Kind::Lines(lines), Ok(pulled)) => {
                lines.say(&format!("pulled {}@{}", self.image, pulled.digest));
            }
            // The failure is told where it leads to.
            (Kind::Lines(_), Err(_)) => {}
            (kind, pulled) => {
                let status = if pulled.is_ok() { Status::Done } else { Status::Failed };
                kind.change(|board, now| board.finish(&self.key(), status, now));
            }
        }
    }

    fn key(&self) -> Key {
        Key::Part(self.name())
    }

    fn name(&self) -> String {
        format!("[{}] pull", self.image)
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

//! Telling whoever waits why nothing happens.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shorter pauses are not worth a word.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// A request that will be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What failed, without user name and password.
    pub reason: String,
    /// When it is asked again.
    pub pause: Duration,
}

/// Where pauses before repeated requests are told, by all clients that hold a clone of it.
#[derive(Clone, Default)]
pub struct Waits(Arc<Mutex<Listeners>>);

#[derive(Default)]
struct Listeners {
    all: Vec<(u64, Sender<Wait>)>,
    next: u64,
}

/// What comes to a listener ends when this value is dropped.
#[derive(Debug)]
pub struct Listening {
    waits: Waits,
    number: u64,
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits").field("listeners", &self.listeners().all.len()).finish()
    }
}

impl Waits {
    /// Returns the pauses of a second or more that begin from now on.
    pub fn listen(&self) -> (Listening, Receiver<Wait>) {
        let (sender, receiver) = channel();
        let mut listeners = self.listeners();
        let number = listeners.next;
        listeners.next += 1;
        listeners.all.push((number, sender));
        drop(listeners);
        (Listening { waits: self.clone(), number }, receiver)
    }

    /// Tells those who listen of a pause, if it is long enough to be told of.
    pub fn tell(&self, reason: impl FnOnce() -> String, pause: Duration) {
        if pause < WORTH_TELLING {
            return;
        }
        let listeners = self.listeners();
        if listeners.all.is_empty() {
            return;
        }
        let wait = Wait { reason: reason(), pause };
        for (_, sender) in &listeners.all {
            // One that does not listen any more is about to be taken out.
            drop(sender.send(wait.clone()));
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.waits.listeners().all.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_pauses_are_told_and_only_while_somebody_listens() {
        let waits = Waits::default();
        waits.tell(|| unreachable!("nobody listens"), Duration::from_secs(9));
        let (listening, told) = waits.listen();
        let other = waits.clone();
        other.tell(|| unreachable!("it is short"), Duration::from_millis(900));
        other.tell(|| "answered 429".to_owned(), Duration::from_secs(3));
        drop(listening);
        other.tell(|| unreachable!("nobody listens any more"), Duration::from_secs(9));
        let want = Wait { reason: "answered 429".to_owned(), pause: Duration::from_secs(3) };
        assert_eq!(told.iter().collect::<Vec<_>>(), [want]);
    }
}

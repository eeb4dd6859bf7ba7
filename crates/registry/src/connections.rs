//! How many connections there are, and which of them may be ended for another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Connections of one listener. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    most: usize,
    open: Mutex<Open>,
    /// One has begun.
    opened: Notify,
    /// One has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Requests that are being answered.
    busy: Arc<AtomicUsize>,
    /// Since when it has been idle, or there.
    since: Arc<Mutex<Instant>>,
    end: CancellationToken,
}

/// One connection. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    connections: Connections,
    number: u64,
    slot: Slot,
}

/// A request that is being answered on a connection.
#[derive(Debug)]
pub(crate) struct Busy(Slot);

impl Connections {
    /// Allows so many at a time.
    pub(crate) fn new(most: usize) -> Self {
        let (opened, ended) = (Notify::new(), Notify::new());
        Self { inner: Arc::new(Inner { most, open: Mutex::default(), opened, ended }) }
    }

    /// Waits until there is place for one more. Where there is none, the connection that has been idle for longest is ended: those
    /// who only hold connections keep nobody out.
    pub(crate) async fn place(&self) {
        loop {
            let ended = self.inner.ended.notified();
            if self.lock().slots.len() < self.inner.most {
                return;
            }
            self.end_the_idlest();
            ended.await;
        }
    }

    /// Counts a connection.
    pub(crate) fn open(&self) -> Connection {
        let slot = Slot {
            busy: Arc::default(),
            since: Arc::new(Mutex::new(Instant::now())),
            end: CancellationToken::new(),
        };
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.slots.insert(number, slot.clone());
        drop(open);
        self.inner.opened.notify_waiters();
        Connection { connections: self.clone(), number, slot }
    }

    /// Waits until there have been connections, and then for some time none, or until there have been some for so long and
    /// something is asked on one of them.
    pub(crate) async fn quiet(&self, time: Duration, at_most: Duration) {
        let mut have_been = false;
        loop {
            // Before the look: what changes after it is heard.
            let (opened, ended) = (self.inner.opened.notified(), self.inner.ended.notified());
            match self.count() {
                0 if have_been => {
                    if timeout(time, opened).await.is_err() {
                        return;
                    }
                }
                0 => opened.await,
                _ => {
                    if timeout(at_most, ended).await.is_err() && self.is_busy() {
                        return;
                    }
                }
            }
            have_been = true;
        }
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().slots.len()
    }

    fn is_busy(&self) -> bool {
        self.lock().slots.values().any(|slot| slot.busy.load(Ordering::Relaxed) > 0)
    }

    fn end_the_idlest(&self) {
        let open = self.lock();
        let idle = open
            .slots
            .values()
            .filter(|slot| slot.busy.load(Ordering::Relaxed) == 0 && !slot.end.is_cancelled());
        let since = |slot: &&Slot| *slot.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = idle.min_by_key(since) {
            slot.end.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Is done when the connection is to end.
    pub(crate) async fn ended(&self) {
        self.slot.end.cancelled().await;
    }

    /// Marks it as busy as long as the value lives.
    pub(crate) fn busy(&self) -> Busy {
        self.slot.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.slot.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.lock().slots.remove(&self.number);
        self.connections.inner.ended.notify_waiters();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_quiet_after_the_last_has_gone() {
        let connections = Connections::new(2);
        let mut quiet = std::pin::pin!(connections.quiet(Duration::from_millis(1), Duration::MAX));
        assert!(quiet.as_mut().now_or_never().is_none(), "nobody was there yet");
        let (one, two) = (connections.open(), connections.open());
        assert!(quiet.as_mut().now_or_never().is_none());
        drop(one);
        assert!(quiet.as_mut().now_or_never().is_none());
        drop(two);
        quiet.await;
        assert_eq!(connections.count(), 0);
    }

    #[tokio::test]
    async fn it_is_told_that_somebody_stays_busy() {
        let connections = Connections::new(2);
        let soon = Duration::from_millis(1);
        let one = connections.open();
        let mut quiet = std::pin::pin!(connections.quiet(soon, soon));
        assert!(timeout(soon * 20, quiet.as_mut()).await.is_err(), "it is open, and nobody asks anything");
        let _busy = one.busy();
        quiet.await;
        assert_eq!(connections.count(), 1);
    }

    #[tokio::test]
    async fn the_idlest_makes_place_and_the_busy_do_not() {
        let connections = Connections::new(2);
        connections.place().await;
        let old = connections.open();
        connections.place().await;
        let young = connections.open();
        let busy = old.busy();

        let mut place = std::pin::pin!(connections.place());
        assert!(place.as_mut().now_or_never().is_none());
        assert!(young.ended().now_or_never().is_some(), "the only idle one");
        assert!(old.ended().now_or_never().is_none());
        drop(young);
        place.await;
        let next = connections.open();
        drop(busy);
        assert!(connections.place().now_or_never().is_none());
        assert!(next.ended().now_or_never().is_some(), "idle for longer than the one that was busy");
        assert_eq!(connections.count(), 2);
    }
}

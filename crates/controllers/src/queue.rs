//! A queue of keys to look at again.
//!
//! A key is in the queue at most once and is worked on by one worker at a time; a key added while it is being worked on is
//! worked on again afterwards. Errors bring a key back after a wait that doubles.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// First and longest wait after an error.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(30));

/// When to look at a key again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// When something changes.
    OnEvent,
    /// After this time, or when something changes.
    After(Duration),
    /// Something is not there yet that no event tells of: again, with growing waits.
    Later,
}

/// A queue of keys.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<T> {
    ready: VecDeque<T>,
    queued: HashSet<T>,
    working: HashSet<T>,
    delayed: BinaryHeap<Reverse<(Instant, T)>>,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Ord + Hash> Queue<T> {
    /// Returns an empty queue.
    pub(crate) fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            working: HashSet::new(),
            delayed: BinaryHeap::new(),
            failures: HashMap::new(),
        };
        Self { state: Mutex::new(state), wake: Notify::new() }
    }

    /// Asks for `key` to be looked at.
    pub(crate) fn add(&self, key: T) {
        let mut state = self.state();
        if state.queued.insert(key.clone()) && !state.working.contains(&key) {
            state.ready.push_back(key);
            self.wake.notify_one();
        }
    }

    /// Asks for `key` to be looked at after `wait`.
    #[cfg(test)]
    pub(crate) fn add_after(&self, key: T, wait: Duration) {
        self.state().delayed.push(Reverse((Instant::now() + wait, key)));
        self.wake.notify_one();
    }

    /// Returns the next key to work on; [`Queue::done`] must follow.
    pub(crate) async fn next(&self) -> T {
        loop {
            let due = {
                let mut state = self.state();
                let due = state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.queued.remove(&key);
                    state.working.insert(key.clone());
                    if !state.ready.is_empty() || due.is_some() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                due
            };
            match due {
                Some(due) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Says that the work on `key` is over, and when it is wanted again.
    pub(crate) fn done(&self, key: T, outcome: Option<Requeue>) {
        let mut state = self.state();
        state.working.remove(&key);
        if state.queued.contains(&key) {
            state.ready.push_back(key.clone());
        }
        match outcome {
            Some(Requeue::OnEvent) => drop(state.failures.remove(&key)),
            Some(Requeue::After(wait)) => {
                state.failures.remove(&key);
                state.delayed.push(Reverse((Instant::now() + wait, key)));
            }
            Some(Requeue::Later) | None => {
                let failures = state.failures.entry(key.clone()).or_insert(0);
                let wait = (BACK_OFF.0 * 2_u32.saturating_pow((*failures).min(16))).min(BACK_OFF.1);
                *failures += 1;
                state.delayed.push(Reverse((Instant::now() + wait, key)));
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Ord + Hash> State<T> {
    /// Moves what is due to `ready`; returns when the next one is.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((due, _))) = self.delayed.peek() {
            if *due > now {
                return Some(*due);
            }
            let Some(Reverse((_, key))) = self.delayed.pop() else { break };
            if self.queued.insert(key.clone()) && !self.working.contains(&key) {
                self.ready.push_back(key);
            }
        }
        None
    }
}

/// Works through `queue` with `workers` at a time until `stop`.
///
/// Only waiting for a key is raced with `stop`: work in hand is finished.
pub(crate) async fn work<T, F, W>(queue: &Queue<T>, workers: usize, stop: &CancellationToken, reconcile: F)
where
    T: Clone + Ord + Hash + Display,
    F: Fn(T) -> W,
    W: Future<Output = Result<Requeue, kube::Error>>,
{
    let worker = async || {
        loop {
            let key = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                key = queue.next() => key,
            };
            let outcome = match reconcile(key.clone()).await {
                Ok(requeue) => Some(requeue),
                Err(error) if is_conflict(&error) => {
                    tracing::debug!(%key, %error, "somebody else was faster, looking again");
                    None
                }
                Err(error) => {
                    tracing::warn!(%key, %error, "reconcile failed, trying again");
                    None
                }
            };
            queue.done(key, outcome);
        }
    };
    join_all((0..workers).map(|_| worker())).await;
}

/// Returns whether the server answered 409.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Returns whether the server answered 404.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Turns "it is gone already" into success.
pub(crate) fn ignore_gone<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_in_the_queue_once_and_is_worked_on_by_one_worker() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        let second = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
        assert!(second.is_err(), "not while it is being worked on");
        queue.done("a", Some(Requeue::OnEvent));
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn errors_wait_longer_each_time_until_a_success() {
        let queue = Queue::new();
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            let key = queue.next().await;
            waits.push(start.elapsed().as_millis());
            queue.done(key, None);
        }
        let key = queue.next().await;
        queue.done(key, Some(Requeue::OnEvent));
        assert_eq!(waits.len(), 3);
        assert!(waits[0] == 0 && waits[1] >= 10 && waits[2] >= 20, "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_keys_come_in_the_order_of_their_time() {
        let queue = Queue::new();
        queue.add_after("late", Duration::from_secs(2));
        queue.add_after("soon", Duration::from_secs(1));
        assert_eq!(queue.next().await, "soon");
        assert_eq!(queue.next().await, "late");
    }
}

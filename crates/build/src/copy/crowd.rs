//! Work that turns up while it is done, shared by several threads once there is much of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads are started when so many pieces wait.
const MANY: usize = 16;

/// Pieces of work, and what they came to.
struct Crowd<W, R, E> {
    state: Mutex<State<W, R, E>>,
    changed: Condvar,
}

struct State<W, R, E> {
    todo: Vec<W>,
    /// So many pieces are being done.
    busy: usize,
    done: Vec<R>,
    failed: Option<E>,
}

/// Does a piece of work, and those that turn up by doing it; returns what they came to, in no order. After a failure no other piece is begun.
pub(super) fn do_all<W: Send, R: Send, E: Send>(
    first: W,
    work: impl Fn(W) -> Result<(Vec<R>, Vec<W>), E> + Sync,
) -> Result<Vec<R>, E> {
    let state = State { todo: vec![first], busy: 0, done: Vec::new(), failed: None };
    let crowd = Crowd { state: Mutex::new(state), changed: Condvar::new() };
    if crowd.help(&work, MANY) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| crowd.help(&work, usize::MAX));
            }
            crowd.help(&work, usize::MAX);
        });
    }
    let state = crowd.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(state.done), Err)
}

impl<W, R, E> Crowd<W, R, E> {
    /// Does pieces until none is left; returns `true` as soon as `many` of them wait.
    fn help(&self, work: &impl Fn(W) -> Result<(Vec<R>, Vec<W>), E>, many: usize) -> bool {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return false;
            }
            if state.todo.len() >= many {
                return true;
            }
            let Some(piece) = state.todo.pop() else {
                if state.busy == 0 {
                    return false;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy += 1;
            drop(state);
            let watch = Watch(self);
            let result = work(piece);
            drop(watch);
            state = self.lock();
            state.busy -= 1;
            match result {
                Ok((done, more)) => {
                    state.done.extend(done);
                    state.todo.extend(more);
                }
                Err(error) => drop(state.failed.get_or_insert(error)),
            }
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<W, R, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the other threads go when one panics.
struct Watch<'a, W, R, E>(&'a Crowd<W, R, E>);

impl<W, R, E> Drop for Watch<'_, W, R, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.lock();
            state.todo.clear();
            state.busy -= 1;
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Every number stands for those below it.
    fn below(number: u32) -> Result<(Vec<u32>, Vec<u32>), u32> {
        Ok((vec![number], (0..number).collect()))
    }

    #[test]
    fn everything_that_turns_up_is_done_once() {
        for (first, count) in [(0, 1), (3, 8), (10, 1024)] {
            let done = do_all(first, below).unwrap();
            assert_eq!(done.len(), count, "case {first}");
            assert_eq!(done.iter().filter(|number| **number == first).count(), 1);
        }
    }

    #[test]
    fn after_a_failure_little_is_begun() {
        let begun = AtomicUsize::new(0);
        let failed = do_all(16, |number| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number < 8 { Err(number) } else { below(number) }
        });
        assert!(failed.is_err_and(|number| number < 8));
        assert!(begun.into_inner() < 1 << 10);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let result = std::panic::catch_unwind(|| {
            do_all(12, |number| {
                assert_ne!(number, 1, "on purpose");
                below(number)
            })
        });
        assert!(result.is_err());
    }
}

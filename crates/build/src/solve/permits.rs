//! How many steps work at once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lock;

/// At most as many steps work at once as there are cores.
pub(super) struct Permits {
    all: usize,
    free: Mutex<usize>,
    freed: Condvar,
}

impl Permits {
    pub(super) fn of_cores() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { all: cores, free: Mutex::new(cores), freed: Condvar::new() }
    }

    /// Waits until a step may begin; it may work as long as the value lives.
    pub(super) fn take(&self) -> Permit<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }

    /// Waits until nobody works but the caller, for at most `limit`.
    pub(super) fn wait_alone(&self, limit: Duration) {
        let others = |free: &mut usize| *free + 1 < self.all;
        drop(self.freed.wait_timeout_while(lock(&self.free), limit, others));
    }
}

pub(super) struct Permit<'a>(&'a Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_all();
    }
}

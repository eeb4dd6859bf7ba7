//! Ending what is under way, also where a server says nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::Agent;

/// Ends the pauses of all clients that hold a clone of it, and makes their requests fail, also while they wait for a server.
#[derive(Clone, Default)]
pub struct Stop(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_stopped: bool,
    /// Those whose connections end with a stop, by a number of their own.
    agents: BTreeMap<u64, Agent>,
    next: u64,
}

/// Agents whose connections a [`Stop`] ends, as long as this value lives.
#[derive(Debug)]
pub(crate) struct Attached {
    stop: Stop,
    numbers: Vec<u64>,
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("is_stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

impl Stop {
    /// Makes running pauses end now, closes connections, and makes further requests fail.
    pub fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        let agents = std::mem::take(&mut state.agents);
        drop(state);
        self.0.1.notify_all();
        agents.into_values().for_each(Agent::shutdown);
    }

    /// Returns true after [`Stop::stop`].
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Waits for `pause` to pass or for a stop; returns true if it was a stop.
    pub fn wait(&self, pause: Duration) -> bool {
        let waited = self.0.1.wait_timeout_while(self.state(), pause, |state| !state.is_stopped);
        let (state, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_stopped
    }

    /// Ends the connections of agents too, also of those that come after the stop.
    pub(crate) fn attach<'a>(&self, agents: impl IntoIterator<Item = &'a Agent>) -> Attached {
        let mut numbers = Vec::new();
        for agent in agents {
            let mut state = self.state();
            if state.is_stopped {
                drop(state);
                agent.clone().shutdown();
                continue;
            }
            let number = state.next;
            state.next += 1;
            state.agents.insert(number, agent.clone());
            numbers.push(number);
        }
        Attached { stop: self.clone(), numbers }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = self.stop.state();
        let gone: Vec<Agent> = self.numbers.iter().filter_map(|number| state.agents.remove(number)).collect();
        drop(state);
        // Connections that are idle close here, without the lock.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_a_pause_at_once() {
        let stop = Stop::default();
        assert!(!stop.wait(Duration::from_millis(1)));
        let other = stop.clone();
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(60)));
        stop.stop();
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn agents_that_are_gone_are_forgotten() {
        let stop = Stop::default();
        let agent = Agent::new_with_defaults();
        let attached = stop.attach([&agent, &agent]);
        assert_eq!(stop.state().agents.len(), 2);
        drop(attached);
        assert!(stop.state().agents.is_empty());
        stop.stop();
        let attached = stop.attach([&agent]);
        assert!(attached.numbers.is_empty(), "it is shut down at once");
        assert!(agent.get("http://127.0.0.1:1/").call().is_err());
    }
}

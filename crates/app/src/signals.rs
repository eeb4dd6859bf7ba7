//! Signals that are passed on to a container.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use shipway_linux::Signals;
use shipway_runtime::Container;

use crate::failure::Failure;
use crate::terminal;

/// `SIGHUP`, `SIGINT`, `SIGQUIT`, `SIGUSR1`, `SIGUSR2`, `SIGTERM`
const FORWARDED: [i32; 6] = [1, INTERRUPT, 3, 10, 12, 15];
const INTERRUPT: i32 = 2;
const KILL: i32 = 9;
const WINDOW_CHANGED: i32 = 28;

/// Signals of this process that are meant for a container, held back until it runs.
#[derive(Debug)]
pub(crate) struct Forwarder {
    coming: Receiver<i32>,
    /// There is nothing yet that has to be ended in order.
    ends: Arc<AtomicBool>,
}

impl Forwarder {
    /// Holds them back; to be called before there are threads.
    pub(crate) fn hold() -> Result<Self, Failure> {
        let all = [&FORWARDED[..], &[WINDOW_CHANGED]].concat();
        let held = Signals::hold(&all)
            .map_err(|error| Failure::new(format!("could not prepare for signals: {error}"), "try again"))?;
        let (to, coming) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let does_end = Arc::clone(&ends);
        std::thread::spawn(move || {
            while let Ok(signal) = held.wait() {
                if does_end.load(Ordering::Acquire) && signal != WINDOW_CHANGED {
                    shipway_linux::exit_now(128 + signal);
                }
                // Nobody listens any more where no container came to run.
                if to.send(signal).is_err() {
                    break;
                }
            }
        });
        Ok(Self { coming, ends })
    }

    /// Does something that a signal ends, and the program with it. Compat: docker, an image that is being pulled.
    pub(crate) fn ending<T>(&self, work: impl FnOnce() -> T) -> T {
        self.ends.store(true, Ordering::Release);
        let done = work();
        self.ends.store(false, Ordering::Release);
        done
    }

    /// Passes them on from now on, and sizes to the container's terminal if it has one. The third Ctrl-C kills.
    pub(crate) fn forward(self, container: Container, terminal: Option<Arc<OwnedFd>>) {
        self.each(terminal, move |signal, interrupts| {
            if interrupts == 3 {
                tracing::warn!("killing container {}", container.id());
            }
            // One that has just ended needs no signal.
            drop(container.kill(if interrupts >= 3 { KILL } else { signal }));
        });
    }

    /// Hands each signal, and how many interrupts there were, to a function, until this process ends.
    pub(crate) fn each(self, terminal: Option<Arc<OwnedFd>>, mut to: impl FnMut(i32, u32) + Send + 'static) {
        std::thread::spawn(move || {
            let mut interrupts = 0;
            while let Ok(signal) = self.coming.recv() {
                if signal == WINDOW_CHANGED {
                    if let Some(master) = &terminal {
                        terminal::resize(master);
                    }
                    continue;
                }
                interrupts += u32::from(signal == INTERRUPT);
                to(signal, interrupts);
            }
        });
    }
}

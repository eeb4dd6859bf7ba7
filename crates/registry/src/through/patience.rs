//! How long another registry is waited for, and that one which just did not answer is not asked again at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Remote, UpstreamError};
use crate::refusal::Refusal;

/// How long another registry is waited for. What it sends of a blob has as long as it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Where an answer is known already.
    pub known: Duration,
    /// Where nothing is known.
    pub unknown: Duration,
    /// So long after it did not answer, what is known is served without asking.
    pub rest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [known, unknown, rest] = [4, 30, 15].map(Duration::from_secs);
        Self { known, unknown, rest }
    }
}

/// What there is if the other registry does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// What is remembered.
    Known,
    Nothing,
}

/// Which registries did not answer, and until when they are left alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Silences(Arc<Mutex<HashMap<String, Instant>>>);

impl Silences {
    fn lasts(&self, registry: &str) -> bool {
        self.lock().get(registry).is_some_and(|until| Instant::now() < *until)
    }

    fn note(&self, registry: &str, rest: Duration) {
        if let Some(until) = Instant::now().checked_add(rest) {
            self.lock().insert(registry.to_owned(), until);
        }
    }

    fn end(&self, registry: &str) {
        self.lock().remove(registry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// Asks the other registry something, and waits only so long for it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        otherwise: Otherwise,
        ask: impl FnOnce(&Self) -> Result<T, UpstreamError> + Send + 'static,
    ) -> Result<Result<T, UpstreamError>, Refusal> {
        let registry = &self.registry;
        let patience = match (otherwise, self.silences.lasts(registry)) {
            (Otherwise::Known, true) => {
                return Ok(Err(UpstreamError::Silent(format!("{registry} did not answer a moment ago"))));
            }
            (Otherwise::Nothing, false) => self.patience.unknown,
            _ => self.patience.known,
        };
        let remote = self.clone();
        // One that is given up ends by itself: its answer comes too late for whoever asks now.
        let answer = match timeout(patience, spawn_blocking(move || ask(&remote))).await {
            Ok(asked) => asked.map_err(|panic| Refusal::internal(&panic))?,
            Err(_elapsed) => {
                let seconds = patience.as_secs_f32().ceil();
                Err(UpstreamError::Silent(format!("{registry} did not answer within {seconds} s")))
            }
        };
        match &answer {
            Err(UpstreamError::Silent(reason)) => {
                tracing::warn!(
                    registry,
                    reason,
                    "the other registry does not answer: what is known is served"
                );
                self.silences.note(registry, self.patience.rest);
            }
            _ => self.silences.end(registry),
        }
        Ok(answer)
    }
}

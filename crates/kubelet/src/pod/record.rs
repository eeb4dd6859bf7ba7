//! What is known of a pod's sandbox and containers.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::back_off::BackOff;
use crate::machine::Sandbox;

/// What is known of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodRecord {
    /// Its network, once made.
    pub sandbox: Option<Sandbox>,
    /// Whether its volumes are there.
    pub volumes_ready: bool,
    /// Why sandbox or volumes are not there.
    pub setup_problem: Option<String>,
    /// Failures to make them.
    pub setup_back_off: BackOff,
    /// When to try again.
    pub setup_again: Option<Instant>,
    /// When the kubelet first saw it.
    pub start_time: Option<Timestamp>,
    /// Its containers, init containers too, by name.
    pub containers: BTreeMap<String, ContainerRecord>,
    /// Why the kubelet ended it as a whole: reason and message.
    pub failed: Option<(&'static str, String)>,
    /// Whether everything was removed again.
    pub released: bool,
}

/// What is known of one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerRecord {
    /// What it does now.
    pub state: State,
    /// How it ended before.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: u32,
    /// The number of the next start.
    pub next_attempt: u32,
    /// The image it runs, as digest.
    pub image_id: String,
    /// Whether it has passed its startup probe and postStart hook.
    pub started: bool,
    /// Whether it passes its readiness probe.
    pub ready: bool,
    /// Failures to run or to start it.
    pub back_off: BackOff,
    /// Not before then.
    pub again: Option<Instant>,
    /// Whether it is being stopped.
    pub stopping: bool,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits, for a reason.
    Waiting {
        /// One CamelCase word.
        reason: &'static str,
        /// A sentence.
        message: Option<String>,
    },
    /// It runs.
    Running {
        /// Its id.
        id: String,
        /// Since when.
        since: Timestamp,
    },
    /// It has ended.
    Ended(Ended),
}

impl Default for State {
    fn default() -> Self {
        Self::Waiting { reason: "ContainerCreating", message: None }
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its id; empty if it never was.
    pub id: String,
    /// Exit code.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, ...
    pub reason: String,
    /// Its last words.
    pub message: Option<String>,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
}

impl PodRecord {
    /// Returns the record of a container, made if it is missing.
    pub(crate) fn container(&mut self, name: &str) -> &mut ContainerRecord {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Returns whether any container runs.
    pub(crate) fn any_runs(&self) -> bool {
        self.containers.values().any(|container| container.id().is_some())
    }
}

impl ContainerRecord {
    /// Returns its id while it runs.
    pub(crate) fn id(&self) -> Option<&str> {
        match &self.state {
            State::Running { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Returns how it ended, if it has and was not started again.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Returns how it ended last, also while it waits for its next start.
    pub(crate) fn last_end(&self) -> Option<&Ended> {
        self.ended().or(match &self.state {
            State::Waiting { .. } => self.last.as_ref(),
            _ => None,
        })
    }
}

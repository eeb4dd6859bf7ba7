//! What pods have left on the machine: seeing it, and removing it without asking the API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::task::spawn_blocking;

use crate::KubeletConfig;
use crate::error::chain;
use crate::machine::{Adopted, Machine};
use crate::pod::group;
use crate::volumes::{self, Places};

/// How long containers may take to end when all are to go.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// Signals. Spec: signal(7).
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// The machine, and where pods are kept on it.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub config: Arc<KubeletConfig>,
    pub machine: Arc<dyn Machine>,
}

/// Ends and removes every pod on this machine, without telling the API: for a cluster that is stopped.
///
/// To be called only where no kubelet runs with the same configuration. Programs are asked to end and killed after two
/// seconds. Returns the uids of pods that something could not be removed of; the log says what.
pub async fn end_all_pods(config: KubeletConfig, machine: Arc<dyn Machine>) -> Vec<String> {
    let ground = Ground { config: Arc::new(config), machine };
    let look = || {
        let ground = ground.clone();
        // A panic in it has been reported by its thread, and nothing was seen.
        async move { spawn_blocking(move || ground.left_over()).await.unwrap_or_default() }
    };
    let (containers, uids) = look().await;
    join_all(uids.iter().map(|uid| ground.end(uid, &containers, SHUTDOWN))).await;
    let (_, left) = look().await;
    left.into_iter().collect()
}

/// Returns the uid in a container's id.
pub(crate) fn owner(id: &str) -> &str {
    id.split('.').next().unwrap_or_default()
}

impl Ground {
    /// Returns all containers of ours, and the uids of all pods that something is left of.
    pub(crate) fn left_over(&self) -> (Vec<Adopted>, BTreeSet<String>) {
        let report = |error: &dyn std::error::Error| {
            tracing::warn!(error = chain(error), "could not see what is left");
        };
        let containers = self.machine.containers().unwrap_or_else(|error| {
            report(&error);
            Vec::new()
        });
        let sandboxes = self.machine.sandboxes().unwrap_or_else(|error| {
            report(&error);
            Vec::new()
        });
        let mut uids: BTreeSet<String> = containers.iter().map(|one| owner(&one.id).to_owned()).collect();
        uids.extend(sandboxes);
        uids.extend(volumes::found(&self.config));
        (containers, uids)
    }

    /// Ends those of `containers` that are of the pod and run, and removes everything of it.
    pub(crate) async fn end(&self, uid: &str, containers: &[Adopted], grace: Duration) {
        let running = containers.iter().filter(|one| owner(&one.id) == uid && one.exit.is_none());
        let ids: Vec<&str> = running.map(|one| one.id.as_str()).collect();
        if !grace.is_zero() {
            ids.iter().for_each(|id| self.signal(id, SIGTERM));
        }
        let all = || join_all(ids.iter().map(|id| self.machine.wait(id)).collect::<Vec<_>>());
        if tokio::time::timeout(grace, all()).await.is_err() {
            ids.iter().for_each(|id| self.signal(id, SIGKILL));
            drop(all().await);
        }
        let (ground, uid) = (self.clone(), uid.to_owned());
        // A panic in it has been reported by its thread.
        drop(spawn_blocking(move || ground.clean_up(&uid)).await);
    }

    fn signal(&self, id: &str, signal: i32) {
        if let Err(error) = self.machine.signal(id, signal) {
            tracing::warn!(id, error = chain(&error), "could not signal a container");
        }
    }

    /// Removes everything that was made for a pod: containers that have ended, network, files, control group.
    pub(crate) fn clean_up(&self, uid: &str) {
        let report = |what: &str, error: &dyn std::error::Error| {
            tracing::warn!(uid, error = chain(error), "could not remove {what} of a pod");
        };
        let machine = &self.machine;
        match machine.containers() {
            Ok(all) => {
                for one in all.iter().filter(|one| owner(&one.id) == uid) {
                    machine.remove(&one.id).unwrap_or_else(|error| report("a container", &error));
                }
            }
            Err(error) => report("the containers", &error),
        }
        machine.remove_sandbox(uid).unwrap_or_else(|error| report("the network", &error));
        let group = group(&self.config.root_id, uid);
        machine.remove_group(&group).unwrap_or_else(|error| report("the control group", &error));
        Places::of(&self.config, uid).remove().unwrap_or_else(|error| report("the files", &error));
    }
}

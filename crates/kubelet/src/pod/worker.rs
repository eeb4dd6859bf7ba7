//! The worker of one pod: decides, does, says.
//!
//! It is the only one that changes its pod's record, containers and status. Everything that takes its time (waiting for an
//! end, stopping, probing) is a task of its own that reports back; the worker itself is never busy for longer than it takes to
//! start a container. Ended or killed at any point it leaves nothing that the next one does not find.

mod adopt;
mod start;
mod stop;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::{Action, Now, plan};
use super::record::{PodRecord, State};
use super::status;
use crate::KubeletConfig;
use crate::clock::now;
use crate::events::PodEvents;
use crate::leftover::Ground;
use crate::machine::{Adopted, Exit, Machine};
use crate::node::Capacity;
use crate::probe::{Finding, Purpose};
use crate::volumes::Places;

/// How long an action may take before the status is sent without waiting for it.
const PATIENCE: Duration = Duration::from_millis(100);
/// When a write to the API that failed is tried again.
const API_AGAIN: Duration = Duration::from_secs(1);
/// Time between looks at ConfigMaps and Secrets that a running pod has mounted.
const REFRESH: Duration = Duration::from_secs(60);

/// What all workers share.
pub(crate) struct Context {
    pub config: Arc<KubeletConfig>,
    pub client: Client,
    pub machine: Arc<dyn Machine>,
    pub recorder: PodEvents,
    pub capacity: Capacity,
    /// The host's resolvers.
    pub resolv_conf: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Context {
    /// Returns the machine, and where pods are kept on it.
    pub(crate) fn ground(&self) -> Ground {
        Ground { config: Arc::clone(&self.config), machine: Arc::clone(&self.machine) }
    }
}

/// What a worker is told.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// The pod is so now.
    Be(Arc<Pod>),
    /// The pod is gone from the API.
    Gone,
}

/// What others may see of a pod.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The pod.
    pub pod: Arc<Pod>,
    /// What is known of it.
    pub record: PodRecord,
}

/// What the worker's tasks report.
#[derive(Debug)]
enum Report {
    Exited { name: String, id: String, exit: Exit },
    Probed { name: String, id: String, purpose: Purpose, finding: Finding },
    Hooked { name: String, id: String, outcome: Result<(), String> },
}

/// The worker of one pod.
pub(crate) struct Worker {
    context: Arc<Context>,
    commands: watch::Receiver<Command>,
    view: Arc<Mutex<View>>,
    pod: Arc<Pod>,
    gone: bool,
    record: PodRecord,
    places: Places,
    reports: (mpsc::UnboundedSender<Report>, mpsc::UnboundedReceiver<Report>),
    tasks: JoinSet<()>,
    /// Probes and hooks of running containers.
    watching: HashMap<String, CancellationToken>,
    sent: Option<PodStatus>,
    /// When volumes are brought up to date.
    refresh: Option<Instant>,
    /// When a failed write to the API is tried again.
    api_again: Option<Instant>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("pod", &self.pod.metadata.name).finish_non_exhaustive()
    }
}

impl Worker {
    /// Returns the worker of a pod and what others may see of it; `adopted` is what runs of it already.
    pub(crate) fn new(
        context: Arc<Context>,
        pod: Arc<Pod>,
        commands: watch::Receiver<Command>,
        adopted: Vec<Adopted>,
    ) -> (Self, Arc<Mutex<View>>) {
        let places = Places::of(&context.config, pod.metadata.uid.as_deref().unwrap_or_default());
        let record = adopt::record_of(&pod, &adopted);
        let view = Arc::new(Mutex::new(View { pod: Arc::clone(&pod), record: record.clone() }));
        let mut worker = Self {
            context,
            commands,
            view: Arc::clone(&view),
            sent: pod.status.clone(),
            pod,
            gone: false,
            record,
            places,
            reports: mpsc::unbounded_channel(),
            tasks: JoinSet::new(),
            watching: HashMap::new(),
            refresh: None,
            api_again: None,
        };
        worker.watch_adopted();
        (worker, view)
    }

    /// Works until the pod is gone or `stop`; in the latter case its containers go on.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.record.start_time.get_or_insert_with(now);
        loop {
            let mut wake = self.api_again;
            while !stop.is_cancelled() {
                let plan = plan(&self.pod, &self.record, self.now());
                wake = earlier(wake, plan.wake);
                if plan.actions.is_empty() {
                    break;
                }
                if self.apply(plan.actions).await {
                    return;
                }
                if self.api_again.is_some_and(|again| again > Instant::now()) {
                    break;
                }
            }
            self.publish();
            self.send_status().await;
            wake = earlier(earlier(wake, self.refresh), self.api_again);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                report = self.reports.1.recv() => self.take_all(report),
                changed = self.commands.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_command();
                }
                () = until(wake) => self.on_time().await,
            }
        }
    }

    fn now(&self) -> Now {
        Now { instant: Instant::now(), time: now() }
    }

    fn take_command(&mut self) {
        let command = self.commands.borrow_and_update().clone();
        let before = self.pod.metadata.deletion_grace_period_seconds;
        match command {
            Command::Be(pod) => self.pod = pod,
            Command::Gone => {
                self.gone = true;
                let pod = Arc::make_mut(&mut self.pod);
                // Nobody waits for it any more; a second is what its processes get.
                pod.metadata.deletion_grace_period_seconds = Some(1);
                pod.metadata.deletion_timestamp = Some((now() + Duration::from_secs(1)).into());
            }
        }
        let granted = self.pod.metadata.deletion_grace_period_seconds;
        if before.zip(granted).is_some_and(|(before, granted)| granted < before) {
            // Somebody lost patience: stop again, faster.
            self.record.containers.values_mut().for_each(|container| container.stopping = false);
        }
    }

    fn take_all(&mut self, first: Option<Report>) {
        let mut next = first;
        while let Some(report) = next {
            self.take(report);
            next = self.reports.1.try_recv().ok();
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Exited { name, id, exit } => self.on_exit(&name, &id, &exit),
            Report::Probed { name, id, purpose, finding } => {
                if self.record.container(&name).id() == Some(&id) {
                    self.on_finding(&name, purpose, finding);
                }
            }
            Report::Hooked { name, id, outcome } => {
                if self.record.container(&name).id() == Some(&id) {
                    self.on_hook(&name, outcome);
                }
            }
        }
    }

    fn on_finding(&mut self, name: &str, purpose: Purpose, finding: Finding) {
        let unhealthy = |why: &str| format!("{} probe failed: {why}", purpose.as_str());
        match (&finding, purpose) {
            (Finding::Warning(why) | Finding::Bad(why), _) => {
                self.context.recorder.warning(&self.pod, Some(name), "Unhealthy", unhealthy(why));
            }
            (Finding::Good, _) => {}
        }
        match (finding, purpose) {
            (Finding::Good, Purpose::Startup) => self.set_started(name),
            (Finding::Good, Purpose::Readiness) => self.record.container(name).ready = true,
            (Finding::Bad(_), Purpose::Readiness) => self.record.container(name).ready = false,
            (Finding::Bad(_), Purpose::Startup | Purpose::Liveness) => {
                let what = purpose.as_str().to_lowercase();
                let message = format!("Container {name} failed {what} probe, will be restarted");
                self.context.recorder.normal(&self.pod, Some(name), "Killing", message);
                self.stop(name, self.grace(), false);
            }
            _ => {}
        }
    }

    /// Returns how long a container may take to stop when its pod goes on.
    fn grace(&self) -> Duration {
        let seconds =
            self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    fn container(&self, name: &str) -> Option<Arc<Container>> {
        let spec = self.pod.spec.as_ref()?;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.find(|container| container.name == name).cloned().map(Arc::new)
    }

    fn address(&self) -> Ipv4Addr {
        self.record.sandbox.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |sandbox| sandbox.address)
    }

    /// Does what was planned; returns whether the pod is gone for good.
    async fn apply(&mut self, actions: Vec<Action>) -> bool {
        let (starts, rest): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| matches!(action, Action::Start(_)));
        for action in rest {
            match action {
                Action::SetUp => self.set_up().await,
                Action::BackOff(name) => self.back_off(&name),
                Action::Stop { name, grace } => self.stop(&name, grace, true),
                Action::Fail { reason, message } => {
                    self.context.recorder.warning(&self.pod, None, reason, message.clone());
                    self.record.failed = Some((reason, message));
                }
                Action::Release => self.release().await,
                Action::Remove => return self.remove().await,
                Action::Start(_) => {}
            }
        }
        let names: Vec<String> = starts
            .into_iter()
            .filter_map(|action| match action {
                Action::Start(name) => Some(name),
                _ => None,
            })
            .collect();
        if !names.is_empty() {
            self.start(names).await;
        }
        false
    }

    fn back_off(&mut self, name: &str) {
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        let full = format!("{}_{}({uid})", self.pod_name(), self.namespace());
        let message = format!("Back-off restarting failed container {name} in pod {full}");
        self.context.recorder.warning(&self.pod, Some(name), "BackOff", message);
        let container = self.record.container(name);
        let left =
            container.again.map_or(Duration::ZERO, |again| again.saturating_duration_since(Instant::now()));
        let seconds = left.as_secs_f64().ceil();
        let message = format!("back-off {seconds}s restarting failed container={name} pod={full}");
        if let State::Ended(ended) = std::mem::take(&mut container.state) {
            container.last = Some(ended);
        }
        container.state = State::Waiting { reason: "CrashLoopBackOff", message: Some(message) };
    }

    fn pod_name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Shows others what is known.
    fn publish(&self) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.pod = Arc::clone(&self.pod);
        view.record.clone_from(&self.record);
    }

    /// Writes the status if it says something new.
    async fn send_status(&mut self) {
        if self.gone {
            return;
        }
        let node_ip = self.context.config.node_ip.to_string();
        let wanted = status::status_of(&self.pod, &self.record, (self.sent.as_ref(), &node_ip), now());
        if self.sent.as_ref().is_some_and(|sent| status::same(sent, &wanted)) {
            return;
        }
        let api = Api::<Pod>::namespaced(self.context.client.clone(), self.namespace());
        let patch = Patch::Merge(status::patch(&wanted, self.pod.metadata.uid.as_deref()));
        match api.patch_status(self.pod_name(), &patch_params(), &patch).await {
            Ok(_) => {
                self.sent = Some(wanted);
                self.api_again = None;
            }
            // Gone, or another pod of the same name: the watch will tell.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => self.sent = Some(wanted),
            Err(error) => {
                tracing::warn!(pod = self.pod_name(), %error, "could not write the status, trying again");
                self.api_again = Some(Instant::now() + API_AGAIN);
            }
        }
    }

    /// Removes the pod from the API and then what is left of it here; returns whether that is done.
    async fn remove(&mut self) -> bool {
        if !self.gone {
            self.publish();
            self.send_status().await;
            let api = Api::<Pod>::namespaced(self.context.client.clone(), self.namespace());
            let same = Preconditions { uid: self.pod.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams::default().grace_period(0).preconditions(same);
            match api.delete(self.pod_name(), &params).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => {
                    tracing::warn!(pod = self.pod_name(), %error, "could not remove the pod, trying again");
                    self.api_again = Some(Instant::now() + API_AGAIN);
                    return false;
                }
            }
        }
        self.clean_up().await;
        true
    }

    async fn on_time(&mut self) {
        if self.api_again.is_some_and(|again| again <= Instant::now()) {
            self.api_again = None;
        }
        if self.refresh.is_some_and(|refresh| refresh <= Instant::now()) {
            self.refresh_volumes().await;
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some("kubelet".to_owned()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests;

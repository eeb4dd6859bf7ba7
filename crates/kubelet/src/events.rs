//! Events as users see them in `kubectl describe`.
//!
//! Recording never waits and never fails the caller: events go through a bounded channel to one task, which counts
//! repetitions instead of writing them again. When the channel is full the event is dropped.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::now;

/// Whose events these are.
const COMPONENT: &str = "kubelet";
/// Events that may wait to be written.
const BACKLOG: usize = 1024;
/// Events whose repetitions are counted.
const REMEMBERED: usize = 512;

#[derive(Debug)]
struct Report {
    about: ObjectReference,
    warning: bool,
    reason: &'static str,
    message: String,
}

/// Takes events and passes them on.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Report>,
}

impl Recorder {
    /// Returns a recorder and the task that writes what it takes.
    pub(crate) fn new(client: Client, node: &str) -> (Self, Writer) {
        let (sender, reports) = mpsc::channel(BACKLOG);
        let writer = Writer {
            client,
            node: node.to_owned(),
            reports,
            known: HashMap::new(),
            order: VecDeque::new(),
            serial: 0,
        };
        (Self { sender }, writer)
    }

    /// Returns a recorder that forgets everything.
    #[cfg(test)]
    pub(crate) fn deaf() -> Self {
        Self { sender: mpsc::channel(1).0 }
    }

    /// Records something good about a pod, or one of its containers.
    pub(crate) fn normal(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String) {
        self.send(pod, container, (false, reason, message));
    }

    /// Records something that somebody should look at.
    pub(crate) fn warning(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String) {
        self.send(pod, container, (true, reason, message));
    }

    fn send(
        &self,
        pod: &Pod,
        container: Option<&str>,
        (warning, reason, message): (bool, &'static str, String),
    ) {
        let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let is_init = |name: &str| init.clone().any(|container| container.name == name);
        let list = |name: &str| if is_init(name) { "initContainers" } else { "containers" };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: container.map(|name| format!("spec.{}{{{name}}}", list(name))),
        };
        if self.sender.try_send(Report { about, warning, reason, message }).is_err() {
            tracing::debug!("too many events, one was dropped");
        }
    }
}

type Identity = (Option<String>, Option<String>, &'static str, String);

/// Writes events.
pub(crate) struct Writer {
    client: Client,
    node: String,
    reports: mpsc::Receiver<Report>,
    known: HashMap<Identity, (String, i32)>,
    order: VecDeque<Identity>,
    serial: u32,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Writes events until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let report = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                report = self.reports.recv() => report,
            };
            let Some(report) = report else { return };
            if let Err(error) = self.write(report).await {
                tracing::debug!(%error, "could not write an event");
            }
        }
    }

    async fn write(&mut self, report: Report) -> Result<(), kube::Error> {
        let namespace = report.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        let about = &report.about;
        let identity = (about.uid.clone(), about.field_path.clone(), report.reason, report.message.clone());
        if let Some((name, count)) = self.known.get_mut(&identity) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": Time(now())});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other.map(drop),
            }
        }
        let event = self.new_event(report, &namespace);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        if self.known.insert(identity.clone(), (name, 1)).is_none() {
            self.order.push_back(identity);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        Ok(())
    }

    fn new_event(&mut self, report: Report, namespace: &str) -> Event {
        let time = now();
        self.serial = self.serial.wrapping_add(1);
        let suffix = format!("{:x}{:04x}", time.as_microsecond(), self.serial & 0xffff);
        let name = format!("{}.{suffix}", report.about.name.as_deref().unwrap_or("unnamed"));
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(if report.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(report.reason.to_owned()),
            message: Some(report.message),
            count: Some(1),
            first_timestamp: Some(Time(time)),
            last_timestamp: Some(Time(time)),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(self.node.clone()),
            }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.node.clone()),
            involved_object: report.about,
            ..Event::default()
        }
    }
}

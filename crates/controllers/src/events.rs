//! Events as users see them in `kubectl describe`.
//!
//! Recording never waits and never fails the caller: events go through a bounded channel to one task, which counts
//! repetitions instead of writing them again. When the channel is full the event is dropped.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::now;

/// Events that may wait to be written.
const BACKLOG: usize = 1024;
/// Events whose repetitions are counted.
const REMEMBERED: usize = 512;

/// How an event is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    /// Normal or Warning.
    pub severity: Severity,
    /// One CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Happening {
    /// Returns a Normal one.
    pub(crate) fn normal(reason: &'static str, message: String) -> Self {
        Self { severity: Severity::Normal, reason, message }
    }

    /// Returns a Warning.
    pub(crate) fn warning(reason: &'static str, message: String) -> Self {
        Self { severity: Severity::Warning, reason, message }
    }
}

#[derive(Debug)]
struct Report {
    component: &'static str,
    about: ObjectReference,
    happening: Happening,
}

/// Takes events and passes them on.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Report>,
}

impl Recorder {
    /// Returns a recorder and the task that writes what it takes.
    pub(crate) fn new(client: Client) -> (Self, Writer) {
        let (sender, reports) = mpsc::channel(BACKLOG);
        (
            Self { sender },
            Writer { client, reports, known: HashMap::new(), order: VecDeque::new(), serial: 0 },
        )
    }

    /// Records what `component` did to `object`.
    pub(crate) fn record<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        object: &K,
        happening: Happening,
    ) {
        let meta = object.meta();
        let about = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        if self.sender.try_send(Report { component, about, happening }).is_err() {
            tracing::debug!("too many events, one was dropped");
        }
    }
}

type Identity = (Option<String>, &'static str, String);

/// Writes events.
pub(crate) struct Writer {
    client: Client,
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
        let identity = (report.about.uid.clone(), report.happening.reason, report.happening.message.clone());
        if let Some((name, count)) = self.known.get_mut(&identity) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": Time(now())});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(error) if crate::queue::is_not_found(&error) => {}
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
            type_: Some(report.happening.severity.as_str().to_owned()),
            reason: Some(report.happening.reason.to_owned()),
            message: Some(report.happening.message),
            count: Some(1),
            first_timestamp: Some(Time(time)),
            last_timestamp: Some(Time(time)),
            source: Some(EventSource { component: Some(report.component.to_owned()), host: None }),
            reporting_component: Some(report.component.to_owned()),
            reporting_instance: Some(String::new()),
            involved_object: report.about,
            ..Event::default()
        }
    }
}

//! The end that writes them.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::recorder::Report;

/// Events whose repetitions are counted.
const REMEMBERED: usize = 512;

/// What makes two events the same: object, part, reason, message.
type Identity = (Option<String>, Option<String>, &'static str, String);

/// Writes events.
pub struct Writer {
    client: Client,
    node: Option<String>,
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
    pub(crate) fn new(client: Client, node: Option<&str>, reports: mpsc::Receiver<Report>) -> Self {
        let node = node.map(ToOwned::to_owned);
        Self { client, node, reports, known: HashMap::new(), order: VecDeque::new(), serial: 0 }
    }

    /// Writes events until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
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
        let (about, happening) = (&report.about, &report.happening);
        let identity =
            (about.uid.clone(), about.field_path.clone(), happening.reason, happening.message.clone());
        if let Some((name, count)) = self.known.get_mut(&identity) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": Time(now())});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                // It has expired: it begins anew.
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
            type_: Some(report.happening.severity.as_str().to_owned()),
            reason: Some(report.happening.reason.to_owned()),
            message: Some(report.happening.message),
            count: Some(1),
            first_timestamp: Some(Time(time)),
            last_timestamp: Some(Time(time)),
            source: Some(EventSource {
                component: Some(report.component.to_owned()),
                host: self.node.clone(),
            }),
            reporting_component: Some(report.component.to_owned()),
            reporting_instance: Some(self.node.clone().unwrap_or_default()),
            involved_object: report.about,
            ..Event::default()
        }
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

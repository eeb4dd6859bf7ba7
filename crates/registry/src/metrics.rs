//! Numbers of what happened, as Prometheus reads them. Spec: its text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the ranges that durations are counted in, in milliseconds.
const RANGES: [u64; 7] = [1, 5, 25, 100, 500, 2_500, 10_000];

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By method, place and status.
    answered: Mutex<BTreeMap<(String, &'static str, u16), u64>>,
    /// By place.
    durations: Mutex<BTreeMap<&'static str, Durations>>,
    pub(crate) received: AtomicU64,
    sent: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Durations {
    ranges: [u64; RANGES.len()],
    count: u64,
    micros: u64,
}

/// An answer that was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) method: &'a http::Method,
    /// What kind of place was asked for.
    pub(crate) place: &'static str,
    pub(crate) status: u16,
    /// Time until its head was sent.
    pub(crate) took: Duration,
    /// Bytes that it has.
    pub(crate) bytes: u64,
}

/// What is so at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    pub(crate) connections: usize,
    pub(crate) uploads: usize,
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, Answer { method, place, status, took, bytes }: Answer<'_>) {
        // Methods that nobody knows are one: whoever makes them up must not fill the memory.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let method = if known.contains(&method.as_str()) { method.as_str() } else { "other" };
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *answered.entry((method.to_owned(), place, status)).or_default() += 1;
        drop(answered);
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        let durations = durations.entry(place).or_default();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        durations.count += 1;
        durations.micros = durations.micros.saturating_add(micros);
        for (range, end) in durations.ranges.iter_mut().zip(RANGES) {
            *range += u64::from(micros <= end * 1000);
        }
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the text that Prometheus reads.
    pub(crate) fn text(&self, gauges: Gauges) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, lines: &[(String, String)]| {
            let name = format!("shipway_registry_{name}");
            let mut out = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for (labels, value) in lines {
                writeln!(out, "{name}{labels} {value}").expect("text grows");
            }
            text.push_str(&out);
        };
        let one = |value: u64| vec![(String::new(), value.to_string())];
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<_> = answered
            .iter()
            .map(|((method, place, status), count)| {
                let labels = format!("{{method=\"{method}\",place=\"{place}\",status=\"{status}\"}}");
                (labels, count.to_string())
            })
            .collect();
        drop(answered);
        family("requests_total", "counter", "Requests that were answered.", &lines);
        let durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for (place, durations) in durations.iter() {
            for (count, end) in durations.ranges.iter().zip(RANGES) {
                let end = Duration::from_millis(end).as_secs_f64();
                lines.push((format!("_bucket{{place=\"{place}\",le=\"{end}\"}}"), count.to_string()));
            }
            let seconds = Duration::from_micros(durations.micros).as_secs_f64();
            lines.push((format!("_bucket{{place=\"{place}\",le=\"+Inf\"}}"), durations.count.to_string()));
            lines.push((format!("_sum{{place=\"{place}\"}}"), seconds.to_string()));
            lines.push((format!("_count{{place=\"{place}\"}}"), durations.count.to_string()));
        }
        drop(durations);
        let help = "Time until the head of the answer, in seconds.";
        family("request_duration_seconds", "histogram", help, &lines);
        let received = self.received.load(Ordering::Relaxed);
        family("received_bytes_total", "counter", "Bytes of blobs and manifests that came.", &one(received));
        let sent = self.sent.load(Ordering::Relaxed);
        family("sent_bytes_total", "counter", "Bytes of answers, as announced.", &one(sent));
        family("connections", "gauge", "Connections that are open.", &one(gauges.connections as u64));
        family("uploads", "gauge", "Uploads that have begun and not ended.", &one(gauges.uploads as u64));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted_once() {
        let metrics = Metrics::default();
        let blob =
            |took, bytes| Answer { method: &http::Method::GET, place: "blob", status: 200, took, bytes };
        metrics.answered(blob(Duration::from_millis(3), 10));
        metrics.answered(blob(Duration::from_secs(20), 5));
        let unknown = "BREW".parse().unwrap();
        let nothing = Answer { method: &unknown, place: "nothing", status: 405, ..blob(Duration::ZERO, 0) };
        metrics.answered(nothing);
        metrics.received.fetch_add(7, Ordering::Relaxed);
        let text = metrics.text(Gauges { connections: 2, uploads: 1 });
        for line in [
            "# TYPE shipway_registry_requests_total counter",
            "shipway_registry_requests_total{method=\"GET\",place=\"blob\",status=\"200\"} 2",
            "shipway_registry_requests_total{method=\"other\",place=\"nothing\",status=\"405\"} 1",
            "shipway_registry_request_duration_seconds_bucket{place=\"blob\",le=\"0.001\"} 0",
            "shipway_registry_request_duration_seconds_bucket{place=\"blob\",le=\"0.005\"} 1",
            "shipway_registry_request_duration_seconds_bucket{place=\"blob\",le=\"10\"} 1",
            "shipway_registry_request_duration_seconds_bucket{place=\"blob\",le=\"+Inf\"} 2",
            "shipway_registry_request_duration_seconds_sum{place=\"blob\"} 20.003",
            "shipway_registry_received_bytes_total 7",
            "shipway_registry_sent_bytes_total 15",
            "shipway_registry_connections 2",
            "shipway_registry_uploads 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}

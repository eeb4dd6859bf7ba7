//! The row of a pod: its one-word status is worked out from phase, conditions and container states.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::age::{human_duration, parse_time, since};
use super::cell::{NONE, at, condition_is_true, int, list, or, text};

pub(super) const COLUMNS: &str =
    "Name:name|Ready|Status|Restarts|Age|+IP|+Node|+Nominated Node|+Readiness Gates";

pub(super) fn row(pod: &Value, now: OffsetDateTime) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart {
        Some(at) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, human_duration((now - at).whole_seconds()))
        }
        _ => summary.restarts.to_string(),
    };
    vec![
        json!(text(pod, "/metadata/name")),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        json!(since(at(pod, "/metadata/creationTimestamp"), now)),
        json!(or(or(text(pod, "/status/podIPs/0/ip"), text(pod, "/status/podIP")), NONE)),
        json!(or(text(pod, "/spec/nodeName"), NONE)),
        json!(or(text(pod, "/status/nominatedNodeName"), NONE)),
        json!(readiness_gates(pod)),
    ]
}

/// Returns the table row's conditions: clients hide finished pods by them.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let passed = gates.iter().filter(|gate| condition_is_true(pod, text(gate, "/conditionType"))).count();
    format!("{passed}/{}", gates.len())
}

struct Summary {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<OffsetDateTime>,
    reason: String,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let mut summary = Self {
            ready: 0,
            total: list(pod, "/spec/containers").len(),
            restarts: 0,
            last_restart: None,
            reason: or(text(pod, "/status/reason"), text(pod, "/status/phase")).to_owned(),
        };
        let gated = list(pod, "/status/conditions").iter().any(|condition| {
            text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated"
        });
        if gated {
            "SchedulingGated".clone_into(&mut summary.reason);
        }
        summary.total += list(pod, "/spec/initContainers").iter().filter(|one| is_sidecar(one)).count();
        let initializing = summary.add_init_containers(pod);
        if !initializing || condition_is_true(pod, "Initialized") {
            summary.add_containers(pod);
        }
        if !at(pod, "/metadata/deletionTimestamp").is_null() {
            if text(pod, "/status/reason") == "NodeLost" {
                "Unknown".clone_into(&mut summary.reason);
            } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
                "Terminating".clone_into(&mut summary.reason);
            }
        }
        summary
    }

    /// Returns whether an init container still stands before the others.
    fn add_init_containers(&mut self, pod: &Value) -> bool {
        let specs = list(pod, "/spec/initContainers");
        for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
            self.add_restarts(status);
            let sidecar =
                specs.iter().any(|spec| text(spec, "/name") == text(status, "/name") && is_sidecar(spec));
            let terminated = at(status, "/state/terminated");
            if !terminated.is_null() && int(terminated, "/exitCode") == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let waiting = text(status, "/state/waiting/reason");
            self.reason = if !terminated.is_null() {
                format!("Init:{}", terminated_reason(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", specs.len())
            };
            return true;
        }
        false
    }

    fn add_containers(&mut self, pod: &Value) {
        // From here on only the restarts of containers that live on count.
        let specs = list(pod, "/spec/initContainers");
        self.restarts = 0;
        self.last_restart = None;
        for status in list(pod, "/status/initContainerStatuses") {
            if specs.iter().any(|spec| text(spec, "/name") == text(status, "/name") && is_sidecar(spec)) {
                self.add_restarts(status);
            }
        }
        let mut running = false;
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            self.add_restarts(status);
            let waiting = text(status, "/state/waiting/reason");
            let terminated = at(status, "/state/terminated");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if !terminated.is_null() {
                self.reason = terminated_reason(terminated);
            } else if status["ready"] == true && !at(status, "/state/running").is_null() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = condition_is_true(pod, "Ready");
            if ready { "Running" } else { "NotReady" }.clone_into(&mut self.reason);
        }
    }

    fn add_restarts(&mut self, status: &Value) {
        self.restarts += int(status, "/restartCount");
        let finished = parse_time(at(status, "/lastState/terminated/finishedAt"));
        self.last_restart = self.last_restart.max(finished);
    }
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn terminated_reason(terminated: &Value) -> String {
    let reason = text(terminated, "/reason");
    let signal = int(terminated, "/signal");
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", int(terminated, "/exitCode"))
    }
}

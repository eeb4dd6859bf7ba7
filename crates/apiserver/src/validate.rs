//! Validation per kind: what people get wrong, said the way upstream says it.
//!
//! The schema decides sorts of values and allowed words; the rest is an own table of rules. Rules look at completed
//! objects, so a default is never reported as missing.
// Compat: kubernetes pkg/apis/*/validation

mod container;
mod format;
mod metadata;
mod network;
mod other;
mod pod;
mod workload;

use serde_json::Value;

use crate::Kind;
use crate::openapi::{Misfit, misfits};

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value is missing.
    Required,
    /// A value is not acceptable.
    Invalid,
    /// A value is not among the known ones.
    NotSupported,
    /// A value occurs twice.
    Duplicate,
    /// A value must not be set here.
    Forbidden,
    /// A value is too long.
    TooLong,
    /// A value names something that is not there.
    NotFound,
}

impl FieldErrorKind {
    /// Returns the machine-readable reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::NotFound => "Not found",
        }
    }
}

/// One thing wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Path, such as `spec.containers[0].name`.
    pub field: String,
    /// What sort of error.
    pub kind: FieldErrorKind,
    /// The value found.
    pub value: Value,
    /// Why it is wrong.
    pub detail: String,
}

impl FieldError {
    /// Returns the message without the field.
    pub fn body(&self) -> String {
        let text = self.kind.text();
        match (self.kind, self.detail.is_empty()) {
            (FieldErrorKind::Required | FieldErrorKind::Forbidden | FieldErrorKind::TooLong, true) => {
                text.to_owned()
            }
            (FieldErrorKind::Required | FieldErrorKind::Forbidden | FieldErrorKind::TooLong, false) => {
                format!("{text}: {}", self.detail)
            }
            (_, true) => format!("{text}: {}", self.value),
            (_, false) => format!("{text}: {}: {}", self.value, self.detail),
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Returns what is wrong with `new`, which replaces `old`.
pub fn check(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let mut readable = true;
    for misfit in misfits(kind, new) {
        match misfit {
            Misfit::Sort { path, value, must, .. } => {
                readable = false;
                errors.invalid(path, value, must);
            }
            Misfit::Choice { path, value, allowed } => errors.unsupported(path, value, &allowed),
        }
    }
    // Rules look into fields: only when these are what they should be.
    if readable {
        metadata::check(&mut errors, new, "metadata");
        rules(&mut errors, kind, new, old);
    }
    errors.0
}

/// Returns what is wrong with an object of which only the status and the metadata can have changed.
pub(crate) fn check_status(new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::check(&mut errors, new, "metadata");
    errors.0
}

fn rules(errors: &mut Errors, kind: &Kind, new: &Value, old: Option<&Value>) {
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::check(errors, new, old),
        ("apps", "Deployment") => workload::deployment(errors, new, old),
        ("apps", "ReplicaSet") => workload::replica_set(errors, new, old),
        ("apps", "StatefulSet") => workload::stateful_set(errors, new, old),
        ("apps", "DaemonSet") => workload::daemon_set(errors, new, old),
        ("", "ReplicationController") => workload::replication_controller(errors, new),
        ("batch", "Job") => workload::job(errors, new, old),
        ("batch", "CronJob") => workload::cron_job(errors, new),
        ("autoscaling", _) => workload::autoscaler(errors, new),
        ("policy", "PodDisruptionBudget") => workload::disruption_budget(errors, new),
        ("", "Service") => network::service(errors, new, old),
        ("", "Endpoints") => network::endpoints(errors, new),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(errors, new, old),
        ("networking.k8s.io", "Ingress") => network::ingress(errors, new),
        ("", "ConfigMap") => other::config_map(errors, new, old),
        ("", "Secret") => other::secret(errors, new, old),
        ("", "PersistentVolumeClaim") => other::claim(errors, new, old),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => other::role(errors, new),
        ("rbac.authorization.k8s.io", _) => other::binding(errors, new, old),
        _ => {}
    }
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, kind: FieldErrorKind, field: impl Into<String>, value: Value, detail: &str) {
        self.0.push(FieldError { field: field.into(), kind, value, detail: detail.to_owned() });
    }

    fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.add(FieldErrorKind::Required, field, Value::Null, detail);
    }

    fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, detail: &str) {
        self.add(FieldErrorKind::Invalid, field, value.into(), detail);
    }

    /// `allowed` lists quoted values.
    fn unsupported(&mut self, field: impl Into<String>, value: impl Into<Value>, allowed: &str) {
        let detail = format!("supported values: {allowed}");
        self.add(FieldErrorKind::NotSupported, field, value.into(), &detail);
    }

    fn duplicate(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.add(FieldErrorKind::Duplicate, field, value.into(), "");
    }

    fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.add(FieldErrorKind::Forbidden, field, Value::Null, detail);
    }

    fn not_found(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.add(FieldErrorKind::NotFound, field, value.into(), "");
    }

    /// Adds an error if `field` has changed.
    fn immutable(&mut self, field: &str, new: &Value, old: Option<&Value>) {
        if let Some(old) = old
            && old != new
        {
            self.invalid(field, new.clone(), "field is immutable");
        }
    }

    /// Adds an error if the number at `field` is below zero.
    fn not_negative(&mut self, field: impl Into<String>, value: &Value) {
        if value.as_i64().is_some_and(|number| number < 0) {
            self.invalid(field, value.clone(), "must be greater than or equal to 0");
        }
    }

    /// Adds an error if the text is no name of a port or the number is none.
    fn port(&mut self, field: impl Into<String>, value: &Value) {
        match value {
            Value::Number(number) if !number.as_i64().is_some_and(|port| (1..=65_535).contains(&port)) => {
                self.invalid(field, value.clone(), "must be between 1 and 65535, inclusive");
            }
            Value::String(name) => {
                if let Some(detail) = format::port_name(name) {
                    self.invalid(field, value.clone(), detail);
                }
            }
            _ => {}
        }
    }
}

/// Returns the list in a field.
fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns the text in a field, empty if there is none.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;

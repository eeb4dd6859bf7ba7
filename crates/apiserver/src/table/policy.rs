//! Rows of access rules, admission, certificates, priorities and the remaining groups.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::age::{human_duration, since};
use super::cell::{NONE, UNSET, at, condition_is_true, count, int, list, or, scalar, text};

fn head(object: &Value) -> Value {
    json!(text(object, "/metadata/name"))
}

fn age(object: &Value, now: OffsetDateTime) -> Value {
    json!(since(at(object, "/metadata/creationTimestamp"), now))
}

pub(super) const BINDING: &str = "Name:name|Role|Age|+Users|+Groups|+ServiceAccounts";

pub(super) fn binding(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        let names: Vec<String> = list(object, "/subjects")
            .iter()
            .filter(|subject| text(subject, "/kind") == kind)
            .map(|subject| match text(subject, "/namespace") {
                namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(subject, "/name")),
                _ => text(subject, "/name").to_owned(),
            })
            .collect();
        json!(names.join(", "))
    };
    vec![
        head(object),
        json!(format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"))),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

pub(super) const PRIORITY_CLASS: &str = "Name:name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy";

pub(super) fn priority_class(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![
        head(object),
        json!(int(object, "/value")),
        json!(at(object, "/globalDefault").as_bool().unwrap_or_default()),
        age(object, now),
        json!(text(object, "/preemptionPolicy")),
    ]
}

pub(super) const RUNTIME_CLASS: &str = "Name:name|Handler|Age";

pub(super) fn runtime_class(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(text(object, "/handler")), age(object, now)]
}

pub(super) const SIGNING_REQUEST: &str = "Name:name|Age|SignerName|Requestor|RequestedDuration|Condition";

pub(super) fn signing_request(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let lasting = at(object, "/spec/expirationSeconds").as_i64();
    let mut conditions: Vec<&str> = ["Approved", "Denied", "Failed"]
        .into_iter()
        .filter(|kind| {
            list(object, "/status/conditions").iter().any(|condition| text(condition, "/type") == *kind)
        })
        .collect();
    if conditions.is_empty() {
        conditions.push("Pending");
    }
    if !text(object, "/status/certificate").is_empty() {
        conditions.push("Issued");
    }
    vec![
        head(object),
        age(object, now),
        json!(or(text(object, "/spec/signerName"), NONE)),
        json!(text(object, "/spec/username")),
        json!(lasting.map_or_else(|| NONE.to_owned(), human_duration)),
        json!(conditions.join(",")),
    ]
}

pub(super) const WEBHOOKS: &str = "Name:name|Webhooks:integer|Age";

pub(super) fn webhooks(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(count(object, "/webhooks")), age(object, now)]
}

pub(super) const VALIDATING_POLICY: &str = "Name:name|Validations:integer|ParamKind|Age";
pub(super) const MUTATING_POLICY: &str = "Name:name|Mutations:integer|ParamKind|Age";

pub(super) fn validating_policy(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    admission_policy(object, now, "/spec/validations")
}

pub(super) fn mutating_policy(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    admission_policy(object, now, "/spec/mutations")
}

fn admission_policy(object: &Value, now: OffsetDateTime, rules: &str) -> Vec<Value> {
    let kind = at(object, "/spec/paramKind");
    let kind = if kind.is_null() {
        UNSET.to_owned()
    } else {
        format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind"))
    };
    vec![head(object), json!(count(object, rules)), json!(kind), age(object, now)]
}

pub(super) const POLICY_BINDING: &str = "Name:name|PolicyName|ParamRef|Age";

pub(super) fn policy_binding(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let reference = at(object, "/spec/paramRef");
    let name = text(reference, "/name");
    let reference = match (reference.is_null(), text(reference, "/namespace")) {
        (true, _) => UNSET.to_owned(),
        (false, "") => or(name, "*").to_owned(),
        (false, namespace) => format!("{namespace}/{}", or(name, "*")),
    };
    vec![head(object), json!(text(object, "/spec/policyName")), json!(reference), age(object, now)]
}

pub(super) const API_SERVICE: &str = "Name:name|Service|Available|Age";

pub(super) fn api_service(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let service = at(object, "/spec/service");
    let service = if service.is_null() {
        "Local".to_owned()
    } else {
        format!("{}/{}", text(service, "/namespace"), text(service, "/name"))
    };
    let available = if condition_is_true(object, "Available") {
        "True".to_owned()
    } else {
        list(object, "/status/conditions")
            .iter()
            .find(|condition| text(condition, "/type") == "Available")
            .map_or_else(
                || "Unknown".to_owned(),
                |condition| format!("{} ({})", text(condition, "/status"), text(condition, "/reason")),
            )
    };
    vec![head(object), json!(service), json!(available), age(object, now)]
}

pub(super) const FLOW_SCHEMA: &str =
    "Name:name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL";

pub(super) fn flow_schema(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let dangling = list(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == "Dangling")
        .map_or("?", |condition| text(condition, "/status"));
    vec![
        head(object),
        json!(text(object, "/spec/priorityLevelConfiguration/name")),
        json!(int(object, "/spec/matchingPrecedence")),
        json!(or(text(object, "/spec/distinguisherMethod/type"), NONE)),
        age(object, now),
        json!(dangling),
    ]
}

pub(super) const PRIORITY_LEVEL: &str =
    "Name:name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age";

pub(super) fn priority_level(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let number = |pointer: &str| match at(object, pointer) {
        Value::Null => json!(NONE),
        value => value.clone(),
    };
    let queuing = "/spec/limited/limitResponse/queuing";
    let shares = match text(object, "/spec/type") {
        "Limited" => number("/spec/limited/nominalConcurrencyShares"),
        _ => json!(NONE),
    };
    vec![
        head(object),
        json!(text(object, "/spec/type")),
        shares,
        number(&format!("{queuing}/queues")),
        number(&format!("{queuing}/handSize")),
        number(&format!("{queuing}/queueLengthLimit")),
        age(object, now),
    ]
}

pub(super) const RESOURCE_CLAIM: &str = "Name:name|State|Age";

pub(super) fn resource_claim(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let mut states = Vec::new();
    if !at(object, "/metadata/deletionTimestamp").is_null() {
        states.push("deleted");
    }
    if at(object, "/status/allocation").is_null() {
        if states.is_empty() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
    }
    if count(object, "/status/reservedFor") > 0 {
        states.push("reserved");
    }
    vec![head(object), json!(states.join(",")), age(object, now)]
}

pub(super) const RESOURCE_SLICE: &str = "Name:name|Node|Driver|Pool|Age";

pub(super) fn resource_slice(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let node = if at(object, "/spec/allNodes") == true { "<all>" } else { text(object, "/spec/nodeName") };
    vec![
        head(object),
        json!(or(node, UNSET)),
        json!(text(object, "/spec/driver")),
        json!(text(object, "/spec/pool/name")),
        age(object, now),
    ]
}

pub(super) const CREATED_AT: &str = "Name:name|Created At:date";

pub(super) fn created_at(object: &Value, _now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(scalar(at(object, "/metadata/creationTimestamp")).replace("null", "<unknown>"))]
}

//! The kinds that own pods.

use serde_json::Value;

use super::{Errors, list, metadata, pod, text};

const ALWAYS: &[&str] = &["Always"];
const TO_AN_END: &[&str] = &["OnFailure", "Never"];

fn counts(errors: &mut Errors, spec: &Value, fields: &[&str]) {
    for field in fields {
        errors.not_negative(format!("spec.{field}"), &spec[*field]);
    }
}

/// The selector is there, says something, matches the template, and stays.
fn selected(errors: &mut Errors, new: &Value, old: Option<&Value>, kind: &str) {
    let spec = &new["spec"];
    let selector = &spec["selector"];
    if selector.is_null() {
        errors.required("spec.selector", "");
    } else if metadata::is_empty(selector) {
        errors.invalid("spec.selector", selector.clone(), &format!("empty selector is invalid for {kind}"));
    } else {
        metadata::selector(errors, selector, "spec.selector");
        let labels = &spec["template"]["metadata"]["labels"];
        if !metadata::matches(selector, labels) {
            errors.invalid(
                "spec.template.metadata.labels",
                labels.clone(),
                "`selector` does not match template `labels`",
            );
        }
    }
    let claims = list(spec, "volumeClaimTemplates");
    pod::template_with_claims(errors, &spec["template"], "spec.template", ALWAYS, claims);
    errors.immutable("spec.selector", selector, old.map(|old| &old["spec"]["selector"]));
}

/// Returns a count or percentage as (number, is a percentage); reports what is neither.
fn portion(errors: &mut Errors, path: &str, value: &Value) -> Option<(i64, bool)> {
    if let Some(number) = value.as_i64() {
        errors.not_negative(path, value);
        return Some((number, false));
    }
    let text = value.as_str()?;
    let number = text.strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok());
    let Some(number) = number else {
        let detail = "a valid percent string must be a numeric string followed by an ending '%'";
        errors.invalid(path, text, detail);
        return None;
    };
    Some((i64::from(number), true))
}

pub(super) fn deployment(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let spec = &new["spec"];
    counts(errors, spec, &["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]);
    selected(errors, new, old, "deployment");
    let strategy = &spec["strategy"];
    let rolling = &strategy["rollingUpdate"];
    if text(strategy, "type") == "Recreate" && rolling.is_object() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        errors.forbidden("spec.strategy.rollingUpdate", detail);
    } else if rolling.is_object() {
        let path = "spec.strategy.rollingUpdate";
        let down = portion(errors, &format!("{path}.maxUnavailable"), &rolling["maxUnavailable"]);
        let up = portion(errors, &format!("{path}.maxSurge"), &rolling["maxSurge"]);
        if let (Some((0, _)), Some((0, _))) = (down, up) {
            errors.invalid(
                format!("{path}.maxUnavailable"),
                rolling["maxUnavailable"].clone(),
                "may not be 0 when `maxSurge` is 0",
            );
        }
        if down.is_some_and(|(share, percent)| percent && share > 100) {
            let value = rolling["maxUnavailable"].clone();
            errors.invalid(format!("{path}.maxUnavailable"), value, "must not be greater than 100%");
        }
    }
    let (deadline, ready) = (&spec["progressDeadlineSeconds"], &spec["minReadySeconds"]);
    if deadline.as_i64().is_some_and(|deadline| deadline <= ready.as_i64().unwrap_or_default()) {
        let detail = "must be greater than minReadySeconds";
        errors.invalid("spec.progressDeadlineSeconds", deadline.clone(), detail);
    }
}

pub(super) fn replica_set(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    counts(errors, &new["spec"], &["replicas", "minReadySeconds"]);
    selected(errors, new, old, "replicaset");
}

pub(super) fn replication_controller(errors: &mut Errors, new: &Value) {
    let spec = &new["spec"];
    counts(errors, spec, &["replicas", "minReadySeconds"]);
    let labels = &spec["template"]["metadata"]["labels"];
    let selector = &spec["selector"];
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        errors.required("spec.selector", "");
    } else if selector.as_object().into_iter().flatten().any(|(key, value)| labels.get(key) != Some(value)) {
        let detail = "`selector` does not match template `labels`";
        errors.invalid("spec.template.metadata.labels", labels.clone(), detail);
    }
    pod::template(errors, &spec["template"], "spec.template", ALWAYS);
}

pub(super) fn stateful_set(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    counts(errors, &new["spec"], &["replicas", "minReadySeconds", "revisionHistoryLimit"]);
    selected(errors, new, None, "statefulset");
    const MAY_CHANGE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if old.is_some_and(|old| !pod::only_changed(&new["spec"], &old["spec"], MAY_CHANGE)) {
        let fields: Vec<String> = MAY_CHANGE.iter().map(|field| format!("'{field}'")).collect();
        let detail =
            format!("updates to statefulset spec for fields other than {} are forbidden", fields.join(", "));
        errors.forbidden("spec", &detail);
    }
}

pub(super) fn daemon_set(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    counts(errors, &new["spec"], &["minReadySeconds", "revisionHistoryLimit"]);
    selected(errors, new, old, "daemonset");
}

pub(super) fn job(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let spec = &new["spec"];
    job_spec(errors, spec, "spec");
    let Some(old) = old.map(|old| &old["spec"]) else { return };
    errors.immutable("spec.selector", &spec["selector"], Some(&old["selector"]));
    errors.immutable("spec.completionMode", &spec["completionMode"], Some(&old["completionMode"]));
    // A suspended job that has not started may still be placed elsewhere.
    if old["suspend"] != true {
        errors.immutable("spec.template", &spec["template"], Some(&old["template"]));
        if text(spec, "completionMode") != "Indexed" {
            errors.immutable("spec.completions", &spec["completions"], Some(&old["completions"]));
        }
    }
}

fn job_spec(errors: &mut Errors, spec: &Value, path: &str) {
    for field in
        ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"]
    {
        errors.not_negative(format!("{path}.{field}"), &spec[field]);
    }
    if text(spec, "completionMode") == "Indexed" && spec["completions"].is_null() {
        errors.required(format!("{path}.completions"), "when completion mode is Indexed");
    }
    pod::template(errors, &spec["template"], &format!("{path}.template"), TO_AN_END);
}

pub(super) fn cron_job(errors: &mut Errors, new: &Value) {
    let spec = &new["spec"];
    let schedule = text(spec, "schedule");
    if schedule.is_empty() {
        errors.required("spec.schedule", "");
    } else if !is_schedule(schedule) {
        errors.invalid("spec.schedule", schedule, "expected exactly 5 fields, or a word such as @hourly");
    }
    counts(
        errors,
        spec,
        &["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
    );
    // Eleven characters go to the names of its jobs.
    let name = text(&new["metadata"], "name");
    if name.len() > 52 {
        errors.invalid("metadata.name", name, "must be no more than 52 characters");
    }
    job_spec(errors, &spec["jobTemplate"]["spec"], "spec.jobTemplate.spec");
}

fn is_schedule(text: &str) -> bool {
    if let Some(word) = text.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        return known.contains(&word) || word.starts_with("every ");
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "*/,-?".contains(c);
    fields.len() == 5 && fields.iter().all(|field| field.chars().all(allowed))
}

pub(super) fn autoscaler(errors: &mut Errors, new: &Value) {
    let spec = &new["spec"];
    let (least, most) =
        (spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64().unwrap_or(0));
    if most < 1 {
        errors.invalid("spec.maxReplicas", most, "must be greater than 0");
    } else if least > most {
        errors.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`");
    }
    for field in ["kind", "name"] {
        if text(&spec["scaleTargetRef"], field).is_empty() {
            errors.required(format!("spec.scaleTargetRef.{field}"), "");
        }
    }
}

pub(super) fn disruption_budget(errors: &mut Errors, new: &Value) {
    let spec = &new["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        errors.invalid("spec", spec.clone(), "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let _known = portion(errors, &format!("spec.{field}"), &spec[field]);
    }
    metadata::selector(errors, &spec["selector"], "spec.selector");
}

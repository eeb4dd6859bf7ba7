//! Rows of volumes, claims and storage classes.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::age::since;
use super::cell::{NONE, UNSET, access_modes, at, count, or, scalar, text};

fn head(object: &Value) -> Value {
    json!(text(object, "/metadata/name"))
}

fn age(object: &Value, now: OffsetDateTime) -> Value {
    json!(since(at(object, "/metadata/creationTimestamp"), now))
}

fn phase(object: &Value) -> &str {
    if at(object, "/metadata/deletionTimestamp").is_null() {
        text(object, "/status/phase")
    } else {
        "Terminating"
    }
}

pub(super) const VOLUME: &str = "Name:name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|+VolumeMode";

pub(super) fn volume(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let claim = at(object, "/spec/claimRef");
    let claim = if claim.is_null() {
        String::new()
    } else {
        format!("{}/{}", text(claim, "/namespace"), text(claim, "/name"))
    };
    vec![
        head(object),
        json!(text(object, "/spec/capacity/storage")),
        json!(access_modes(object, "/spec/accessModes")),
        json!(text(object, "/spec/persistentVolumeReclaimPolicy")),
        json!(phase(object)),
        json!(claim),
        json!(text(object, "/spec/storageClassName")),
        json!(or(text(object, "/spec/volumeAttributesClassName"), UNSET)),
        json!(text(object, "/status/reason")),
        age(object, now),
        json!(or(text(object, "/spec/volumeMode"), UNSET)),
    ]
}

pub(super) const CLAIM: &str =
    "Name:name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|+VolumeMode";

pub(super) fn claim(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let volume = text(object, "/spec/volumeName");
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = text(object, "/status/capacity/storage").to_owned();
        (capacity, access_modes(object, "/status/accessModes"))
    };
    vec![
        head(object),
        json!(phase(object)),
        json!(volume),
        json!(capacity),
        json!(modes),
        json!(text(object, "/spec/storageClassName")),
        json!(or(text(object, "/spec/volumeAttributesClassName"), UNSET)),
        age(object, now),
        json!(or(text(object, "/spec/volumeMode"), UNSET)),
    ]
}

pub(super) const CLASS: &str =
    "Name:name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age";

pub(super) fn class(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let mut name = text(object, "/metadata/name").to_owned();
    if object["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true" {
        name.push_str(" (default)");
    }
    vec![
        json!(name),
        json!(text(object, "/provisioner")),
        json!(or(text(object, "/reclaimPolicy"), "Delete")),
        json!(or(text(object, "/volumeBindingMode"), "Immediate")),
        json!(at(object, "/allowVolumeExpansion").as_bool().unwrap_or_default()),
        age(object, now),
    ]
}

pub(super) const ATTACHMENT: &str = "Name:name|Attacher:name|PV|Node|Attached:boolean|Age";

pub(super) fn attachment(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![
        head(object),
        json!(text(object, "/spec/attacher")),
        json!(text(object, "/spec/source/persistentVolumeName")),
        json!(text(object, "/spec/nodeName")),
        json!(at(object, "/status/attached").as_bool().unwrap_or_default()),
        age(object, now),
    ]
}

pub(super) const DRIVER: &str = "Name:name|AttachRequired:boolean|PodInfoOnMount:boolean|StorageCapacity:boolean|TokenRequests|RequiresRepublish:boolean|Modes|Age";

pub(super) fn driver(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let flag = |pointer, default| json!(at(object, pointer).as_bool().unwrap_or(default));
    let modes: Vec<String> =
        super::cell::list(object, "/spec/volumeLifecycleModes").iter().map(scalar).collect();
    let tokens: Vec<String> = super::cell::list(object, "/spec/tokenRequests")
        .iter()
        .map(|request| text(request, "/audience").to_owned())
        .collect();
    vec![
        head(object),
        flag("/spec/attachRequired", true),
        flag("/spec/podInfoOnMount", false),
        flag("/spec/storageCapacity", false),
        json!(or(&tokens.join(","), UNSET)),
        flag("/spec/requiresRepublish", false),
        json!(or(&modes.join(","), NONE)),
        age(object, now),
    ]
}

pub(super) const STORAGE_NODE: &str = "Name:name|Drivers:integer|Age";

pub(super) fn storage_node(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(count(object, "/spec/drivers")), age(object, now)]
}

pub(super) const ATTRIBUTES_CLASS: &str = "Name:name|DriverName|Age";

pub(super) fn attributes_class(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(text(object, "/driverName")), age(object, now)]
}

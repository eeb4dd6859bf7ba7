use http::StatusCode;
use serde_json::json;

use crate::cluster::{Cluster, DEPLOYMENTS, MAPS, deployment, map};

const APPLY: &str = "application/apply-patch+yaml";

#[tokio::test]
async fn the_plain_patches_edit_the_object() {
    let cluster = Cluster::open().await;
    cluster.post(MAPS, &map("a", &json!({}))).await;
    let path = format!("{MAPS}/a");
    for (media, patch, want) in [
        ("application/merge-patch+json", json!({"data": {"a": null, "b": "2"}}), json!({"b": "2"})),
        (
            "application/json-patch+json",
            json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "3"}]),
            json!({"b": "3"}),
        ),
        ("application/strategic-merge-patch+json", json!({"data": {"c": "4"}}), json!({"b": "3", "c": "4"})),
    ] {
        let answer = cluster.patch(&path, media, &patch).await;
        assert_eq!((answer.code, &answer.body["data"]), (StatusCode::OK, &want), "case {media}");
    }
    let failed = json!([{"op": "test", "path": "/data/b", "value": "other"}]);
    let answer = cluster.patch(&path, "application/json-patch+json", &failed).await;
    assert_eq!(answer.code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(cluster.patch(&path, "text/plain", &json!({})).await.code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stale = json!({"metadata": {"resourceVersion": "1"}});
    let answer = cluster.patch(&path, "application/merge-patch+json", &stale).await;
    assert_eq!(answer.code, StatusCode::CONFLICT);
}

#[tokio::test]
async fn apply_creates_merges_and_removes_what_is_no_longer_wanted() {
    let cluster = Cluster::open().await;
    let path = format!("{MAPS}/a?fieldManager=one");
    let body = |data: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let made = cluster.patch(&path, APPLY, &body(json!({"x": "1", "y": "1"}))).await;
    assert_eq!(made.code, StatusCode::CREATED);
    assert_eq!(
        made.body["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {"f:x": {}, "f:y": {}}})
    );
    let other = cluster.patch(&format!("{MAPS}/a?fieldManager=two"), APPLY, &body(json!({"z": "2"}))).await;
    assert_eq!(other.body["data"], json!({"x": "1", "y": "1", "z": "2"}));
    let less = cluster.patch(&path, APPLY, &body(json!({"x": "1"}))).await;
    assert_eq!(less.body["data"], json!({"x": "1", "z": "2"}));
    let same = cluster.patch(&path, APPLY, &body(json!({"x": "1"}))).await;
    assert_eq!(same.body["metadata"]["resourceVersion"], less.body["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn apply_refuses_fields_of_others_unless_forced() {
    let cluster = Cluster::open().await;
    let body = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": value}});
    cluster.patch(&format!("{MAPS}/a?fieldManager=one"), APPLY, &body("1")).await;
    let path = format!("{MAPS}/a?fieldManager=two");
    let refused = cluster.patch(&path, APPLY, &body("2")).await;
    assert_eq!(refused.code, StatusCode::CONFLICT);
    assert_eq!(refused.body["message"], "Apply failed with 1 conflict: conflict with \"one\": .data.x");
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let forced = cluster.patch(&format!("{path}&force=true"), APPLY, &body("2")).await;
    assert_eq!(forced.body["data"]["x"], "2");
    let managers = forced.body["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((managers.len(), &managers[0]["manager"]), (1, &json!("two")));
}

#[tokio::test]
async fn conflicts_are_listed_by_manager_and_path() {
    let cluster = Cluster::open().await;
    let path = |manager: &str| format!("{DEPLOYMENTS}/web?fieldManager={manager}");
    let mut body = deployment("web");
    cluster.patch(&path("one"), APPLY, &body).await;
    body["spec"]["replicas"] = json!(5);
    body["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    let refused = cluster.patch(&path("two"), APPLY, &body).await;
    assert_eq!(
        refused.body["message"],
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.replicas\n- \
         .spec.template.spec.containers[name=\"c\"].image"
    );
    assert_eq!(refused.body["details"]["causes"][0]["message"], "conflict with \"one\"");
}

#[tokio::test]
async fn an_update_takes_fields_from_who_applied_them() {
    let cluster = Cluster::open().await;
    let body =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    let path = format!("{MAPS}/a?fieldManager=one");
    cluster.patch(&path, APPLY, &body).await;
    let patch = json!({"data": {"x": "9"}});
    cluster.patch(&format!("{MAPS}/a?fieldManager=editor"), "application/merge-patch+json", &patch).await;
    let refused = cluster.patch(&path, APPLY, &body).await;
    assert_eq!(
        refused.body["message"],
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.x"
    );
}

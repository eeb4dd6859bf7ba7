use http::{Request, StatusCode};
use serde_json::json;

use crate::cluster::{Cluster, DEPLOYMENTS, MAPS, PODS, deployment, map, pod};

#[tokio::test]
async fn a_plain_deletion_answers_with_details() {
    let cluster = Cluster::open().await;
    let made = cluster.post(MAPS, &map("a", &json!({}))).await.body;
    let gone = cluster.delete(&format!("{MAPS}/a")).await;
    assert_eq!(
        gone.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}})
    );
    assert_eq!(cluster.delete(&format!("{MAPS}/a")).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_running_pod_waits_for_its_grace_period() {
    let cluster = Cluster::open().await;
    let path = format!("{PODS}/a");
    let mut body = pod("a");
    body["spec"]["nodeName"] = "n1".into();
    body["spec"]["terminationGracePeriodSeconds"] = 7.into();
    cluster.post(PODS, &body).await;
    let waiting = cluster.delete(&path).await.body;
    assert_eq!(waiting["metadata"]["deletionGracePeriodSeconds"], 7);
    assert!(waiting["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(cluster.get(&path).await.code, StatusCode::OK);
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}}).to_string();
    let request = || Request::delete(&path).header("content-type", "application/json");
    assert_eq!(cluster.send(request(), options).await.code, StatusCode::CONFLICT);
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": waiting["metadata"]["uid"]}});
    assert_eq!(cluster.send(request(), options.to_string()).await.code, StatusCode::OK);
    assert_eq!(cluster.get(&path).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_unscheduled_pod_goes_at_once() {
    let cluster = Cluster::open().await;
    cluster.post(PODS, &pod("a")).await;
    cluster.delete(&format!("{PODS}/a")).await;
    assert_eq!(cluster.get(&format!("{PODS}/a")).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let cluster = Cluster::open().await;
    cluster.post(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let waiting = cluster.delete(&format!("{path}?propagationPolicy=Foreground")).await.body;
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(waiting["metadata"]["deletionTimestamp"].is_string());
    let patch = json!({"metadata": {"finalizers": null}});
    cluster.patch(&path, "application/merge-patch+json", &patch).await;
    assert_eq!(cluster.get(&path).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_namespace_terminates_refuses_and_is_finalized() {
    let cluster = Cluster::open().await;
    cluster.post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})).await;
    let gone = cluster.delete("/api/v1/namespaces/x").await.body;
    assert_eq!(gone["status"]["phase"], "Terminating");
    let refused = cluster.post("/api/v1/namespaces/x/configmaps", &map("a", &json!({}))).await;
    assert_eq!(refused.code, StatusCode::FORBIDDEN);
    let mut finalized = gone.clone();
    finalized["spec"]["finalizers"] = json!([]);
    let answer = cluster.put("/api/v1/namespaces/x/finalize", &finalized).await;
    assert_eq!(answer.code, StatusCode::OK, "{}", answer.body);
    assert_eq!(cluster.get("/api/v1/namespaces/x").await.code, StatusCode::NOT_FOUND);
    assert_eq!(cluster.delete("/api/v1/namespaces/default").await.code, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let cluster = Cluster::open().await;
    for name in ["a", "b"] {
        cluster.post(MAPS, &map(name, &json!({"name": name}))).await;
    }
    cluster.delete(&format!("{MAPS}?labelSelector=name%3Da")).await;
    assert_eq!(cluster.get(&format!("{MAPS}/a")).await.code, StatusCode::NOT_FOUND);
    assert_eq!(cluster.get(&format!("{MAPS}/b")).await.code, StatusCode::OK);
}

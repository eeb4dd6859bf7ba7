use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::cluster::{Cluster, DEPLOYMENTS, MAPS, PODS, deployment, map, pod};

#[tokio::test]
async fn a_second_create_is_a_conflict() {
    let cluster = Cluster::open().await;
    let first = cluster.post(MAPS, &map("a", &json!({}))).await;
    assert_eq!(first.code, StatusCode::CREATED);
    assert!(first.body["metadata"]["uid"].is_string());
    let second = cluster.post(MAPS, &map("a", &json!({}))).await;
    assert_eq!((second.code, &second.body["reason"]), (StatusCode::CONFLICT, &json!("AlreadyExists")));
}

#[tokio::test]
async fn names_are_checked_and_generated() {
    let cluster = Cluster::open().await;
    let bad = cluster.post(MAPS, &map("Not_A_Name", &json!({}))).await;
    assert_eq!(bad.code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(bad.body["details"]["causes"][0]["field"], "metadata.name");
    let body = json!({"metadata": {"generateName": "web-"}});
    let made = cluster.post(MAPS, &body).await;
    let name = made.body["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    let elsewhere = cluster.post("/api/v1/namespaces/nowhere/configmaps", &map("a", &json!({}))).await;
    assert_eq!(elsewhere.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let cluster = Cluster::open().await;
    let answer = cluster.post(&format!("{MAPS}?dryRun=All"), &map("a", &json!({}))).await;
    assert_eq!(answer.code, StatusCode::CREATED);
    assert_eq!(cluster.get(&format!("{MAPS}/a")).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_update_with_an_old_version_is_a_conflict() {
    let cluster = Cluster::open().await;
    let first = cluster.post(MAPS, &map("a", &json!({}))).await.body;
    let mut second = first.clone();
    second["data"]["a"] = "2".into();
    assert_eq!(cluster.put(&format!("{MAPS}/a"), &second).await.code, StatusCode::OK);
    let third = cluster.put(&format!("{MAPS}/a"), &second).await;
    assert_eq!((third.code, &third.body["reason"]), (StatusCode::CONFLICT, &json!("Conflict")));
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let cluster = Cluster::open().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut object = cluster.post(DEPLOYMENTS, &deployment("web")).await.body;
    assert_eq!(object["metadata"]["generation"], 1);
    object["spec"]["replicas"] = 3.into();
    object["status"] = json!({"replicas": 9});
    let object = cluster.put(&path, &object).await.body;
    assert_eq!(object["metadata"]["generation"], 2);
    assert_eq!(object["spec"]["replicas"], 3);
    assert!(object["status"]["replicas"] != 9);
    let patch = json!({"spec": {"replicas": 7}, "status": {"replicas": 3}});
    let object = cluster.patch(&format!("{path}/status"), "application/merge-patch+json", &patch).await.body;
    assert_eq!((&object["spec"]["replicas"], &object["status"]["replicas"]), (&json!(3), &json!(3)));
    assert_eq!(object["metadata"]["generation"], 2);
    let same = cluster.put(&path, &object).await.body;
    assert_eq!(same["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_scale_changes_the_replicas() {
    let cluster = Cluster::open().await;
    cluster.post(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/scale");
    let scale = cluster.get(&path).await.body;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"]["selector"], "app=web");
    let patch = json!({"spec": {"replicas": 5}});
    let scale = cluster.patch(&path, "application/merge-patch+json", &patch).await;
    assert_eq!((scale.code, &scale.body["spec"]["replicas"]), (StatusCode::OK, &json!(5)));
    assert_eq!(cluster.get(&format!("{DEPLOYMENTS}/web")).await.body["spec"]["replicas"], 5);
}

#[tokio::test]
async fn a_pod_gets_its_account_token_and_tolerations() {
    let cluster = Cluster::open().await;
    let pod = cluster.post(PODS, &pod("a")).await.body;
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let volume = pod["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"));
    assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    let nulls = |value: &Value| value.as_object().unwrap().values().any(Value::is_null);
    assert!(!nulls(&pod["spec"]), "{pod}");
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::open().await;
    cluster.post(PODS, &pod("a")).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"},
        "target": {"kind": "Node", "name": "n1"}});
    let path = format!("{PODS}/a/binding");
    assert_eq!(cluster.post(&path, &binding).await.code, StatusCode::CREATED);
    let pod = cluster.get(&format!("{PODS}/a")).await.body;
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(cluster.post(&path, &binding).await.code, StatusCode::CONFLICT);
}

#[tokio::test]
async fn services_get_different_addresses_and_keep_them() {
    let cluster = Cluster::open().await;
    let path = "/api/v1/namespaces/default/services";
    let mut seen = std::collections::HashSet::new();
    for name in ["a", "b", "c"] {
        let body =
            json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"app": name}}});
        let made = cluster.post(path, &body).await.body;
        assert!(seen.insert(made["spec"]["clusterIP"].as_str().unwrap().to_owned()));
        let again = cluster.put(&format!("{path}/{name}"), &body).await;
        assert_eq!(again.body["spec"]["clusterIP"], made["spec"]["clusterIP"], "{}", again.body);
    }
}

#[tokio::test]
async fn what_nothing_acts_on_is_said() {
    let cluster = Cluster::open().await;
    let body = json!({"metadata": {"name": "s"}, "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let answer = cluster.post("/apis/apps/v1/namespaces/default/statefulsets", &body).await;
    assert_eq!(answer.code, StatusCode::CREATED);
    let warning = answer.headers["warning"].to_str().unwrap();
    assert!(
        warning.starts_with("299 - ") && warning.contains("nothing in this cluster acts on it"),
        "{warning}"
    );
}

#[tokio::test]
async fn bodies_are_bounded_and_yaml_is_read() {
    let cluster = Cluster::open().await;
    let request = || Request::post(MAPS).header("content-type", "application/yaml");
    let yaml = "metadata: {name: from-yaml}\ndata: {a: 'yes', b: \"on\"}\n".to_owned();
    let answer = cluster.send(request(), yaml).await;
    assert_eq!((answer.code, &answer.body["data"]["b"]), (StatusCode::CREATED, &json!("on")));
    let large = format!("{{\"metadata\":{{\"name\":\"l\"}},\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(3 << 20));
    let answer = cluster.send(Request::post(MAPS).header("content-type", "application/json"), large).await;
    assert_eq!(answer.code, StatusCode::PAYLOAD_TOO_LARGE);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer =
        cluster.send(Request::post(MAPS).header("content-type", "application/json"), deep.clone()).await;
    assert_eq!(answer.code, StatusCode::BAD_REQUEST);
    assert_eq!(cluster.send(request(), deep).await.code, StatusCode::BAD_REQUEST);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    assert_eq!(cluster.send(request(), bomb.to_owned()).await.code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_status_must_be_of_the_right_sort() {
    let cluster = Cluster::open().await;
    cluster.post(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/status");
    let body = json!({"status": {"replicas": 1}});
    let answer = cluster.patch(&path, "application/merge-patch+json", &body).await;
    assert_eq!((answer.code, &answer.body["status"]["replicas"]), (StatusCode::OK, &json!(1)));
    let body = json!({"status": {"replicas": "one"}});
    let answer = cluster.patch(&path, "application/merge-patch+json", &body).await;
    assert_eq!(answer.code, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
}

#[tokio::test]
async fn only_what_is_wanted_counts_as_a_generation() {
    let cluster = Cluster::open().await;
    let mut body = deployment("web");
    body["spec"]["template"]["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [
        {"serviceAccountToken": {"path": "t"}}]}}]);
    let made = cluster.post(DEPLOYMENTS, &body).await.body;
    assert_eq!(made["metadata"]["generation"], 1);
    // Without the defaults it is the same object.
    let path = format!("{DEPLOYMENTS}/web");
    let again = cluster.put(&path, &body).await.body;
    assert_eq!(again["metadata"]["generation"], 1);
    assert_eq!(again["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    body["spec"]["replicas"] = json!(5);
    assert_eq!(cluster.put(&path, &body).await.body["metadata"]["generation"], 2);
}

#[tokio::test]
async fn quantities_are_stored_as_strings() {
    let cluster = Cluster::open().await;
    let mut body = pod("a");
    body["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": 1.5, "memory": "1024Mi"}});
    let made = cluster.post(PODS, &body).await.body;
    let amounts = json!({"cpu": "1500m", "memory": "1Gi"});
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": amounts.clone(), "requests": amounts})
    );
}

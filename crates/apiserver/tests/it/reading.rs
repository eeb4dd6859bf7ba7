use http::{Request, StatusCode};
use serde_json::json;

use crate::cluster::{Cluster, MAPS, map};

#[tokio::test]
async fn a_missing_object_is_a_404_with_the_exact_status() {
    let cluster = Cluster::open().await;
    let answer = cluster.get(&format!("{MAPS}/nope")).await;
    assert_eq!(answer.code, StatusCode::NOT_FOUND);
    assert_eq!(
        answer.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "configmaps \"nope\" not found", "reason": "NotFound",
            "details": {"name": "nope", "kind": "configmaps"}, "code": 404})
    );
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let cluster = Cluster::open().await;
    for at in 0..5 {
        let labels = json!({"parity": if at % 2 == 0 { "even" } else { "odd" }});
        assert_eq!(cluster.post(MAPS, &map(&format!("m{at}"), &labels)).await.code, StatusCode::CREATED);
    }
    let names = |body: &serde_json::Value| -> Vec<String> {
        body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let even = cluster.get(&format!("{MAPS}?&labelSelector=parity%3Deven")).await;
    assert_eq!(names(&even.body), ["m0", "m2", "m4"]);
    let one = cluster.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dm3")).await;
    assert_eq!(names(&one.body), ["m3"]);
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = cluster.get(&format!("{MAPS}?limit=2&labelSelector=parity&continue={token}")).await;
        seen.extend(names(&page.body));
        match page.body["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4"]);
    let bad = cluster.get(&format!("{MAPS}?fieldSelector=spec.foo%3D1")).await;
    assert_eq!(bad.code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_form_follows_the_accept_header() {
    let cluster = Cluster::open().await;
    for (accept, want) in [
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some("Table")),
        (
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            Some("PartialObjectMetadataList"),
        ),
        ("application/vnd.kubernetes.protobuf,application/json", Some("ConfigMapList")),
        ("*/*", Some("ConfigMapList")),
        ("application/vnd.kubernetes.protobuf", None),
    ] {
        let answer = cluster.send(Request::get(MAPS).header("accept", accept), String::new()).await;
        match want {
            Some(kind) => assert_eq!(answer.body["kind"], kind, "case {accept}"),
            None => assert_eq!(answer.code, StatusCode::NOT_ACCEPTABLE, "case {accept}"),
        }
    }
}

#[tokio::test]
async fn a_new_cluster_has_its_first_objects() {
    let cluster = Cluster::open().await;
    for path in [
        "/api/v1/namespaces/kube-system",
        "/api/v1/namespaces/default/serviceaccounts/default",
        "/api/v1/namespaces/default/configmaps/kube-root-ca.crt",
        "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
    ] {
        assert_eq!(cluster.get(path).await.code, StatusCode::OK, "case {path}");
    }
    let service = cluster.get("/api/v1/namespaces/default/services/kubernetes").await;
    assert_eq!(service.body["spec"]["clusterIP"], "10.96.0.1");
}

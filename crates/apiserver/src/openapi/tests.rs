use std::collections::BTreeSet;

use super::*;

fn document(name: &str) -> Value {
    serde_json::from_str(&document::render(name).unwrap()).unwrap()
}

#[test]
fn every_document_is_closed_under_references() {
    for name in names() {
        let document = document(&name);
        let types: BTreeSet<String> = document["components"]["schemas"]
            .as_object()
            .unwrap()
            .keys()
            .map(|name| format!("#/components/schemas/{name}"))
            .collect();
        let mut pending = vec![&document];
        while let Some(value) = pending.pop() {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        assert!(types.contains(target), "{name}: {target}");
                    }
                    pending.extend(map.values());
                }
                Value::Array(list) => pending.extend(list),
                _ => {}
            }
        }
    }
}

#[test]
fn clients_find_kinds_and_parameters_by_path() {
    let apps = document("apis/apps/v1");
    let path = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    let patch = &path["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let names: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"));
}

#[test]
fn types_carry_what_merging_needs() {
    let core = document("api/v1");
    let ports = &core["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"];
    assert_eq!(
        *ports,
        json!({"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ServicePort"}]},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "port"})
    );
}

#[tokio::test]
async fn the_index_names_documents_that_exist() {
    use tower::ServiceExt as _;
    let get = |path: &str, tag: Option<&str>| {
        let mut request = http::Request::get(path);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        router().oneshot(request.body(Body::empty()).unwrap())
    };
    let answer = get("/openapi/v3", None).await.unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let answer = get(url, None).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    assert!(url.ends_with(&format!("hash={}", tag.trim_matches('"'))));
    assert_eq!(get(url, Some(&tag)).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(get("/openapi/v3/apis/nothing/v1", None).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn version_2_is_there_and_empty() {
    use tower::ServiceExt as _;
    let get = async |accept: &str| {
        let request = http::Request::get("/openapi/v2").header("accept", accept).body(Body::empty()).unwrap();
        let answer = router().oneshot(request).await.unwrap();
        let media = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (media, axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap())
    };
    let (media, bytes) = get("application/json").await;
    assert_eq!(media, "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap()["swagger"], "2.0");
    let (media, bytes) = get(PROTOBUF).await;
    assert_eq!(media, PROTOBUF_ANSWER);
    assert_eq!(&bytes[..], b"\x0a\x032.0\x12\x12\x0a\x0aKubernetes\x12\x041.36\x42\0");
}

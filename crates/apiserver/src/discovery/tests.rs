use super::*;

async fn get(path: &str, accept: Option<&'static str>) -> Value {
    let mut headers = HeaderMap::new();
    if let Some(accept) = accept {
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    }
    let response = answer(path, &headers).unwrap().unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn every_group_is_served_in_both_forms() {
    let list = get("/apis", None).await;
    let names: Vec<&str> =
        list["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    for kind in KINDS.iter().filter(|kind| !kind.group.is_empty()) {
        assert!(names.contains(&kind.group), "{} is in no list", kind.group);
        let path = format!("/apis/{}/{}", kind.group, kind.version);
        let resources = get(&path, None).await;
        assert!(
            resources["resources"].as_array().unwrap().iter().any(|r| r["name"] == kind.plural),
            "{path}"
        );
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = get("/apis", Some(accept)).await;
    assert_eq!(aggregated["kind"], "APIGroupDiscoveryList");
    assert_eq!(aggregated["items"].as_array().unwrap().len(), names.len());
}

#[tokio::test]
async fn pods_are_described_as_upstream_does() {
    let core = get("/api/v1", None).await;
    let pods = core["resources"].as_array().unwrap().iter().find(|r| r["name"] == "pods").unwrap();
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert_eq!(pods["categories"], json!(["all"]));
    assert_eq!(pods["singularName"], "pod");
    assert_eq!(pods["storageVersionHash"], "xPOwRZ+Yhw8=");
}

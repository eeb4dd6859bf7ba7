use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::cluster::{Cluster, DEPLOYMENTS, deployment};

#[tokio::test]
async fn an_unknown_field_is_refused_pruned_with_a_warning_or_just_pruned() {
    let cluster = Cluster::open().await;
    let mut body = deployment("web");
    body["spec"]["template"]["spec"]["containers"][0]["imagee"] = json!("x");
    let unknown = "unknown field \"spec.template.spec.containers[0].imagee\"";
    let strict = cluster.post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), &body).await;
    assert_eq!((strict.code, &strict.body["reason"]), (StatusCode::BAD_REQUEST, &json!("BadRequest")));
    assert_eq!(
        strict.body["message"],
        format!(
            "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: {unknown}"
        )
    );
    for (mode, warned) in [("Warn", true), ("", true), ("Ignore", false)] {
        let path = format!("{DEPLOYMENTS}?dryRun=All&fieldValidation={mode}");
        let answer = cluster.post(&path, &body).await;
        assert_eq!(answer.code, StatusCode::CREATED, "{mode}");
        assert!(answer.body["spec"]["template"]["spec"]["containers"][0]["imagee"].is_null(), "{mode}");
        let warning = answer.headers.get("warning").map(|value| value.to_str().unwrap().replace('\\', ""));
        assert_eq!(warning.is_some_and(|text| text.contains(unknown)), warned, "{mode}");
    }
}

#[tokio::test]
async fn a_key_that_occurs_twice_is_refused() {
    let cluster = Cluster::open().await;
    let body = deployment("web").to_string().replace("\"replicas\":2", "\"replicas\":2,\"replicas\":3");
    let request = Request::post(format!("{DEPLOYMENTS}?fieldValidation=Strict"));
    let answer = cluster.send(request.header("content-type", "application/json"), body).await;
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.ends_with("strict decoding error: duplicate field \"spec.replicas\""), "{message}");
}

#[tokio::test]
async fn a_value_of_the_wrong_sort_does_not_decode() {
    let cluster = Cluster::open().await;
    let mut body = deployment("web");
    body["spec"]["replicas"] = json!("two");
    let answer = cluster.post(DEPLOYMENTS, &body).await;
    assert_eq!(answer.code, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.body["message"],
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct \
         field DeploymentSpec.spec.replicas of type int32"
    );
}

#[tokio::test]
async fn a_strict_patch_is_judged_by_what_it_makes() {
    let cluster = Cluster::open().await;
    cluster.post(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web?fieldValidation=Strict");
    let merge: Value = json!({"spec": {"foo": 1}});
    for (media, patch) in [
        ("application/merge-patch+json", merge.clone()),
        ("application/strategic-merge-patch+json", merge),
        ("application/json-patch+json", json!([{"op": "add", "path": "/spec/foo", "value": 1}])),
    ] {
        let answer = cluster.patch(&path, media, &patch).await;
        assert_eq!(
            (answer.code, &answer.body["reason"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("Invalid"))
        );
        let text = Value::from(patch.to_string());
        let why = format!("Invalid value: {text}: strict decoding error: unknown field \"spec.foo\"");
        assert_eq!(answer.body["message"], format!(" \"\" is invalid: patch: {why}"), "{media}");
        assert_eq!(
            answer.body["details"],
            json!({"causes": [{"reason": "FieldValueInvalid", "message": why, "field": "patch"}]})
        );
    }
}

#[tokio::test]
async fn the_root_lists_paths_and_health_can_be_verbose() {
    let cluster = Cluster::open().await;
    let paths = cluster.get("/").await.body["paths"].clone();
    for path in ["/api/v1", "/apis/apps/v1", "/openapi/v3", "/version"] {
        assert!(paths.as_array().unwrap().contains(&json!(path)), "{path}");
    }
    assert_eq!(cluster.get("/readyz").await.body, "ok");
    assert_eq!(cluster.get("/readyz?verbose").await.body, "[+]ping ok\nreadyz check passed\n");
}

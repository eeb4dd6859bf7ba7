use http::{Request, StatusCode};
use serde_json::json;
use shipway_apiserver::Identity;

use crate::cluster::{Cluster, MAPS, PODS, pod};

#[tokio::test]
async fn anonymous_may_only_ask_whether_the_server_lives() {
    let cluster = Cluster::open().await;
    for (path, want) in [
        ("/readyz", StatusCode::OK),
        ("/livez", StatusCode::OK),
        ("/healthz", StatusCode::OK),
        ("/version", StatusCode::OK),
        ("/apis", StatusCode::FORBIDDEN),
        ("/metrics", StatusCode::FORBIDDEN),
        (MAPS, StatusCode::FORBIDDEN),
        ("/api/v1/namespaces/default/secrets", StatusCode::FORBIDDEN),
    ] {
        let answer = cluster.send_as(None, Request::get(path), String::new()).await;
        assert_eq!(answer.code, want, "case {path}");
    }
    let request = Request::get(MAPS).header("authorization", "Bearer nonsense");
    assert_eq!(cluster.send_as(None, request, String::new()).await.code, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_account_may_do_what_it_was_granted() {
    let cluster = Cluster::open().await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = cluster.post(path, &request).await;
    let token = made.body["status"]["token"].as_str().unwrap().to_owned();
    let list = || Request::get(MAPS).header("authorization", format!("Bearer {token}"));
    let refused = cluster.send_as(None, list(), String::new()).await;
    assert_eq!(refused.code, StatusCode::FORBIDDEN);
    assert_eq!(
        refused.body["message"],
        "configmaps is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \
         \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps", "pods/exec"], "verbs": ["get", "list"]}]});
    assert_eq!(cluster.post(&format!("{rbac}/roles"), &role).await.code, StatusCode::CREATED);
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]});
    assert_eq!(cluster.post(&format!("{rbac}/rolebindings"), &binding).await.code, StatusCode::CREATED);
    assert_eq!(cluster.send_as(None, list(), String::new()).await.code, StatusCode::OK);
    // A stream is a `create`, whatever the method: `get` on it grants nothing.
    let exec = Request::get(format!("{PODS}/a/exec")).header("authorization", format!("Bearer {token}"));
    assert_eq!(cluster.send_as(None, exec, String::new()).await.code, StatusCode::FORBIDDEN);
    // The token dies with its account.
    cluster.delete("/api/v1/namespaces/default/serviceaccounts/default").await;
    assert_eq!(cluster.send_as(None, list(), String::new()).await.code, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_a_node_says_where_a_pod_is() {
    let cluster = Cluster::open().await;
    cluster.post(PODS, &pod("a")).await;
    let patch = || {
        let request =
            Request::patch(format!("{PODS}/a/status")).header("content-type", "application/merge-patch+json");
        (request, json!({"status": {"podIP": "127.0.0.1"}}).to_string())
    };
    let (request, body) = patch();
    let refused = cluster.send_as(Some(Identity::controllers()), request, body).await;
    assert_eq!(refused.code, StatusCode::FORBIDDEN);
    let (request, body) = patch();
    assert_eq!(cluster.send_as(Some(Identity::node("n1")), request, body).await.code, StatusCode::OK);
    let secret = Request::delete("/api/v1/namespaces/default/secrets/x");
    let refused = cluster.send_as(Some(Identity::node("n1")), secret, String::new()).await;
    assert_eq!(refused.code, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn everybody_may_ask_what_they_may_do() {
    let cluster = Cluster::open().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]});
    cluster.post(&format!("{rbac}/roles"), &json!({"metadata": {"name": "r"}, "rules": [rule]})).await;
    let binding = json!({"metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]});
    cluster.post(&format!("{rbac}/rolebindings"), &binding).await;
    let ask = async |user: &str, namespace: &str| {
        let who = Identity { user: user.to_owned(), groups: Vec::new() };
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        let request = Request::post(path).header("content-type", "application/json");
        cluster.send_as(Some(who), request, body.to_string()).await
    };
    let rules = async |user, namespace| ask(user, namespace).await.body["status"]["resourceRules"].clone();
    assert!(rules("jane", "default").await.as_array().unwrap().contains(&rule));
    assert!(!rules("jane", "kube-system").await.as_array().unwrap().contains(&rule));
    assert!(!rules("john", "default").await.as_array().unwrap().contains(&rule));
    assert_eq!(ask("jane", "").await.code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_an_administrator_speaks_for_others() {
    let cluster = Cluster::open().await;
    let list = || Request::get(MAPS).header("impersonate-user", "nobody");
    for who in [Identity::admin(), Identity::controllers()] {
        let answer = cluster.send_as(Some(who), list(), String::new()).await;
        assert_eq!(answer.code, StatusCode::FORBIDDEN);
    }
    let masters = list().header("impersonate-group", "system:masters");
    assert_eq!(cluster.send(masters, String::new()).await.code, StatusCode::OK);
}

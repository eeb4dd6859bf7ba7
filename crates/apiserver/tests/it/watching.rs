use axum::body::Body;
use futures::StreamExt as _;
use http::Request;
use serde_json::{Value, json};
use shipway_apiserver::Identity;

use crate::cluster::{Cluster, MAPS, map};

struct Lines {
    body: axum::body::BodyDataStream,
    rest: Vec<u8>,
}

impl Lines {
    async fn open(cluster: &Cluster, path: &str) -> Self {
        let response = cluster.raw(Some(Identity::admin()), Request::get(path), String::new()).await;
        Self { body: Body::into_data_stream(response.into_body()), rest: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            self.rest.extend_from_slice(&self.body.next().await?.unwrap());
        }
    }
}

#[tokio::test]
async fn a_watch_with_a_selector_sees_objects_come_and_go() {
    let cluster = Cluster::open().await;
    let at = cluster.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{MAPS}?watch=true&resourceVersion={at}&labelSelector=on%3Dyes");
    let mut lines = Lines::open(&cluster, &path).await;
    cluster.post(MAPS, &map("a", &json!({"on": "no"}))).await;
    for (label, want) in [("yes", "ADDED"), ("yes2", "DELETED")] {
        let patch = json!({"metadata": {"labels": {"on": label}}});
        cluster.patch(&format!("{MAPS}/a"), "application/merge-patch+json", &patch).await;
        assert_eq!(lines.next().await.unwrap()["type"], want, "case {label}");
    }
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_marked_bookmark() {
    let cluster = Cluster::open().await;
    cluster.post(MAPS, &map("a", &json!({"on": "yes"}))).await;
    let path = format!(
        "{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=on%3Dyes"
    );
    let mut lines = Lines::open(&cluster, &path).await;
    let first = lines.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    cluster.delete(&format!("{MAPS}/a")).await;
    assert_eq!(lines.next().await.unwrap()["type"], "DELETED");
}

#[tokio::test]
async fn an_old_position_is_gone() {
    let cluster = Cluster::open().await;
    cluster.post(MAPS, &map("a", &json!({}))).await;
    for at in 0..1100 {
        let patch = json!({"data": {"a": at.to_string()}});
        cluster.patch(&format!("{MAPS}/a"), "application/merge-patch+json", &patch).await;
    }
    let mut lines = Lines::open(&cluster, &format!("{MAPS}?watch=true&resourceVersion=1")).await;
    let error = lines.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert!(lines.next().await.is_none());
}

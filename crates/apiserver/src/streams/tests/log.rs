use futures::StreamExt as _;
use http::{Request, StatusCode};
use serde_json::Value;

use super::support::{Cluster, PODS, text};

#[tokio::test]
async fn a_log_is_text_and_its_options_count() {
    let cluster = Cluster::open().await;
    for (query, want) in [
        ("", "one\ntwo\nthree\n"),
        ("?tailLines=1", "three\n"),
        ("?tailLines=0", ""),
        ("?limitBytes=6", "one\ntw"),
        ("?container=main&timestamps=false", "one\ntwo\nthree\n"),
    ] {
        let answer = cluster.ask(Request::get(format!("{PODS}/web/log{query}")), String::new()).await;
        assert_eq!(answer.headers()["content-type"], "text/plain", "{query}");
        assert_eq!(text(answer).await, want, "{query}");
    }
}

#[tokio::test]
async fn a_followed_log_ends_with_the_server() {
    let cluster = Cluster::open().await;
    let answer = cluster.ask(Request::get(format!("{PODS}/web/log?follow=true")), String::new()).await;
    let mut body = answer.into_body().into_data_stream();
    let mut heard = Vec::new();
    while heard.len() < 14 {
        heard.extend(body.next().await.unwrap().unwrap());
    }
    assert_eq!(heard, b"one\ntwo\nthree\n");
    cluster.server.api.stop.cancel();
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn wrong_requests_for_logs_are_refused() {
    let cluster = Cluster::open().await;
    for (query, code, message) in [
        ("?container=z", 400, "container z is not valid for pod web"),
        ("?tailLines=many", 400, "unable to convert \"many\" of tailLines to a number"),
        (
            "?tailLines=-1",
            422,
            "PodLogOptions \"web\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        ("?sinceTime=yesterday", 400, "unable to parse \"yesterday\" of sinceTime as RFC 3339"),
        ("?previous=true", 400, "previous terminated container \"main\" in pod \"web\" not found"),
    ] {
        let answer = cluster.ask(Request::get(format!("{PODS}/web/log{query}")), String::new()).await;
        assert_eq!(answer.status(), StatusCode::from_u16(code).unwrap(), "{query}");
        let status: Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!(status["message"], message, "{query}");
    }
}

//! watch: a stream of changes, one JSON document a line.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::read;
use crate::call::{Call, Form};
use crate::convert;
use crate::respond;
use crate::selector::Selector;
use crate::server::Api;
use crate::status::Status;
use crate::storage::{Change, Event, Stored, Watcher};

/// How often a bookmark tells an idle client where it is.
const BOOKMARK: Duration = Duration::from_secs(60);
/// Longest watch without a `timeoutSeconds`; clients resume.
const LONGEST: Duration = Duration::from_secs(60 * 60);

struct Stream {
    call: Call,
    selector: Selector,
    prefix: String,
    watcher: Watcher,
    queue: VecDeque<Bytes>,
    bookmarks: bool,
    headers_sent: bool,
    next_bookmark: Instant,
    end: Instant,
    stop: CancellationToken,
    ended: bool,
}

/// Streams changes.
pub(crate) fn watch(api: &Api, call: &Call) -> Result<Response, Status> {
    let selector = read::selector(call)?;
    let bookmarks = call.query.is_true("allowWatchBookmarks");
    let from = call.query.get("resourceVersion");
    let malformed = |_bad| Status::bad_request(format!("invalid resource version: {from}"));
    let from: u64 = if from.is_empty() { 0 } else { from.parse().map_err(malformed)? };
    let initial = call.query.get("sendInitialEvents");
    if initial == "true" && call.query.get("resourceVersionMatch") != "NotOlderThan" {
        return Err(Status::bad_request(
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let now = Instant::now();
    let limit = call.query.get("timeoutSeconds").parse().map_or(LONGEST, Duration::from_secs).min(LONGEST);
    let list_first = initial == "true" || (from == 0 && initial != "false");
    let prefix = read::prefix(call);
    let (revision, objects) = if list_first {
        api.store.list(call.kind, &prefix, None)
    } else {
        (api.store.revision(), Vec::new())
    };
    let start = if list_first || from == 0 { revision } else { from };
    if from > revision {
        let mut status = Status::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Too large resource version: {from}, current: {revision}"),
        );
        status.details = Some(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1}));
        return Err(status);
    }
    let mut stream = Stream {
        call: call.clone(),
        selector,
        prefix,
        watcher: api.store.watch(call.kind, start),
        queue: VecDeque::new(),
        bookmarks,
        headers_sent: false,
        next_bookmark: now + BOOKMARK,
        end: now + limit,
        stop: api.stop.clone(),
        ended: false,
    };
    for object in &objects {
        if stream.selector.matches(object) {
            stream.push("ADDED", object);
        }
    }
    if initial == "true" && bookmarks {
        stream.push_bookmark(revision, true);
    }
    let body = Body::from_stream(futures::stream::unfold(stream, |mut stream| async move {
        stream.next().await.map(|line| (Ok::<_, std::convert::Infallible>(line), stream))
    }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.queue.is_empty() {
                let lines: Vec<Bytes> = self.queue.drain(..).collect();
                return Some(if lines.len() == 1 { lines[0].clone() } else { lines.concat().into() });
            }
            if self.ended {
                return None;
            }
            match self.watcher.take() {
                Ok((_, events)) => {
                    for event in &events {
                        self.push_event(event);
                    }
                }
                Err(expired) => {
                    let status = Status::expired(expired.to_string()).to_value();
                    self.queue.push_back(line("ERROR", &status));
                    self.ended = true;
                }
            }
            if !self.queue.is_empty() {
                continue;
            }
            let stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                alive = self.watcher.wait() => if !alive { return None },
                () = tokio::time::sleep_until(self.end) => return None,
                () = tokio::time::sleep_until(self.next_bookmark) => {
                    self.next_bookmark = Instant::now() + BOOKMARK;
                    // Changes that came meanwhile go first: a bookmark promises that nothing is missing before it.
                    if let Ok((revision, events)) = self.watcher.take() {
                        events.iter().for_each(|event| self.push_event(event));
                        if self.bookmarks {
                            self.push_bookmark(revision, false);
                        }
                    }
                }
            }
        }
    }

    fn push_event(&mut self, event: &Event) {
        if !event.object.key.starts_with(&self.prefix) {
            return;
        }
        let before = event.previous.as_ref().is_some_and(|previous| self.selector.matches(previous));
        let after = event.change != Change::Deleted && self.selector.matches(&event.object);
        match (before, after) {
            (false, false) => {}
            (false, true) => self.push("ADDED", &event.object),
            (true, true) => self.push("MODIFIED", &event.object),
            (true, false) => self.push("DELETED", &event.object),
        }
    }

    fn push(&mut self, change: &str, object: &Stored) {
        if self.call.form == Form::Object && !convert::needed(self.call.kind) {
            let mut out = Vec::with_capacity(object.json.len() + 40);
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(change.as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            out.extend_from_slice(&object.json);
            out.extend_from_slice(b"}\n");
            self.queue.push_back(out.into());
            return;
        }
        let value = convert::load(self.call.kind, object);
        let shown = respond::in_form(&self.call, &value, self.headers_sent);
        self.headers_sent = true;
        self.queue.push_back(line(change, &shown));
    }

    fn push_bookmark(&mut self, revision: u64, end_of_initial: bool) {
        let (kind, version) = (self.call.kind.kind, self.call.kind.api_version());
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.call.form {
            Form::Object => json!({"kind": kind, "apiVersion": version, "metadata": metadata}),
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            // Upstream sends a table with one row whose object carries the annotation.
            Form::Table => {
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": revision.to_string()}, "columnDefinitions": null,
                    "rows": [{"cells": [], "object":
                        {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}]})
            }
        };
        self.queue.push_back(line("BOOKMARK", &object));
    }
}

fn line(change: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": change, "object": object}).to_string();
    text.push('\n');
    text.into()
}

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::written::Written;

fn documents(written: &Written) -> Vec<Value> {
    written.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn step(id: usize, inputs: &[usize]) -> StepInfo {
    StepInfo {
        id,
        kind: StepKind::Layer,
        name: format!("[{id}/3] RUN {id}"),
        instruction: String::new(),
        legacy: None,
        span: None,
        inputs: inputs.into(),
    }
}

#[test]
fn a_build_is_told_in_buildkits_documents() {
    let written = Written::default();
    let raw = RawJson::new(Box::new(written.clone()));
    let source = Source::new("Dockerfile", "FROM scratch\nRUN a \\\n b\n");
    let steps = [step(1, &[]), step(2, &[1]), step(3, &[1, 2])];
    let (key, elapsed) = (Digest::of(b""), Duration::ZERO);
    for event in [
        Event::Loaded { source: &source },
        Event::Started { step: &steps[0] },
        Event::Done { step: &steps[0], elapsed, key: None },
        Event::Warning { message: "odd", span: Some(Span::new(13, 23)), rule: None },
        Event::Planned { steps: &steps },
        Event::Started { step: &steps[1] },
        Event::Cached { step: &steps[1], key },
        Event::Started { step: &steps[2] },
        Event::Missed { step: &steps[2], why: NOT_BUILT_BEFORE },
        Event::Missed { step: &steps[2], why: "page changed" },
        Event::Output { step: &steps[2], bytes: b"half a li" },
        Event::Failed { step: &steps[2], elapsed, error: "exit code: 3", cancelled: false },
    ] {
        raw.build(&event);
    }
    let said = documents(&written);
    let vertex = |at: usize| said[at]["vertexes"][0].clone();
    let digest = |at: usize| vertex(at)["digest"].as_str().unwrap().to_owned();
    assert!(digest(0).starts_with("sha256:") && vertex(0)["started"].as_str().unwrap().ends_with('Z'));
    assert_eq!((vertex(0).get("completed"), digest(1)), (None, digest(0)));
    assert!(vertex(1)["completed"].is_string() && vertex(1).get("error").is_none());
    let warning = &said[2]["warnings"][0];
    assert_eq!((warning["vertex"].as_str().unwrap(), &warning["level"]), (&*digest(0), &json!(1)));
    assert_eq!(warning["short"], STANDARD.encode("odd"));
    assert_eq!(
        warning["range"],
        json!([{ "start": { "line": 2, "character": 0 }, "end": { "line": 3, "character": 0 } }])
    );
    assert_eq!(warning["sourceInfo"]["data"], STANDARD.encode(source.text()));
    let planned = said[3]["vertexes"].as_array().unwrap();
    assert_eq!(planned.len(), 2, "the first was told of before");
    assert_eq!(planned[1]["inputs"], json!([digest(0), planned[0]["digest"]]));
    assert!(planned[1].get("started").is_none());
    assert_eq!((&vertex(5)["cached"], &vertex(5)["name"]), (&json!(true), &json!("[2/3] RUN 2")));
    assert_eq!(said[7]["statuses"][0]["id"], "not cached: page changed");
    let log = &said[8]["logs"][0];
    assert_eq!((&log["stream"], &log["data"]), (&json!(1), &json!(STANDARD.encode("half a li"))));
    assert_eq!(vertex(9)["error"], "exit code: 3");
    assert_eq!(said.len(), 10);
}

#[test]
fn what_comes_again_is_another_vertex() {
    let written = Written::default();
    let raw = RawJson::new(Box::new(written.clone()));
    let key = Key::Part("[web] pull".to_owned());
    for _ in 0..2 {
        raw.begin(key.clone(), "[web] pull".to_owned());
        raw.share(&key, Share { id: "sha256:1", done: 5, total: 10, is_over: false });
        raw.end(&key, Ended::Cancelled);
    }
    let said = documents(&written);
    let status = &said[1]["statuses"][0];
    assert_eq!((&status["vertex"], &status["total"]), (&said[0]["vertexes"][0]["digest"], &json!(10)));
    assert_eq!(said[2]["vertexes"][0]["error"], CANCELLED);
    assert_ne!(said[0]["vertexes"][0]["digest"], said[3]["vertexes"][0]["digest"]);
}

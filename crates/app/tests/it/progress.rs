//! How a build tells what it does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::machine::{Machine, can_run};

/// Builds the context of a machine, and returns the documents and what else was said.
fn documents(machine: &Machine, args: &[&str]) -> (Vec<Value>, String) {
    let output =
        machine.shipway(&[&["build", "--network", "none", "--progress", "rawjson"], args, &["."]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    let (mut documents, mut rest) = (Vec::new(), String::new());
    for line in said.lines() {
        match serde_json::from_str(line) {
            Ok(document) => documents.push(document),
            Err(_no_document) => rest.push_str(line),
        }
    }
    (documents, rest)
}

/// Returns the last that was said of the vertex with a name.
fn last<'a>(documents: &'a [Value], name: &str) -> &'a Value {
    let all = documents.iter().flat_map(|document| document["vertexes"].as_array().into_iter().flatten());
    all.rev().find(|vertex| vertex["name"].as_str().is_some_and(|known| known.contains(name))).unwrap()
}

fn list<'a>(documents: &'a [Value], of: &'a str) -> impl Iterator<Item = &'a Value> {
    documents.iter().flat_map(move |document| document[of].as_array().into_iter().flatten())
}

#[test]
fn a_build_can_be_followed_as_one_of_buildkits() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "FROM box as early\nRUN echo made > /made\nFROM box\nCOPY --from=early /made /\nRUN cat /made\n",
    );
    let (said, rest) = documents(&machine, &["-t", "web"]);
    assert_eq!(rest, "", "nothing but documents");
    let run = last(&said, "RUN cat /made");
    assert!(run["started"].is_string() && run["completed"].is_string(), "{run}");
    assert_eq!((run.get("cached"), run.get("error")), (None, None));
    let copy = last(&said, "COPY --from=early");
    let digest = |name: &str| last(&said, name)["digest"].clone();
    assert_eq!(run["inputs"], serde_json::json!([copy["digest"]]));
    assert!(copy["inputs"].as_array().unwrap().contains(&digest("RUN echo made")), "{copy}");
    let printed: Vec<u8> = list(&said, "logs")
        .filter(|log| log["vertex"] == run["digest"])
        .flat_map(|log| STANDARD.decode(log["data"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(printed, b"made\n");
    let named =
        list(&said, "statuses").find(|status| status["id"] == "naming to docker.io/library/web:latest");
    assert_eq!(named.unwrap()["vertex"], digest("exporting to image"));
    let warning = list(&said, "warnings").next().unwrap();
    assert_eq!(warning["vertex"], digest("load build definition"));
    assert!(warning["url"].as_str().unwrap().ends_with("/from-as-casing/"), "{warning}");
    assert_eq!(warning["range"][0]["start"]["line"], 1);

    let (said, _) = documents(&machine, &["-t", "web"]);
    assert_eq!(last(&said, "RUN cat /made")["cached"], true);
}

#[test]
fn a_failure_is_told_in_the_documents_and_in_words() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nRUN exit 3\n");
    let (said, rest) = documents(&machine, &[]);
    let error = last(&said, "RUN exit 3")["error"].as_str().unwrap();
    assert!(error.contains("returned a non-zero code: 3"), "{error}");
    assert!(rest.starts_with("error: The command '/bin/sh -c exit 3' returned a non-zero code: 3"), "{rest}");
}

#[test]
fn the_end_of_what_a_command_prints_is_shown_without_a_line_break_too() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nRUN echo first; printf last\n");
    for (style, want) in [("plain", "first\n#4 last\n"), ("legacy", "first\nlast\n")] {
        let args = ["build", "--progress", style, "--no-cache", "--network", "none", "."];
        let (_, said) = machine.ok(&args);
        assert!(said.contains(want), "{style}: {said}");
    }
}

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
    assert!(error.contains("did not complete successfully: exit code: 3"), "{error}");
    let want = "error: process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3";
    assert!(rest.starts_with(want), "{rest}");
}

#[test]
fn the_end_of_what_a_command_prints_is_shown_without_a_line_break_too() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nRUN echo first; printf last\n");
    for (style, want) in [("plain", "#4 T first\n#4 T last\n"), ("legacy", "first\nlast\n")] {
        let args = ["build", "--progress", style, "--no-cache", "--network", "none", "."];
        let (_, said) = machine.ok(&args);
        let said = without_times(&said);
        assert!(said.contains(want), "{style}: {said}");
    }
}

/// Puts a letter in the place of times, `0.123` and `0.1s`, and of digests.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        let number = word.strip_suffix('s').unwrap_or(word);
        number.contains('.') && number.parse::<f64>().is_ok()
    };
    let word = |word: &str| match word {
        time if is_time(time) => "T".to_owned(),
        digest if digest.starts_with("sha256:") => "D".to_owned(),
        other => other.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}

#[test]
fn plain_lines_are_those_of_buildkit() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "FROM box AS Early\nENV A=b\nRUN echo made > /made\nFROM box\nCOPY --from=early /made /\n",
    );
    let args = ["build", "--progress", "plain", "--network", "none", "-t", "web", "."];
    machine.ok(&args);
    let want = "#1 [internal] load build definition from Dockerfile\n#1 DONE T\n\n\
                #2 [internal] load metadata for docker.io/library/box:latest\n#2 DONE T\n\
                #1 WARN: StageNameCasing: ";
    let said = without_times(&machine.ok(&args).1);
    assert!(said.starts_with(want), "{said}");
    for want in [
        "[early 2/2] RUN echo made > /made\n#N CACHED\n\n",
        "[stage-1 2/2] COPY --from=early /made /\n#N CACHED\n\n",
        "exporting to image\n#N exporting layers done\n#N writing image D done\n\
         #N naming to docker.io/library/web:latest done\n#N DONE T\n",
    ] {
        // Which stage begins first is chance.
        let (name, rest) = want.split_once('\n').unwrap();
        let head = said.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        let number = head.split(' ').next().unwrap();
        let block = format!("{number} {name}\n{}", rest.replace("#N", number));
        assert!(said.contains(&block), "{block}: {said}");
    }
    assert!(!said.contains("ENV A"), "{said}");
}

#[test]
fn a_failed_step_is_shown_again_with_all_of_its_lines() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nRUN <<EOF\necho before\nexit 3\nEOF\nRUN true\n");
    let said =
        without_times(&machine.refused(&["build", "--progress", "plain", "--network", "none", "."], 1));
    let error = r#"process "/bin/sh -c echo before\nexit 3\n" did not complete successfully: exit code: 3"#;
    let want = format!(
        "#4 T before\n#4 ERROR: {error}\n------\n > [2/3] RUN <<EOF (echo before...):\nT before\n------\n\
         error: {error}\nDockerfile:2\n--------------------\n   1 |     FROM box\n   2 | >>> RUN <<EOF\n\
         \x20  3 | >>> echo before\n   4 | >>> exit 3\n   5 | >>> EOF\n   6 |     RUN true\n--------------------\n"
    );
    assert!(said.ends_with(&want), "{said}\n{want}");
}

#[test]
fn an_image_that_does_not_come_ends_its_part() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM 127.0.0.1:1/none\n");
    let said = machine.refused(&["build", "--progress", "plain", "."], 1);
    let parts = "#2 ...\n\n#3 pulling 127.0.0.1:1/none:latest\n#3 ERROR: could not pull `127.0.0.1:1/none:latest`\n\n\
                 #2 [internal] load metadata for 127.0.0.1:1/none:latest\n#2 ERROR: ";
    assert!(said.contains(parts), "{said}");
    assert_eq!(said.matches("\n > ").count(), 1, "the reason is shown once: {said}");
}

#[test]
fn the_legacy_form_tells_of_the_containers_of_commands_and_ends_with_the_code_of_one_that_failed() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nENV a=b\nRUN echo it runs\nCOPY passwd /x\n");
    let build = ["build", "--progress", "legacy", "--network", "none", "."];
    let (_, said) = machine.ok(&build);
    let lines: Vec<&str> = said.lines().collect();
    let run = lines.iter().position(|line| *line == "Step 3/4 : RUN echo it runs").unwrap();
    let id = lines[run + 1].strip_prefix(" ---> Running in ").unwrap();
    assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{said}");
    assert_eq!(lines[run + 2], "it runs");
    assert!(lines[run + 3].starts_with(" ---> "), "{said}");
    assert_eq!(lines[run + 4], format!("Removing intermediate container {id}"));
    assert_eq!(said.matches("Running in").count(), 1, "{said}");
    let (_, said) = machine.ok(&build);
    assert!(said.contains(" ---> Using cache") && !said.contains("container"), "{said}");

    machine.dockerfile("FROM box\nRUN exit 3\n");
    let said = machine.refused(&build, 3);
    let want = "The command '/bin/sh -c exit 3' returned a non-zero code: 3";
    assert_eq!(said.lines().last(), Some(want), "{said}");
    let said = machine.refused(&["build", "--network", "none", "."], 1);
    assert!(!said.contains(want), "{said}");
}

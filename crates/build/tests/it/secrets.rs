//! Secrets that copies and instructions would bring into an image.

use shipway_build::Secret;
use shipway_linux::Root;
use shipway_testkit::{Need, require};

use crate::harness::{Bench, render};

const TOKEN: &str = "canary-7f3a";
/// One that looks like a path.
const WAY: &str = "org-17/key-42";

fn fails(bench: &Bench, text: &str, change: impl FnOnce(&mut shipway_build::BuildRequest)) -> Option<String> {
    let mut request = bench.request(text);
    let secret = |id: &str, content: &str| Secret { id: id.to_owned(), content: content.into() };
    request.secrets =
        vec![secret("token", &format!("{TOKEN}\n")), secret("pin", "1234\n"), secret("way", WAY)];
    change(&mut request);
    let said = bench.run(&request).err().map(|error| render(&error));
    bench.assert_nothing_left();
    said
}

#[test]
fn files_with_a_secret_are_not_copied() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("etc/token", &format!("{TOKEN}\n"));
    bench.file("etc/config", &format!("x = {TOKEN};\n"));
    bench.file(&format!("names/{TOKEN}"), "");
    bench.file("links/l", &format!("->/x/{TOKEN}"));
    bench.file("pin", "1234\n");
    bench.file(&format!("way/{WAY}/f"), "");
    let context = Root::open(&bench.dir.path().join("context")).unwrap();
    bench.file("marked/f", "");
    context.set_xattr("marked/f", "user.token", TOKEN.as_bytes()).unwrap();
    bench.file("named/f", "");
    context.set_xattr("named/f", &format!("user.{TOKEN}"), b"").unwrap();
    for number in 0..300 {
        bench.file(&format!("many/f{number}"), "");
    }
    bench.file("many/config", &format!("x = {TOKEN};\n"));
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(bench.dir.path().join("context/etc/config"), "in/config").unwrap();
    fs_err::write(bench.dir.path().join("context/x.tar"), archive.into_inner().unwrap()).unwrap();
    for (name, lines, want) in [
        ("itself", "COPY etc/token /t", "the secret `token` is in `etc/token` of the build context"),
        ("in a file", "COPY etc/config /e/", "the secret `token` is in `/e/config`"),
        ("in one of many", "COPY many /m", "the secret `token` is in `/m/config`"),
        ("in an archive", "ADD x.tar /a/", "the secret `token` is in `/a/in/config`"),
        ("in a text", "COPY <<f /f\nx canary-7f3a\nf", "the secret `token` is in `/f`"),
        ("in a linked copy", "COPY --link etc/config /e/", "the secret `token` is in `/e/config`"),
        ("as a name", "COPY names /n/", "the secret `token` is in `/n/****`"),
        ("in a link", "COPY links /l/", "the secret `token` is in `/l/l`"),
        ("as a path", "COPY way /w/", "the secret `way` is in `/w/****`"),
        ("in an attribute", "COPY marked /m/", "the secret `token` is in `/m/f`"),
        ("as the name of an attribute", "COPY named /m/", "the secret `token` is in `/m/f`"),
        (
            "of a stage",
            "RUN write /f canary-7f3a\nFROM debian\nCOPY --from=0 /f /f",
            "the secret `token` is in the text of RUN",
        ),
    ] {
        let said = fails(&bench, &format!("FROM debian\n{lines}\n"), |_| ()).expect(name);
        assert!(
            said.contains(want) && said.contains("hint: everybody who has the image"),
            "case {name}: {said}"
        );
        assert!(!said.contains(TOKEN), "case {name}: {said}");
    }
    // A short one is found everywhere by chance, and what is left out is not there.
    assert_eq!(fails(&bench, "FROM debian\nCOPY pin /\nCOPY --exclude=[tc]* etc /e/\n", |_| ()), None);
    // What the cache has is looked at, too.
    let text = "FROM debian\nCOPY etc /e\n";
    assert_eq!(fails(&bench, text, |request| request.secrets.clear()), None);
    let said = fails(&bench, text, |_| ()).unwrap();
    assert!(said.contains("the secret `token` is in `etc/token` of the build context"), "{said}");
}

#[test]
fn what_commands_leave_of_secrets_is_found_however_they_came_by_it() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("config", &format!("x = {TOKEN};\n"));
    for (name, run, want) in [
        ("in a file", "--mount=type=secret,id=token,target=/t keep /f", "the secret `token` is in `/f`"),
        (
            "in an attribute",
            "--mount=type=secret,id=token,target=/t mark /d",
            "the secret `token` is in `/d`",
        ),
        ("out of the context", "--mount=target=/c keep /f", "the secret `token` is in `/f`"),
    ] {
        let said = fails(&bench, &format!("FROM debian\nRUN {run}\n"), |_| ()).expect(name);
        assert!(
            said.contains(want) && said.contains("remove the file in the same RUN"),
            "case {name}: {said}"
        );
    }
    let text = "FROM debian\nRUN --mount=target=/c mark /d && keep /d/f\n";
    assert_eq!(fails(&bench, text, |request| request.secrets.clear()), None);
}

#[test]
fn instructions_keep_no_secret() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    for (name, lines, want) in [
        ("a variable", "ENV A=b T=canary-7f3a", "Dockerfile:2:1: the secret `token` is in the text of ENV"),
        ("by an argument", "ARG T\nENV X=$T", "Dockerfile:2:1: the secret `token` is in the text of ARG"),
        ("a default", "ARG X=xcanary-7f3a", "is in the text of ARG"),
        ("a label", "LABEL a=\"x canary-7f3a\"", "is in the text of LABEL"),
        ("a command", "CMD [\"canary-7f3a\"]", "is in the text of CMD"),
        ("a trigger", "ONBUILD ENV T=canary-7f3a", "is in the text of ONBUILD"),
        ("a path", "WORKDIR /canary-7f3a", "is in the text of WORKDIR"),
    ] {
        let argument = |request: &mut shipway_build::BuildRequest| {
            request.build_args = vec![("T".to_owned(), TOKEN.to_owned())];
        };
        let said = fails(&bench, &format!("FROM debian\n{lines}\n"), argument).expect(name);
        assert!(said.contains(want) && said.contains("by --mount=type=secret"), "case {name}: {said}");
        assert!(!said.contains(TOKEN), "case {name}: {said}");
        assert!(!bench.log.lines("").concat().contains(TOKEN), "case {name}");
    }
    let label = |request: &mut shipway_build::BuildRequest| {
        request.labels = vec![("a".to_owned(), TOKEN.to_owned())];
    };
    let said = fails(&bench, "FROM debian\n", label).unwrap();
    assert!(said.contains("the secret `token` is in the label `a`"), "{said}");
    let own = |request: &mut shipway_build::BuildRequest| {
        request.annotations = vec![(format!("x{TOKEN}"), "b".to_owned())];
    };
    let of_index = |request: &mut shipway_build::BuildRequest| {
        request.index_annotations = vec![("xb".to_owned(), TOKEN.to_owned())];
    };
    for said in [fails(&bench, "FROM debian\n", own), fails(&bench, "FROM debian\n", of_index)] {
        let said = said.unwrap();
        assert!(said.contains("the secret `token` is in the annotation `x"), "{said}");
        assert!(!said.contains(TOKEN), "{said}");
    }
    assert_eq!(fails(&bench, "FROM debian\nENV PIN=1234\nLABEL a=1234\n", |_| ()), None);
}

#[test]
fn a_step_is_shown_without_what_its_secrets_hide() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let text = "FROM debian\nENV T=shown\nRUN --mount=type=secret,id=token,env=T say $T $U\nRUN say $T\n";
    assert_eq!(fails(&bench, text, |_| ()), None);
    let steps = bench.log.lines("STARTED [");
    assert!(steps.iter().any(|step| step.ends_with("env=T say **** $U")), "{steps:?}");
    assert!(steps.iter().any(|step| step.ends_with("RUN say shown")), "{steps:?}");
}

//! Mistakes: what is said, and that nothing is left.

use shipway_build::{BuildError, check};
use shipway_testkit::{Need, require};

use crate::harness::{Bench, render};

fn fails(bench: &Bench, text: &str) -> String {
    let error = bench.build(text).unwrap_err();
    bench.assert_nothing_left();
    assert_eq!(bench.store.images().unwrap(), [], "a failed build names nothing");
    render(&error)
}

#[test]
fn a_missing_dockerfile_and_a_missing_context_are_named() {
    let bench = Bench::new();
    let mut request = bench.request("FROM scratch\nCOPY a /\n");
    request.context = bench.dir.path().join("nowhere");
    assert!(matches!(bench.run(&request).unwrap_err(), BuildError::Step(_)));
    request.dockerfile = bench.dir.path().join("Dockerfile.none");
    let text = render(&bench.run(&request).unwrap_err());
    assert!(text.contains("cannot read the Dockerfile") && text.contains("name one with -f"), "{text}");
    assert!(check(&bench.request("FROM a\nRUN b\n").dockerfile).is_ok());
}

#[test]
fn what_is_odd_before_a_mistake_is_told_too() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    for (name, text, want) in [
        (
            "a platform",
            "FROM --platform=$BULIDPLATFORM scratch\nENV a b\n",
            &[
                "UndefinedArgInFrom: no ARG before FROM declares `BULIDPLATFORM`; did you mean `BUILDPLATFORM`? (line 1)",
            ][..],
        ),
        (
            "an instruction",
            "FROM scratch\nENV a b\nENV c=${d:?none}\nENV e f\n",
            &[
                "LegacyKeyValueFormat: write `ENV a=…` with an equals sign (line 2)",
                "UndefinedVar: nothing sets `$d`",
            ],
        ),
        (
            "an image that is not here",
            "FROM scratch AS a\nENV a b\nFROM --platform=linux/arm64 nobody\nENV c d\nCOPY --from=a / /\n",
            &["FromPlatformFlagConstDisallowed: "],
        ),
    ] {
        let bench = Bench::new();
        bench.build(text).unwrap_err();
        let told = bench.log.lines("WARNING");
        assert_eq!(told.len(), want.len(), "case {name}: {told:?}");
        assert!(told.iter().zip(want).all(|(told, want)| told.starts_with(want)), "case {name}: {told:?}");
    }
}

#[test]
fn a_failing_command_names_its_step_line_and_code() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let text = fails(&bench, "FROM debian\nRUN say before && exit 127\n");
    let want = "error: process \"/bin/sh -c say before && exit 127\" did not complete successfully: exit code: 127\n\
                Dockerfile:2\n--------------------\n   1 |     FROM debian\n   2 | >>> RUN say before && exit 127\n\
                \x20  3 |     \n--------------------\n";
    assert_eq!(text, want);
    assert_eq!(bench.log.lines("OUTPUT"), ["before"]);
    let error = bench.build("FROM debian\nRUN exit 3\n").unwrap_err();
    let BuildError::RunFailed { step, code, .. } = error else { panic!("{error:?}") };
    assert_eq!((step.as_str(), code), ("[2/2] RUN exit 3", 3));
}

#[test]
fn mistakes_point_at_their_instruction_and_say_what_to_do() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("package.json", "{}");
    bench.file("b.json", "{}");
    bench.file("out", "->/etc/hostname");
    fs_err::create_dir(bench.dir.path().join("context/empty")).unwrap();
    for (name, text, want) in [
        (
            "missing source",
            "FROM debian\nCOPY pakage.json /",
            "Dockerfile:2:6: `pakage.json` is not in the build context",
        ),
        ("near name", "FROM debian\nCOPY pakage.json /", "hint: did you mean `package.json`?"),
        ("out of the context", "FROM debian\nCOPY ../x /", "does not lead out of the context"),
        (
            "link out of the context",
            "FROM debian\nCOPY out /",
            "symbolic link to `/etc/hostname`, which is not inside",
        ),
        (
            "many files to one",
            "FROM debian\nCOPY package.json b.json /x",
            "must be a directory and end with a /",
        ),
        (
            "unknown owner",
            "FROM debian\nCOPY --chown=nosuch b.json /x",
            "`nosuch` is not in the image's /etc/passwd",
        ),
        ("bad mode", "FROM debian\nCOPY --chmod=rwx b.json /x", "--chmod: `rwx`"),
        ("directory over a file", "FROM debian\nCOPY b.json /etc/passwd/", "is a file in the image"),
        (
            "later stage",
            "FROM debian AS x\nCOPY --from=b /x /\nFROM debian AS b\nFROM x",
            "stage `b` is not above",
        ),
        ("itself", "FROM debian AS a\nCOPY --from=a /x /", "stage `a` is not above"),
        ("number too large", "FROM debian\nCOPY --from=5 /x /", "there is no stage `5`: the file has 1"),
        (
            "number of a later stage",
            "FROM debian AS x\nCOPY --from=1 /x /\nFROM debian\nFROM x",
            "stage `1` is not above",
        ),
        (
            "a wildcard in an empty directory",
            "FROM debian\nCOPY b.json empty/* /x/",
            "`empty/*` is not in the build context",
        ),
        (
            "a wildcard in no directory of a stage",
            "FROM debian AS a\nFROM debian\nCOPY --from=a /none/* /x/",
            "`/none/*` is not in stage `a`",
        ),
        ("nobody's number", "FROM debian\nCOPY --chown=4294967295 b.json /x", "nobody's number"),
        (
            "mount of an unknown type",
            "FROM debian\nRUN --mount=type=foo x",
            "the types are bind, cache, tmpfs",
        ),
        ("mount of a type with a mistake", "FROM debian\nRUN --mount=type=cahce x", "did you mean `cache`?"),
        ("mount with a wrong option", "FROM debian\nRUN --mount=taget=/x x", "did you mean `target`?"),
        (
            "missing in a stage",
            "FROM debian AS a\nFROM debian\nCOPY --from=a /nope /",
            "`/nope` is not in stage `a`",
        ),
        ("unknown image", "FROM nothing", "Dockerfile:1:6: cannot get the image `nothing"),
        ("hint of the images", "FROM nothing", "hint: make it"),
        ("no image name", "FROM UPPER", "is no image"),
        ("empty image", "ARG X\nFROM $X", "empty after expansion"),
        ("url", "FROM debian\nADD https://example.invalid/x /", "cannot fetch `https://example.invalid/x`"),
        ("url in copy", "FROM debian\nCOPY https://example.invalid/x /", "only ADD does"),
        (
            "security",
            "FROM debian\nRUN --security=insecure x",
            "hint: if you trust this Dockerfile with your machine, build with --allow security.insecure",
        ),
        ("ssh", "FROM debian\nRUN --mount=type=ssh,required x", "the ssh agent `default` was not given"),
        (
            "required secret",
            "FROM debian\nRUN --mount=type=secret,id=s,required x",
            "secret `s` was not given",
        ),
        (
            "mistake after a command",
            "FROM debian\nRUN say x\nEXPOSE web",
            "Dockerfile:3:1: EXPOSE: `web` is no port",
        ),
    ] {
        let got = fails(&bench, text);
        assert!(got.contains(want), "case {name}: {got}");
        assert_eq!(bench.log.lines("OUTPUT"), Vec::<String>::new(), "case {name}: nothing ran");
    }
    let mut request = bench.request("FROM debian AS build\nFROM debian\n");
    request.target = Some("biuld".to_owned());
    assert!(render(&bench.run(&request).unwrap_err()).contains("did you mean `build`?"));
}

#[test]
fn a_long_chain_of_stages_is_no_deep_one() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.file("a", "a");
    for link in ["FROM s{below} AS s{number}\n", "FROM scratch AS s{number}\nCOPY --from=s{below} /a /a\n"] {
        let links = (1..1000).map(|number| {
            link.replace("{below}", &(number - 1).to_string()).replace("{number}", &number.to_string())
        });
        let text: String =
            std::iter::once("FROM scratch AS s0\nCOPY a /a\n".to_owned()).chain(links).collect();
        let built = bench.build(&text).unwrap();
        assert_eq!(bench.listing(&built), ["a 644 0:0 a"]);
    }
}

//! What hits, what misses, and why.

use std::sync::atomic::Ordering;

use shipway_build::{BuildNetwork, BuildRequest, Secret};
use shipway_testkit::{Need, require};

use crate::harness::Bench;

#[test]
fn the_second_build_of_an_unchanged_tree_comes_from_the_cache_and_gives_the_same_image() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("package.json", "{}");
    bench.file("src/main.js", "1");
    let text = "FROM debian\nWORKDIR /app\nCOPY package.json .\nRUN write /n 1\nCOPY . .\nCMD [\"x\"]\n";
    let first = bench.build(text).unwrap();
    assert_eq!((first.steps, first.cached_steps), (5, 1));
    let runs = bench.runner.runs.load(Ordering::SeqCst);
    let second = bench.build(text).unwrap();
    assert_eq!((second.steps, second.cached_steps), (5, 5));
    assert_eq!(second.image_id, first.image_id);
    assert_eq!(bench.runner.runs.load(Ordering::SeqCst), runs);
    assert_eq!(
        bench.log.lines("CACHED"),
        ["[2/5] WORKDIR /app", "[3/5] COPY package.json .", "[4/5] RUN write /n 1", "[5/5] COPY . ."]
    );
    // Only what reads the changed file is done again, and the reason is told.
    bench.file("src/main.js", "2");
    let third = bench.build(text).unwrap();
    assert_eq!(third.cached_steps, 4);
    assert_eq!(bench.log.lines("MISSED"), ["[5/5] COPY . .: src/main.js changed"]);
    assert_ne!(third.image_id, first.image_id);
}

#[test]
fn an_instruction_that_changes_only_the_config_does_not_disturb_later_files() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.build("FROM debian\nLABEL a=1\nCMD [\"a\"]\nRUN write /n 1\n").unwrap();
    let again = bench.build("FROM debian\nLABEL a=2\nCMD [\"b\"]\nRUN write /n 1\n").unwrap();
    assert_eq!(again.cached_steps, again.steps);
    assert_eq!(bench.config(&again).config.cmd.unwrap(), ["b"]);
}

#[test]
fn a_source_that_is_written_in_another_way_is_the_same_one() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("d/a", "1");
    bench.file("d/b", "2");
    let build = |copy: &str| {
        let built = bench.build(&format!("FROM debian\n{copy}\nRUN say {copy:.2}\n")).unwrap();
        (built.steps - built.cached_steps, bench.listing(&built))
    };
    for (name, copy, ways) in [
        ("a file", "COPY d/a /x", &["COPY ./d/a /x", "COPY d//a /y/../x", "COPY /d/../d/./a /x"][..]),
        ("a directory", "COPY d /x/", &["COPY ./d/ /x/", "COPY [\"d\", \"/x/\"]"]),
        ("a wildcard", "ADD d/* /x/", &["ADD ./d/* /x/", "ADD /z*/../d/* /x/"]),
        ("parents", "COPY --parents d/a /p/", &["COPY --parents d/a ./p/"]),
    ] {
        let (steps, listing) = build(copy);
        assert!(steps > 0, "case {name}");
        for way in ways {
            assert_eq!(build(way), (0, listing.clone()), "case {name}: {way}");
        }
    }
    for (name, copy) in [
        ("another name", "COPY d/b /x"),
        ("another kind of destination", "COPY d/a /x/"),
        ("another beginning of parents", "COPY --parents ./d/./a /p/"),
    ] {
        assert!(build(copy).0 > 0, "case {name}");
    }
}

/// What is changed between two builds.
type Change = fn(&Bench, &mut BuildRequest);

#[test]
fn everything_that_can_change_a_copy_is_in_its_key_and_times_are_not() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let cases: [(&str, Change, bool); 12] = [
        ("nothing", |_, _| {}, true),
        (
            "time",
            |bench, _| {
                let path = bench.dir.path().join("context/d/a");
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            },
            true,
        ),
        ("rewritten with the same bytes", |bench, _| bench.file("d/a", "1"), true),
        ("a file that is not copied", |bench, _| bench.file("other", "1"), true),
        ("host CA", |_, request| request.host_ca = true, true),
        ("bytes", |bench, _| bench.file("d/a", "2"), false),
        (
            "mode",
            |bench, _| {
                use std::os::unix::fs::PermissionsExt as _;
                let path = bench.dir.path().join("context/d/a");
                fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
            },
            false,
        ),
        ("new file", |bench, _| bench.file("d/b", "1"), false),
        (
            "renamed file",
            |bench, _| {
                let context = bench.dir.path().join("context/d");
                fs_err::rename(context.join("a"), context.join("c")).unwrap();
            },
            false,
        ),
        (
            "empty directory",
            |bench, _| {
                fs_err::create_dir(bench.dir.path().join("context/d/e")).unwrap();
            },
            false,
        ),
        ("link", |bench, _| bench.file("d/l", "->a"), false),
        ("no cache", |_, request| request.no_cache = true, false),
    ];
    for (name, change, hit) in cases {
        let bench = Bench::new();
        bench.debian();
        bench.file("d/a", "1");
        let mut request = bench.request("FROM debian\nCOPY d /x/\n");
        bench.run(&request).unwrap();
        change(&bench, &mut request);
        let again = bench.run(&request).unwrap();
        assert_eq!(again.cached_steps == again.steps, hit, "case {name}: {:?}", bench.log.lines("MISSED"));
    }
}

#[test]
fn every_field_of_an_instruction_is_in_its_key() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("a", "1");
    bench.file("b", "1");
    // Each must miss although all before it are in the cache.
    let variants = [
        "COPY a /x",
        "COPY a /y",
        "COPY b /x",
        "ADD a /x",
        "COPY --chown=1 a /x",
        "COPY --chown=1:2 a /x",
        "COPY --chmod=600 a /x",
        "COPY --chmod=640 a /x",
        "COPY --exclude=z a /x",
        "COPY --parents a /x/",
        "COPY <<a /x\n1\na",
        "COPY <<a /x\n2\na",
        "RUN say 1",
        "RUN say 2",
        "RUN [\"say 1\"]",
        "RUN --network=none say 1",
        "RUN --mount=type=tmpfs,target=/t say 1",
        "RUN --mount=type=tmpfs,target=/u say 1",
        "RUN --mount=type=tmpfs,target=/t,size=1m say 1",
        "RUN --mount=type=tmpfs,target=/t,readonly say 1",
        "RUN --mount=type=cache,target=/t say 1",
        "RUN --mount=type=cache,target=/t,id=i say 1",
        "RUN --mount=type=secret,id=s say 1",
        "RUN --mount=type=secret,id=s,uid=1 say 1",
        "RUN --mount=type=secret,id=s,gid=1 say 1",
        "RUN --mount=type=ssh say 1",
        "RUN --mount=type=ssh,uid=1 say 1",
        "RUN --mount=type=bind,source=a,target=/t say 1",
        "RUN --mount=type=bind,source=b,target=/t say 1",
        "ENV A=1\nRUN say 1",
        "ENV A=2\nRUN say 1",
        "ARG A=3\nRUN say 1",
        "USER web\nRUN say 1",
        "SHELL [\"/bin/bash\", \"-c\"]\nRUN say 1",
        "RUN <<E\nsay 1\nE",
        "WORKDIR /w",
        "WORKDIR /v",
        "USER web\nWORKDIR /w",
    ];
    for variant in variants {
        let text = format!("FROM debian\n{variant}\n");
        let first = bench.build(&text).unwrap();
        assert_eq!(first.cached_steps, 1, "a miss is wanted: {variant}");
        let second = bench.build(&text).unwrap();
        assert_eq!(second.cached_steps, second.steps, "a hit is wanted: {variant}");
    }
    let mut request = bench.request("FROM debian\nRUN say 1\n");
    request.network = BuildNetwork::Host;
    assert_eq!(bench.run(&request).unwrap().cached_steps, 1);
}

#[test]
fn secrets_are_in_no_key_no_row_and_no_document() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    const CANARY: &str = "canary-7f3a";
    let bench = Bench::new();
    bench.debian();
    let mut request = bench.request(
        "FROM debian\nRUN --mount=type=secret,id=s --mount=type=secret,id=s,env=TOKEN mounts && env\n",
    );
    request.secrets = vec![Secret { id: "s".to_owned(), content: CANARY.as_bytes().to_vec() }];
    let first = bench.run(&request).unwrap();
    let printed = bench.log.lines("OUTPUT").join("\n");
    assert!(
        printed.contains("=file **** 400;") && !printed.contains(CANARY),
        "the command gets it: {printed}"
    );
    assert!(!format!("{request:?}").contains(CANARY));
    request.secrets[0].content = b"another".to_vec();
    let second = bench.run(&request).unwrap();
    assert_eq!((second.cached_steps, second.image_id), (2, first.image_id));
    let mut todo = vec![bench.store.root().to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs_err::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                let bytes = fs_err::read(entry.path()).unwrap();
                let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
                assert!(!found, "the secret is in {}", entry.path().display());
            }
        }
    }
}

#[test]
fn a_cache_mount_lives_on_and_its_name_leads_nowhere() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let mut request = bench.request("FROM debian\nRUN --mount=type=cache,target=/c,id=../../../etc mounts\n");
    request.no_cache = true;
    bench.run(&request).unwrap();
    bench.run(&request).unwrap();
    assert_eq!(bench.log.lines("OUTPUT"), ["/c=cache 1;"]);
    assert!(!bench.dir.path().join("etc").exists());
}

#[test]
fn copies_between_stages_hit_when_the_stage_was_made_again_with_the_same_files() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let text = |n: &str| {
        format!("FROM debian AS a\nRUN write /out/x 1 && say {n}\nFROM debian\nCOPY --from=a /out /in/\n")
    };
    bench.build(&text("1")).unwrap();
    let second = bench.build(&text("2")).unwrap();
    let cached = ["[a 1/2] FROM docker.io/library/debian:latest", "[stage-1 2/2] COPY --from=a /out /in/"];
    assert_eq!(bench.log.lines("CACHED"), cached);
    assert!(bench.listing(&second).contains(&"in/x 644 0:0 1".to_owned()));
}

#[test]
fn steps_after_a_copy_between_stages_hit_too_and_misses_there_are_explained() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let text = |n: &str, file: &str| {
        format!(
            "FROM debian AS a\nRUN write /out/x {file} && say {n}\nFROM debian\nCOPY --from=a /out /in/\nRUN write /y 1\n"
        )
    };
    let first = bench.build(&text("1", "1")).unwrap();
    let second = bench.build(&text("1", "1")).unwrap();
    assert_eq!((second.cached_steps, second.image_id), (second.steps, first.image_id));
    bench.build(&text("2", "1")).unwrap();
    let cached = bench.log.lines("CACHED");
    assert_eq!(cached.iter().filter(|line| line.contains("stage-1")).count(), 2, "{cached:?}");
    bench.build(&text("2", "2")).unwrap();
    let missed = bench.log.lines("MISSED");
    assert!(
        missed.contains(&"[stage-1 2/3] COPY --from=a /out /in/: out/x changed".to_owned()),
        "{missed:?}"
    );
}

#[test]
fn an_equal_layer_made_twice_is_hashed_once_only() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let mut request = bench.request("FROM debian\nRUN write /x 1\n");
    request.build_args = vec![("SOURCE_DATE_EPOCH".to_owned(), "1".to_owned())];
    let first = bench.run(&request).unwrap();
    request.no_cache = true;
    bench.run(&request).unwrap();
    request.no_cache = false;
    let third = bench.run(&request).unwrap();
    assert_eq!((third.cached_steps, third.image_id), (2, first.image_id));
}

#[test]
fn a_step_that_unpacks_an_archive_knows_how_that_is_done() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("x", "no archive");
    bench.file("y", "1");
    let text = "FROM debian\nADD x /u/\n";
    bench.build(text).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    archive.append_data(&mut header, "f", &b"f"[..]).unwrap();
    fs_err::write(bench.dir.path().join("context/x"), archive.into_inner().unwrap()).unwrap();
    bench.log.clear();
    bench.build(text).unwrap();
    // Of what older versions unpacked nothing in the key says how.
    assert_eq!(bench.log.lines("MISSED"), ["[2/2] ADD x /u/: how archives are unpacked is new, x changed"]);
    assert_eq!(bench.build(text).unwrap().cached_steps, 2);

    // What unpacks nothing does not depend on it.
    for text in
        ["FROM debian\nADD y /u/\n", "FROM debian\nCOPY x /u/\n", "FROM debian\nADD --unpack=false x /u/\n"]
    {
        bench.build(text).unwrap();
        let inputs: Vec<String> =
            bench.store.cache_list().unwrap().into_iter().map(|cached| cached.step.inputs).collect();
        let unpacking = inputs.iter().filter(|inputs| inputs.contains("how archives are unpacked")).count();
        assert_eq!(unpacking, 1, "{text}: {inputs:?}");
    }
}

#[test]
fn a_base_image_is_cached_where_a_step_on_it_is_done_and_a_build_has_used_it_before() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("a", "1");
    bench.file("b", "1");
    let text = "FROM debian\nENV A=b\nCOPY a /\nCOPY b /\n";
    let of_base = || -> Vec<String> {
        let lines = bench.log.lines("").into_iter();
        lines.filter(|line| line.contains("] FROM") && !line.starts_with("STARTED")).collect()
    };
    let done = ["DONE [1/3] FROM docker.io/library/debian:latest"];
    let cached = ["CACHED [1/3] FROM docker.io/library/debian:latest"];
    for (name, file, want) in [
        ("the first build", None, done),
        ("all is cached", None, done),
        ("the step on it is cached", Some("b"), done),
        ("the step on it is done", Some("a"), cached),
    ] {
        if let Some(file) = file {
            bench.file(file, name);
        }
        bench.log.clear();
        bench.build(text).unwrap();
        assert_eq!(of_base(), want, "case {name}");
    }
    bench.log.clear();
    bench.run(&BuildRequest { no_cache: true, ..bench.request(text) }).unwrap();
    assert_eq!(of_base(), cached, "without the cache it is still here");
    bench.log.clear();
    bench.build("FROM debian\nLABEL a=b\n").unwrap();
    assert_eq!(of_base(), ["CACHED [1/1] FROM docker.io/library/debian:latest"], "it is what was wanted");
    // What follows it is told after it.
    bench.log.clear();
    bench.build("FROM debian\nENV A=c\nCOPY --from=debian /etc /x\n").unwrap();
    let told: Vec<String> = bench
        .log
        .lines("")
        .into_iter()
        .filter(|line| line.contains("FROM") || line.contains("ENV") || line.contains("COPY"))
        .collect();
    let heads: Vec<&str> = told.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(heads, ["STARTED", "CACHED", "STARTED", "DONE", "STARTED", "MISSED", "DONE"], "{told:?}");
}

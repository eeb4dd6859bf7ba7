//! Stages, threads, stopping, and several builds at once.

use std::sync::atomic::Ordering;
use std::thread;

use shipway_build::{BuildError, Stop};
use shipway_testkit::{Need, require};

use crate::harness::Bench;

fn bench() -> Option<Bench> {
    if !require(&[Need::Root, Need::Overlay]) {
        return None;
    }
    let bench = Bench::new();
    bench.debian();
    Some(bench)
}

#[test]
fn stages_that_do_not_need_each_other_run_at_the_same_time() {
    let Some(bench) = bench() else { return };
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    let built = bench
        .build(
            "FROM debian AS a\nRUN meet 2 && write /a 1\nFROM debian AS b\nRUN meet 2 && write /b 1\n\
             FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n",
        )
        .unwrap();
    assert_eq!(bench.listing(&built), ["a 644 0:0 1", "b 644 0:0 1"]);
}

#[test]
fn a_step_begins_when_what_it_reads_is_there() {
    let Some(bench) = bench() else { return };
    bench
        .build(
            "FROM debian AS a\nRUN write /a 1\nFROM debian AS b\nRUN write /b 1\n\
             FROM debian\nCOPY --from=a /a /\nRUN --mount=from=b,target=/m say done\n",
        )
        .unwrap();
    let lines = bench.log.lines("");
    let at = |wanted: &str| {
        lines.iter().position(|line| line == wanted).unwrap_or_else(|| panic!("{wanted}: {lines:?}"))
    };
    for (made, read) in [
        ("DONE [a 2/2] RUN write /a 1", "STARTED [stage-2 2/3] COPY --from=a /a /"),
        ("DONE [b 2/2] RUN write /b 1", "STARTED [stage-2 3/3] RUN --mount=from=b,target=/m say done"),
    ] {
        assert!(at(made) < at(read), "{lines:?}");
    }
}

#[test]
fn stages_that_the_target_does_not_need_are_not_built() {
    let Some(bench) = bench() else { return };
    let text = "FROM debian AS base\nRUN write /base 1\nFROM nothing AS unused\nRUN exit 1\n\
                FROM base AS test\nRUN exit 1\nFROM base AS app\nRUN write /app 1\n";
    let built = bench.build(text).unwrap();
    assert_eq!(bench.runner.runs.load(Ordering::SeqCst), 2);
    assert!(bench.listing(&built).contains(&"base 644 0:0 1".to_owned()));
    let mut request = bench.request(text);
    request.target = Some("Base".to_owned());
    let base = bench.run(&request).unwrap();
    assert_eq!((base.steps, base.cached_steps), (2, 2));
}

#[test]
fn a_mount_is_from_a_stage_by_name_or_number_the_last_that_it_names() {
    let Some(bench) = bench() else { return };
    let stages = "FROM debian AS one\nRUN write /a 1\nFROM debian AS two\nRUN write /a 1 && write /b 1\n";
    let shown = |from: &str| {
        bench.log.clear();
        let mut request =
            bench.request(&format!("{stages}FROM debian\nRUN --mount={from},target=/m mounts\n"));
        request.no_cache = true;
        bench.run(&request).unwrap();
        bench.log.lines("OUTPUT").concat()
    };
    let [one, two] = ["from=one", "from=two"].map(shown);
    assert_ne!(one, two);
    for (from, want) in [
        ("from=0", &one),
        ("from=1", &two),
        ("FROM=1", &two),
        ("from=one,from=1", &two),
        ("from=1,from=one", &one),
    ] {
        assert_eq!(shown(from), *want, "case {from}");
    }
    for (number, want) in
        [(2, "stage `2` is not above this one"), (3, "there is no stage `3`: the file has 3")]
    {
        let text = format!("{stages}FROM debian\nRUN --mount=from={number},target=/m mounts\n");
        let error = bench.build(&text).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
}

#[test]
fn a_stage_may_be_called_scratch() {
    let Some(bench) = bench() else { return };
    let text = "FROM debian AS base\nRUN write /s 1\nFROM base AS scratch\nFROM scratch\nCOPY --from=scratch /s /t\n";
    let listing = bench.listing(&bench.build(text).unwrap());
    assert!(listing.contains(&"s 644 0:0 1".to_owned()) && listing.contains(&"t 644 0:0 1".to_owned()));
    let above =
        bench.request("FROM scratch AS one\nCOPY --from=debian /etc/passwd /\nFROM debian AS scratch\n");
    let built = bench.run(&shipway_build::BuildRequest { target: Some("one".to_owned()), ..above }).unwrap();
    assert_eq!(bench.listing(&built).len(), 1, "one further down is another");
}

#[test]
fn a_child_stage_has_what_its_base_set() {
    let Some(bench) = bench() else { return };
    let built = bench
        .build("FROM debian AS a\nARG V=1\nENV E=$V\nWORKDIR /w\nCMD [\"c\"]\nFROM a\nRUN env\nENTRYPOINT [\"e\"]\n")
        .unwrap();
    let config = bench.config(&built);
    assert_eq!((config.config.working_dir.as_str(), config.config.cmd), ("/w", None));
    assert!(bench.log.lines("OUTPUT")[0].contains("E=1"));
    assert_eq!(config.history.len(), 6);
}

#[test]
fn a_set_flag_ends_the_running_command_and_leaves_nothing() {
    let Some(bench) = bench() else { return };
    let mut request =
        bench.request("FROM debian AS a\nRUN hang\nFROM debian\nRUN write /x 1\nCOPY --from=a /x /y\n");
    request.stop = Stop::new();
    let stop = request.stop.clone();
    let builder = bench.builder();
    thread::scope(|scope| {
        let build = scope.spawn(|| builder.build(&request));
        bench.runner.wait_for_hang();
        stop.set();
        assert!(matches!(build.join().unwrap(), Err(BuildError::Cancelled)));
    });
    assert_eq!(bench.store.images().unwrap(), []);
    bench.assert_nothing_left();
}

#[test]
fn a_failing_stage_ends_the_others_and_is_the_reason() {
    let Some(bench) = bench() else { return };
    let error = bench
        .build("FROM debian AS a\nRUN hang\nFROM debian AS b\nRUN exit 5\nFROM a\nCOPY --from=b /x /\n")
        .unwrap_err();
    assert!(matches!(error, BuildError::RunFailed { code: 5, .. }), "{error:?}");
    bench.assert_nothing_left();
}

#[test]
fn builds_at_the_same_time_give_equal_images() {
    let Some(bench) = bench() else { return };
    bench.file("a", "1");
    let mut request = bench.request("FROM debian\nCOPY a /\nRUN write /x 1\nRUN write /y 2\n");
    request.build_args = vec![("SOURCE_DATE_EPOCH".to_owned(), "1".to_owned())];
    let builder = bench.builder();
    let ids: Vec<_> = thread::scope(|scope| {
        let builds: Vec<_> =
            (0..4).map(|_| scope.spawn(|| builder.build(&request).unwrap().image_id)).collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    let again = bench.run(&request).unwrap();
    assert_eq!((again.cached_steps, again.image_id), (again.steps, ids[0]));
    bench.assert_nothing_left();
}

#[test]
fn what_a_step_mounts_over_leaves_no_trace_in_the_layer() {
    let Some(bench) = bench() else { return };
    let built = bench
        .build("FROM debian\nRUN --mount=type=tmpfs,target=/some/where mounts\nRUN write /etc/hosts 1\n")
        .unwrap();
    assert_eq!(
        bench.listing(&built),
        [
            "dev/ 755 0:0",
            "etc/ 755 0:0",
            "etc/hosts 644 0:0 1",
            "etc/passwd 644 0:0 root:x:0:0::/:\nweb:x:33:33::/:\n",
            "lib64 -> usr/lib64",
            "proc/ 755 0:0",
            "sys/ 755 0:0",
            "usr/ 755 0:0",
            "usr/lib64/ 755 0:0"
        ]
    );
    let layers = &bench.config(&built).rootfs.diff_ids;
    let ids = shipway_layers::LayerStore::resolve(&*bench.layers, layers).unwrap();
    let views = shipway_layers::LayerStore::view(&*bench.layers, &ids);
    let left = fs_err::read_dir(&views[1]).unwrap().count();
    assert_eq!(left, 3, "of the first RUN only what every image is to have, as BuildKit leaves it");
}

#[test]
fn bind_mounts_show_the_context_without_what_is_ignored() {
    let Some(bench) = bench() else { return };
    bench.file("a", "1");
    bench.file("b", "1");
    let text = "FROM debian\nRUN --mount=target=/ctx mounts\n";
    bench.build(text).unwrap();
    assert_eq!(bench.log.lines("OUTPUT"), ["/ctx=bind 2;"]);
    bench.file(".dockerignore", "b\n.dockerignore\n");
    bench.build(text).unwrap();
    assert_eq!(bench.log.lines("OUTPUT"), ["/ctx=bind 1;"]);
    bench.assert_nothing_left();
}

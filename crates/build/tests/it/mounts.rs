//! What commands are given by `--mount` that is not there, or there twice; scripts; empty commands.

use shipway_build::Secret;
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
fn secrets_and_agents_that_were_not_given_leave_their_variables() {
    let Some(bench) = bench() else { return };
    let text = "FROM debian\nRUN --mount=type=secret,id=s,env=TOKEN --mount=type=ssh --mount=type=ssh,target=/a env && mounts\n";
    bench.build(text).unwrap();
    let said = bench.log.lines("OUTPUT").concat();
    assert!(said.contains(" TOKEN= ") || said.contains(" TOKEN= SSH"), "{said}");
    assert!(said.contains("SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0 "), "{said}");
    assert!(!said.contains("/a="), "{said}");
}

#[test]
fn the_last_of_two_mounts_with_one_target_is_the_only_one() {
    let Some(bench) = bench() else { return };
    bench.file("page", "x");
    for (mounts, want) in [
        ("--mount=target=/m --mount=type=tmpfs,target=/m", "tmpfs"),
        ("--mount=type=tmpfs,target=/m --mount=target=/m", "bind"),
        ("--mount=target=/m --mount=type=cache,target=/m", "cache"),
        ("--mount=type=secret,id=s,target=/m --mount=type=secret,id=t,target=/m", "file two"),
    ] {
        bench.log.clear();
        let secret = |id: &str, content: &str| Secret { id: id.to_owned(), content: content.into() };
        let mut request = bench.request(&format!("FROM debian\nRUN {mounts} mounts\n"));
        request.secrets = vec![secret("s", "one"), secret("t", "two")];
        bench.run(&request).unwrap();
        let said = bench.log.lines("OUTPUT").concat();
        let kinds: Vec<&str> = said.split(';').filter_map(|mount| mount.strip_prefix("/m=")).collect();
        assert!(kinds.len() == 1 && kinds[0].starts_with(want), "{mounts}: {said}");
    }
}

#[test]
fn scripts_are_such_without_the_tabs_that_are_dropped() {
    let Some(bench) = bench() else { return };
    let built = bench.build("FROM debian\nRUN <<-EOF\n\t#!/bin/x\n\tmounts\n\tEOF\n").unwrap();
    let said = bench.log.lines("OUTPUT").concat();
    assert!(said.starts_with("/dev/pipes/EOF=file #!/bin/x"), "{said}");
    let history = bench.config(&built).history.pop().unwrap();
    assert_eq!(history.created_by.as_deref(), Some("RUN /bin/sh -c /dev/pipes/EOF # buildkit"));
}

#[test]
fn of_two_texts_with_one_name_the_last_counts() {
    let Some(bench) = bench() else { return };
    let built = bench.build("FROM debian\nCOPY <<x <<x <<y /d/\none\nx\ntwo\nx\nthree\ny\n").unwrap();
    let listing = bench.listing(&built);
    for line in ["d/x 644 0:0 two\n", "d/y 644 0:0 three\n"] {
        assert!(listing.contains(&line.to_owned()), "{listing:?}");
    }
}

#[test]
fn an_empty_command_takes_that_of_the_base_away() {
    let Some(bench) = bench() else { return };
    let built =
        bench.build("FROM debian\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\nCMD [ ]\nENTRYPOINT [ ]\n").unwrap();
    let config = bench.config(&built).config;
    assert_eq!((config.cmd, config.entrypoint, config.args_escaped), (None, None, true));
}

#[test]
fn commands_that_read_a_part_of_a_stage_hit_when_it_was_made_again_with_the_same_files() {
    let Some(bench) = bench() else { return };
    let text = |how: &str, file: &str, n: &str| {
        format!(
            "FROM debian AS a\nRUN write /out/x {file} && say {n}\nFROM debian\n\
             RUN --mount=from=a,target=/m,{how} mounts\nRUN write /y 1\n"
        )
    };
    let cached_runs = |text: &str| {
        bench.log.clear();
        bench.build(text).unwrap();
        let lines = bench.log.lines("CACHED");
        lines.iter().filter(|line| line.contains("RUN --mount") || line.contains("RUN write /y")).count()
    };
    for how in ["source=/out", "source=out/x", "source=/out,rw"] {
        cached_runs(&text(how, "1", "one"));
        assert_eq!(cached_runs(&text(how, "1", "two")), 2, "{how}: the same files");
        assert_eq!(cached_runs(&text(how, "1", "two")), 2, "{how}: the same stage");
        assert_eq!(cached_runs(&text(how, "2", "two")), 0, "{how}: other files");
    }
    // Where all of it is shown, the stage must be the same; a mount takes no wildcards.
    let build = |how: &str| (cached_runs(&text(how, "3", "one")), cached_runs(&text(how, "3", "two")));
    assert_eq!(build("ro"), (0, 0));
}

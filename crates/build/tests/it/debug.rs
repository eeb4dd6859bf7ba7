//! Looking around where a command has failed.

use std::sync::{Arc, Mutex};

use shipway_build::{BuildError, Debugger, MountSource, RunStep, Stop};
use shipway_testkit::{Need, require};

use crate::harness::Bench;

/// Notes what it is shown.
#[derive(Debug, Default)]
struct Looker {
    seen: Mutex<Vec<String>>,
}

impl Debugger for Looker {
    fn look(&self, error: &BuildError, step: &RunStep) {
        let left = fs_err::read_to_string(step.upper.join("left")).unwrap();
        let kinds = step.mounts.iter().map(|mount| match mount.source {
            MountSource::Bind { is_directory: true, .. } => format!("bind {}", mount.target),
            MountSource::Cache { .. } => format!("cache {}", mount.target),
            MountSource::File { .. } => format!("file {}", mount.target),
            _ => "another".to_owned(),
        });
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        let line = format!("{:?} {} {} {left}; {kinds}; {error}", step.args, step.cwd, step.user);
        assert!(!step.stop.is_set() && step.env.contains(&"A=b".to_owned()));
        self.seen.lock().unwrap().push(line);
    }
}

#[test]
fn a_failed_command_is_shown_with_what_it_left_before_it_goes() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    fs_err::write(bench.dir.path().join("context/file"), "x").unwrap();
    let looker = Arc::new(Looker::default());
    let text = "FROM debian AS other\nRUN hang\nFROM debian\nSHELL [\"/bin/bash\", \"-ec\"]\nENV A=b\nUSER 7\nWORKDIR /srv\n\
                RUN --mount=target=/ctx --mount=type=cache,target=/c --mount=type=secret,id=s write left traces && exit 3\n\
                COPY --from=other / /\n";
    let mut request = bench.request(text);
    request.secrets.push(shipway_build::Secret { id: "s".to_owned(), content: b"secret!".to_vec() });
    request.stop = Stop::new();
    let error = bench.builder().with_debugger(looker.clone()).build(&request).unwrap_err();
    assert!(matches!(error, BuildError::RunFailed { code: 3, .. }), "{error:?}");
    let want = "[\"/bin/bash\"] /srv 7 traces; cache /c, bind /ctx, file /run/secrets/s; process \"/bin/bash -ec write \
                left traces && exit 3\" did not complete successfully: exit code: 3";
    assert_eq!(*looker.seen.lock().unwrap(), [want]);
    let failures = bench.log.lines("FAILED ");
    let own = failures.iter().filter(|line| line.contains("exit code: 3")).count();
    assert_eq!(own, 1, "told once: {failures:?}");
    assert!(!request.stop.is_set(), "whoever asked for the build has not stopped it");
    bench.assert_nothing_left();
}

#[test]
fn only_commands_that_fail_are_shown() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let looker = Arc::new(Looker::default());
    let build = |text: &str| bench.builder().with_debugger(looker.clone()).build(&bench.request(text));
    assert!(build("FROM debian\nRUN write left traces\n").is_ok());
    assert!(build("FROM debian\nCOPY missing /\n").is_err());
    assert_eq!(looker.seen.lock().unwrap().len(), 0);
}

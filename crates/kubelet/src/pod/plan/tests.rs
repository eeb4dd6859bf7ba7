use std::net::Ipv4Addr;

use serde_json::{Value, from_value, json};

use super::super::record::Ended;
use super::*;
use crate::machine::Sandbox;

fn pod(spec: Value) -> Pod {
    from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec})).unwrap()
}

fn one(policy: &str) -> Pod {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "c"}]}))
}

fn now() -> Now {
    Now { instant: Instant::now(), time: "2026-01-01T00:00:00Z".parse().unwrap() }
}

fn set_up() -> PodRecord {
    let sandbox = Sandbox { netns: None, address: Ipv4Addr::new(10, 0, 0, 2) };
    PodRecord { sandbox: Some(sandbox), volumes_ready: true, ..PodRecord::default() }
}

fn ended(code: i32) -> State {
    State::Ended(Ended {
        id: "x".to_owned(),
        code,
        reason: "Error".to_owned(),
        message: None,
        started: None,
        finished: Timestamp::UNIX_EPOCH,
    })
}

fn running() -> State {
    State::Running { id: "x".to_owned(), since: Timestamp::UNIX_EPOCH }
}

fn with(states: &[(&str, State)]) -> PodRecord {
    let mut record = set_up();
    for (name, state) in states {
        record.container(name).state = state.clone();
    }
    record
}

fn start(name: &str) -> Action {
    Action::Start(name.to_owned())
}

#[test]
fn a_new_pod_is_set_up_before_anything_starts() {
    assert_eq!(plan(&one("Always"), &PodRecord::default(), now()).actions, [Action::SetUp]);
    assert_eq!(plan(&one("Always"), &set_up(), now()).actions, [start("c")]);
}

#[test]
fn containers_restart_as_their_policy_says() {
    let cases = [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ];
    for (policy, code, again) in cases {
        let plan = plan(&one(policy), &with(&[("c", ended(code))]), now());
        let starts = plan.actions.contains(&start("c"));
        assert_eq!(starts, again, "case {policy} {code}");
    }
}

#[test]
fn a_container_in_back_off_waits() {
    let now = now();
    let mut record = with(&[("c", ended(1))]);
    record.container("c").again = Some(now.instant + Duration::from_secs(4));
    assert_eq!(plan(&one("Always"), &record, now).actions, [Action::BackOff("c".to_owned())]);
    record.container("c").state = State::Waiting { reason: "CrashLoopBackOff", message: None };
    let waiting = plan(&one("Always"), &record, now);
    assert_eq!(waiting.actions, []);
    assert_eq!(waiting.wake, Some(now.instant + Duration::from_secs(4)));
}

#[test]
fn init_containers_run_one_after_the_other() {
    let pod = pod(json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]}));
    let cases = [
        ("first", with(&[]), vec![start("a")], Phase::Pending),
        ("wait for the first", with(&[("a", running())]), vec![], Phase::Pending),
        ("second", with(&[("a", ended(0))]), vec![start("b")], Phase::Pending),
        ("again after a failure", with(&[("a", ended(1))]), vec![start("a")], Phase::Pending),
        ("then the containers", with(&[("a", ended(0)), ("b", ended(0))]), vec![start("c")], Phase::Pending),
    ];
    for (name, record, want, phase_wanted) in cases {
        assert_eq!(plan(&pod, &record, now()).actions, want, "case {name}");
        assert_eq!(phase(&pod, &record), phase_wanted, "case {name}");
    }
}

#[test]
fn a_sidecar_is_waited_for_until_it_has_started() {
    let pod = pod(
        json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}]}),
    );
    let mut record = with(&[("s", running())]);
    assert_eq!(plan(&pod, &record, now()).actions, []);
    record.container("s").started = true;
    assert_eq!(plan(&pod, &record, now()).actions, [start("c")]);
}

#[test]
fn phases_follow_the_containers() {
    let two =
        |policy: &str| pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}));
    let waiting = State::Waiting { reason: "ErrImagePull", message: None };
    let cases = [
        ("nothing yet", two("Always"), vec![], Phase::Pending),
        ("one cannot start", two("Always"), vec![("a", running()), ("b", waiting)], Phase::Pending),
        ("running", two("Always"), vec![("a", running()), ("b", running())], Phase::Running),
        ("one crashed", two("Always"), vec![("a", running()), ("b", ended(1))], Phase::Running),
        ("one done", two("Never"), vec![("a", running()), ("b", ended(0))], Phase::Running),
        ("all done", two("Never"), vec![("a", ended(0)), ("b", ended(0))], Phase::Succeeded),
        ("all done, one badly", two("OnFailure"), vec![("a", ended(0)), ("b", ended(0))], Phase::Succeeded),
        ("failed", two("Never"), vec![("a", ended(0)), ("b", ended(2))], Phase::Failed),
    ];
    for (name, pod, states, want) in cases {
        assert_eq!(phase(&pod, &with(&states)), want, "case {name}");
    }
}

#[test]
fn a_failed_init_container_that_may_not_restart_fails_the_pod() {
    let pod = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "a"}], "containers": [{"name": "c"}]}),
    );
    let record = with(&[("a", ended(1))]);
    assert_eq!(phase(&pod, &record), Phase::Failed);
    assert_eq!(plan(&pod, &record, now()).actions, [Action::Release]);
}

#[test]
fn a_deleted_pod_is_stopped_then_given_back_then_removed() {
    let mut pod = one("Always");
    pod.metadata.deletion_timestamp = Some("2026-01-01T00:00:05Z".parse::<Timestamp>().unwrap().into());
    pod.metadata.deletion_grace_period_seconds = Some(30);
    let mut record = with(&[("c", running())]);
    let stop = Action::Stop { name: "c".to_owned(), grace: Duration::from_secs(5) };
    assert_eq!(plan(&pod, &record, now()).actions, [stop]);
    record.container("c").stopping = true;
    assert_eq!(plan(&pod, &record, now()).actions, [], "it is asked once");
    record.container("c").state = ended(137);
    assert_eq!(plan(&pod, &record, now()).actions, [Action::Release, Action::Remove]);
}

#[test]
fn a_force_deleted_pod_gets_no_grace() {
    let mut pod = one("Always");
    pod.metadata.deletion_timestamp = Some(now().time.into());
    pod.metadata.deletion_grace_period_seconds = Some(0);
    let stop = Action::Stop { name: "c".to_owned(), grace: Duration::ZERO };
    assert_eq!(plan(&pod, &with(&[("c", running())]), now()).actions, [stop]);
}

#[test]
fn a_pod_that_is_active_too_long_fails() {
    let pod = pod(json!({"activeDeadlineSeconds": 10, "containers": [{"name": "c"}]}));
    let mut record = with(&[("c", running())]);
    let now = now();
    record.start_time = Some(Timestamp::from_second(now.time.as_second() - 4).unwrap());
    assert_eq!(plan(&pod, &record, now).wake, Some(now.instant + Duration::from_secs(6)));
    record.start_time = Some(Timestamp::from_second(now.time.as_second() - 10).unwrap());
    assert!(matches!(
        &plan(&pod, &record, now).actions[..],
        [Action::Fail { reason: "DeadlineExceeded", .. }]
    ));
}

#[test]
fn planning_for_a_settled_pod_changes_nothing() {
    assert_eq!(plan(&one("Always"), &with(&[("c", running())]), now()), Plan::default());
    let mut record = with(&[("c", ended(0))]);
    record.sandbox = None;
    assert_eq!(plan(&one("Never"), &record, now()), Plan::default());
}

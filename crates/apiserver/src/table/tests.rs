use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::{KINDS, kind_of};

const NOW: OffsetDateTime = datetime!(2026-11-23 08:17:00 UTC);

fn recorded(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn cells(group: &str, plural: &str, object: &Value) -> Vec<Value> {
    let kind = KINDS.iter().find(|kind| kind.group == group && kind.plural == plural).unwrap();
    let table = render(kind, std::slice::from_ref(object), NOW, TableOptions::default());
    let cells = table["rows"][0]["cells"].as_array().unwrap().clone();
    assert_eq!(cells.len(), table["columnDefinitions"].as_array().unwrap().len(), "{plural}");
    cells
}

fn pod_cells(pod: &Value) -> String {
    let cells = cells("", "pods", pod);
    cells[1..4].iter().map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn columns_are_those_of_an_upstream_server() {
    let recorded = include_str!("../../tests/data/columns.txt");
    let mut compared = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let (path, columns) = line.split_once(" | ").unwrap();
        let [group, version, plural] = path.split('/').collect::<Vec<_>>().try_into().unwrap();
        let Some(kind) = kind_of(group, version, plural) else { continue };
        let table = render(kind, &[], NOW, TableOptions::default());
        let ours: Vec<String> = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| {
                let text = |field: &str| column[field].as_str().unwrap().to_owned();
                format!("{}:{}:{}:{}", text("name"), text("type"), text("format"), column["priority"])
            })
            .collect();
        assert_eq!(ours.join(" | "), columns, "{path}");
        compared += 1;
    }
    assert!(compared > 20, "only {compared} kinds compared");
}

#[test]
fn every_kind_has_a_cell_for_each_column_even_of_an_empty_object() {
    for kind in KINDS {
        cells(kind.group, kind.plural, &json!({"metadata": {"name": "x"}}));
    }
}

#[test]
fn a_recorded_pod_has_the_row_that_kubectl_printed() {
    let pod = recorded(include_str!("../../tests/data/pod.yaml"));
    let row = cells("", "pods", &pod);
    assert_eq!(
        row,
        ["k1", "1/1", "Running", "0", "91s", "10.244.0.68", "node1", "<none>", "<none>"].map(Value::from)
    );
}

#[test]
fn a_recorded_node_has_the_row_that_kubectl_printed() {
    let node = recorded(include_str!("../../tests/data/node.yaml"));
    let row = cells("", "nodes", &node);
    assert_eq!(row[1..4], ["Ready", "<none>", "92s"].map(Value::from));
    assert_eq!(row[5..7], ["172.31.77.1", "<none>"].map(Value::from));
}

#[test]
fn the_status_of_a_pod_names_what_holds_it_up() {
    let two = json!([{"name": "a"}, {"name": "b"}]);
    let running = json!({"name": "a", "ready": true, "state": {"running": {}}, "restartCount": 0});
    let status = |phase: &str, containers: Value| json!({"phase": phase, "containerStatuses": containers});
    let waiting = json!({"name": "b", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": "2026-11-23T08:16:55Z"}}});
    let terminated =
        |terminated: Value| json!({"name": "b", "restartCount": 0, "state": {"terminated": terminated}});
    let ready = json!({"type": "Ready", "status": "True"});
    let cases = [
        ("pending", json!({"phase": "Pending"}), "0/2 Pending 0"),
        ("all well", status("Running", json!([running, running])), "2/2 Running 0"),
        ("crashing", status("Running", json!([running, waiting])), "1/2 CrashLoopBackOff 4 (5s ago)"),
        ("exit code", status("Failed", json!([terminated(json!({"exitCode": 3}))])), "0/2 ExitCode:3 0"),
        (
            "signal",
            status("Failed", json!([terminated(json!({"exitCode": 137, "signal": 9}))])),
            "0/2 Signal:9 0",
        ),
        (
            "one is done",
            json!({"phase": "Running", "conditions": [ready],
                "containerStatuses": [terminated(json!({"reason": "Completed"})), running]}),
            "1/2 Running 0",
        ),
        (
            "one is done, the other not ready",
            json!({"phase": "Running",
                "containerStatuses": [terminated(json!({"reason": "Completed"})), running]}),
            "1/2 NotReady 0",
        ),
        ("evicted", json!({"phase": "Failed", "reason": "Evicted"}), "0/2 Evicted 0"),
    ];
    for (name, status, expected) in cases {
        let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": two}, "status": status});
        assert_eq!(pod_cells(&pod), expected, "{name}");
    }
}

#[test]
fn init_containers_and_deletions_show_in_the_status() {
    let pod = |status: Value| {
        json!({"metadata": {"name": "x"}, "status": status,
            "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]}})
    };
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    let going = json!({"name": "j", "state": {"running": {}}});
    let cases = [
        (json!([done, going]), "0/1 Init:1/2 0"),
        (json!([{"name": "i", "state": {"terminated": {"exitCode": 2}}}]), "0/1 Init:ExitCode:2 0"),
        (json!([{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}]), "0/1 Init:ErrImagePull 0"),
        (json!([{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]), "0/1 Init:0/2 0"),
    ];
    for (init, expected) in cases {
        let status = json!({"phase": "Pending", "initContainerStatuses": init,
            "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]});
        assert_eq!(pod_cells(&pod(status)), expected);
    }
    let mut leaving = pod(json!({"phase": "Running"}));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-23T08:16:00Z");
    assert_eq!(pod_cells(&leaving), "0/1 Terminating 0");
    let done = json!({"phase": "Succeeded"});
    let table = render(kind_of("", "v1", "pods").unwrap(), &[pod(done)], NOW, TableOptions::default());
    assert_eq!(table["rows"][0]["conditions"][0]["type"], "Completed");
}

#[test]
fn workloads_and_services_print_what_matters() {
    let meta = json!({"name": "web", "creationTimestamp": "2026-11-23T08:16:29Z"});
    let template = json!({"spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    let deployment = json!({"metadata": meta, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": template}, "status": {"readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2}});
    assert_eq!(
        json!(cells("apps", "deployments", &deployment)),
        json!(["web", "2/2", 2, 2, "31s", "c", "web:1", "app=web"])
    );
    let service = json!({"metadata": meta, "spec": {"type": "NodePort", "clusterIP": "10.96.0.7",
        "ports": [{"port": 80, "nodePort": 30001, "protocol": "TCP"}]}});
    assert_eq!(
        json!(cells("", "services", &service)),
        json!(["web", "NodePort", "10.96.0.7", "<none>", "80:30001/TCP", "31s", "<none>"])
    );
    let event = json!({"metadata": {"name": "e"}, "lastTimestamp": "2026-11-23T08:16:50Z", "type": "Normal",
        "reason": "Pulled", "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
        "source": {"component": "kubelet", "host": "node1"}, "message": "there\n",
        "firstTimestamp": "2026-11-23T08:16:40Z"});
    assert_eq!(
        json!(cells("", "events", &event)),
        json!([
            "10s",
            "Normal",
            "Pulled",
            "pod/p",
            "spec.containers{c}",
            "kubelet, node1",
            "there",
            "20s",
            1,
            "e"
        ])
    );
    let job = json!({"metadata": meta, "spec": {"completions": 1, "template": template},
        "status": {"succeeded": 1, "startTime": "2026-11-23T08:16:30Z", "completionTime": "2026-11-23T08:16:34Z",
            "conditions": [{"type": "Complete", "status": "True"}]}});
    assert_eq!(json!(cells("batch", "jobs", &job)[1..4]), json!(["Complete", "1/1", "4s"]));
}

use serde_json::json;

use super::*;
use crate::KINDS;

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.kind == name).unwrap()
}

fn completed(name: &str, mut object: Value) -> Value {
    apply(kind(name), &mut object);
    let once = object.clone();
    apply(kind(name), &mut object);
    assert_eq!(object, once, "a second time changes nothing");
    object
}

#[test]
fn a_bare_pod_gets_what_an_upstream_server_fills_in() {
    let recorded: Value = serde_saphyr::from_str(include_str!("../../tests/data/pod.yaml")).unwrap();
    let mut bare = recorded.clone();
    let spec = bare["spec"].as_object_mut().unwrap();
    for field in [
        "dnsPolicy",
        "enableServiceLinks",
        "schedulerName",
        "securityContext",
        "terminationGracePeriodSeconds",
    ] {
        assert!(spec.remove(field).is_some(), "{field}");
    }
    spec["volumes"][0]["projected"].as_object_mut().unwrap().remove("defaultMode");
    let field = "/volumes/0/projected/sources/2/downwardAPI/items/0/fieldRef";
    bare["spec"].pointer_mut(field).unwrap().as_object_mut().unwrap().remove("apiVersion");
    let container = bare["spec"]["containers"][0].as_object_mut().unwrap();
    for field in ["imagePullPolicy", "resources", "terminationMessagePath", "terminationMessagePolicy"] {
        assert!(container.remove(field).is_some(), "{field}");
    }
    assert_eq!(completed("Pod", bare), recorded);
}

#[test]
fn recorded_objects_need_nothing() {
    for (name, text) in [
        ("Pod", include_str!("../../tests/data/pod.yaml")),
        ("Node", include_str!("../../tests/data/node.yaml")),
    ] {
        let recorded: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(completed(name, recorded.clone()), recorded, "{name}");
    }
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("flask", "Always"),
        ("flask:latest", "Always"),
        ("flask:1", "IfNotPresent"),
        ("registry:5000/flask", "Always"),
        ("registry:5000/flask:2", "IfNotPresent"),
        ("flask@sha256:aa", "IfNotPresent"),
    ] {
        let pod = completed("Pod", json!({"spec": {"containers": [{"name": "c", "image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn a_deployment_rolls_by_quarters() {
    let object = completed(
        "Deployment",
        json!({"spec": {"replicas": null, "strategy": {},
            "template": {"spec": {"containers": [{"name": "c", "image": "x:1", "ports": [{"containerPort": 80}]}]}}}}),
    );
    let spec = &object["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
    assert_eq!(spec["strategy"], strategy);
    let template = &spec["template"]["spec"];
    assert_eq!(template["restartPolicy"], "Always");
    assert_eq!(template["containers"][0]["ports"][0]["protocol"], "TCP");
    assert!(template.get("enableServiceLinks").is_none(), "only pods get it");
    let recreate = completed("Deployment", json!({"spec": {"strategy": {"type": "Recreate"}}}));
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn probes_and_volumes_are_completed() {
    let pod = completed(
        "Pod",
        json!({"spec": {"volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}],
            "containers": [{"name": "c", "image": "x:1", "readinessProbe": {"httpGet": {"port": 80}},
                "resources": {"limits": {"cpu": "1"}}}]}}),
    );
    assert_eq!(pod["spec"]["volumes"][0], json!({"name": "v", "emptyDir": {}}));
    assert_eq!(pod["spec"]["volumes"][1]["secret"]["defaultMode"], 420);
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"]["cpu"], "1");
    assert_eq!(
        container["readinessProbe"],
        json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3})
    );
}

#[test]
fn a_service_points_at_its_own_port() {
    let object = completed("Service", json!({"spec": {"ports": [{"port": 80}]}}));
    assert_eq!(object["spec"]["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    assert_eq!(object["spec"]["type"], "ClusterIP");
    assert_eq!(object["spec"]["ipFamilies"], json!(["IPv4"]));
    let external =
        completed("Service", json!({"spec": {"type": "ExternalName", "externalName": "a.example"}}));
    assert!(external["spec"].get("ipFamilies").is_none());
}

#[test]
fn a_job_selects_its_pods_by_its_own_uid() {
    let job = completed(
        "Job",
        json!({"metadata": {"name": "once", "uid": "u-1"}, "spec": {"template": {"spec": {"containers": []}}}}),
    );
    let spec = &job["spec"];
    assert_eq!(spec["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], "u-1");
    assert_eq!(spec["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"], "once");
    assert_eq!((&spec["completions"], &spec["backoffLimit"]), (&json!(1), &json!(6)));
}

#[test]
fn odd_shapes_do_not_panic() {
    for kind in KINDS {
        for object in
            [json!(null), json!([]), json!({"spec": 3}), json!({"spec": {"template": "x", "strategy": 1}})]
        {
            let mut object = object;
            apply(kind, &mut object);
        }
    }
}

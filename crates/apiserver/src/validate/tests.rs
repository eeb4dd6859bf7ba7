use serde_json::json;

use super::*;
use crate::{KINDS, Status, defaults};

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.kind == name).unwrap()
}

/// Completes the object and returns what is wrong with it, a line each.
fn wrong(name: &str, mut object: Value) -> Vec<String> {
    defaults::apply(kind(name), &mut object);
    check(kind(name), &object, None).iter().map(ToString::to_string).collect()
}

fn pod(container: Value) -> Value {
    let mut one = json!({"name": "c", "image": "x:1"});
    for (field, value) in container.as_object().unwrap() {
        one[field] = value.clone();
    }
    json!({"metadata": {"name": "x"}, "spec": {"containers": [one]}})
}

fn deployment(selector: &str, label: &str) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": selector}},
        "template": {"metadata": {"labels": {"app": label}},
            "spec": {"containers": [{"name": "c", "image": "x:1"}]}}}})
}

#[test]
fn good_objects_have_no_errors() {
    assert_eq!(wrong("Pod", pod(json!({}))), [""; 0]);
    assert_eq!(wrong("Deployment", deployment("a", "a")), [""; 0]);
    assert_eq!(wrong("Service", json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}]}})), [""; 0]);
    for (name, text) in [
        ("Pod", include_str!("../../tests/data/pod.yaml")),
        ("Node", include_str!("../../tests/data/node.yaml")),
    ] {
        let recorded: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(check(kind(name), &recorded, Some(&recorded)), [], "{name}");
    }
}

#[test]
fn mistakes_in_pods_are_named() {
    let cases = [
        (json!({"name": ""}), "spec.containers[0].name: Required value"),
        (json!({"image": null}), "spec.containers[0].image: Required value"),
        (
            json!({"name": "My_App"}),
            "spec.containers[0].name: Invalid value: \"My_App\": a lowercase RFC 1123 label must consist of lower case \
             alphanumeric characters or '-', and must start and end with an alphanumeric character",
        ),
        (
            json!({"ports": [{"containerPort": 70000}]}),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            json!({"imagePullPolicy": "Sometimes"}),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
             \"IfNotPresent\", \"Never\"",
        ),
        (
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of \
             1500m",
        ),
        (
            json!({"livenessProbe": {"periodSeconds": 1}}),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            json!({"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            json!({"command": "sleep 1"}),
            "spec.containers[0].command: Invalid value: \"sleep 1\": must be a list",
        ),
    ];
    for (container, message) in cases {
        assert_eq!(wrong("Pod", pod(container)), [message]);
    }
    let bad = wrong("Pod", pod(json!({"resources": {"requests": {"memory": "1GB"}}})));
    assert!(
        bad[0].starts_with("spec.containers[0].resources.requests[memory]: Invalid value: \"1GB\": "),
        "{bad:?}"
    );
    let none = json!({"metadata": {"labels": {"a b": "c"}}, "spec": {"containers": []}});
    let found = wrong("Pod", none);
    assert_eq!(found[1..], ["spec.containers: Required value"]);
    assert!(found[0].starts_with("metadata.labels: Invalid value: \"a b\": name part must consist of "));
    let twice = json!({"spec": {"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "y"}]}});
    assert_eq!(wrong("Pod", twice), ["spec.containers[1].name: Duplicate value: \"c\""]);
}

#[test]
fn a_deployment_must_select_its_own_pods() {
    assert_eq!(
        wrong("Deployment", deployment("a", "b")),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`"
        ]
    );
    let mut without = deployment("a", "a");
    without["spec"]["selector"] = Value::Null;
    assert_eq!(wrong("Deployment", without), ["spec.selector: Required value"]);
    let mut never = deployment("a", "a");
    never["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    assert_eq!(
        wrong("Deployment", never),
        ["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""]
    );
    let mut still = deployment("a", "a");
    still["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}});
    assert_eq!(
        wrong("Deployment", still),
        ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]
    );
    let (old, new) = (deployment("a", "a"), deployment("b", "b"));
    let errors = check(kind("Deployment"), &new, Some(&old));
    let status = Status::invalid(kind("Deployment"), "web", &errors);
    assert_eq!(
        status.message,
        "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is \
         immutable"
    );
}

#[test]
fn the_claims_of_a_stateful_set_are_volumes_of_its_pods() {
    let mut set = deployment("a", "a");
    let container = &mut set["spec"]["template"]["spec"]["containers"][0];
    container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    set["spec"]["serviceName"] = json!("web");
    let missing = "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"";
    assert_eq!(wrong("StatefulSet", set.clone()), [missing]);
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    assert_eq!(wrong("StatefulSet", set), [""; 0]);
}

#[test]
fn little_of_a_pod_may_change() {
    let mut old = pod(json!({}));
    defaults::apply(kind("Pod"), &mut old);
    type Edit = fn(&mut Value);
    let changed = |edit: Edit| {
        let mut new = old.clone();
        edit(&mut new);
        check(kind("Pod"), &new, Some(&old)).len()
    };
    let edits: [(&str, Edit, usize); 8] = [
        ("image", |pod| pod["spec"]["containers"][0]["image"] = json!("y:2"), 0),
        ("labels", |pod| pod["metadata"]["labels"] = json!({"a": "b"}), 0),
        ("status", |pod| pod["status"] = json!({"phase": "Running"}), 0),
        ("binding", |pod| pod["spec"]["nodeName"] = json!("here"), 0),
        ("toleration", |pod| pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]), 0),
        ("command", |pod| pod["spec"]["containers"][0]["command"] = json!(["x"]), 1),
        ("restart policy", |pod| pod["spec"]["restartPolicy"] = json!("Never"), 1),
        (
            "another container",
            |pod| {
                let more = json!({"name": "d", "image": "x:1"});
                pod["spec"]["containers"].as_array_mut().unwrap().push(more);
            },
            1,
        ),
    ];
    for (name, edit, errors) in edits {
        assert_eq!(changed(edit), errors, "{name}");
    }
}

#[test]
fn mistakes_in_services_are_named() {
    let service = |spec: Value| wrong("Service", json!({"metadata": {"name": "s"}, "spec": spec}));
    assert_eq!(service(json!({})), ["spec.ports: Required value"]);
    assert_eq!(service(json!({"clusterIP": "None"})), [""; 0]);
    assert_eq!(
        service(json!({"ports": [{"port": 1}, {"port": 2}]})),
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]
    );
    assert_eq!(
        service(json!({"ports": [{"port": 0}]})),
        [
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive"
        ]
    );
    assert_eq!(
        service(json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]})),
        [
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid \
          ports is 30000-32767"
        ]
    );
}

#[test]
fn endpoints_may_not_lead_back_into_the_machine() {
    for (address, fits) in [
        ("10.1.2.3", true),
        ("2001:db8::1", true),
        ("127.0.0.1", false),
        ("::1", false),
        ("169.254.169.254", false),
        ("::ffff:127.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b::a9fe:a9fe", false),
        ("0.0.0.0", false),
        ("fe80::1", false),
        ("example.com", false),
    ] {
        let kind_of_address = if address.contains(':') { "IPv6" } else { "IPv4" };
        let slice = json!({"addressType": kind_of_address, "endpoints": [{"addresses": [address]}]});
        assert_eq!(wrong("EndpointSlice", slice).is_empty(), fits, "{address}");
        let endpoints = json!({"subsets": [{"addresses": [{"ip": address}], "ports": [{"port": 80}]}]});
        assert_eq!(wrong("Endpoints", endpoints).is_empty(), fits, "{address}");
    }
}

#[test]
fn jobs_end_and_secrets_are_base64() {
    let job = |policy: &str| {
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {
            "restartPolicy": policy, "containers": [{"name": "c", "image": "x"}]}}}})
    };
    assert_eq!(wrong("Job", job("Never")), [""; 0]);
    assert_eq!(
        wrong("Job", job("Always")),
        [
            "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\""
        ]
    );
    assert_eq!(wrong("Secret", json!({"stringData": {"a": "b"}})), [""; 0]);
    let bad = wrong("Secret", json!({"data": {"a": "not base64!"}}));
    assert_eq!(bad, ["data[a]: Invalid value: \"<redacted>\": must be Base64"]);
    assert_eq!(
        wrong("CronJob", {
            let mut job = json!({"metadata": {"name": "c"}, "spec": {"schedule": "every minute"}});
            job["spec"]["jobTemplate"]["spec"] = super::tests::job_template();
            job
        }),
        [
            "spec.schedule: Invalid value: \"every minute\": expected exactly 5 fields, or a word such as @hourly"
        ]
    );
}

fn job_template() -> Value {
    json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}})
}

#[test]
fn odd_shapes_do_not_panic() {
    for kind in KINDS {
        for object in
            [json!(null), json!([]), json!({"spec": 3, "metadata": []}), json!({"spec": {"template": 1}})]
        {
            for old in [None, Some(&json!({"spec": {"containers": 1}}))] {
                drop(check(kind, &object, old));
            }
        }
    }
}

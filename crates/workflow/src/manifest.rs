//! The Deployment that a project becomes.

use serde_json::{Value, json};

use crate::Project;

/// Label that pods, ReplicaSets and the Deployment of a project share.
pub(crate) const APP_LABEL: &str = "app";

/// Field manager of everything that `up` applies.
pub(crate) const FIELD_MANAGER: &str = "shipway-up";

/// Returns the label selector of a project's pods.
pub(crate) fn selector(name: &str) -> String {
    format!("{APP_LABEL}={name}")
}

/// Returns the Deployment of a project that runs `image`.
///
/// The image is named with its digest: a Deployment whose template says `:latest` twice would not roll.
pub(crate) fn deployment(project: &Project, image: &str) -> Value {
    let labels = json!({ APP_LABEL: project.name, "app.kubernetes.io/managed-by": "shipway" });
    let mut container = json!({ "name": project.name, "image": image, "imagePullPolicy": "IfNotPresent" });
    if let Some(port) = project.port {
        container["ports"] = json!([{ "containerPort": port, "protocol": "TCP" }]);
        let probe = match &project.readiness {
            Some(readiness) => json!({ "httpGet": { "path": readiness.path, "port": port } }),
            None => json!({ "tcpSocket": { "port": port } }),
        };
        container["readinessProbe"] = probe;
    }
    // Connections that a pod had when it was taken out of service may end: it is told to go a second later.
    container["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 1 } } });
    if !project.env.is_empty() {
        let env = project.env.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        container["env"] = env.collect();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": project.name, "namespace": project.namespace, "labels": labels },
        "spec": {
            "replicas": project.replicas,
            "selector": { "matchLabels": { APP_LABEL: project.name } },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project {
            dir: "/src".into(),
            name: "web".to_owned(),
            port: Some(80),
            replicas: 2,
            namespace: "default".to_owned(),
            env: [("A".to_owned(), "1".to_owned())].into(),
            build: crate::BuildSection::default(),
            readiness: None,
        }
    }

    #[test]
    fn the_deployment_selects_its_own_pods() {
        let deployment = deployment(&project(), "web@sha256:00");
        let wanted = &deployment["spec"]["selector"]["matchLabels"]["app"];
        assert_eq!(*wanted, deployment["spec"]["template"]["metadata"]["labels"]["app"]);
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "web@sha256:00");
        assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], 80);
        assert_eq!(container["env"][0]["value"], "1");
        assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 1);
    }
}

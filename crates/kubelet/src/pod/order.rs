//! From a pod and one of its containers to what the runtime is asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext};
use shipway_oci::ContainerConfig;
use shipway_runtime::{
    CapabilityProfile, ContainerSpec, Mount, MountKind, Network, PortMapping, Resources, Rootfs,
};

use super::environment::expand;
use super::files::hostname;
use crate::machine::Sandbox;
use crate::quantity::{milli, whole};

/// Labels by which containers are found again.
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(crate) const ATTEMPT: &str = "dev.shipway.attempt";
pub(crate) const IMAGE_ID: &str = "dev.shipway.image-id";
pub(crate) const ROOT: &str = "dev.shipway.root";

/// What a container needs beside its pod's object.
#[derive(Clone, Debug)]
pub(crate) struct Parts<'a> {
    /// The short id of the data root.
    pub root_id: &'a str,
    /// The number of this start.
    pub attempt: u32,
    /// The pod's network.
    pub sandbox: &'a Sandbox,
    /// What the image says.
    pub image: &'a ContainerConfig,
    /// The image's id.
    pub image_id: String,
    /// The environment.
    pub env: Vec<String>,
    /// Volumes and other mounts.
    pub mounts: Vec<Mount>,
    /// `/etc/resolv.conf` and `/etc/hosts`.
    pub files: (String, String),
}

/// Returns the id of a container's start; it says whose it is.
pub(crate) fn container_id(pod: &Pod, container: &str, attempt: u32) -> String {
    format!("{}.{container}.{attempt}", pod.metadata.uid.as_deref().unwrap_or_default())
}

/// Returns the control group above the containers of a pod.
pub(crate) fn group(root_id: &str, uid: &str) -> String {
    format!("shipway-{root_id}/pod{uid}")
}

/// Returns what the runtime is asked for; the error is what the pod asks for that cannot be had.
pub(crate) fn container_spec(
    pod: &Pod,
    container: &Container,
    parts: Parts<'_>,
) -> Result<ContainerSpec, String> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let pod_context = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let context = container.security_context.clone().unwrap_or_default();
    refuse(&context, &pod_context, pod)?;
    let user = user(&context, &pod_context, &parts.image.user)?;
    let args = command(container, parts.image, &parts.env);
    if args.is_empty() {
        return Err("no command specified: neither the image nor the container names one".to_owned());
    }
    let id = container_id(pod, &container.name, parts.attempt);
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let labels = BTreeMap::from([
        label(POD_UID, uid),
        label(POD_NAME, pod.metadata.name.as_deref().unwrap_or_default()),
        label(POD_NAMESPACE, pod.metadata.namespace.as_deref().unwrap_or_default()),
        label(CONTAINER_NAME, &container.name),
        label(ATTEMPT, &parts.attempt.to_string()),
        label(IMAGE_ID, &parts.image_id),
        label(ROOT, parts.root_id),
    ]);
    let cwd = container
        .working_dir
        .clone()
        .filter(|dir| !dir.is_empty())
        .unwrap_or_else(|| parts.image.working_dir.clone());
    Ok(ContainerSpec {
        hostname: hostname(pod),
        args,
        env: parts.env,
        cwd: if cwd.is_empty() { "/".to_owned() } else { cwd },
        user,
        rootfs: Rootfs { read_only: context.read_only_root_filesystem == Some(true), ..Rootfs::default() },
        mounts: parts.mounts,
        network: parts.sandbox.netns.clone().map_or(Network::Host, Network::Path),
        resolv_conf: Some(parts.files.0),
        hosts: Some(parts.files.1),
        capabilities: CapabilityProfile::Container,
        no_new_privileges: context.allow_privilege_escalation == Some(false),
        resources: resources(container),
        cgroup_parent: group(parts.root_id, uid),
        publish: published(container, parts.sandbox),
        address: parts.sandbox.netns.as_ref().map(|_| parts.sandbox.address),
        labels,
        id,
        ..ContainerSpec::default()
    })
}

/// Refuses what would be less confined, or otherwise other, than what was asked for.
fn refuse(context: &SecurityContext, pod: &PodSecurityContext, whole: &Pod) -> Result<(), String> {
    if context.privileged == Some(true) {
        return Err("privileged containers are not available yet".to_owned());
    }
    let capabilities = context.capabilities.clone().unwrap_or_default();
    if !capabilities.add.unwrap_or_default().is_empty() || !capabilities.drop.unwrap_or_default().is_empty() {
        return Err("securityContext.capabilities is not available yet; leave it out".to_owned());
    }
    let profile = context.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    if let Some(profile) = profile.filter(|profile| profile.type_ == "Localhost") {
        let name = profile.localhost_profile.as_deref().unwrap_or_default();
        return Err(format!("seccomp profile `{name}` of type Localhost is not available yet"));
    }
    let spec = whole.spec.as_ref();
    let asks =
        |pick: fn(&k8s_openapi::api::core::v1::PodSpec) -> Option<bool>| spec.and_then(pick) == Some(true);
    for (asked, name) in [
        (asks(|spec| spec.host_pid), "hostPID"),
        (asks(|spec| spec.host_ipc), "hostIPC"),
        (asks(|spec| spec.share_process_namespace), "shareProcessNamespace"),
        (spec.and_then(|spec| spec.host_users) == Some(false), "hostUsers: false"),
        (pod.sysctls.as_ref().is_some_and(|sysctls| !sysctls.is_empty()), "securityContext.sysctls"),
    ] {
        if asked {
            return Err(format!("{name} is not available yet"));
        }
    }
    Ok(())
}

/// Returns `user[:group]` for the runtime, which looks names up in the image.
fn user(context: &SecurityContext, pod: &PodSecurityContext, image: &str) -> Result<String, String> {
    let number = |value: i64, what: &str| {
        u32::try_from(value).map_err(|_large| format!("{what} {value} is not a user or group number"))
    };
    let user = context.run_as_user.or(pod.run_as_user).map(|user| number(user, "runAsUser")).transpose()?;
    let group =
        context.run_as_group.or(pod.run_as_group).map(|group| number(group, "runAsGroup")).transpose()?;
    let (image_user, image_group) =
        image.split_once(':').map_or((image, None), |(user, group)| (user, Some(group)));
    if context.run_as_non_root.or(pod.run_as_non_root) == Some(true) {
        match user.map_or_else(|| image_user.to_owned(), |user| user.to_string()).as_str() {
            "" | "0" | "root" => {
                return Err("container has runAsNonRoot and image will run as root".to_owned());
            }
            name if name.parse::<u32>().is_err() => {
                return Err(format!(
                    "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
                ));
            }
            // 00, +0 and the like are zero too.
            name if name.parse() == Ok(0_u32) => {
                return Err("container has runAsNonRoot and image will run as root".to_owned());
            }
            _ => {}
        }
    }
    let name = user.map_or_else(|| image_user.to_owned(), |user| user.to_string());
    let group = group.map(|group| group.to_string()).or_else(|| match user {
        // The image's group belongs to the image's user.
        Some(_) => None,
        None => image_group.map(ToOwned::to_owned),
    });
    Ok(match (name.as_str(), group) {
        (_, None) => name,
        ("", Some(group)) => format!("0:{group}"),
        (_, Some(group)) => format!("{name}:{group}"),
    })
}

/// Returns program and arguments: `command` replaces ENTRYPOINT and CMD, `args` replaces CMD.
fn command(container: &Container, image: &ContainerConfig, env: &[String]) -> Vec<String> {
    let lookup = |name: &str| {
        env.iter()
            .find_map(|entry| entry.split_once('=').filter(|(known, _)| *known == name))
            .map(|(_, value)| value.to_owned())
    };
    let expanded = |list: &Vec<String>| list.iter().map(|text| expand(text, lookup)).collect::<Vec<_>>();
    let given = |list: &Option<Vec<String>>| list.as_ref().filter(|list| !list.is_empty()).map(&expanded);
    match (given(&container.command), given(&container.args)) {
        (Some(command), args) => command.into_iter().chain(args.unwrap_or_default()).collect(),
        (None, Some(args)) => image.entrypoint.iter().flatten().cloned().chain(args).collect(),
        (None, None) => {
            image.entrypoint.iter().flatten().chain(image.cmd.iter().flatten()).cloned().collect()
        }
    }
}

fn resources(container: &Container) -> Resources {
    let resources = container.resources.clone().unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let requests = resources.requests.unwrap_or_default();
    let cpu = requests.get("cpu").or_else(|| limits.get("cpu")).and_then(milli);
    Resources {
        memory: limits.get("memory").and_then(whole),
        cpu_millis: limits.get("cpu").and_then(milli),
        // Spec: a whole processor is 1024 shares, the least is 2.
        cpu_shares: cpu.map(|cpu| (cpu * 1024 / 1000).max(2)),
        pids: None,
    }
}

fn published(container: &Container, sandbox: &Sandbox) -> Vec<PortMapping> {
    if sandbox.netns.is_none() {
        return Vec::new();
    }
    let ports =
        container.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let mapping = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        let host_ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
        Some(PortMapping {
            host_ip: host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            host_port: u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?,
            container_port: u16::try_from(port.container_port).ok()?,
        })
    };
    ports.filter_map(mapping).collect()
}

/// Returns a mount of a file or directory of the host.
pub(crate) fn bind(source: PathBuf, target: &str, read_only: bool) -> Mount {
    Mount { kind: MountKind::Bind(source), target: PathBuf::from(target), read_only, size: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn image(entrypoint: &[&str], cmd: &[&str], user: &str) -> ContainerConfig {
        let list = |list: &[&str]| (!list.is_empty()).then(|| list.iter().map(ToString::to_string).collect());
        ContainerConfig {
            entrypoint: list(entrypoint),
            cmd: list(cmd),
            user: user.to_owned(),
            ..ContainerConfig::default()
        }
    }

    fn spec(container: Value, image: &ContainerConfig) -> Result<ContainerSpec, String> {
        let pod: Pod = from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [container]}})).unwrap();
        let sandbox = Sandbox { netns: Some("/run/netns/x".into()), address: Ipv4Addr::new(10, 0, 0, 2) };
        let parts = Parts {
            root_id: "abcd",
            attempt: 3,
            sandbox: &sandbox,
            image,
            image_id: "sha256:00".to_owned(),
            env: vec!["NAME=x".to_owned()],
            mounts: Vec::new(),
            files: (String::new(), String::new()),
        };
        container_spec(&pod, &pod.spec.as_ref().unwrap().containers[0], parts)
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd() {
        let image = image(&["e"], &["c"], "");
        let cases = [
            ("neither", json!({"name": "c"}), vec!["e", "c"]),
            ("args", json!({"name": "c", "args": ["a"]}), vec!["e", "a"]),
            ("command", json!({"name": "c", "command": ["k"]}), vec!["k"]),
            ("both", json!({"name": "c", "command": ["k"], "args": ["a"]}), vec!["k", "a"]),
            ("expanded", json!({"name": "c", "command": ["k", "$(NAME)", "$(NO)"]}), vec!["k", "x", "$(NO)"]),
        ];
        for (name, container, want) in cases {
            assert_eq!(spec(container, &image).unwrap().args, want, "case {name}");
        }
    }

    #[test]
    fn users_are_numbers_of_the_pod_or_names_of_the_image() {
        let context = |context: Value| json!({"name": "c", "command": ["k"], "securityContext": context});
        let root = "container has runAsNonRoot and image will run as root";
        let cases = [
            ("the image's", context(json!({})), "web:www", Ok("web:www")),
            ("the pod's", context(json!({"runAsUser": 7})), "web:www", Ok("7")),
            ("with a group", context(json!({"runAsUser": 7, "runAsGroup": 8})), "", Ok("7:8")),
            ("only a group", context(json!({"runAsGroup": 8})), "", Ok("0:8")),
            ("not root, number", context(json!({"runAsNonRoot": true})), "1000", Ok("1000")),
            ("not root, but is", context(json!({"runAsNonRoot": true})), "", Err(root)),
            ("not root, but 0x0", context(json!({"runAsNonRoot": true})), "00", Err(root)),
            (
                "too large",
                context(json!({"runAsUser": 4_294_967_296_i64})),
                "",
                Err("runAsUser 4294967296 is not a user or group number"),
            ),
        ];
        for (name, container, user, want) in cases {
            let got = spec(container, &image(&[], &[], user)).map(|spec| spec.user);
            assert_eq!(got.as_deref().map_err(String::as_str), want, "case {name}");
        }
        let named = spec(context(json!({"runAsNonRoot": true})), &image(&[], &[], "web")).unwrap_err();
        assert!(named.contains("non-numeric user (web)"), "{named}");
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for context in [
            json!({"privileged": true}),
            json!({"capabilities": {"drop": ["ALL"]}}),
            json!({"seccompProfile": {"type": "Localhost"}}),
        ] {
            let container = json!({"name": "c", "command": ["k"], "securityContext": context});
            let refused = spec(container, &image(&[], &[], "")).unwrap_err();
            assert!(refused.contains("not available yet"), "{refused}");
        }
        assert!(spec(json!({"name": "c"}), &image(&[], &[], "")).unwrap_err().contains("no command"));
    }

    #[test]
    fn limits_ports_and_names_reach_the_runtime() {
        let container = json!({"name": "c", "command": ["k"], "workingDir": "/w", "securityContext": {"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false},
            "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"cpu": "250m"}}, "ports": [{"containerPort": 80, "hostPort": 8080}]});
        let spec = spec(container, &image(&[], &[], "")).unwrap();
        assert_eq!(
            (spec.id.as_str(), spec.cgroup_parent.as_str(), spec.cwd.as_str()),
            ("u.c.3", "shipway-abcd/podu", "/w")
        );
        assert_eq!(
            (spec.resources.memory, spec.resources.cpu_millis, spec.resources.cpu_shares),
            (Some(64 << 20), Some(500), Some(256))
        );
        assert_eq!((spec.publish[0].host_port, spec.publish[0].container_port), (8080, 80));
        assert!(spec.rootfs.read_only && spec.no_new_privileges);
        assert_eq!(spec.labels[ATTEMPT], "3");
    }
}

//! The node: what it is, that it is ready, and its heartbeat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::KubeletConfig;
use crate::clock::now;

/// Where heartbeats are kept.
const LEASES: &str = "kube-node-lease";
/// Time between heartbeats, and how long one lasts.
const BEAT: Duration = Duration::from_secs(10);
const LASTS: i32 = 40;
/// Time between looks at the node as a whole.
const REFRESH: Duration = Duration::from_secs(300);
/// First and longest wait until a failed registration is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// What the machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Processors.
    pub cpus: u64,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Disk in KiB.
    pub disk_kib: u64,
}

impl Capacity {
    /// Reads what this machine has.
    pub(crate) fn load(config: &KubeletConfig) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let memory = fs_err::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.split_whitespace().next()?.parse().ok()
        });
        let root = config.data_root.ancestors().find(|path| path.exists());
        let disk = root.and_then(|path| shipway_linux::free_bytes(path).ok()).unwrap_or(0) / 1024;
        Self { cpus, memory_kib: memory.unwrap_or(0), disk_kib: disk }
    }
}

/// Registers the node and keeps it alive until `stop`.
pub(crate) async fn run(config: Arc<KubeletConfig>, client: Client, stop: CancellationToken) {
    let mut wait = BACK_OFF.0;
    let mut refreshed = None;
    while !stop.is_cancelled() {
        let due = refreshed.is_none_or(|at: tokio::time::Instant| at.elapsed() >= REFRESH);
        let outcome = if due { register(&config, &client).await } else { beat(&config, &client).await };
        let pause = match outcome {
            Ok(()) => {
                if due {
                    refreshed = Some(tokio::time::Instant::now());
                    tracing::info!(node = config.node_name, "node is registered and ready");
                }
                wait = BACK_OFF.0;
                BEAT
            }
            Err(error) => {
                tracing::warn!(%error, "could not report the node, trying again");
                wait = (wait * 2).min(BACK_OFF.1);
                // A node that somebody deleted comes back.
                refreshed = None;
                wait
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn register(config: &KubeletConfig, client: &Client) -> Result<(), kube::Error> {
    let api = Api::<Node>::all(client.clone());
    let machine = facts(config);
    let old = api.get_opt(&config.node_name).await?;
    match &old {
        None => {
            let node = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": config.node_name, "labels": labels(config), "annotations": annotations()},
                "spec": spec(config),
            });
            let node: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &node).await?;
        }
        Some(old) if !is_labelled(old, config) => {
            let patch = json!({"metadata": {"labels": labels(config), "annotations": annotations()}});
            api.patch(&config.node_name, &params(), &Patch::Merge(patch)).await?;
        }
        Some(_) => {}
    }
    let status = status(config, &Capacity::load(config), &machine, old.as_ref());
    api.patch_status(&config.node_name, &params(), &Patch::Merge(json!({"status": status}))).await?;
    beat(config, client).await
}

/// Renews the lease that says that this node lives.
async fn beat(config: &KubeletConfig, client: &Client) -> Result<(), kube::Error> {
    let api = Api::<Lease>::namespaced(client.clone(), LEASES);
    let patch = json!({"spec": {"renewTime": MicroTime(now())}});
    match api.patch(&config.node_name, &params(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let lease = json!({
                "metadata": {"name": config.node_name, "namespace": LEASES},
                "spec": {"holderIdentity": config.node_name, "leaseDurationSeconds": LASTS, "renewTime": MicroTime(now())},
            });
            let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
            match api.create(&PostParams::default(), &lease).await {
                // The namespace may come a little later than the node; the next beat tries again.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                other => other.map(drop),
            }
        }
        other => other.map(drop),
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some("kubelet".to_owned()), ..PatchParams::default() }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn labels(config: &KubeletConfig) -> BTreeMap<&'static str, String> {
    let architecture = architecture().to_owned();
    BTreeMap::from([
        ("beta.kubernetes.io/arch", architecture.clone()),
        ("beta.kubernetes.io/os", "linux".to_owned()),
        ("kubernetes.io/arch", architecture),
        ("kubernetes.io/hostname", config.node_name.clone()),
        ("kubernetes.io/os", "linux".to_owned()),
    ])
}

fn annotations() -> Value {
    json!({"node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true"})
}

fn spec(config: &KubeletConfig) -> Value {
    match &config.pod_cidr {
        Some(cidr) => json!({"podCIDR": cidr, "podCIDRs": [cidr]}),
        None => json!({}),
    }
}

fn is_labelled(node: &Node, config: &KubeletConfig) -> bool {
    let found = node.metadata.labels.as_ref();
    labels(config).iter().all(|(key, value)| found.and_then(|found| found.get(*key)) == Some(value))
}

/// What the kernel and the distribution say of themselves.
#[derive(Clone, Debug, Default)]
struct Facts {
    boot_id: String,
    kernel: String,
    machine_id: String,
    os_image: String,
    system_uuid: String,
}

fn facts(config: &KubeletConfig) -> Facts {
    let _ = config;
    let read =
        |path: &str| fs_err::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Facts {
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        kernel: read("/proc/sys/kernel/osrelease"),
        machine_id: read("/etc/machine-id"),
        os_image: name.unwrap_or_default().trim_matches('"').to_owned(),
        system_uuid: read("/sys/class/dmi/id/product_uuid"),
    }
}

fn status(config: &KubeletConfig, capacity: &Capacity, facts: &Facts, old: Option<&Node>) -> Value {
    let amounts = json!({
        "cpu": capacity.cpus.to_string(),
        "ephemeral-storage": format!("{}Ki", capacity.disk_kib),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": format!("{}Ki", capacity.memory_kib),
        "pods": config.max_pods.to_string(),
    });
    let mut allocatable = amounts.clone();
    // Compat: upstream keeps 100 MiB and a tenth of the disk for itself.
    allocatable["memory"] = json!(format!("{}Ki", capacity.memory_kib.saturating_sub(100 * 1024)));
    allocatable["ephemeral-storage"] = json!((capacity.disk_kib * 1024 / 10 * 9).to_string());
    json!({
        "addresses": [
            {"address": config.node_ip.to_string(), "type": "InternalIP"},
            {"address": config.node_name, "type": "Hostname"},
        ],
        "allocatable": allocatable,
        "capacity": amounts,
        "conditions": conditions(old),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": {
            "architecture": architecture(),
            "bootID": facts.boot_id,
            "containerRuntimeVersion": format!("shipway://{}", env!("CARGO_PKG_VERSION")),
            "kernelVersion": facts.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": config.version,
            "machineID": facts.machine_id,
            "operatingSystem": "linux",
            "osImage": facts.os_image,
            "systemUUID": facts.system_uuid,
        },
    })
}

fn conditions(old: Option<&Node>) -> Value {
    let before = old.and_then(|node| node.status.as_ref()).and_then(|status| status.conditions.as_ref());
    let time = Time(now());
    let wanted = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        let same = before.into_iter().flatten().find(|found| found.type_ == kind && found.status == status);
        let since = same.and_then(|found| found.last_transition_time.clone()).unwrap_or_else(|| time.clone());
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": time, "lastTransitionTime": since,
        })
    };
    Value::Array(wanted.into_iter().map(condition).collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn config() -> KubeletConfig {
        KubeletConfig {
            node_name: "n1".to_owned(),
            node_ip: Ipv4Addr::new(10, 0, 0, 1),
            data_root: "/".into(),
            state_root: "/run".into(),
            root_id: "abcd".to_owned(),
            version: "v1.36.3".to_owned(),
            pod_cidr: Some("10.244.0.0/24".to_owned()),
            api_service: None,
            resolv_conf: None,
            max_pods: 110,
        }
    }

    #[test]
    fn a_node_says_what_it_has_and_that_it_is_ready() {
        let capacity = Capacity { cpus: 2, memory_kib: 24_684_092, disk_kib: 1000 };
        let status = status(&config(), &capacity, &facts(&config()), None);
        assert_eq!(status["capacity"]["memory"], "24684092Ki");
        assert_eq!(status["allocatable"]["memory"], "24581692Ki");
        assert_eq!(status["conditions"][3]["type"], "Ready");
        assert_eq!(status["nodeInfo"]["kubeletVersion"], "v1.36.3");
        let node: Node = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
        let again = conditions(Some(&node));
        assert_eq!(again[0]["lastTransitionTime"], status["conditions"][0]["lastTransitionTime"]);
    }

    #[test]
    fn this_machine_has_something() {
        let capacity = Capacity::load(&config());
        assert!(capacity.cpus > 0 && capacity.memory_kib > 0 && capacity.disk_kib > 0);
    }
}

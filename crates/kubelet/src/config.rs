//! What the kubelet has to be told.

use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What the kubelet has to be told.
#[derive(Clone, Debug)]
pub struct KubeletConfig {
    /// The node's name.
    pub node_name: String,
    /// The node's address, which pods can reach.
    pub node_ip: Ipv4Addr,
    /// Where data is kept: volumes of pods live below `pods/` there.
    pub data_root: PathBuf,
    /// Where state is kept that need not survive a reboot, on tmpfs: secrets of pods live below `pods/` there.
    pub state_root: PathBuf,
    /// The short id of the data root, part of every name given to the kernel.
    pub root_id: String,
    /// Version that the node reports, like `v1.36.3`.
    pub version: String,
    /// Addresses of pods, like `10.244.0.0/24`.
    pub pod_cidr: Option<String>,
    /// Host and port at which pods reach the API server, for `KUBERNETES_SERVICE_HOST` and `_PORT`.
    pub api_service: Option<(String, u16)>,
    /// Text of pods' `/etc/resolv.conf`; the host's without its loopback servers if not given.
    pub resolv_conf: Option<String>,
    /// Most pods.
    pub max_pods: u32,
}

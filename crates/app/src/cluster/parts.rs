//! What the daemon is put together from, and those who clean up after it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use shipway_apiserver::KUBERNETES_VERSION;
use shipway_kubelet::{HostMachine, KubeletConfig, Machine};
use shipway_network::{Bridge, resolv_conf};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::network;
use crate::pulls::PodImages;

/// The one node; it has no number and not the host's name, which may change.
pub(crate) const NODE_NAME: &str = "shipway";
/// Compat: kubelet's default.
const MAX_PODS: u32 = 110;

/// Network and machine of the node.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) machine: Arc<dyn Machine>,
    engine: Engine,
}

impl Parts {
    /// Opens the network, which makes it if it is not there.
    pub(crate) fn open(engine: &Engine) -> Result<Self, Failure> {
        let bridge = Arc::new(Bridge::open(network::config(&engine.roots))?);
        let machine = HostMachine::new(
            engine.store.clone(),
            Arc::new(engine.layers.clone()),
            engine.containers.clone(),
            Arc::<Bridge>::clone(&bridge),
            &engine.roots.id,
        );
        let machine = machine.with_puller(Arc::new(PodImages(engine.clone())));
        Ok(Self { bridge, machine: Arc::new(machine), engine: engine.clone() })
    }

    /// Returns the address at which pods reach this host.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.bridge.subnet().gateway()
    }

    /// Returns what the kubelet has to be told; `api_port` is where the API server listens on the gateway's address.
    pub(crate) fn kubelet_config(&self, api_port: Option<u16>) -> KubeletConfig {
        KubeletConfig {
            node_name: NODE_NAME.to_owned(),
            node_ip: self.gateway(),
            data_root: self.engine.roots.data.join("cluster"),
            state_root: self.engine.roots.state.join("cluster"),
            root_id: self.engine.roots.id.clone(),
            version: KUBERNETES_VERSION.to_owned(),
            pod_cidr: Some(self.bridge.subnet().to_string()),
            api_service: api_port.map(|port| (self.gateway().to_string(), port)),
            resolv_conf: Some(resolv_conf().text),
            max_pods: MAX_PODS,
        }
    }
}

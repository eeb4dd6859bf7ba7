//! Events of pods.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use shipway_events::{Happening, Recorder, Writer};

/// Whose events these are.
const COMPONENT: &str = "kubelet";

/// Records what the kubelet does to pods.
#[derive(Clone, Debug)]
pub(crate) struct PodEvents(Recorder);

impl PodEvents {
    /// Returns a recorder and what writes its events.
    pub(crate) fn new(client: Client, node: &str) -> (Self, Writer) {
        let (recorder, writer) = Recorder::new(client, Some(node));
        (Self(recorder), writer)
    }

    /// Returns a recorder that forgets everything.
    #[cfg(test)]
    pub(crate) fn deaf() -> Self {
        Self(Recorder::deaf())
    }

    /// Records something good about a pod, or one of its containers.
    pub(crate) fn normal(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String) {
        self.record(pod, container, Happening::normal(reason, message));
    }

    /// Records something that somebody should look at.
    pub(crate) fn warning(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String) {
        self.record(pod, container, Happening::warning(reason, message));
    }

    fn record(&self, pod: &Pod, container: Option<&str>, happening: Happening) {
        let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let is_init = |name: &str| init.clone().any(|container| container.name == name);
        let list = |name: &str| if is_init(name) { "initContainers" } else { "containers" };
        let part = container.map(|name| format!("spec.{}{{{name}}}", list(name)));
        self.0.record_part(COMPONENT, (pod, part), happening);
    }
}

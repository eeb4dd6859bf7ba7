//! The end that events are given to.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource};
use tokio::sync::mpsc;

use crate::{Happening, Writer};

/// Events that may wait to be written.
const BACKLOG: usize = 1024;

/// An event on its way.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) component: &'static str,
    pub(crate) about: ObjectReference,
    pub(crate) happening: Happening,
}

/// Takes events and passes them on. Clones pass them on to the same writer.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::Sender<Report>,
}

impl Recorder {
    /// Returns a recorder and what writes its events; `node` is where they happen, for those of a node.
    pub fn new(client: Client, node: Option<&str>) -> (Self, Writer) {
        let (sender, reports) = mpsc::channel(BACKLOG);
        (Self { sender }, Writer::new(client, node, reports))
    }

    /// Returns a recorder that forgets everything.
    pub fn deaf() -> Self {
        Self { sender: mpsc::channel(1).0 }
    }

    /// Records what `component` did to `object`.
    pub fn record<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        object: &K,
        happening: Happening,
    ) {
        self.send(component, reference(object), happening);
    }

    /// Records what `component` did to a part of `object`, such as `spec.containers{web}`.
    pub fn record_part<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        (object, part): (&K, Option<String>),
        happening: Happening,
    ) {
        self.send(component, ObjectReference { field_path: part, ..reference(object) }, happening);
    }

    fn send(&self, component: &'static str, about: ObjectReference, happening: Happening) {
        if self.sender.try_send(Report { component, about, happening }).is_err() {
            tracing::debug!("too many events, one was dropped");
        }
    }
}

fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

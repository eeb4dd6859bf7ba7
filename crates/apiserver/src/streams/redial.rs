//! Which pod a forward leads to: the one it was opened for and, once that is going, its successor.
//!
//! Only pods of a Deployment have successors; the caller must be allowed to forward to the new pod, too. The annotation
//! `shipway.dev/forward-redial: "false"` on the pod switches it off.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{StreamCall, with_causes};
use crate::authz::{self, Action};
use crate::object::{meta, new_uid, random_suffix, timestamp};
use crate::{Dialled, Kind, kind_of, respond};

const ANNOTATION: &str = "shipway.dev/forward-redial";
/// How long a connection waits for a ready successor.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a forward's connections go.
#[derive(Debug)]
pub(super) struct Target {
    call: StreamCall,
    /// Uid of the Deployment that the pod belongs to.
    deployment: Option<String>,
    /// Pod of the last connection.
    current: Mutex<String>,
}

fn kind(group: &str, plural: &str) -> &'static Kind {
    kind_of(group, "v1", plural).expect("the kind is in the table")
}

/// Returns the owner that controls an object, if it is of this kind.
fn controller<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == kind)
}

fn is_leaving(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
        || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    !is_leaving(pod) && conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

impl Target {
    pub(super) fn new(call: StreamCall) -> Self {
        let current = Mutex::new(call.name.clone());
        let deployment = deployment_of(&call);
        Self { call, deployment, current }
    }

    /// Connects to a port of the pod that serves now.
    pub(super) async fn dial(&self, port: u16) -> Result<Box<dyn Dialled>, String> {
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            let mut changes = self.call.store.watch(kind("", "pods"), self.call.store.revision());
            if let Some(pod) = self.pod() {
                match self.call.node.dial(&self.call.namespace, &pod, port).await {
                    Ok(stream) => {
                        self.note(&pod).await;
                        return Ok(stream);
                    }
                    Err(error) if self.pod().as_ref() == Some(&pod) => {
                        let text = with_causes(&error);
                        return Err(format!("error forwarding port {port} to pod {pod}: {text}"));
                    }
                    // It went away meanwhile.
                    Err(_gone) => continue,
                }
            }
            let waits = self.deployment.is_some();
            let changed = async { waits && changes.wait().await };
            let again = tokio::select! {
                changed = changed => changed,
                () = &mut patience => false,
            };
            if !again {
                let name = &self.call.name;
                return Err(if waits {
                    format!("pod {name} is gone, and no other pod of its deployment is ready")
                } else {
                    format!("pod {name} is gone")
                });
            }
        }
    }

    /// Returns the pod that serves now.
    fn pod(&self) -> Option<String> {
        let (call, pods) = (&self.call, kind("", "pods"));
        let key = format!("{}/{}", call.namespace, call.name);
        let own = call.store.get(pods, &key).map(|stored| stored.value());
        if own.is_some_and(|pod| meta(&pod, "uid") == call.uid() && !is_leaving(&pod)) {
            return Some(call.name.clone());
        }
        let deployment = self.deployment.as_deref()?;
        let prefix = format!("{}/", call.namespace);
        let list = |kind: &Kind| call.store.list(kind, &prefix, None).1;
        let sets: Vec<String> = list(kind("apps", "replicasets"))
            .iter()
            .map(|stored| stored.value())
            .filter(|set| controller(set, "Deployment").is_some_and(|owner| owner["uid"] == deployment))
            .map(|set| meta(&set, "uid").to_owned())
            .collect();
        let belongs = |pod: &Value| {
            let owner = controller(pod, "ReplicaSet").and_then(|owner| owner["uid"].as_str());
            owner.is_some_and(|uid| sets.iter().any(|set| set == uid))
        };
        list(pods)
            .iter()
            .map(|stored| stored.value())
            .filter(|pod| belongs(pod) && is_ready(pod))
            .map(|pod| (meta(&pod, "creationTimestamp").to_owned(), meta(&pod, "name").to_owned()))
            .filter(|(_, name)| self.may_forward(name))
            .max()
            .map(|(_, name)| name)
    }

    fn may_forward(&self, name: &str) -> bool {
        let namespace = &self.call.namespace;
        let action = Action { verb: "create", group: "", resource: "pods/portforward", namespace, name };
        authz::allowed(&self.call.store, &self.call.identity, &action)
    }

    /// Tells the cluster when connections go to another pod.
    async fn note(&self, pod: &str) {
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if *current == pod {
                return;
            }
            pod.clone_into(&mut current);
        }
        let call = &self.call;
        let now = timestamp(respond::now());
        let name = format!("{pod}.{}", random_suffix(16));
        let message = format!("A port-forward that was opened for pod {} continues here", call.name);
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "ForwardRedialled",
            "metadata": {"name": name, "namespace": call.namespace, "uid": new_uid(), "creationTimestamp": now},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": call.namespace},
            "message": message, "source": {"component": "apiserver"},
            "reportingComponent": "apiserver", "reportingInstance": "",
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        });
        let key = format!("{}/{name}", call.namespace);
        if let Err(error) = call.store.create(kind("", "events"), key, event).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an event was not stored");
        }
    }
}

fn deployment_of(call: &StreamCall) -> Option<String> {
    if call.pod["metadata"]["annotations"][ANNOTATION] == "false" {
        return None;
    }
    let owner = controller(&call.pod, "ReplicaSet")?;
    let key = format!("{}/{}", call.namespace, owner["name"].as_str()?);
    let set = call.store.get(kind("apps", "replicasets"), &key)?.value();
    if owner["uid"] != set["metadata"]["uid"] {
        return None;
    }
    Some(controller(&set, "Deployment")?["uid"].as_str()?.to_owned())
}

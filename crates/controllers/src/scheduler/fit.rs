//! Which node a pod fits, and in words why it fits none.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Node, NodeSelectorTerm, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::selector::{matches_map, matches_rule};

/// Where a pod goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// To this node.
    Node(String),
    /// Nowhere, and why.
    None(String),
}

/// Chooses the fitting node with the fewest pods.
pub(super) fn choose(pod: &Pod, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> Choice {
    if nodes.is_empty() {
        return Choice::None("no nodes available to schedule pods".to_owned());
    }
    let mut reasons = BTreeMap::<String, usize>::new();
    let mut fitting: Vec<(usize, &str)> = Vec::new();
    for node in nodes {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let there: Vec<&Pod> = pods.iter().map(Arc::as_ref).filter(|pod| is_on(pod, name)).collect();
        let against = objections(pod, node, &there);
        if against.is_empty() {
            fitting.push((there.len(), name));
        }
        for reason in against {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    match fitting.into_iter().min() {
        Some((_, name)) => Choice::Node(name.to_owned()),
        None => {
            let reasons: Vec<_> =
                reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            Choice::None(format!("0/{} nodes are available: {}.", nodes.len(), reasons.join(", ")))
        }
    }
}

fn is_on(pod: &Pod, node: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
        && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn objections(pod: &Pod, node: &Node, there: &[&Pod]) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut against = Vec::new();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let node_spec = node.spec.clone().unwrap_or_default();
    let unschedulable = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if node_spec.unschedulable == Some(true) && !is_tolerated(&unschedulable, tolerations) {
        against.push("node(s) were unschedulable".to_owned());
    }
    let taints = node_spec.taints.iter().flatten();
    let hard = taints.filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    // An unschedulable node carries that taint too; it was named above.
    let mut hard = hard.filter(|taint| taint.key != unschedulable.key);
    if let Some(taint) = hard.find(|taint| !is_tolerated(taint, tolerations)) {
        let value = taint.value.as_deref().unwrap_or_default();
        against.push(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key));
    }
    if !is_selected(pod, node) {
        against.push("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    if !host_ports_are_free(pod, there) {
        against.push("node(s) didn't have free ports for the requested pod ports".to_owned());
    }
    against.extend(shortages(pod, node, there));
    against
}

fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        text(&toleration.effect).is_none_or(|effect| effect == taint.effect)
            && text(&toleration.key).is_none_or(|key| key == taint.key)
            && match toleration.operator.as_deref() {
                Some("Exists") => true,
                _ => {
                    toleration.value.as_deref().unwrap_or_default()
                        == taint.value.as_deref().unwrap_or_default()
                }
            }
    })
}

fn is_selected(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let labels = node.metadata.labels.as_ref();
    if !spec.node_selector.as_ref().is_none_or(|wanted| matches_map(wanted, labels)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| meets(term, node)))
}

fn meets(term: &NodeSelectorTerm, node: &Node) -> bool {
    let rules = |rules: &Option<Vec<_>>| rules.as_ref().is_none_or(Vec::is_empty);
    if rules(&term.match_expressions) && rules(&term.match_fields) {
        return false;
    }
    let labels = node.metadata.labels.as_ref();
    let by_label = term.match_expressions.iter().flatten().all(|rule| {
        let found = labels.and_then(|labels| labels.get(&rule.key));
        matches_rule(&rule.operator, rule.values.as_deref().unwrap_or_default(), found)
    });
    let by_field = term.match_fields.iter().flatten().all(|rule| {
        let found = node.metadata.name.as_ref().filter(|_| rule.key == "metadata.name");
        matches_rule(&rule.operator, rule.values.as_deref().unwrap_or_default(), found)
    });
    by_label && by_field
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = (i32, String)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        Some((number, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())))
    })
}

fn host_ports_are_free(pod: &Pod, there: &[&Pod]) -> bool {
    host_ports(pod).all(|wanted| !there.iter().any(|pod| host_ports(pod).any(|taken| taken == wanted)))
}

/// Returns what the node has too little of.
fn shortages(pod: &Pod, node: &Node, there: &[&Pod]) -> Vec<String> {
    let Some(room) = node.status.as_ref().and_then(|status| status.allocatable.as_ref()) else {
        return Vec::new();
    };
    let mut short = Vec::new();
    if room.get("pods").and_then(milli).is_some_and(|most| most < (there.len() as i128 + 1) * 1000) {
        short.push("Too many pods".to_owned());
    }
    for (name, wanted) in requests(pod) {
        if wanted == 0 {
            continue;
        }
        let used: i128 = there.iter().map(|pod| requests(pod).get(&name).copied().unwrap_or(0)).sum();
        let most = room.get(&name).and_then(milli).unwrap_or(0);
        if used + wanted > most {
            short.push(format!("Insufficient {name}"));
        }
    }
    short
}

/// Returns what a pod asks for, in thousandths: the sum of its containers or the largest init container.
fn requests(pod: &Pod) -> BTreeMap<String, i128> {
    let Some(spec) = &pod.spec else { return BTreeMap::new() };
    let of = |container: &Container| -> Vec<(String, i128)> {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests
            .into_iter()
            .flatten()
            .filter_map(|(name, amount)| Some((name.clone(), milli(amount)?)))
            .collect()
    };
    let mut total = BTreeMap::<String, i128>::new();
    for (name, amount) in spec.containers.iter().flat_map(of) {
        *total.entry(name).or_default() += amount;
    }
    for (name, amount) in spec.init_containers.iter().flatten().flat_map(of) {
        let entry = total.entry(name).or_default();
        *entry = (*entry).max(amount);
    }
    total
}

/// Returns a quantity in thousandths, rounded up; `None` if it is not one.
fn milli(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let end =
        text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-' && c != '+').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor: f64 = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = number.parse::<f64>().ok()? * factor * 1000.0;
    #[expect(clippy::cast_possible_truncation, reason = "a float to i128 cast saturates")]
    let value = value.ceil() as i128;
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn node(spec: Value, allocatable: Value) -> Arc<Node> {
        let node = json!({
            "metadata": {"name": "n1", "labels": {"disk": "ssd"}}, "spec": spec, "status": {"allocatable": allocatable},
        });
        Arc::new(from_value(node).unwrap())
    }

    #[test]
    fn pods_go_where_they_fit_and_learn_why_they_do_not() {
        let room = json!({"cpu": "2", "memory": "1Gi", "pods": "2"});
        let asks =
            |requests: Value| json!({"containers": [{"name": "c", "resources": {"requests": requests}}]});
        let plain = json!({"containers": []});
        let tainted = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        let tolerant = json!({"containers": [], "tolerations": [{"key": "gpu", "operator": "Exists"}]});
        let why = |reason: &str| Choice::None(format!("0/1 nodes are available: 1 {reason}."));
        let here = || Choice::Node("n1".to_owned());
        let cases = [
            ("plain", plain.clone(), json!({}), here()),
            ("selected", json!({"containers": [], "nodeSelector": {"disk": "ssd"}}), json!({}), here()),
            (
                "not selected",
                json!({"containers": [], "nodeSelector": {"disk": "hdd"}}),
                json!({}),
                why("node(s) didn't match Pod's node affinity/selector"),
            ),
            ("cordoned", plain.clone(), json!({"unschedulable": true}), why("node(s) were unschedulable")),
            ("tainted", plain.clone(), tainted.clone(), why("node(s) had untolerated taint {gpu: yes}")),
            ("tolerated", tolerant, tainted, here()),
            ("fits", asks(json!({"cpu": "1500m", "memory": "512Mi"})), json!({}), here()),
            ("too much", asks(json!({"cpu": "2500m"})), json!({}), why("Insufficient cpu")),
        ];
        for (name, spec, node_spec, want) in cases {
            assert_eq!(choose(&pod(spec), &[node(node_spec, room.clone())], &[]), want, "case {name}");
        }
        assert_eq!(
            choose(&pod(plain), &[], &[]),
            Choice::None("no nodes available to schedule pods".to_owned()),
            "case no nodes"
        );
    }

    #[test]
    fn what_is_there_already_counts() {
        let there = |port: i32| {
            let spec = json!({
                "nodeName": "n1",
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}, "ports": [{"containerPort": 80, "hostPort": port}]}],
            });
            Arc::new(pod(spec))
        };
        let node = [node(json!({}), json!({"cpu": "2", "pods": "2"}))];
        let wants = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}));
        assert_eq!(choose(&wants, &node, &[there(1)]), Choice::Node("n1".to_owned()));
        let full = choose(&wants, &node, &[there(1), there(2)]);
        assert_eq!(
            full,
            Choice::None("0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods.".to_owned())
        );
        let port =
            pod(json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 1}]}]}));
        let taken = choose(&port, &node, &[there(1)]);
        assert!(
            matches!(taken, Choice::None(why) if why.contains("free ports")),
            "a host port is taken once"
        );
    }

    #[test]
    fn quantities_are_read_as_upstream() {
        let cases = [
            ("100m", 100),
            ("1", 1000),
            ("1.5", 1500),
            ("1Ki", 1_024_000),
            ("1e3", 1_000_000),
            ("1k", 1_000_000),
        ];
        for (text, want) in cases {
            assert_eq!(milli(&Quantity(text.to_owned())), Some(want), "case {text}");
        }
        assert_eq!(milli(&Quantity("much".to_owned())), None);
    }
}

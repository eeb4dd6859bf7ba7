//! Who may do what: `system:masters` everything, the cluster's own parts what they need, others by RBAC objects.

use serde_json::{Value, json};

use crate::discovery::REVIEWS;
use crate::storage::Storage;
use crate::{Identity, kind_of};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Action<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// `pods` or `pods/log`.
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// Whether `who` may do it.
pub(crate) fn allowed(store: &Storage, who: &Identity, action: &Action<'_>) -> bool {
    if who.is_in("system:masters") || who.user == "system:kube-controller-manager" {
        return true;
    }
    if who.is_anonymous() {
        return false;
    }
    let review = matches!(action.group, "authorization.k8s.io" | "authentication.k8s.io");
    if review && action.resource.starts_with("selfsubject") {
        return true;
    }
    if who.is_in("system:nodes") && node_may(action) {
        return true;
    }
    rbac(store, who, action)
}

/// Whether `who` may read a path that is not a resource.
pub(crate) fn path_allowed(who: &Identity, path: &str) -> bool {
    let open = matches!(path, "/healthz" | "/livez" | "/readyz" | "/version" | "/version/");
    open || !who.is_anonymous()
}

/// What a kubelet needs, and no more.
fn node_may(action: &Action<'_>) -> bool {
    let reads = matches!(action.verb, "get" | "list" | "watch");
    match (action.group, action.resource) {
        ("", "pods" | "services" | "nodes" | "configmaps" | "secrets" | "serviceaccounts" | "namespaces")
            if reads =>
        {
            true
        }
        ("", "nodes" | "nodes/status" | "pods/status") => {
            matches!(action.verb, "create" | "update" | "patch")
        }
        ("", "pods") => matches!(action.verb, "delete" | "create"),
        ("" | "events.k8s.io", "events") => matches!(action.verb, "create" | "update" | "patch"),
        ("coordination.k8s.io", "leases") => true,
        ("", "serviceaccounts/token" | "pods/eviction") => action.verb == "create",
        ("discovery.k8s.io", "endpointslices") => reads,
        _ => false,
    }
}

fn rbac(store: &Storage, who: &Identity, action: &Action<'_>) -> bool {
    granted(store, who, action.namespace, &mut |role| grants(role, action))
}

/// Hands the roles that `who` has in a namespace, or everywhere, to `visit` until it says so.
fn granted(store: &Storage, who: &Identity, namespace: &str, visit: &mut dyn FnMut(&Value) -> bool) -> bool {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let list = |plural: &str, prefix: &str| {
        kind_of(GROUP, "v1", plural).map(|kind| store.list(kind, prefix, None).1).unwrap_or_default()
    };
    let role = |plural: &str, key: &str| {
        kind_of(GROUP, "v1", plural).and_then(|kind| store.get(kind, key)).map(|o| o.value())
    };
    for binding in list("clusterrolebindings", "") {
        let binding = binding.value();
        if names(&binding, who, "")
            && role("clusterroles", text(&binding["roleRef"]["name"])).is_some_and(|r| visit(&r))
        {
            return true;
        }
    }
    if namespace.is_empty() {
        return false;
    }
    for binding in list("rolebindings", &format!("{namespace}/")) {
        let binding = binding.value();
        if !names(&binding, who, namespace) {
            continue;
        }
        let name = text(&binding["roleRef"]["name"]);
        let found = match text(&binding["roleRef"]["kind"]) {
            "ClusterRole" => role("clusterroles", name),
            _ => role("roles", &format!("{namespace}/{name}")),
        };
        if found.is_some_and(|r| visit(&r)) {
            return true;
        }
    }
    false
}

/// Returns what `who` may do in a namespace, as the status of a rules review.
pub(crate) fn rules(store: &Storage, who: &Identity, namespace: &str) -> Value {
    let mut resources = Vec::new();
    let mut paths = Vec::new();
    if who.is_in("system:masters") {
        resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    if !who.is_anonymous() {
        for group in ["authorization.k8s.io", "authentication.k8s.io"] {
            let reviews =
                REVIEWS.iter().filter(|review| review.0 == group && review.1.starts_with("selfsubject"));
            let names: Vec<&str> = reviews.map(|review| review.1).collect();
            resources.push(json!({"verbs": ["create"], "apiGroups": [group], "resources": names}));
        }
        paths.push(
            json!({"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz",
            "/livez", "/openapi", "/openapi/*", "/readyz", "/version"]}),
        );
    }
    granted(store, who, namespace, &mut |role| {
        for rule in role["rules"].as_array().into_iter().flatten() {
            let list = if rule["nonResourceURLs"].is_array() { &mut paths } else { &mut resources };
            list.push(rule.clone());
        }
        false
    });
    // Nodes have rights of their own that no role lists.
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": who.is_in("system:nodes")})
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn names(binding: &Value, who: &Identity, namespace: &str) -> bool {
    let subjects = binding["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
    subjects.iter().any(|subject| {
        let name = text(&subject["name"]);
        match text(&subject["kind"]) {
            "User" => who.user == name,
            "Group" => who.is_in(name),
            "ServiceAccount" => {
                let of = subject["namespace"].as_str().unwrap_or(namespace);
                who.user == format!("system:serviceaccount:{of}:{name}")
            }
            _ => false,
        }
    })
}

fn grants(role: &Value, action: &Action<'_>) -> bool {
    let has = |list: &Value, want: &str| {
        list.as_array().is_some_and(|all| all.iter().any(|v| text(v) == "*" || text(v) == want))
    };
    let rules = role["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    rules.iter().any(|rule| {
        let named = match rule["resourceNames"].as_array() {
            Some(list) if !list.is_empty() => list.iter().any(|v| text(v) == action.name),
            _ => true,
        };
        let sub = action.resource.split_once('/').map(|(_, sub)| format!("*/{sub}")).unwrap_or_default();
        let resource =
            has(&rule["resources"], action.resource) || (!sub.is_empty() && has(&rule["resources"], &sub));
        named && resource && has(&rule["verbs"], action.verb) && has(&rule["apiGroups"], action.group)
    })
}

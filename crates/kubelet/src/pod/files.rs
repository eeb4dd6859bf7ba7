//! Files that Kubernetes gives every pod.

use k8s_openapi::api::core::v1::Pod;

/// Longest host name the kernel takes.
const HOSTNAME_MAX: usize = 63;
/// Where the host keeps its resolvers, in order of preference: systemd-resolved's real ones come first.
pub(crate) const RESOLV_CONF: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// Returns the pod's host name.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let wanted = spec.and_then(|spec| spec.hostname_override.clone().or_else(|| spec.hostname.clone()));
    let mut name = wanted.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(HOSTNAME_MAX);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// Returns the pod's `/etc/hosts`.
pub(crate) fn hosts(pod: &Pod, address: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let name = hostname(pod);
    let spec = pod.spec.as_ref();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|domain| !domain.is_empty());
    text.push_str(&match domain {
        Some(domain) => format!("{address}\t{name}.{domain}.{namespace}.svc.cluster.local\t{name}\n"),
        None => format!("{address}\t{name}\n"),
    });
    for alias in spec.and_then(|spec| spec.host_aliases.as_ref()).into_iter().flatten() {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// Returns the pod's `/etc/resolv.conf`.
///
/// Without a cluster DNS service, `ClusterFirst` falls back to the host's servers, as upstream does.
pub(crate) fn resolv_conf(pod: &Pod, host: &str) -> String {
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.dns_config.clone()).unwrap_or_default();
    let from_host = spec.and_then(|spec| spec.dns_policy.as_deref()) != Some("None");
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    for line in host.lines().filter(|_| from_host) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().map(ToOwned::to_owned)),
            Some("search" | "domain") => searches = words.map(ToOwned::to_owned).collect(),
            Some("options") => options.extend(words.map(ToOwned::to_owned)),
            _ => {}
        }
    }
    let host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    // The host's loopback device is not the pod's.
    servers.retain(|server| host_network || !(server.starts_with("127.") || server == "::1"));
    servers.extend(own.nameservers.into_iter().flatten());
    searches.extend(own.searches.into_iter().flatten());
    for option in own.options.into_iter().flatten() {
        let name = option.name.unwrap_or_default();
        let of = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        options.retain(|known| of(known) != name);
        options.push(option.value.map_or_else(|| name.clone(), |value| format!("{name}:{value}")));
    }
    let mut text = String::new();
    for server in servers.iter().take(3) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (keyword, words) in [("search", searches), ("options", options)] {
        if !words.is_empty() {
            text.push_str(&format!("{keyword} {}\n", words.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        from_value(json!({"metadata": {"name": "web-0", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_pod_knows_its_own_name() {
        let text = hosts(
            &pod(json!({"containers": [], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]})),
            "10.0.0.2",
        );
        assert!(text.contains("\n10.0.0.2\tweb-0\n1.2.3.4\ta\tb\n"), "{text}");
        let text = hosts(&pod(json!({"containers": [], "hostname": "h", "subdomain": "d"})), "10.0.0.2");
        assert!(text.contains("10.0.0.2\th.d.ns.svc.cluster.local\th\n"), "{text}");
    }

    #[test]
    fn resolvers_are_the_hosts_unless_they_are_on_its_loopback_device() {
        let host = "nameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch example.com\noptions ndots:1 edns0\n";
        let cases = [
            (
                "default",
                json!({"containers": []}),
                "nameserver 10.1.1.1\nsearch example.com\noptions ndots:1 edns0\n",
            ),
            (
                "host network",
                json!({"containers": [], "hostNetwork": true}),
                "nameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch example.com\noptions ndots:1 edns0\n",
            ),
            (
                "own",
                json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}}),
                "nameserver 9.9.9.9\noptions ndots:2\n",
            ),
            (
                "both",
                json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}),
                "nameserver 10.1.1.1\nsearch example.com\noptions edns0 ndots:2\n",
            ),
        ];
        for (name, spec, want) in cases {
            assert_eq!(resolv_conf(&pod(spec), host), want, "case {name}");
        }
    }
}

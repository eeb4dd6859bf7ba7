//! Beside the firewalls of others. Needs `nft` and `iptables` (Debian: nftables, iptables).

use shipway_network::SandboxNetwork as _;
use shipway_testkit::{Need, require};

use crate::world::{World, has};

/// Puts rules of others on a host, sees that they would stop a sandbox, and that opening the bridge gets it out; returns
/// what a command prints before and after the bridge is destroyed.
fn beside(rules: &str, list: &str) -> (String, String) {
    let world = World::new();
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("web").unwrap());
    assert!(world.gets_out(&sandbox));
    world.host_command(rules);
    assert!(world.is_kept_in(&sandbox), "the rules do stop it");
    let blockers = world.on_host(|| bridge.blockers().unwrap());
    assert_eq!(blockers.len(), 1, "{blockers:?}");
    let again = world.bridge();
    assert!(world.gets_out(&sandbox), "{}", world.host_command(list));
    assert_eq!(world.on_host(|| again.blockers().unwrap()), []);
    let opened = world.host_command(list);
    world.bridge();
    assert_eq!(world.host_command(list), opened, "opening again adds nothing");
    world.on_host(|| again.destroy().unwrap());
    (opened, world.host_command(list))
}

fn needs_met() -> bool {
    require(&[Need::Root]) && has("nft") && has("iptables")
}

/// As Docker leaves it: everything forwarded is dropped that its own chains do not accept.
const DOCKER: &str = "-P FORWARD DROP;$I -N DOCKER-USER;$I -A DOCKER-USER -j RETURN;$I -A FORWARD -j DOCKER-USER;\
    $I -A FORWARD -o docker0 -j ACCEPT";

#[test]
fn docker_drops_what_it_does_not_know_and_is_opened_by_its_own_chain() {
    if !needs_met() {
        return;
    }
    let rules = format!("I=iptables;$I {DOCKER}");
    let (opened, after) = beside(&rules, "iptables -S DOCKER-USER");
    let lines: Vec<&str> = opened.lines().collect();
    let comment = "-m comment --comment shipway-7e57c0de -j ACCEPT";
    for side in ["-i", "-o"] {
        let rule = format!("-A DOCKER-USER {side} sw-7e57c0de {comment}");
        let place = lines.iter().position(|line| *line == rule).unwrap_or_else(|| panic!("{rule}\n{opened}"));
        assert!(place < lines.len() - 1, "before the return");
    }
    assert_eq!(after, "-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n");
}

#[test]
fn docker_on_the_older_tables_is_opened_too() {
    if !needs_met() || !has("iptables-legacy") {
        return;
    }
    let rules = format!("I=iptables-legacy;$I {DOCKER}");
    let (opened, after) = beside(&rules, "iptables-legacy -S DOCKER-USER");
    assert!(opened.contains("-A DOCKER-USER -i sw-7e57c0de"), "{opened}");
    assert_eq!(after, "-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n");
}

#[test]
fn a_dropping_policy_of_iptables_as_ufw_has_it_is_opened() {
    if !needs_met() {
        return;
    }
    let rules =
        "iptables -P FORWARD DROP; iptables -N ufw-user-forward; iptables -A FORWARD -j ufw-user-forward";
    let (opened, after) = beside(rules, "iptables -S FORWARD");
    assert!(opened.starts_with("-P FORWARD DROP\n-A FORWARD -o sw-7e57c0de"), "{opened}");
    assert_eq!(after, "-P FORWARD DROP\n-A FORWARD -j ufw-user-forward\n");
}

#[test]
fn a_table_of_the_administrator_that_drops_is_opened() {
    if !needs_met() {
        return;
    }
    let rules = "nft 'table inet guard {
        chain through { type filter hook forward priority 10; policy drop; ct state established accept; }
    }'";
    let (opened, after) = beside(rules, "nft list table inet guard");
    assert!(opened.contains("iifname \"sw-7e57c0de\" counter packets"), "{opened}");
    assert!(!after.contains("sw-7e57c0de") && after.contains("established"), "{after}");
}

#[test]
fn a_table_that_ends_in_a_reject_as_firewalld_has_it_is_opened() {
    if !needs_met() {
        return;
    }
    let rules = "nft 'table inet firewalld {
        chain filter_FORWARD { type filter hook forward priority 10; policy accept;
            ct state { established, related } accept
            ct state invalid drop
            reject with icmpx type admin-prohibited
        }
    }'";
    let (_, after) = beside(rules, "nft list table inet firewalld");
    assert!(!after.contains("sw-7e57c0de") && after.contains("reject"), "{after}");
}

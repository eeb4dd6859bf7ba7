use std::net::Ipv4Addr;
use std::process::Command;

use super::*;
use crate::netns::NetworkNamespace;
use shipway_testkit::{Need, require};

const TABLE: &str = "test";
const FORWARD: Place<'_> = Place { family: Family::Ip, table: TABLE, chain: "forward" };
const NAT: Place<'_> = Place { family: Family::Ip, table: TABLE, chain: "nat" };

fn filter(hook: Hook) -> Option<Attachment> {
    Some(Attachment { kind: ChainKind::Filter, hook, priority: -5, policy: Policy::Drop })
}

fn everything() -> Vec<Expression> {
    vec![
        Expression::InputInterface(Is::Equal, "br0".into()),
        Expression::OutputInterface(Is::Other, "eth0".into()),
        Expression::SourceAddress(Is::Equal, Ipv4Addr::new(10, 1, 2, 3), 16),
        Expression::DestinationAddress(Is::Other, Ipv4Addr::new(10, 1, 2, 3), 32),
        Expression::Protocol(6),
        Expression::DestinationPort(8080),
        Expression::Connection(ConnectionState::ESTABLISHED | ConnectionState::RELATED),
        Expression::Counter,
        Expression::Verdict(Verdict::Accept),
    ]
}

fn whole_table() -> Batch {
    let mut batch = Batch::new();
    batch.ensure_table(Family::Ip, TABLE, "version 1");
    batch.ensure_chain(FORWARD, filter(Hook::Forward));
    let destination =
        Attachment { kind: ChainKind::Nat, hook: Hook::Prerouting, priority: -100, policy: Policy::Accept };
    batch.ensure_chain(NAT, Some(destination));
    batch.ensure_chain(Place { chain: "after", ..NAT }, None);
    batch.append_rule(FORWARD, &everything(), "all of it");
    batch.append_rule(FORWARD, &[Expression::Verdict(Verdict::Jump("after".into()))], "");
    let translate = Expression::DestinationNat(Ipv4Addr::new(10, 0, 0, 2), Some(80));
    batch.append_rule(NAT, &[Expression::Protocol(17), translate], "");
    batch
}

#[test]
fn a_batch_is_read_back_as_it_was_written() {
    if !require(&[Need::Root]) {
        return;
    }
    let host = NetworkNamespace::new().unwrap();
    let mut socket = host.run(NftSocket::open).unwrap().unwrap();
    assert_eq!(socket.table_comment(Family::Ip, TABLE).unwrap(), None);
    socket.commit(whole_table()).unwrap();
    assert_eq!(socket.table_comment(Family::Ip, TABLE).unwrap().unwrap(), "version 1");

    let chains = socket.chains().unwrap();
    let forward = chains.iter().find(|chain| chain.name == "forward").unwrap();
    assert_eq!(forward.base, Some(BaseChain { hook: Hook::Forward, policy: Policy::Drop }));
    assert_eq!(chains.iter().find(|chain| chain.name == "after").unwrap().base, None);

    let rules = socket.rules_of(FORWARD).unwrap();
    assert_eq!(rules.len(), 2);
    assert_eq!((rules[0].comment.as_str(), &rules[0].verdict), ("all of it", &Some(Verdict::Accept)));
    assert_eq!(rules[1].verdict, Some(Verdict::Jump("after".into())));
    assert_eq!(rules[1].expressions, ["immediate"]);

    let mut batch = Batch::new();
    batch.delete_rule(FORWARD, rules[0].handle);
    batch.insert_rule(FORWARD, &[Expression::Verdict(Verdict::Drop)], "first");
    socket.commit(batch).unwrap();
    let rules = socket.rules(Family::Ip, TABLE).unwrap();
    assert_eq!(rules.iter().map(|rule| rule.comment.as_str()).collect::<Vec<_>>(), ["first", "", ""]);
}

#[test]
fn a_batch_with_a_mistake_changes_nothing() {
    if !require(&[Need::Root]) {
        return;
    }
    let host = NetworkNamespace::new().unwrap();
    let mut socket = host.run(NftSocket::open).unwrap().unwrap();
    let mut batch = whole_table();
    batch.append_rule(Place { chain: "missing", ..FORWARD }, &everything(), "");
    assert!(socket.commit(batch).unwrap_err().is_missing());
    assert_eq!(socket.table_comment(Family::Ip, TABLE).unwrap(), None);
    // The socket is still good for the next one, also when the mistake is not the last change.
    let mut batch = Batch::new();
    batch.delete_table(Family::Ip, "missing");
    batch.ensure_table(Family::Ip, TABLE, "");
    assert!(socket.commit(batch).unwrap_err().is_missing());
    socket.commit(whole_table()).unwrap();
    let mut again = Batch::new();
    again.delete_table(Family::Ip, TABLE);
    socket.commit(again).unwrap();
    assert_eq!(socket.rules(Family::Ip, TABLE).unwrap(), []);
}

/// Also says what our expressions mean to the reference tool, where it is installed.
#[test]
fn the_reference_tool_reads_the_rules_as_they_are_meant() {
    if !require(&[Need::Root]) || Command::new("nft").arg("--version").output().is_err() {
        return;
    }
    let host = NetworkNamespace::new().unwrap();
    let mut socket = host.run(NftSocket::open).unwrap().unwrap();
    socket.commit(whole_table()).unwrap();
    let listed = host
        .run(|| Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout)
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .unwrap();
    for want in [
        "type filter hook forward priority filter - 5; policy drop;",
        "iifname \"br0\" oifname != \"eth0\" ip saddr 10.1.0.0/16 ip daddr != 10.1.2.3 tcp dport 8080 \
         ct state established,related counter packets 0 bytes 0 accept comment \"all of it\"",
        "jump after\n",
        "meta l4proto udp dnat to 10.0.0.2:80\n",
    ] {
        assert!(listed.contains(want), "`{want}` is not in:\n{listed}");
    }
}

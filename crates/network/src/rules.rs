//! Our own firewall table: what may reach sandboxes, and how they reach others.

use std::net::Ipv4Addr;

use shipway_linux::NetlinkError;
use shipway_linux::nft::{
    Attachment, Batch, ChainKind, ConnectionState, Expression, Family, Hook, Is, NftSocket, Place, Policy,
    Verdict,
};

use crate::subnet::Subnet;

/// Goes up with every change below, so that tables of older versions are replaced.
const VERSION: u32 = 2;

/// What the rules are about.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) table: &'a str,
    pub(crate) bridge: &'a str,
    pub(crate) subnet: Subnet,
}

/// Chains, and rules of chains, each by the name of the chain.
type Contents = (Vec<(&'static str, Attachment)>, Vec<(&'static str, Vec<Expression>)>);

impl Subject<'_> {
    fn comment(&self) -> String {
        format!("rules {VERSION} for {} on {}", self.subnet, self.bridge)
    }

    /// Puts the table there, whole, unless it is. Packets see the old one or the new one.
    pub(crate) fn ensure(&self, socket: &mut NftSocket) -> Result<(), NetlinkError> {
        let (chains, rules) = self.contents();
        let comment = self.comment();
        if socket.table_comment(Family::Ip, self.table)?.as_ref() == Some(&comment)
            && socket.rules(Family::Ip, self.table)?.len() == rules.len()
        {
            return Ok(());
        }
        let mut batch = Batch::new();
        // There must be one before it can be deleted.
        batch.ensure_table(Family::Ip, self.table, "").delete_table(Family::Ip, self.table);
        batch.ensure_table(Family::Ip, self.table, &comment);
        for (name, attachment) in chains {
            batch.ensure_chain(self.place(name), Some(attachment));
        }
        for (chain, rule) in rules {
            batch.append_rule(self.place(chain), &rule, "");
        }
        socket.commit(batch)
    }

    /// Takes the table away; one that is not there is no error.
    pub(crate) fn remove(&self, socket: &mut NftSocket) -> Result<(), NetlinkError> {
        let mut batch = Batch::new();
        batch.ensure_table(Family::Ip, self.table, "").delete_table(Family::Ip, self.table);
        socket.commit(batch)
    }

    fn place<'a>(&'a self, chain: &'a str) -> Place<'a> {
        Place { family: Family::Ip, table: self.table, chain }
    }

    fn contents(&self) -> Contents {
        const EARLY: &str = "early";
        const FORWARD: &str = "forward";
        const LEAVING: &str = "leaving";
        let chain = |kind, hook, priority| Attachment { kind, hook, priority, policy: Policy::Accept };
        let chains = vec![
            (EARLY, chain(ChainKind::Filter, Hook::Prerouting, -300)),
            (FORWARD, chain(ChainKind::Filter, Hook::Forward, 0)),
            (LEAVING, chain(ChainKind::Nat, Hook::Postrouting, 100)),
        ];
        let from = |is| Expression::InputInterface(is, self.bridge.to_owned());
        let to = |is| Expression::OutputInterface(is, self.bridge.to_owned());
        let by_sandbox = |is| Expression::SourceAddress(is, self.subnet.base(), self.subnet.prefix());
        let (accept, drop) = (Expression::Verdict(Verdict::Accept), Expression::Verdict(Verdict::Drop));
        let rules = vec![
            // Ports published on 127.0.0.1 are for this host, whatever a neighbour on the wire sends.
            (
                EARLY,
                vec![
                    Expression::InputInterface(Is::Other, "lo".into()),
                    Expression::DestinationAddress(Is::Equal, Ipv4Addr::new(127, 0, 0, 0), 8),
                    drop.clone(),
                ],
            ),
            // What listens on the host's address in the network is for sandboxes and this host.
            (
                EARLY,
                vec![
                    Expression::InputInterface(Is::Other, "lo".into()),
                    from(Is::Other),
                    Expression::DestinationAddress(Is::Equal, self.subnet.gateway(), 32),
                    drop.clone(),
                ],
            ),
            // No sandbox speaks with an address that is not of the network.
            (EARLY, vec![from(Is::Equal), by_sandbox(Is::Other), drop.clone()]),
            (FORWARD, vec![from(Is::Equal), to(Is::Equal), accept.clone()]),
            (
                FORWARD,
                vec![
                    to(Is::Equal),
                    Expression::Connection(ConnectionState::ESTABLISHED | ConnectionState::RELATED),
                    accept.clone(),
                ],
            ),
            // Whoever knows the range could add a route to it by way of this host.
            (FORWARD, vec![to(Is::Equal), drop]),
            (FORWARD, vec![from(Is::Equal), accept]),
            (LEAVING, vec![by_sandbox(Is::Equal), to(Is::Other), Expression::Masquerade]),
        ];
        (chains, rules)
    }
}

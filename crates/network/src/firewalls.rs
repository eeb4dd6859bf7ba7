//! Other firewalls of the host: seeing what they would drop, and opening them for the bridge.
//!
//! A packet must pass every table, so accepting it in ours is not enough: Docker, ufw and firewalld, or an administrator,
//! may have a chain that drops what is forwarded. Such a chain gets two rules at its head, for our bridge only; what may
//! reach sandboxes is still decided by our own table. Docker's chain for rules of others is used where there is one.

use std::fmt;

use shipway_linux::NetlinkError;
use shipway_linux::nft::{
    Batch, Chain, Expression, Family, Hook, Is, NftSocket, Place, Policy, Rule, Verdict,
};

use crate::legacy;

/// Something on the host that keeps sandboxes from reaching other networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// What it is, as `system info` says it.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// For which bridge firewalls are opened, and the comment of the rules that do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) tag: &'a str,
}

impl Opening<'_> {
    /// Opens every firewall that would drop forwarded packets; returns what still does.
    pub(crate) fn ensure(&self, socket: &mut NftSocket) -> Result<Vec<Blocker>, NetlinkError> {
        let mut left = Vec::new();
        let chains = socket.chains()?;
        for chain in blocking(socket, &chains)? {
            let place = entry(chain, &chains);
            let rules = socket.rules_of(place)?;
            if self.is_open(&rules) {
                continue;
            }
            let mut batch = Batch::new();
            // What somebody left of ours.
            for rule in rules.iter().filter(|rule| rule.comment == self.tag) {
                batch.delete_rule(place, rule.handle);
            }
            for rule in self.rules() {
                batch.insert_rule(place, &rule, self.tag);
            }
            if let Err(error) = socket.commit(batch) {
                tracing::debug!(table = chain.table, chain = chain.name, %error, "could not open the firewall");
                left.push(blocker(chain, self.bridge));
            }
        }
        left.extend(legacy::ensure(self));
        Ok(left)
    }

    /// Returns what drops forwarded packets and is not opened.
    pub(crate) fn missing(&self, socket: &mut NftSocket) -> Result<Vec<Blocker>, NetlinkError> {
        let chains = socket.chains()?;
        let mut left = Vec::new();
        for chain in blocking(socket, &chains)? {
            if !self.is_open(&socket.rules_of(entry(chain, &chains))?) {
                left.push(blocker(chain, self.bridge));
            }
        }
        left.extend(legacy::missing(self));
        Ok(left)
    }

    /// Takes our rules out of all tables again.
    pub(crate) fn withdraw(&self, socket: &mut NftSocket) -> Result<(), NetlinkError> {
        let rules = socket.all_rules()?;
        for rule in rules.iter().filter(|rule| rule.comment == self.tag) {
            let mut batch = Batch::new();
            batch.delete_rule(rule.place(), rule.handle);
            match socket.commit(batch) {
                // Its owner was faster.
                Err(error) if error.is_missing() => {}
                other => other?,
            }
        }
        legacy::withdraw(self);
        Ok(())
    }

    fn is_open(&self, rules: &[Rule]) -> bool {
        rules.iter().filter(|rule| rule.comment == self.tag).count() == self.rules().len()
    }

    /// Only what also iptables can show: it gives up on a chain with anything else.
    fn rules(&self) -> [Vec<Expression>; 2] {
        let accept = || [Expression::Counter, Expression::Verdict(Verdict::Accept)];
        let rule = |first| std::iter::once(first).chain(accept()).collect();
        [
            rule(Expression::InputInterface(Is::Equal, self.bridge.to_owned())),
            rule(Expression::OutputInterface(Is::Equal, self.bridge.to_owned())),
        ]
    }
}

/// Returns the chains of forwarded packets that drop what no rule of theirs lets through.
fn blocking<'a>(socket: &mut NftSocket, chains: &'a [Chain]) -> Result<Vec<&'a Chain>, NetlinkError> {
    let mut found = Vec::new();
    for chain in chains {
        let Some(base) = chain.base else { continue };
        let for_us = matches!(chain.family, Family::Ip | Family::Inet) && base.hook == Hook::Forward;
        // Tables of other roots of ours drop only what is for their own bridge.
        if !for_us || chain.table.starts_with("shipway-") {
            continue;
        }
        if base.policy == Policy::Drop || socket.rules_of(chain.place())?.iter().any(drops_all) {
            found.push(chain);
        }
    }
    Ok(found)
}

/// A rule without a condition that ends in dropping.
fn drops_all(rule: &Rule) -> bool {
    let conditional = |name: &String| !matches!(name.as_str(), "counter" | "log" | "immediate" | "reject");
    let ends = rule.verdict == Some(Verdict::Drop) || rule.expressions.iter().any(|name| name == "reject");
    ends && !rule.expressions.iter().any(conditional)
}

/// Returns where rules for a blocking chain go.
fn entry<'a>(chain: &'a Chain, chains: &'a [Chain]) -> Place<'a> {
    let docker = chains.iter().find(|other| {
        other.name == "DOCKER-USER" && other.family == chain.family && other.table == chain.table
    });
    docker.unwrap_or(chain).place()
}

fn blocker(chain: &Chain, bridge: &str) -> Blocker {
    let family = match chain.family {
        Family::Inet => "inet",
        _ => "ip",
    };
    let hint = if chain.table == "firewalld" {
        format!("run `firewall-cmd --zone=trusted --add-interface={bridge}`")
    } else {
        format!(
            "accept packets from and to {bridge} in it: `nft list chain {family} {} {}`",
            chain.table, chain.name
        )
    };
    Blocker {
        what: format!("chain `{}` of table `{family} {}` drops forwarded packets", chain.name, chain.table),
        hint,
    }
}

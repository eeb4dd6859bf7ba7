//! Firewall rules: atomic batches of nftables changes, and what is there now.
//!
//! Rules are lists of [`Expression`]s, which are matched from first to last; the last one decides. A [`Batch`] happens as a
//! whole or not at all. Everything is for IPv4 traffic; a rule in a table of family [`Family::Inet`] must not look at addresses.

mod batch;
mod expression;
mod listing;

use std::io;

use crate::netlink::{NetlinkError, Socket};

pub use batch::{Attachment, Batch};
pub use expression::{ConnectionState, Expression, Is, Verdict};
pub use listing::{BaseChain, Chain, Rule};

/// Kind of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Any other, by its number.
    Other(u8),
}

/// Where in the kernel a chain begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// All that arrives.
    Prerouting,
    /// What is for this machine.
    Input,
    /// What passes through.
    Forward,
    /// What this machine sends.
    Output,
    /// All that leaves.
    Postrouting,
}

/// What a chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Let through or not.
    Filter,
    /// Change addresses.
    Nat,
}

/// What becomes of packets that no rule decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They pass.
    Accept,
    /// They vanish.
    Drop,
}

/// A chain of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place<'a> {
    /// Family of the table.
    pub family: Family,
    /// Name of the table.
    pub table: &'a str,
    /// Name of the chain.
    pub chain: &'a str,
}

/// A socket for the firewall of one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct NftSocket {
    socket: Socket,
}

impl NftSocket {
    /// Opens a socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Some(rustix::net::netlink::NETFILTER))? })
    }

    /// Does everything in a batch, or nothing.
    pub fn commit(&mut self, batch: Batch) -> Result<(), NetlinkError> {
        let messages = batch.into_messages();
        self.socket.exchange("change firewall rules", &messages).map(drop)
    }
}

impl Family {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Ip6 => 10,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            2 => Self::Ip,
            10 => Self::Ip6,
            other => Self::Other(other),
        }
    }
}

impl Hook {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting]
            .into_iter()
            .find(|hook| hook.number() == number)
    }
}

// Spec: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h. Numbers of attributes that several files here use.
pub(crate) const SUBSYSTEM: u16 = 10 << 8;
pub(crate) const NEW_TABLE: u16 = SUBSYSTEM;
pub(crate) const GET_TABLE: u16 = SUBSYSTEM | 1;
pub(crate) const DELETE_TABLE: u16 = SUBSYSTEM | 2;
pub(crate) const NEW_CHAIN: u16 = SUBSYSTEM | 3;
pub(crate) const GET_CHAIN: u16 = SUBSYSTEM | 4;
pub(crate) const NEW_RULE: u16 = SUBSYSTEM | 6;
pub(crate) const GET_RULE: u16 = SUBSYSTEM | 7;
pub(crate) const DELETE_RULE: u16 = SUBSYSTEM | 8;
pub(crate) const TABLE_NAME: u16 = 1;
pub(crate) const TABLE_USER_DATA: u16 = 6;
pub(crate) const CHAIN_TABLE: u16 = 1;
pub(crate) const CHAIN_NAME: u16 = 3;
pub(crate) const CHAIN_HOOK: u16 = 4;
pub(crate) const CHAIN_POLICY: u16 = 5;
pub(crate) const CHAIN_TYPE: u16 = 7;
pub(crate) const HOOK_NUMBER: u16 = 1;
pub(crate) const HOOK_PRIORITY: u16 = 2;
pub(crate) const RULE_TABLE: u16 = 1;
pub(crate) const RULE_CHAIN: u16 = 2;
pub(crate) const RULE_HANDLE: u16 = 3;
pub(crate) const RULE_EXPRESSIONS: u16 = 4;
pub(crate) const RULE_USER_DATA: u16 = 7;
pub(crate) const LIST_ELEMENT: u16 = 1;
pub(crate) const EXPRESSION_NAME: u16 = 1;
pub(crate) const EXPRESSION_DATA: u16 = 2;
pub(crate) const IMMEDIATE_REGISTER: u16 = 1;
pub(crate) const IMMEDIATE_DATA: u16 = 2;
pub(crate) const DATA_VERDICT: u16 = 2;
pub(crate) const VERDICT_CODE: u16 = 1;
pub(crate) const VERDICT_CHAIN: u16 = 2;
/// Type of the part of a rule's user data that holds a comment; iptables shows it too.
pub(crate) const COMMENT: u8 = 0;

#[cfg(test)]
mod tests;

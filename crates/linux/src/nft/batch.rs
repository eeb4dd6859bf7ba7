//! Changes that happen together.

use super::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_TYPE, COMMENT, ChainKind, DELETE_RULE,
    DELETE_TABLE, Expression, Family, HOOK_NUMBER, HOOK_PRIORITY, Hook, LIST_ELEMENT, NEW_CHAIN, NEW_RULE,
    NEW_TABLE, Place, Policy, RULE_CHAIN, RULE_EXPRESSIONS, RULE_HANDLE, RULE_TABLE, RULE_USER_DATA,
    TABLE_NAME, TABLE_USER_DATA,
};
use crate::netlink::{ACKNOWLEDGE, APPEND, CREATE, Message, REQUEST};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const RESOURCE: u16 = 10;

/// Changes of the firewall, in order.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<Message>,
}

/// Where a chain begins and what it does with packets that nobody decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What it may do.
    pub kind: ChainKind,
    /// Where it begins.
    pub hook: Hook,
    /// Chains with lower numbers come first.
    pub priority: i32,
    /// What becomes of packets at its end.
    pub policy: Policy,
}

impl Batch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a table unless it is there; the comment goes to a new one only.
    pub fn ensure_table(&mut self, family: Family, name: &str, comment: &str) -> &mut Self {
        let message = self.change(NEW_TABLE, CREATE, family).text(TABLE_NAME, name);
        if !comment.is_empty() {
            message.attribute(TABLE_USER_DATA, &comment_data(comment));
        }
        self
    }

    /// Removes a table with all that is in it; it must be there.
    pub fn delete_table(&mut self, family: Family, name: &str) -> &mut Self {
        self.change(DELETE_TABLE, 0, family).text(TABLE_NAME, name);
        self
    }

    /// Makes a chain unless it is there; without an attachment only jumps lead to it.
    pub fn ensure_chain(&mut self, place: Place<'_>, attachment: Option<Attachment>) -> &mut Self {
        let message = self.change(NEW_CHAIN, CREATE, place.family);
        message.text(CHAIN_TABLE, place.table).text(CHAIN_NAME, place.chain);
        if let Some(attachment) = attachment {
            message
                .nested(CHAIN_HOOK, |hook| {
                    hook.number_be(HOOK_NUMBER, attachment.hook.number())
                        .number_be(HOOK_PRIORITY, attachment.priority.cast_unsigned());
                })
                .number_be(CHAIN_POLICY, u32::from(attachment.policy == Policy::Accept))
                .text(
                    CHAIN_TYPE,
                    match attachment.kind {
                        ChainKind::Filter => "filter",
                        ChainKind::Nat => "nat",
                    },
                );
        }
        self
    }

    /// Adds a rule behind all others of a chain.
    pub fn append_rule(&mut self, place: Place<'_>, rule: &[Expression], comment: &str) -> &mut Self {
        self.rule(place, CREATE | APPEND, rule, comment)
    }

    /// Adds a rule before all others of a chain.
    pub fn insert_rule(&mut self, place: Place<'_>, rule: &[Expression], comment: &str) -> &mut Self {
        self.rule(place, CREATE, rule, comment)
    }

    /// Removes a rule by its number.
    pub fn delete_rule(&mut self, place: Place<'_>, handle: u64) -> &mut Self {
        let message = self.change(DELETE_RULE, 0, place.family);
        message
            .text(RULE_TABLE, place.table)
            .text(RULE_CHAIN, place.chain)
            .attribute(RULE_HANDLE, &handle.to_be_bytes());
        self
    }

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn rule(&mut self, place: Place<'_>, flags: u16, rule: &[Expression], comment: &str) -> &mut Self {
        let message = self.change(NEW_RULE, flags, place.family);
        message.text(RULE_TABLE, place.table).text(RULE_CHAIN, place.chain);
        message.nested(RULE_EXPRESSIONS, |list| {
            for expression in rule {
                expression.write(|name, fill| {
                    list.nested(LIST_ELEMENT, |element| {
                        element.text(super::EXPRESSION_NAME, name);
                        element.nested(super::EXPRESSION_DATA, fill);
                    });
                });
            }
        });
        if !comment.is_empty() {
            message.attribute(RULE_USER_DATA, &comment_data(comment));
        }
        self
    }

    fn change(&mut self, kind: u16, flags: u16, family: Family) -> &mut Message {
        self.changes.push(Message::new(kind, REQUEST | flags, &[family.number(), 0, 0, 0]));
        self.changes.last_mut().expect("just pushed")
    }

    pub(super) fn into_messages(mut self) -> Vec<Message> {
        // Failures answer for themselves; the last change answers also for success.
        if let Some(last) = self.changes.last_mut() {
            last.add_flags(ACKNOWLEDGE);
        }
        let resource = RESOURCE.to_be_bytes();
        let edge = |kind| Message::new(kind, REQUEST, &[0, 0, resource[0], resource[1]]);
        let mut messages = vec![edge(BATCH_BEGIN)];
        messages.append(&mut self.changes);
        messages.push(edge(BATCH_END));
        messages
    }
}

/// Type, length, then the text with its zero; longer ones than the length can say are cut.
fn comment_data(comment: &str) -> Vec<u8> {
    let text: Vec<u8> = comment.bytes().take(254).chain([0]).collect();
    let mut data = vec![COMMENT, u8::try_from(text.len()).expect("cut above")];
    data.extend(text);
    data
}

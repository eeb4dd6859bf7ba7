//! What is in the firewall now.

use super::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, COMMENT, DATA_VERDICT, EXPRESSION_DATA,
    EXPRESSION_NAME, Family, GET_CHAIN, GET_RULE, GET_TABLE, HOOK_NUMBER, Hook, IMMEDIATE_DATA, NEW_CHAIN,
    NEW_RULE, NEW_TABLE, NftSocket, Place, Policy, RULE_CHAIN, RULE_EXPRESSIONS, RULE_HANDLE, RULE_TABLE,
    RULE_USER_DATA, TABLE_NAME, TABLE_USER_DATA, VERDICT_CHAIN, VERDICT_CODE, Verdict,
};
use crate::netlink::{ACKNOWLEDGE, DUMP, Message, NetlinkError, REQUEST, attributes};

/// A chain as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it begins, unless only jumps lead to it.
    pub base: Option<BaseChain>,
}

/// How a chain begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// Where it begins.
    pub hook: Hook,
    /// What becomes of packets that nobody decides on.
    pub policy: Policy,
}

impl Chain {
    /// Returns what names the chain.
    pub fn place(&self) -> Place<'_> {
        Place { family: self.family, table: &self.table, chain: &self.name }
    }
}

/// A rule as it is, as far as we look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Its number.
    pub handle: u64,
    /// Its comment.
    pub comment: String,
    /// Kernel names of its expressions.
    pub expressions: Vec<String>,
    /// What it decides.
    pub verdict: Option<Verdict>,
}

impl Rule {
    /// Returns what names the chain of the rule.
    pub fn place(&self) -> Place<'_> {
        Place { family: self.family, table: &self.table, chain: &self.chain }
    }
}

impl NftSocket {
    /// Returns the comment of a table, or nothing if there is no such table.
    pub fn table_comment(&mut self, family: Family, name: &str) -> Result<Option<String>, NetlinkError> {
        let mut message = Message::new(GET_TABLE, REQUEST | ACKNOWLEDGE, &[family.number(), 0, 0, 0]);
        message.text(TABLE_NAME, name);
        let replies = match self.socket.exchange("read firewall table", &[message]) {
            Err(error) if error.is_missing() => return Ok(None),
            other => other?,
        };
        let comment = replies.iter().find(|reply| reply.kind == NEW_TABLE).map(|reply| {
            let found = attributes(body(&reply.payload)).find(|(kind, _)| *kind == TABLE_USER_DATA);
            found.and_then(|(_, data)| comment(data)).unwrap_or_default()
        });
        Ok(comment)
    }

    /// Returns the chains of all tables of all families.
    pub fn chains(&mut self) -> Result<Vec<Chain>, NetlinkError> {
        let message = Message::new(GET_CHAIN, REQUEST | DUMP, &[0; 4]);
        let replies = self.socket.exchange("list firewall chains", &[message])?;
        let chains = replies.iter().filter(|reply| reply.kind == NEW_CHAIN);
        Ok(chains.filter_map(|reply| read_chain(&reply.payload)).collect())
    }

    /// Returns the rules of all chains of a table; none if there is no such table.
    pub fn rules(&mut self, family: Family, table: &str) -> Result<Vec<Rule>, NetlinkError> {
        let mut message = Message::new(GET_RULE, REQUEST | DUMP, &[family.number(), 0, 0, 0]);
        message.text(RULE_TABLE, table);
        self.list_rules(message)
    }

    /// Returns the rules of one chain; none if there is no such chain.
    pub fn rules_of(&mut self, place: Place<'_>) -> Result<Vec<Rule>, NetlinkError> {
        let mut message = Message::new(GET_RULE, REQUEST | DUMP, &[place.family.number(), 0, 0, 0]);
        message.text(RULE_TABLE, place.table).text(RULE_CHAIN, place.chain);
        self.list_rules(message)
    }

    /// Returns the rules of all tables of all families.
    pub fn all_rules(&mut self) -> Result<Vec<Rule>, NetlinkError> {
        self.list_rules(Message::new(GET_RULE, REQUEST | DUMP, &[0; 4]))
    }

    fn list_rules(&mut self, message: Message) -> Result<Vec<Rule>, NetlinkError> {
        let replies = match self.socket.exchange("list firewall rules", &[message]) {
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            other => other?,
        };
        let rules = replies.iter().filter(|reply| reply.kind == NEW_RULE);
        Ok(rules.filter_map(|reply| read_rule(&reply.payload)).collect())
    }
}

/// What follows the fixed part.
fn body(payload: &[u8]) -> &[u8] {
    payload.get(4..).unwrap_or_default()
}

fn read_chain(payload: &[u8]) -> Option<Chain> {
    let family = Family::from_number(*payload.first()?);
    let mut chain = Chain { family, table: String::new(), name: String::new(), base: None };
    let (mut hook, mut policy) = (None, Policy::Accept);
    for (kind, value) in attributes(body(payload)) {
        match kind {
            CHAIN_TABLE => chain.table = text(value),
            CHAIN_NAME => chain.name = text(value),
            CHAIN_POLICY if number(value)? == 0 => policy = Policy::Drop,
            CHAIN_HOOK => {
                let found = attributes(value).find(|(kind, _)| *kind == HOOK_NUMBER);
                hook = found.and_then(|(_, value)| Hook::from_number(number(value)?));
            }
            _ => {}
        }
    }
    chain.base = hook.map(|hook| BaseChain { hook, policy });
    Some(chain)
}

fn read_rule(payload: &[u8]) -> Option<Rule> {
    let mut rule = Rule {
        family: Family::from_number(*payload.first()?),
        table: String::new(),
        chain: String::new(),
        handle: 0,
        comment: String::new(),
        expressions: Vec::new(),
        verdict: None,
    };
    for (kind, value) in attributes(body(payload)) {
        match kind {
            RULE_TABLE => rule.table = text(value),
            RULE_CHAIN => rule.chain = text(value),
            RULE_HANDLE => rule.handle = u64::from_be_bytes(*value.first_chunk()?),
            RULE_USER_DATA => rule.comment = comment(value).unwrap_or_default(),
            RULE_EXPRESSIONS => {
                for (_, expression) in attributes(value) {
                    read_expression(expression, &mut rule);
                }
            }
            _ => {}
        }
    }
    Some(rule)
}

fn read_expression(bytes: &[u8], rule: &mut Rule) {
    for (kind, value) in attributes(bytes) {
        match kind {
            EXPRESSION_NAME => rule.expressions.push(text(value)),
            // Also data of others come by here; only `immediate` can hold a verdict.
            EXPRESSION_DATA if rule.expressions.last().is_some_and(|name| name == "immediate") => {
                rule.verdict = verdict(value).or(rule.verdict.take());
            }
            _ => {}
        }
    }
}

fn verdict(bytes: &[u8]) -> Option<Verdict> {
    let (_, data) = attributes(bytes).find(|(kind, _)| *kind == IMMEDIATE_DATA)?;
    let (_, verdict) = attributes(data).find(|(kind, _)| *kind == DATA_VERDICT)?;
    let (_, code) = attributes(verdict).find(|(kind, _)| *kind == VERDICT_CODE)?;
    let chain = attributes(verdict).find(|(kind, _)| *kind == VERDICT_CHAIN).map(|(_, name)| text(name));
    Verdict::from_code(number(code)?.cast_signed(), chain)
}

fn comment(mut data: &[u8]) -> Option<String> {
    loop {
        let (kind, length) = (*data.first()?, usize::from(*data.get(1)?));
        let value = data.get(2..2 + length)?;
        if kind == COMMENT {
            return Some(text(value));
        }
        data = &data[2 + length..];
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

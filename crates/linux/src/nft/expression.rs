//! What a rule looks at and what it does.

use std::net::Ipv4Addr;

use super::{DATA_VERDICT, IMMEDIATE_DATA, IMMEDIATE_REGISTER, VERDICT_CHAIN, VERDICT_CODE};
use crate::netlink::Message;

/// How something compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// It is this.
    Equal,
    /// It is anything else.
    Other,
}

/// States of the connection that a packet belongs to; several are joined by `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionState(u32);

impl ConnectionState {
    /// It has been answered.
    pub const ESTABLISHED: Self = Self(1 << 1);
    /// It belongs to another that has been.
    pub const RELATED: Self = Self(1 << 2);
    /// It begins.
    pub const NEW: Self = Self(1 << 3);
}

impl std::ops::BitOr for ConnectionState {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves this chain and its table unharmed; other tables may still drop it.
    Accept,
    /// It vanishes.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// On to another chain and back.
    Jump(String),
    /// On to another chain.
    Goto(String),
}

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Name of the device it came from.
    InputInterface(Is, String),
    /// Name of the device it goes to.
    OutputInterface(Is, String),
    /// IPv4 address it comes from, within a prefix of so many bits.
    SourceAddress(Is, Ipv4Addr, u8),
    /// IPv4 address it goes to.
    DestinationAddress(Is, Ipv4Addr, u8),
    /// Protocol above IP, by its number (TCP is 6, UDP 17).
    Protocol(u8),
    /// Port it goes to; only behind [`Expression::Protocol`].
    DestinationPort(u16),
    /// Any of these states.
    Connection(ConnectionState),
    /// Counts packets and bytes; never fails to match.
    Counter,
    /// Sends it with the address of the device it leaves by.
    Masquerade,
    /// Sends it elsewhere.
    DestinationNat(Ipv4Addr, Option<u16>),
    /// Decides.
    Verdict(Verdict),
}

const REGISTER: u32 = 1;
const SECOND_REGISTER: u32 = 2;
const VERDICT_REGISTER: u32 = 0;
const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_PROTOCOL: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SOURCE_AT: u32 = 12;
const DESTINATION_AT: u32 = 16;
const PORT_AT: u32 = 2;
const NAME_LENGTH: usize = 16;
const DATA_VALUE: u16 = 1;
const FAMILY_V4: u32 = 2;

type Fill<'a> = &'a mut dyn FnMut(&'static str, &mut dyn FnMut(&mut Message));

impl Expression {
    /// Gives name and data of each kernel expression that this one consists of.
    pub(super) fn write(&self, mut add: impl FnMut(&'static str, &mut dyn FnMut(&mut Message))) {
        let add: Fill<'_> = &mut add;
        match self {
            Self::InputInterface(is, name) => interface(add, META_INPUT_NAME, *is, name),
            Self::OutputInterface(is, name) => interface(add, META_OUTPUT_NAME, *is, name),
            Self::SourceAddress(is, address, prefix) => matched(add, SOURCE_AT, *is, (*address, *prefix)),
            Self::DestinationAddress(is, address, prefix) => {
                matched(add, DESTINATION_AT, *is, (*address, *prefix));
            }
            Self::Protocol(number) => {
                load(add, "meta", META_PROTOCOL);
                compare(add, Is::Equal, &[*number]);
            }
            Self::DestinationPort(port) => {
                payload(add, TRANSPORT_HEADER, PORT_AT, 2);
                compare(add, Is::Equal, &port.to_be_bytes());
            }
            Self::Connection(state) => {
                load(add, "ct", 0);
                mask(add, &state.0.to_ne_bytes());
                compare(add, Is::Other, &[0; 4]);
            }
            Self::Counter => add("counter", &mut |_message| {}),
            Self::Masquerade => add("masq", &mut |_message| {}),
            Self::DestinationNat(address, port) => translate(add, *address, *port),
            Self::Verdict(verdict) => decide(add, verdict),
        }
    }
}

/// Loads something that `meta` or `ct` knows.
fn load(add: Fill<'_>, kind: &'static str, key: u32) {
    add(kind, &mut |message| {
        message.number_be(1, REGISTER).number_be(2, key);
    });
}

fn payload(add: Fill<'_>, base: u32, offset: u32, length: u32) {
    add("payload", &mut |message| {
        message.number_be(1, REGISTER).number_be(2, base).number_be(3, offset).number_be(4, length);
    });
}

fn mask(add: Fill<'_>, bits: &[u8]) {
    add("bitwise", &mut |message| {
        let length = u32::try_from(bits.len()).expect("an address at most");
        message.number_be(1, REGISTER).number_be(2, REGISTER).number_be(3, length);
        message.nested(4, |data| {
            data.attribute(DATA_VALUE, bits);
        });
        message.nested(5, |data| {
            data.attribute(DATA_VALUE, &vec![0; bits.len()]);
        });
    });
}

fn compare(add: Fill<'_>, is: Is, value: &[u8]) {
    add("cmp", &mut |message| {
        message.number_be(1, REGISTER).number_be(2, u32::from(is == Is::Other));
        message.nested(3, |data| {
            data.attribute(DATA_VALUE, value);
        });
    });
}

fn interface(add: Fill<'_>, key: u32, is: Is, name: &str) {
    load(add, "meta", key);
    let mut value = [0; NAME_LENGTH];
    // The kernel's names are shorter than this; a longer one matches nothing it could not match anyway.
    for (place, byte) in value[..NAME_LENGTH - 1].iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    compare(add, is, &value);
}

fn matched(add: Fill<'_>, offset: u32, is: Is, (address, prefix): (Ipv4Addr, u8)) {
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    payload(add, NETWORK_HEADER, offset, 4);
    if prefix < 32 {
        mask(add, &bits.to_be_bytes());
    }
    compare(add, is, &(u32::from(address) & bits).to_be_bytes());
}

fn set(add: Fill<'_>, register: u32, value: &[u8]) {
    add("immediate", &mut |message| {
        message.number_be(IMMEDIATE_REGISTER, register).nested(IMMEDIATE_DATA, |data| {
            data.attribute(DATA_VALUE, value);
        });
    });
}

fn translate(add: Fill<'_>, address: Ipv4Addr, port: Option<u16>) {
    const DESTINATION: u32 = 1;
    set(add, REGISTER, &address.octets());
    if let Some(port) = port {
        set(add, SECOND_REGISTER, &port.to_be_bytes());
    }
    add("nat", &mut |message| {
        message.number_be(1, DESTINATION).number_be(2, FAMILY_V4).number_be(3, REGISTER);
        if port.is_some() {
            message.number_be(5, SECOND_REGISTER);
        }
    });
}

fn decide(add: Fill<'_>, verdict: &Verdict) {
    add("immediate", &mut |message| {
        message.number_be(IMMEDIATE_REGISTER, VERDICT_REGISTER).nested(IMMEDIATE_DATA, |data| {
            data.nested(DATA_VERDICT, |data| {
                data.number_be(VERDICT_CODE, verdict.code().cast_unsigned());
                if let Verdict::Jump(chain) | Verdict::Goto(chain) = verdict {
                    data.text(VERDICT_CHAIN, chain);
                }
            });
        });
    });
}

impl Verdict {
    fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
        }
    }

    pub(super) fn from_code(code: i32, chain: Option<String>) -> Option<Self> {
        Some(match (code, chain) {
            (0, _) => Self::Drop,
            (1, _) => Self::Accept,
            (-3, Some(chain)) => Self::Jump(chain),
            (-4, Some(chain)) => Self::Goto(chain),
            (-5, _) => Self::Return,
            _ => return None,
        })
    }
}

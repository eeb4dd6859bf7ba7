//! Which addresses a network has.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr as _;

use serde::{Deserialize, Serialize};

/// Bits of every network of ours: enough addresses for as many sandboxes as a bridge has ports.
pub(crate) const PREFIX: u8 = 16;

/// A range of 65,536 addresses. The first of them that can be used is the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// Both leading bytes.
    start: [u8; 2],
}

impl Subnet {
    pub(crate) fn new(first: u8, second: u8) -> Self {
        Self { start: [first, second] }
    }

    /// Returns the range that holds an address.
    pub(crate) fn around(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        Self::new(first, second)
    }

    /// Returns the first address, which stands for the range as a whole.
    pub fn base(self) -> Ipv4Addr {
        self.at(0)
    }

    /// Returns the host's address.
    pub fn gateway(self) -> Ipv4Addr {
        self.at(1)
    }

    /// Returns the number of bits that all addresses have in common.
    pub fn prefix(self) -> u8 {
        PREFIX
    }

    pub(crate) fn at(self, number: u16) -> Ipv4Addr {
        let [third, fourth] = number.to_be_bytes();
        Ipv4Addr::new(self.start[0], self.start[1], third, fourth)
    }

    fn overlaps(self, (address, prefix): (Ipv4Addr, u8)) -> bool {
        let common = prefix.min(PREFIX);
        let mask = u32::MAX.checked_shl(32 - u32::from(common)).unwrap_or(0);
        u32::from(self.base()) & mask == u32::from(address) & mask
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{PREFIX}", self.base())
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.strip_suffix("/16").and_then(|address| Ipv4Addr::from_str(address).ok());
        let found = address.map(Self::around).filter(|subnet| subnet.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is no range like 10.210.0.0/16"))
    }
}

/// Returns the number within its network of an address.
pub(crate) fn number(address: Ipv4Addr) -> u16 {
    let [_, _, third, fourth] = address.octets();
    u16::from_be_bytes([third, fourth])
}

/// Returns a range that overlaps none of those that are in use.
///
/// Default routes do not count: they are for everything that nobody else has. `seed` says where to begin, so that two
/// networks made at the same moment begin in different places, and each finds its own again.
pub(crate) fn choose(used: &[(Ipv4Addr, u8)], seed: u32) -> Option<Subnet> {
    // Far from what Docker (172.17-31, 192.168), Podman (10.88-89), k3s (10.42-43), minikube (10.96, 10.244) take.
    let candidates: Vec<Subnet> = (200..=239)
        .map(|second| Subnet::new(10, second))
        .chain((100..=139).map(|second| Subnet::new(10, second)))
        .collect();
    let begin = usize::try_from(seed).unwrap_or_default() % 40;
    let (first, rest) = candidates.split_at(40);
    let order = first.iter().cycle().skip(begin).take(40).chain(rest);
    let taken = |subnet: Subnet| used.iter().any(|range| range.1 > 0 && subnet.overlaps(*range));
    order.copied().find(|subnet| !taken(*subnet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_overlaps_anything_in_use_is_not_chosen() {
        let ten = |second, prefix| (Ipv4Addr::new(10, second, 7, 9), prefix);
        for (name, used, want) in [
            ("nothing", vec![], "10.200.0.0/16"),
            ("a default route", vec![(Ipv4Addr::UNSPECIFIED, 0)], "10.200.0.0/16"),
            ("a host inside", vec![ten(200, 32)], "10.201.0.0/16"),
            ("a part of it", vec![ten(200, 24), ten(201, 17)], "10.202.0.0/16"),
            ("a larger one around several", vec![ten(200, 13)], "10.208.0.0/16"),
            (
                "half of a private range, as tunnels have",
                vec![(Ipv4Addr::new(10, 128, 0, 0), 9)],
                "10.100.0.0/16",
            ),
        ] {
            assert_eq!(choose(&used, 0).unwrap().to_string(), want, "case {name}");
        }
        assert_eq!(choose(&[ten(0, 8)], 0), None);
        assert_eq!(choose(&[], 41).unwrap().to_string(), "10.201.0.0/16");
    }

    #[test]
    fn text_is_read_strictly() {
        assert_eq!(Subnet::try_from("10.210.0.0/16".to_owned()).unwrap(), Subnet::new(10, 210));
        for bad in ["10.210.0.0", "10.210.0.1/16", "10.210.0.0/8", "x/16", ""] {
            assert!(Subnet::try_from(bad.to_owned()).is_err(), "case {bad}");
        }
    }
}

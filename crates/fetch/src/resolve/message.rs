//! DNS messages. Spec: RFC 1035 section 4, RFC 3596.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

const CNAME: u16 = 5;
const CLASS_IN: u16 = 1;

/// What a server said to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The addresses, perhaps none, and the seconds that they may be kept.
    Addresses(Vec<IpAddr>, u32),
    /// There is no such name.
    NoSuchName,
    /// The answer did not fit into a datagram.
    Truncated,
    /// The server cannot or will not answer: its response code.
    Failed(u8),
}

/// Returns the question, or nothing if `name` cannot be asked for.
pub(super) fn encode(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 18);
    out.extend(id.to_be_bytes());
    // A standard query, recursion desired, one question.
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        if !label.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        out.push(length);
        out.extend(label.bytes());
    }
    out.push(0);
    if name.len() > 253 {
        return None;
    }
    out.extend(kind.code().to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    Some(out)
}

/// Reads an answer to the question of `id`, `name` and `kind`; nothing if it is not one.
pub(super) fn decode(message: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let (got_id, flags) = (reader.u16()?, reader.u16()?);
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    let is_response = flags & 0x8000 != 0;
    if got_id != id || !is_response || questions != 1 {
        return None;
    }
    if !reader.name()?.eq_ignore_ascii_case(name) || reader.u16()? != kind.code() || reader.u16()? != CLASS_IN
    {
        return None;
    }
    let code = u8::try_from(flags & 0xf).unwrap_or(0);
    match code {
        _ if flags & 0x0200 != 0 => Some(Answer::Truncated),
        0 => read_answers(&mut reader, answers, name, kind),
        3 => Some(Answer::NoSuchName),
        code => Some(Answer::Failed(code)),
    }
}

/// Follows the chain of aliases from `name`; records of other names are not ours.
fn read_answers(reader: &mut Reader<'_>, count: u16, name: &str, kind: Kind) -> Option<Answer> {
    let mut owner = name.to_ascii_lowercase();
    let (mut found, mut lifetime) = (Vec::new(), u32::MAX);
    for _record in 0..count {
        let record_name = reader.name()?.to_ascii_lowercase();
        let (record_kind, class) = (reader.u16()?, reader.u16()?);
        let record_lifetime = reader.u32()?;
        let length = usize::from(reader.u16()?);
        let start = reader.at;
        let data = reader.take(length)?;
        if class != CLASS_IN || record_name != owner {
            continue;
        }
        if record_kind == CNAME {
            owner = Reader { message: reader.message, at: start }.name()?.to_ascii_lowercase();
            lifetime = lifetime.min(record_lifetime);
        } else if record_kind == kind.code() {
            found.push(match kind {
                Kind::V4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
                Kind::V6 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
            });
            lifetime = lifetime.min(record_lifetime);
        }
    }
    Some(Answer::Addresses(found, lifetime))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_skipped| ())
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Reads a name; its compression pointers only ever lead backwards, so that it ends.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut limit) = (self.at, self.at);
        let mut after = None;
        loop {
            let length = *self.message.get(at)?;
            match length & 0xc0 {
                0 if length == 0 => break,
                0 => {
                    let end = at + 1 + usize::from(length);
                    let label = self.message.get(at + 1..end)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(std::str::from_utf8(label).ok()?);
                    at = end;
                }
                0xc0 => {
                    let low = *self.message.get(at + 1)?;
                    after.get_or_insert(at + 2);
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if target >= limit {
                        return None;
                    }
                    (at, limit) = (target, target);
                }
                _ => return None,
            }
            if name.len() > 255 {
                return None;
            }
        }
        self.at = after.unwrap_or(at + 1);
        Some(name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Builds an answer to `question`: an alias `c.test` of the asked name, then its addresses.
    pub(crate) fn answer(question: &[u8], flags: u16, addresses: &[IpAddr]) -> Vec<u8> {
        let mut out = question[..2].to_vec();
        out.extend(flags.to_be_bytes());
        out.extend([0, 1]);
        out.extend(u16::try_from(addresses.len() + 1).unwrap().to_be_bytes());
        out.extend([0; 4]);
        out.extend(&question[12..]);
        let alias_at = u16::try_from(out.len() + 12).unwrap();
        let record = |out: &mut Vec<u8>, owner: u16, kind: u16, data: &[u8]| {
            out.extend((0xc000 | owner).to_be_bytes());
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            out.extend(data);
        };
        record(&mut out, 12, CNAME, b"\x01c\x04test\x00");
        for address in addresses {
            match address {
                IpAddr::V4(address) => record(&mut out, alias_at, 1, &address.octets()),
                IpAddr::V6(address) => record(&mut out, alias_at, 28, &address.octets()),
            }
        }
        out
    }

    #[test]
    fn an_answer_with_an_alias_is_followed() {
        let question = encode(7, "a.test", Kind::V4).unwrap();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let message = answer(&question, 0x8180, &[address]);
        assert_eq!(decode(&message, 7, "A.test", Kind::V4), Some(Answer::Addresses(vec![address], 60)));
        for (name, id, asked, kind) in
            [("id", 8, "a.test", Kind::V4), ("name", 7, "b.test", Kind::V4), ("kind", 7, "a.test", Kind::V6)]
        {
            assert_eq!(decode(&message, id, asked, kind), None, "case other {name}");
        }
    }

    #[test]
    fn flags_and_codes_are_understood() {
        let question = encode(7, "a.test", Kind::V6).unwrap();
        for (name, flags, want) in [
            ("no such name", 0x8183, Some(Answer::NoSuchName)),
            ("server failure", 0x8182, Some(Answer::Failed(2))),
            ("truncated", 0x8380, Some(Answer::Truncated)),
            ("a question", 0x0100, None),
        ] {
            assert_eq!(decode(&answer(&question, flags, &[]), 7, "a.test", Kind::V6), want, "case {name}");
        }
    }

    #[test]
    fn broken_messages_are_no_answer_and_end() {
        let question = encode(7, "a.test", Kind::V4).unwrap();
        let message = answer(&question, 0x8180, &["192.0.2.1".parse().unwrap()]);
        for cut in 0..message.len() {
            assert_eq!(decode(&message[..cut], 7, "a.test", Kind::V4), None, "cut at {cut}");
        }
        let mut looping = message[..12].to_vec();
        looping.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(decode(&looping, 7, "a.test", Kind::V4), None);
    }

    #[test]
    fn impossible_names_are_not_asked_for() {
        let long = "a".repeat(64);
        for name in ["", "a..b", "a b", long.as_str(), &"ab.".repeat(100)] {
            assert_eq!(encode(1, name, Kind::V4), None, "{name}");
        }
    }
}

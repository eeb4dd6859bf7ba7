//! Sparse files in PAX records: which parts of a file have content, and how long it is with the zeros between them.
//!
//! Spec: GNU tar manual, "Storing Sparse Files": PAX formats 0.0, 0.1 and 1.0.

use super::block::BLOCK;
use super::number::decimal;

/// What all keys begin with.
const PREFIX: &[u8] = b"GNU.sparse.";
const WRONG: &str = "a sparse file whose map is wrong";

/// What the records before a file say of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    /// Its name, where that of the header is made up.
    pub(super) name: Option<Vec<u8>>,
    version: (Option<u64>, Option<u64>),
    size: Option<u64>,
    parts: Option<u64>,
    /// Where parts begin, each with its length.
    numbers: Vec<u64>,
}

/// The parts of a file that have content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// With the zeros.
    pub(super) size: u64,
    /// Where each begins and how long it is; one after the other.
    pub(super) parts: Vec<(u64, u64)>,
}

/// Returns whether a key may stand several times.
pub(super) fn is_listed(key: &[u8]) -> bool {
    matches!(key.strip_prefix(PREFIX), Some(b"offset" | b"numbytes"))
}

/// Returns whether a key is one of a sparse file.
pub(super) fn is_sparse(key: &[u8]) -> bool {
    key.starts_with(PREFIX) || key == b"SCHILY.realsize"
}

impl SparseRecords {
    /// Takes one record.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let number = || decimal(value).filter(|number| i64::try_from(*number).is_ok()).ok_or(WRONG);
        match key.strip_prefix(PREFIX).unwrap_or_default() {
            b"major" => self.version.0 = Some(number()?),
            b"minor" => self.version.1 = Some(number()?),
            b"name" => self.name = Some(super::pax::name(value)?),
            b"size" | b"realsize" if self.size.is_none() => self.size = Some(number()?),
            b"numblocks" => self.parts = Some(number()?),
            b"offset" if self.numbers.len().is_multiple_of(2) => self.numbers.push(number()?),
            b"numbytes" if !self.numbers.len().is_multiple_of(2) => self.numbers.push(number()?),
            b"map" if self.numbers.is_empty() => {
                let numbers = value.split(|byte| *byte == b',').filter(|text| !text.is_empty());
                self.numbers = numbers.map(|text| decimal(text).ok_or(WRONG)).collect::<Result<_, _>>()?;
            }
            _ => return Err(WRONG),
        }
        Ok(())
    }

    /// Returns whether the map is at the beginning of the content.
    pub(super) fn is_in_content(&self) -> Result<bool, &'static str> {
        match self.version {
            (Some(1), Some(0)) => Ok(true),
            (None, None) | (Some(0), Some(0 | 1)) => Ok(false),
            _ => Err("a sparse file in a format that is not known"),
        }
    }

    /// Returns the map; `content` is how many bytes the parts have in all, and `numbers` are what the content says of them.
    pub(super) fn map(self, numbers: Option<Vec<u64>>, content: u64) -> Result<Map, &'static str> {
        let is_counted = numbers.is_some();
        let numbers = numbers.unwrap_or(self.numbers);
        let size = self.size.ok_or(WRONG)?;
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() || !is_counted && self.parts != Some(pairs.len() as u64) {
            return Err(WRONG);
        }
        let (mut at, mut all) = (0, 0_u64);
        for [offset, length] in pairs {
            let end = offset.checked_add(*length).ok_or(WRONG)?;
            if *offset < at || end > size {
                return Err(WRONG);
            }
            (at, all) = (end, all + length);
        }
        if all != content {
            return Err("a sparse file that has not the parts that it lists");
        }
        Ok(Map { size, parts: pairs.iter().map(|[offset, length]| (*offset, *length)).collect() })
    }
}

/// A map that comes in the first blocks of the content: how many parts there are, then where each begins and its length, a line each.
#[derive(Debug, Default)]
pub(super) struct MapText {
    text: Vec<u8>,
    lines: u64,
}

impl MapText {
    /// Returns how many bytes there are.
    pub(super) fn length(&self) -> usize {
        self.text.len()
    }

    /// Takes the next block, and returns the numbers if it was the last.
    pub(super) fn take(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<u64>>, &'static str> {
        self.text.extend_from_slice(block);
        self.lines += block.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        let mut lines = self.text.split(|byte| *byte == b'\n');
        let count = lines.next().and_then(decimal).ok_or(WRONG)?;
        let needed = count.checked_mul(2).ok_or(WRONG)?;
        if self.lines <= needed {
            return Ok(None);
        }
        let numbers = lines.take(usize::try_from(needed).map_err(|_large| WRONG)?);
        numbers.map(|text| decimal(text).ok_or(WRONG)).collect::<Result<_, _>>().map(Some)
    }
}

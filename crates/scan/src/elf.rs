//! Sections of programs. Spec: elf(5), System V ABI: of either class and byte order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// So many sections may a program have, and so many bytes their names.
const SECTIONS: u64 = 4096;
const NAMES: u64 = 256 << 10;
/// So many bytes of a name are looked at.
const NAME: usize = 64;

/// A program whose sections can be read.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    file: &'a File,
    sections: Vec<(String, u64, u64)>,
}

impl<'a> Program<'a> {
    /// Reads where the sections of a program are; `None` if the file is none.
    pub(crate) fn read(file: &'a File) -> io::Result<Option<Self>> {
        let mut head = [0; 64];
        let length = file.read_at(&mut head, 0)?;
        if length < 52 || !head.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let form = Form { is_wide: head[4] == 2, is_big: head[5] == 2 };
        // Where e_shoff, e_shentsize, e_shnum and e_shstrndx stand.
        let (at, size_at) = if form.is_wide { (0x28, 0x3a) } else { (0x20, 0x2e) };
        let table = form.word(&head, at);
        let [size, count, names] = [0, 2, 4].map(|more| form.number(&head, size_at + more, 2));
        if table == 0 || count > SECTIONS || size < form.entry() || names >= count {
            return Ok(Some(Self { file, sections: Vec::new() }));
        }
        let entry = |place: u64| {
            let mut bytes = vec![0; usize::try_from(form.entry()).unwrap_or(64)];
            let at = place.checked_mul(size).and_then(|offset| table.checked_add(offset));
            file.read_exact_at(&mut bytes, at.ok_or(io::ErrorKind::InvalidData)?).map(|()| bytes)
        };
        let (_, offset, length) = form.section(&entry(names)?);
        let names = part(file, offset, length.min(NAMES))?;
        let mut sections = Vec::new();
        for place in 0..count {
            let (name, offset, length) = form.section(&entry(place)?);
            let from = usize::try_from(name).ok().and_then(|name| names.get(name..)).unwrap_or_default();
            // Names may overlap, and be all of the table.
            let from = &from[..from.len().min(NAME)];
            let name = from.split(|byte| *byte == 0).next().unwrap_or_default();
            sections.push((String::from_utf8_lossy(name).into_owned(), offset, length));
        }
        Ok(Some(Self { file, sections }))
    }

    /// Returns the beginning of a section, at most `limit` bytes; `None` if there is no such one.
    pub(crate) fn section(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let found = self.sections.iter().find(|(known, ..)| known == name);
        found.map(|(_, offset, length)| part(self.file, *offset, (*length).min(limit))).transpose()
    }
}

fn part(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let there = file.metadata()?.len().saturating_sub(offset).min(length);
    let mut bytes = vec![0; usize::try_from(there).unwrap_or_default()];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// How numbers are written.
#[derive(Clone, Copy)]
struct Form {
    is_wide: bool,
    is_big: bool,
}

impl Form {
    /// Bytes of an entry of the table.
    fn entry(self) -> u64 {
        if self.is_wide { 64 } else { 40 }
    }

    fn number(self, bytes: &[u8], at: usize, length: usize) -> u64 {
        let part = bytes.get(at..at + length).unwrap_or_default();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.is_big { part.iter().fold(0, add) } else { part.iter().rev().fold(0, add) }
    }

    fn word(self, bytes: &[u8], at: usize) -> u64 {
        self.number(bytes, at, if self.is_wide { 8 } else { 4 })
    }

    /// Returns the place of a section's name, and where its bytes are and how many.
    fn section(self, entry: &[u8]) -> (u64, u64, u64) {
        let (offset, length) = if self.is_wide { (0x18, 0x20) } else { (0x10, 0x14) };
        (self.number(entry, 0, 4), self.word(entry, offset), self.word(entry, length))
    }
}

/// Makes a program with sections of names and bytes.
#[cfg(test)]
pub(crate) fn program(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let mut table = vec![0; 64];
    let mut add = |name: usize, offset: usize, length: usize| {
        let mut entry = [0; 64];
        entry[..4].copy_from_slice(&u32::try_from(name).unwrap().to_le_bytes());
        entry[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
        entry[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
        table.extend(entry);
    };
    for (name, content) in sections {
        add(names.len(), bytes.len(), content.len());
        names.extend(name.bytes().chain([0]));
        bytes.extend(*content);
    }
    add(0, bytes.len(), names.len());
    bytes.extend(&names);
    let count = u16::try_from(table.len() / 64).unwrap();
    let at = (bytes.len() as u64).to_le_bytes();
    bytes.extend(&table);
    bytes[0x28..0x30].copy_from_slice(&at);
    for (place, number) in [(0x3a, 64), (0x3c, count), (0x3e, count - 1)] {
        bytes[place..place + 2].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn sections_are_found_by_name() {
        let bytes = program(&[(".text", b"code"), (".go.buildinfo", b"info")]);
        let file = file(&bytes);
        let found = Program::read(&file).unwrap().unwrap();
        assert_eq!(found.section(".go.buildinfo", 100).unwrap().as_deref(), Some(&b"info"[..]));
        assert_eq!(found.section(".text", 2).unwrap().as_deref(), Some(&b"co"[..]));
        assert_eq!(found.section(".data", 100).unwrap(), None);
    }

    #[test]
    fn whatever_is_in_a_file_reading_it_ends() {
        assert!(Program::read(&file(b"#!/bin/sh\n")).unwrap().is_none());
        let own = File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(Program::read(&own).unwrap().unwrap().section(".text", 16).unwrap().is_some());
        let mut dice = shipway_testkit::Dice::new(0xe1f);
        let seed = program(&[(".text", b"code"), (".dep-v0", b"deps")]);
        let words: [&[u8]; 3] = [&[0xff; 8], &[0; 8], b".text\0"];
        for _ in 0..shipway_testkit::rounds(2000) {
            let file = file(&dice.mutate(&seed, &words));
            if let Ok(Some(found)) = Program::read(&file) {
                drop(found.section(".dep-v0", 1 << 20));
            }
        }
    }
}

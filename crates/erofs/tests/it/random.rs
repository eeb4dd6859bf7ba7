//! Trees that came about by chance, with what was changed and removed again meanwhile.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use shipway_erofs::{Attributes, Content};
use shipway_testkit::{Dice, rounds};

use crate::fixture::{Fixture, attributes, bytes, scratch};

#[test]
fn random_trees_are_mounted_as_they_were_made() {
    let Some(dir) = scratch() else { return };
    let mut dice = Dice::new(0xe0f5);
    for _ in 0..rounds(20) {
        let mut fixture = Fixture::new();
        fixture.dice = dice;
        for _ in 0..5 + fixture.dice.roll(80) {
            step(&mut fixture);
        }
        fixture.check_mounted(&dir);
        dice = fixture.dice;
    }
}

fn step(fixture: &mut Fixture) {
    let chance = fixture.dice.roll(20);
    let old = path(fixture, |_| true);
    let new = path(fixture, |content| *content == Content::Directory).join(name(&mut fixture.dice));
    if fixture.names.contains_key(&new) {
        let error = fixture.tree.create(&new, Content::Fifo, attributes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        return;
    }
    let inode = fixture.names[&old];
    match chance {
        0 if old != Path::new("") => fixture.remove_all(&old),
        1 | 2 if fixture.inodes[inode].0 != Content::Directory => fixture.hard_link(&old, &new),
        3 | 4 => {
            let changed = random_attributes(&mut fixture.dice, &fixture.inodes[inode].0);
            fixture.tree.set_attributes(&old, changed.clone()).unwrap();
            fixture.inodes[inode].1 = changed;
        }
        5 => {
            let (name, value) = (b"trusted.overlay.x".to_vec(), bytes(&mut fixture.dice, 9));
            fixture.tree.set_xattr(&old, &name, &value).unwrap();
            fixture.inodes[inode].1.xattrs.push((name, value));
        }
        _ => {
            let content = content(fixture);
            let attributes = random_attributes(&mut fixture.dice, &content);
            fixture.create(new, content, attributes);
        }
    }
}

/// Returns a path of the tree whose content `suits`.
fn path(fixture: &mut Fixture, suits: impl Fn(&Content) -> bool) -> PathBuf {
    let suiting = fixture.names.iter().filter(|(_, inode)| suits(&fixture.inodes[**inode].0));
    let paths: Vec<_> = suiting.map(|(path, _)| path.as_path()).collect();
    fixture.dice.pick(&paths).to_owned()
}

fn name(dice: &mut Dice) -> PathBuf {
    let length = if dice.roll(4) == 0 { 1 + dice.roll(255) } else { 1 + dice.roll(6) };
    loop {
        let name: Vec<u8> = (0..length).map(|_| b"!-.0az\xff\x01"[dice.roll(8)]).collect();
        if name != b"." && name != b".." {
            return OsStr::from_bytes(&name).into();
        }
    }
}

fn content(fixture: &mut Fixture) -> Content {
    let dice = &mut fixture.dice;
    match dice.roll(12) {
        0..=2 => Content::Directory,
        3 => Content::Symlink(vec![b'q'; 1 + dice.roll(1200)]),
        4 => Content::Character(dice.roll(1 << 32) as u64),
        5 => Content::Block(dice.roll(1 << 32) as u64),
        6 => Content::Fifo,
        7 => Content::Socket,
        _ => {
            let size = dice.roll(10_000);
            let content = bytes(dice, size);
            fixture.content(&content)
        }
    }
}

fn random_attributes(dice: &mut Dice, content: &Content) -> Attributes {
    // Linux shows `user.` attributes of files and directories alone.
    let user = matches!(content, Content::Directory | Content::File { .. });
    let namespaces = ["trusted", "security", if user { "user" } else { "trusted" }];
    let xattr = |dice: &mut Dice| {
        let name = format!("{}.{}", dice.pick(&namespaces), "n".repeat(1 + dice.roll(200)));
        let length = if dice.roll(8) == 0 { dice.roll(3000) } else { dice.roll(40) };
        (name.into_bytes(), bytes(dice, length))
    };
    let count = dice.roll(8).saturating_sub(4);
    let xattrs = (0..count).map(|_| xattr(dice)).collect();
    let id = |dice: &mut Dice| u32::try_from(dice.roll(u32::MAX as usize)).unwrap();
    Attributes {
        mode: u16::try_from(dice.roll(0o10000)).unwrap(),
        uid: id(dice),
        gid: id(dice),
        mtime: (i64::from(id(dice)) * 4 - (1 << 33), id(dice) % 1_000_000_000),
        xattrs,
    }
}

//! Indexes are mounted, and all that the kernel shows is compared with all that was put in.

use std::path::PathBuf;

use shipway_erofs::{Attributes, Content};

use crate::fixture::{Fixture, attributes, scratch, with_xattrs};

#[test]
fn every_kind_of_file_is_mounted_as_it_was_created() {
    let Some(dir) = scratch() else { return };
    let mut fixture = Fixture::new();
    for size in [0, 1, 511, 512, 513, 5000, 40 << 20] {
        fixture.file(format!("file-{size}"), size, attributes());
    }
    for length in [1, 59, 447, 448, 449, 500, 511, 512, 513, 960, 4095] {
        fixture.create(format!("symlink-{length}"), Content::Symlink(vec![b't'; length]), attributes());
    }
    fixture.create("whiteout", Content::Character(0), attributes());
    fixture.create("character", Content::Character(0x0103), attributes());
    fixture.create("block", Content::Block(0xabcf_ff12), attributes());
    fixture.create("fifo", Content::Fifo, attributes());
    fixture.create("socket", Content::Socket, attributes());
    fixture.create("empty", Content::Directory, attributes());
    let owner = Attributes { mode: 0o6711, uid: 70_000, gid: 4_000_000_000, ..attributes() };
    fixture.file("set-user-id", 3, owner);
    fixture.create("sticky", Content::Directory, Attributes { mode: 0o1777, ..attributes() });
    for mtime in [(-1, 999_999_999), (-2_000_000_000, 1), (0, 0), (1 << 40, 123_456_789)] {
        fixture.file(format!("mtime-{}", mtime.0), 1, Attributes { mtime, ..attributes() });
    }
    fixture.check_mounted(&dir);
}

#[test]
fn names_of_all_lengths_and_sorting_orders_are_found() {
    let Some(dir) = scratch() else { return };
    let mut fixture = Fixture::new();
    for name in
        ["!before", "-", ".\u{1}", ".-", "...", "..a", ".a", "etc", "~", "\u{e9}", "a", "aa", "a-", "b"]
    {
        fixture.create(name, Content::Directory, attributes());
    }
    for length in 1..=255 {
        fixture.file(format!("b/{}", "n".repeat(length)), length, attributes());
    }
    for number in 0..2000 {
        fixture.file(format!("a/entry {number}"), number % 3, attributes());
    }
    let mut deep = PathBuf::from("aa");
    for depth in 0..200 {
        deep.push(format!("d{depth}"));
        fixture.create(&deep, Content::Directory, attributes());
    }
    fixture.file(deep.join("file"), 10, attributes());
    fixture.check_mounted(&dir);
}

#[test]
fn hard_links_share_an_inode() {
    let Some(dir) = scratch() else { return };
    let mut fixture = Fixture::new();
    fixture.create("directory", Content::Directory, attributes());
    fixture.file("directory/file", 600, attributes());
    fixture.create("symlink", Content::Symlink(vec![b'x'; 700]), attributes());
    for number in 0..300 {
        fixture.hard_link("directory/file", format!("link-{number}"));
    }
    fixture.hard_link("symlink", "directory/symlink");
    fixture.check_mounted(&dir);
}

/// An access-control list as the kernel stores it: version 2, then tag, rights and id of each entry.
fn access_control_list() -> Vec<u8> {
    let nobody = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, nobody), (2, 4, 1000), (4, 4, nobody), (16, 4, nobody), (32, 0, nobody)];
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2_u32.to_le_bytes().to_vec(), entries.map(entry).concat()].concat()
}

#[test]
fn extended_attributes_are_read_back() {
    let Some(dir) = scratch() else { return };
    let mut fixture = Fixture::new();
    let acl = access_control_list();
    let access = ("system.posix_acl_access", &acl[..]);
    // The group's bits of the mode are the mask of the access-control list.
    let mode = 0o640;
    fixture.file("acl", 5, Attributes { mode, ..with_xattrs(&[access]) });
    let both = with_xattrs(&[access, ("system.posix_acl_default", &acl)]);
    fixture.create("directory", Content::Directory, Attributes { mode, ..both });
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    fixture.file("capability", 5, with_xattrs(&[("security.capability", &capability)]));
    for length in [0, 1, 3000, 65535] {
        let value = vec![b'v'; length];
        let many = with_xattrs(&[("user.long", &value), ("trusted.short", b"s")]);
        let trusted = with_xattrs(&[("trusted.long", &value), ("security.x", b"y")]);
        fixture.file(format!("value-{length}"), 700, many.clone());
        fixture.create(format!("fifo-{length}"), Content::Fifo, trusted.clone());
        fixture.create(format!("directory-{length}"), Content::Directory, many);
        for target in [1, 300, 500, 511, 600] {
            let content = Content::Symlink(vec![b't'; target]);
            fixture.create(format!("symlink-{target}-{length}"), content, trusted.clone());
        }
    }
    let names: Vec<String> = (0..3000).map(|number| format!("user.attribute-{number}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    fixture.file("many", 5, with_xattrs(&all));
    fixture.check_mounted(&dir);
}

#[test]
fn a_file_of_more_than_a_chunk_is_read_across_the_end_of_the_chunk() {
    let Some(dir) = scratch() else { return };
    let mut fixture = Fixture::new();
    let size = (1 << 40) + (1 << 21);
    fixture.file("small", 4 << 20, attributes());
    fixture.tar_length = 512 + size;
    // The second chunk begins at 2^40 + 512 in the tar, where there is something on both sides.
    fixture.create("large", Content::File { offset: 512, size }, attributes());
    fixture.check_mounted(&dir);
}

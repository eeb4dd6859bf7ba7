//! What is read, and what is refused.

use std::io::Read as _;

use super::*;

/// A header with a right sum, to be changed before it is signed.
struct Raw([u8; BLOCK]);

impl Raw {
    fn new(kind: u8, name: &str, size: u64) -> Self {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[108..115].copy_from_slice(b"0000001");
        block[116..123].copy_from_slice(b"0000002");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000007");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self(block)
    }

    fn at(mut self, place: usize, bytes: &[u8]) -> Self {
        self.0[place..place + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.to_vec()
    }

    fn with(self, content: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

fn pax(records: &[u8]) -> Vec<u8> {
    Raw::new(b'x', "PaxHeaders/x", records.len() as u64).with(records)
}

fn long(kind: u8, name: &[u8]) -> Vec<u8> {
    Raw::new(kind, "././@LongLink", name.len() as u64).at(257, b"ustar  \0").with(name)
}

fn file() -> Vec<u8> {
    Raw::new(b'0', "f", 3).with(b"abc")
}

/// Reads everything: entries with their content.
fn read(parts: &[Vec<u8>]) -> Result<Vec<(Entry, Vec<u8>)>, String> {
    let mut bytes = parts.concat();
    bytes.extend([0; 2 * BLOCK]);
    read_bytes(&bytes)
}

/// The same of files that are no layer.
fn read_files(parts: &[Vec<u8>]) -> Result<Vec<(Entry, Vec<u8>)>, String> {
    read_as(&[parts.concat(), vec![0; 2 * BLOCK]].concat(), true)
}

fn read_bytes(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, String> {
    read_as(bytes, false)
}

fn read_as(bytes: &[u8], lenient: bool) -> Result<Vec<(Entry, Vec<u8>)>, String> {
    // Small pieces, so that blocks come in parts.
    let mut input = io::BufReader::with_capacity(100, bytes);
    let mut reader = TarReader::new(&mut input).lenient(lenient);
    let mut found = Vec::new();
    let text = |refusal| match refusal {
        Refusal::Reason(reason) => reason.to_owned(),
        Refusal::Io(error) | Refusal::Input(error) => error.to_string(),
    };
    while let Some(entry) = reader.next().map_err(text)? {
        let mut content = Vec::new();
        reader.copy_content(&mut content).map_err(text)?;
        found.push((entry, content));
    }
    Ok(found)
}

#[test]
fn all_formats_say_the_same() {
    let name = "d".repeat(90) + "/" + &"e".repeat(90);
    let prefix = Raw::new(b'0', &name[91..], 3).at(345, &name.as_bytes()[..90]).with(b"abc");
    let record = |key: &str, value: &str| {
        let rest = key.len() + value.len() + 3;
        let length = (1..4).map(|more| rest + more).find(|all| rest + all.to_string().len() == *all).unwrap();
        format!("{length} {key}={value}\n")
    };
    let cases = [
        ("ustar prefix", vec![prefix]),
        ("PAX path", vec![pax(record("path", &name).as_bytes()), file()]),
        ("GNU long name", vec![long(b'L', format!("{name}\0").as_bytes()), file()]),
        ("GNU long name without its end", vec![long(b'L', name.as_bytes()), file()]),
        (
            "a comment for all before",
            vec![
                Raw::new(b'g', "pax_global_header", 19).with(record("comment", "abcdefg").as_bytes()),
                pax(record("path", &name).as_bytes()),
                file(),
            ],
        ),
    ];
    for (case, parts) in cases {
        let found = read(&parts).unwrap_or_else(|error| panic!("case {case}: {error}"));
        let [(entry, content)] = found.as_slice() else { panic!("case {case}: {found:?}") };
        assert_eq!(
            (entry.path.as_slice(), content.as_slice()),
            (name.as_bytes(), &b"abc"[..]),
            "case {case}"
        );
        assert_eq!(
            (entry.kind, entry.uid, entry.gid, entry.mtime),
            (EntryKind::File, 1, 2, (7, 0)),
            "case {case}"
        );
    }
}

#[test]
fn records_win_over_the_header() {
    // The header says 0, the record 600: whoever takes the wrong one reads content as headers.
    let mut inner = file();
    inner.resize(600, b'x');
    let parts = [
        pax(&[&b"12 size=600\n"[..], b"18 uid=4294967294\n", b"10 gid=70\n", b"22 mtime=1700000000.5\n"]
            .concat()),
        Raw::new(b'0', "outer", 0).with(&inner),
        Raw::new(b'0', "after", 0).bytes(),
    ];
    let found = read(&parts).unwrap();
    let paths: Vec<_> = found.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path)).collect();
    assert_eq!(paths, ["outer", "after"]);
    let (entry, content) = &found[0];
    assert_eq!(content, &inner);
    assert_eq!((entry.uid, entry.gid, entry.mtime), (4_294_967_294, 70, (1_700_000_000, 500_000_000)));
}

#[test]
fn old_and_binary_forms_are_read() {
    let v7 = |kind, name| Raw::new(kind, name, 0).at(257, &[0; 8]);
    let binary = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
    let negative = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe];
    let found = read(&[
        v7(0, "dir/").bytes(),
        v7(0, "old").bytes(),
        Raw::new(b'0', "binary", 0).at(124, &binary).at(136, &negative).at(257, b"ustar  \0").with(b"abc"),
        Raw::new(b'2', "link", 0).at(157, b"to").bytes(),
        Raw::new(b'3', "null", 0).at(329, b"0000001\x000000003").bytes(),
    ])
    .unwrap();
    let kinds: Vec<_> = found.iter().map(|(entry, _)| entry.kind).collect();
    use EntryKind::{Character, Directory, File, Symlink};
    assert_eq!(kinds, [Directory, File, File, Symlink, Character]);
    assert_eq!((found[2].1.as_slice(), found[2].0.mtime), (&b"abc"[..], (-2, 0)));
    assert_eq!((found[3].0.link.as_slice(), found[4].0.device), (&b"to"[..], (1, 3)));
}

#[test]
fn what_others_could_read_differently_is_refused() {
    let header = |kind| Raw::new(kind, "f", 0);
    let size = |size| Raw::new(b'0', "f", size);
    let path = pax(b"9 path=a\n");
    let cases: [(&str, &str, Vec<Vec<u8>>); 34] = [
        (
            "wrong sum",
            "sum",
            vec![file().into_iter().enumerate().map(|(at, b)| if at == 0 { b + 1 } else { b }).collect()],
        ),
        ("no magic", "none of a tar", vec![header(b'0').at(257, b"unknown!").bytes()]),
        ("star", "star", vec![header(b'0').at(508, b"tar\0").bytes()]),
        ("size no number", "size", vec![header(b'0').at(124, b"12345678x90").bytes()]),
        ("size negative", "negative size", vec![header(b'0').at(124, &[0xff; 12]).bytes()]),
        ("size too large", "size that", vec![header(b'0').at(124, &[0xbf; 12]).bytes()]),
        ("mode no number", "mode", vec![header(b'0').at(100, b"rw-r--r-").bytes()]),
        ("owner too large", "owner that", vec![header(b'0').at(108, &[0x80, 0, 0, 1, 0, 0, 0, 0]).bytes()]),
        ("PAX size malformed, header right", "PAX size", vec![pax(b"12 size=0x3\n"), file()]),
        ("PAX size empty", "PAX size", vec![pax(b"8 size=\n"), file()]),
        ("PAX record cut", "well formed", vec![pax(b"99 path=a\n"), file()]),
        ("PAX path twice", "twice", vec![pax(b"9 path=a\n9 path=b\n"), file()]),
        ("two PAX headers", "two headers", vec![path.clone(), path.clone(), file()]),
        ("two long names", "two headers", vec![long(b'L', b"a"), long(b'L', b"b"), file()]),
        ("long name and PAX", "two headers", vec![long(b'L', b"a"), path.clone(), file()]),
        ("PAX and long name", "two headers", vec![path.clone(), long(b'L', b"a"), file()]),
        (
            "PAX and long link",
            "two headers",
            vec![path.clone(), long(b'K', b"a"), Raw::new(b'2', "l", 0).at(157, b"b").bytes()],
        ),
        ("NUL in a long name", "long name", vec![long(b'L', b"a\0b"), file()]),
        ("global between", "two headers", vec![path.clone(), Raw::new(b'g', "g", 0).bytes(), file()]),
        ("global path", "global", vec![Raw::new(b'g', "g", 9).with(b"9 path=a\n"), file()]),
        ("global size", "global", vec![Raw::new(b'g', "g", 10).with(b"10 size=1\n"), file()]),
        ("PAX header at the end", "ends after a header", vec![file(), path]),
        ("sparse, GNU", "sparse", vec![header(b'S').at(257, b"ustar  \0").bytes()]),
        ("sparse, PAX", "sparse", vec![pax(b"22 GNU.sparse.major=1\n"), file()]),
        ("several volumes", "volumes", vec![header(b'M').bytes()]),
        ("unknown kind", "kind", vec![header(b'9').bytes()]),
        ("hard link with content", "content behind", vec![Raw::new(b'1', "f", 3).at(157, b"g").with(b"abc")]),
        ("directory with content", "content behind", vec![Raw::new(b'5', "d/", 3).with(b"abc")]),
        (
            "directory with content by PAX",
            "content behind",
            vec![pax(b"9 size=3\n"), Raw::new(b'5', "d/", 0).with(b"abc")],
        ),
        ("file named as a directory", "name ends", vec![Raw::new(b'0', "d/", 0).bytes()]),
        ("link to nothing", "without a target", vec![header(b'2').bytes()]),
        ("no name", "without a name", vec![Raw::new(b'0', "", 3).with(b"abc")]),
        ("no name, a directory", "without a name", vec![Raw::new(b'5', "", 0).bytes()]),
        ("a lone block of zeros", "lone block", vec![vec![0; BLOCK], size(0).bytes()]),
    ];
    for (case, reason, parts) in cases {
        let error = read(&parts).unwrap_err();
        assert!(error.contains(reason), "case {case}: {error}");
    }
}

#[test]
fn an_empty_file_without_a_name_is_passed_over() {
    let entries = read(&[pax(b"9 size=0\n"), Raw::new(b'0', "", 0).bytes(), file()]).unwrap();
    assert_eq!(entries.len(), 1);
}

#[test]
fn an_archive_may_end_without_its_mark_but_not_in_the_middle() {
    let whole = [file(), Raw::new(b'0', "g", 600).with(&[b'x'; 600])].concat();
    let mut good = Vec::new();
    for length in 0..=whole.len() {
        if read_bytes(&whole[..length]).is_ok() {
            good.push(length);
        }
    }
    // After each entry, with what fills its last block.
    assert_eq!(good, [0, 2 * BLOCK, whole.len()]);
    let marked = [whole.as_slice(), &[0; BLOCK]].concat();
    assert_eq!(read_bytes(&marked).unwrap().len(), 2);
}

#[test]
fn headers_that_belong_to_others_have_a_limit() {
    let large = vec![b'a'; usize::try_from(EXTENSION_LIMIT).unwrap() + 1];
    assert!(read(&[long(b'L', &large), file()]).unwrap_err().contains("mebibyte"));
    // Only announced: nothing is kept ready for it.
    assert!(read(&[Raw::new(b'x', "x", 1 << 32).bytes()]).is_err());
    let endless = vec![Raw::new(b'g', "g", 0).bytes(); usize::try_from(GLOBAL_LIMIT).unwrap() + 1];
    assert!(read(&endless).unwrap_err().contains("global"));
}

#[test]
fn what_is_not_wanted_is_skipped() {
    let mut bytes = [Raw::new(b'0', "f", 600).with(&[b'x'; 600]), file()].concat();
    bytes.extend([0; 2 * BLOCK]);
    bytes.extend(b"rest");
    let mut input = io::BufReader::new(bytes.as_slice());
    let mut reader = TarReader::new(&mut input);
    assert_eq!(reader.next().unwrap().unwrap().size, 600);
    assert_eq!(reader.next().unwrap().unwrap().path, b"f");
    assert!(reader.next().unwrap().is_none());
    let mut rest = String::new();
    input.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "rest");
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }

    /// An archive that is well formed but for a bit here and there.
    fn archive(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..1 + self.roll(4) {
            if self.roll(6) == 0 {
                let records = self.pick::<[u8]>(&[
                    b"9 path=p\n",
                    b"12 size=513\n",
                    b"10 size=0\n",
                    b"12 size=513\n9 path=p\n",
                    b"12 linkpath=l\n",
                    b"8 path=\n",
                    b"11 size=+3\n",
                    b"9 path=p\n9 path=q\n",
                    b"10 uid=70\n10 gid=71\n",
                    b"9 path=p\n\0",
                ]);
                bytes.extend(pax(records));
            }
            if self.roll(12) == 0 {
                let (kind, name) =
                    (b"LK"[self.roll(2)], self.pick::<[u8]>(&[b"long\0", b"long", b"lo\0ng", b""]));
                bytes.extend(long(kind, name));
            }
            let kind = b"0000001223455670\0gSx"[self.roll(20)];
            // Others have none; that they say so is tried now and then.
            let has_content = matches!(kind, b'0' | b'7' | 0) || self.roll(20) == 0;
            let size = if has_content { self.pick::<u64>(&[&0, &1, &512, &513]) } else { &0 };
            let raw = Raw::new(kind, self.pick::<str>(&["a", "a/b", "c", "c/d", "d/"]), *size);
            let raw = if matches!(kind, b'1' | b'2') { raw.at(157, b"target") } else { raw };
            let content = file().repeat(2);
            bytes.extend(raw.with(&content[..usize::try_from(*size).unwrap()]));
        }
        bytes.extend([0; 2 * BLOCK]);
        if self.roll(3) == 0 {
            let block = self.roll(bytes.len() / BLOCK) * BLOCK;
            bytes[block + self.roll(BLOCK)] ^= 1 << self.roll(8);
            let header: [u8; BLOCK] = bytes[block..block + BLOCK].try_into().unwrap();
            bytes[block..block + BLOCK].copy_from_slice(&Raw(header).bytes());
        }
        bytes
    }
}

/// Reads with the other reader: kind, path, target, content.
type Plain = (u8, Vec<u8>, Vec<u8>, Vec<u8>);

fn read_otherwise(bytes: &[u8]) -> io::Result<Vec<Plain>> {
    let mut archive = tar::Archive::new(bytes);
    let mut found = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type().as_byte();
        // It hands out what we take as a comment, or refuse.
        if kind == b'g' {
            continue;
        }
        let (path, link) =
            (entry.path_bytes().into_owned(), entry.link_name_bytes().map(|link| link.into_owned()));
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let is_link = matches!(kind, b'1' | b'2');
        // It leaves them in; a name ends at the first one. Compat: GNU tar, Go.
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let link = link.map(|link| link.split(|byte| *byte == 0).next().unwrap_or_default().to_vec());
        found.push((kind, path, link.filter(|_| is_link).unwrap_or_default(), content));
    }
    Ok(found)
}

#[test]
fn another_reader_finds_the_same_files_or_one_of_the_two_refuses() {
    let mut dice = Dice(0x7a5);
    let (mut same, mut refused) = (0, 0);
    for round in 0..shipway_testkit::rounds(20_000) {
        let bytes = dice.archive();
        let Ok(ours) = read_bytes(&bytes) else {
            refused += 1;
            continue;
        };
        let Ok(theirs) = read_otherwise(&bytes) else { continue };
        let kind = |entry: &Entry, theirs: u8| match (entry.kind, theirs) {
            // A directory in the old way of writing it.
            (EntryKind::Directory, kind @ (0 | b'0')) => kind,
            (EntryKind::File, kind @ (0 | b'0' | b'7')) => kind,
            (EntryKind::File, _) => b'0',
            (EntryKind::Link, _) => b'1',
            (EntryKind::Symlink, _) => b'2',
            (EntryKind::Character, _) => b'3',
            (EntryKind::Block, _) => b'4',
            (EntryKind::Directory, _) => b'5',
            (EntryKind::Fifo, _) => b'6',
        };
        let ours: Vec<Plain> = ours
            .into_iter()
            .enumerate()
            .map(|(at, (entry, content))| {
                let kind = kind(&entry, theirs.get(at).map_or(b'?', |theirs| theirs.0));
                (kind, entry.path, entry.link, content)
            })
            .collect();
        assert_eq!(ours, theirs, "round {round}");
        same += 1;
    }
    assert!(same > 2000 && refused > 2000, "{same} the same, {refused} refused");
}

/// Records of lines `KEY=VALUE`.
fn records(lines: &[&str]) -> Vec<u8> {
    let record = |line: &&str| {
        let rest = line.len() + 2;
        let length = (1..5).map(|more| rest + more).find(|all| rest + all.to_string().len() == *all).unwrap();
        format!("{length} {line}\n")
    };
    pax(lines.iter().map(record).collect::<String>().as_bytes())
}

#[test]
fn sparse_files_are_whole_where_they_are_taken() {
    let content = Raw::new(b'0', "GNUSparseFile.1/f", 3).with(b"abc");
    let map = |text: &str| {
        let mut map = text.as_bytes().to_vec();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        map
    };
    let in_content = |text: &str, content: &[u8]| {
        let content = [map(text), content.to_vec()].concat();
        Raw::new(b'0', "GNUSparseFile.1/f", content.len() as u64).with(&content)
    };
    let first = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=f", "GNU.sparse.realsize=9"];
    let many = (0..200).map(|number| format!("{number}\n0\n")).collect::<String>();
    let whole = b"\0a\0\0bc\0\0\0";
    let cases = [
        (
            "0.0",
            vec![
                records(&[
                    "GNU.sparse.size=9",
                    "GNU.sparse.numblocks=2",
                    "GNU.sparse.offset=1",
                    "GNU.sparse.numbytes=1",
                    "GNU.sparse.offset=4",
                    "GNU.sparse.numbytes=2",
                    "path=f",
                ]),
                content.clone(),
            ],
        ),
        (
            "0.1",
            vec![
                records(&[
                    "GNU.sparse.name=f",
                    "GNU.sparse.size=9",
                    "GNU.sparse.numblocks=2",
                    "GNU.sparse.map=1,1,4,2",
                ]),
                content.clone(),
            ],
        ),
        ("1.0", vec![records(&first), in_content("2\n1\n1\n4\n2\n", b"abc")]),
    ];
    for (case, parts) in &cases {
        let parts = [parts.as_slice(), &[file()]].concat();
        let found = read_files(&parts).unwrap_or_else(|error| panic!("case {case}: {error}"));
        let [(sparse, content), (after, _)] = found.as_slice() else { panic!("case {case}: {found:?}") };
        assert_eq!((sparse.path.as_slice(), sparse.size), (&b"f"[..], 9), "case {case}");
        assert_eq!((content.as_slice(), after.path.as_slice()), (&whole[..], &b"f"[..]), "case {case}");
        assert!(read(&parts).unwrap_err().contains("sparse"), "case {case}: taken as part of a layer");
    }
    let text = format!("201\n{many}300\n1\n");
    let long = records(&[first[0], first[1], first[2], "GNU.sparse.realsize=400"]);
    let found = read_files(&[long, in_content(&text, b"x")]).unwrap();
    assert_eq!((found[0].1.len(), found[0].1[300]), (400, b'x'));
    for (case, text) in [
        ("overlapping", "2\n1\n2\n2\n1\n"),
        ("beyond the end", "1\n7\n3\n"),
        ("less content", "1\n0\n4\n"),
        ("more content", "1\n0\n2\n"),
        ("no end", "9\n0\n1\n"),
        ("no number", "1\nx\n3\n"),
        ("overflow", "1\n18446744073709551615\n3\n"),
        ("count", "18446744073709551615\n"),
        ("a line without an end", "1"),
    ] {
        let error = read_files(&[records(&first), in_content(text, b"abc")]).unwrap_err();
        assert!(error.contains("sparse"), "case {case}: {error}");
    }
    let unknown = records(&["GNU.sparse.major=2", "GNU.sparse.minor=0", "GNU.sparse.size=3"]);
    assert!(read_files(&[unknown, content]).unwrap_err().contains("not known"));
}

#[test]
fn what_is_said_of_all_files_means_nothing_where_they_are_no_layer() {
    let global = Raw::new(b'g', "g", 9).with(b"9 uid=77\n");
    let found = read_files(&[global, file()]).unwrap();
    assert_eq!((found.len(), found[0].0.uid), (1, 1));
    assert!(read_files(&[Raw::new(b'g', "g", 9).with(b"8 uid=77\n"), file()]).is_err());
}

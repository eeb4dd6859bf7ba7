//! Archives that nobody should make: whatever they hold, nothing outside the layer changes and nothing is left of those refused.

use std::io::{self, Read};
use std::path::Path;

use shipway_layers::{Budget, LayerError, LayerStore as _, Unpacked, unpack, unpack_added};
use shipway_linux::{Overlay, Root};
use shipway_oci::DiffId;
use shipway_store::Store;
use shipway_testkit::{Need, require, rounds};

use crate::golden::Dice;
use crate::model::{archive, parse, render_files};
use crate::tar_bytes::{BLOCK, GNU, Raw, USTAR, V7, end, pax, record, sign};
use crate::{OPENS, Open};

/// So much memory may a process have used that took them all in.
const MEMORY: u64 = 256 << 20;

/// A directory with a store and, beside it, files that nobody may touch.
struct Host {
    dir: tempfile::TempDir,
    layers: Unpacked,
    before: String,
}

impl Host {
    fn new(open: Open) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("host");
        fs_err::create_dir_all(host.join("etc")).unwrap();
        fs_err::write(host.join("etc/passwd"), "root").unwrap();
        fs_err::os::unix::fs::symlink("passwd", host.join("etc/link")).unwrap();
        let layers = open(Store::open(&dir.path().join("root")).unwrap());
        let before = Self::describe(dir.path());
        Self { dir, layers, before }
    }

    /// Everything but the store, with times of change, which nothing can set back.
    fn describe(dir: &Path) -> String {
        let root = Root::open(&dir.join("host")).unwrap();
        let times: Vec<_> = ["", "etc", "etc/passwd", "etc/link"]
            .iter()
            .map(|path| root.metadata(path).unwrap().map(|found| (found.ctime, found.links)))
            .collect();
        let mut beside: Vec<_> = fs_err::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        format!("{} {times:?} {beside:?}", render_files(&root))
    }

    /// Returns what a chain shows; `None` if there is a link in it to a file that no layer has, which is found out only here.
    fn show(&self, chain: &[DiffId]) -> Option<String> {
        let ids = self.layers.resolve(chain).ok()?;
        let view = Overlay { lowers: self.layers.view(&ids), ..Overlay::default() };
        Some(render_files(&Root::from_fd(view.mount_detached().unwrap())))
    }

    fn assert_untouched(&self, case: &str) {
        assert_eq!(Self::describe(self.dir.path()), self.before, "case {case}");
        let left = fs_err::read_dir(self.dir.path().join("root/active")).unwrap().count();
        assert_eq!(left, 0, "case {case}: unfinished work is left");
    }
}

/// Makes archives out of hostile parts.
struct Forge {
    dice: Dice,
    outside: String,
    /// Of whom files are.
    owners: [(u32, u32); 3],
}

impl Forge {
    fn new(seed: u64, host: &Host) -> Self {
        let outside = host.dir.path().join("host").to_str().unwrap().to_owned();
        Self { dice: Dice(seed), outside, owners: [(0, 0), (1, 2), (u32::MAX - 1, 0)] }
    }
}

impl Forge {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.dice.roll(from.len())]
    }

    fn path(&mut self) -> String {
        let outside = self.outside.clone();
        let tame = [
            "a",
            "b",
            "c",
            "a/b",
            "a/b/c",
            "d/e/f",
            "l/x",
            "l/etc/passwd",
            "m/passwd",
            "./a",
            "/a",
            "a//b",
            ".wh.b",
            "d/.wh.e",
            "a/.wh..wh..opq",
            "OUTSIDE/etc/passwd",
            "etc/passwd",
        ];
        if self.dice.roll(12) > 0 {
            return self.pick(&tame).replace("OUTSIDE", &outside);
        }
        let chosen = self.pick(&[
            "a",
            "a/b",
            "a/b/c",
            "b",
            "l",
            "l/x",
            "l/etc/passwd",
            "m/passwd",
            "./a",
            "/a",
            "a//b",
            "a/",
            "a/./b",
            "",
            "..",
            "../host/etc/passwd",
            "a/../../host",
            "/",
            ".",
            "OUTSIDE",
            "OUTSIDE/etc/passwd",
            "a\u{e9}",
            ".wh.a",
            ".wh.",
            ".wh..",
            ".wh...",
            "a/.wh..wh..opq",
            ".wh..wh..opq",
            "l/.wh.passwd",
            ".wh.l/x",
            ".wh..wh.plnk",
            "LONG",
            "DEEP",
        ]);
        match chosen {
            "LONG" => "n".repeat(1 + self.dice.roll(400)),
            "DEEP" => "d/".repeat(1 + self.dice.roll(700)),
            other => other.replace("OUTSIDE", &outside),
        }
    }

    fn target(&mut self) -> String {
        let outside = self.outside.clone();
        let chosen = self.pick(&[
            "/",
            "..",
            "../../../..",
            "../../../host/etc",
            "OUTSIDE",
            "OUTSIDE/etc",
            "OUTSIDE/etc/passwd",
            "l",
            "m",
            "a",
            "a/b",
            "/proc/self/root",
            "/proc/self/fd/0",
            "/dev/null",
            "",
            ".",
            "l/l/l",
        ]);
        chosen.replace("OUTSIDE", &outside)
    }

    fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        for _ in 0..1 + self.dice.roll(3) {
            let key = self.pick(&[
                "path",
                "linkpath",
                "size",
                "uid",
                "gid",
                "mtime",
                "comment",
                "SCHILY.xattr.user.a",
                "SCHILY.xattr.user.overlay.opaque",
                "SCHILY.xattr.trusted.overlay.redirect",
                "SCHILY.xattr.security.capability",
                "SCHILY.xattr.nonsense",
                "SCHILY.xattr.",
                "GNU.sparse.major",
                "GNU.sparse.map",
                "SCHILY.realsize",
                "",
            ]);
            let value = match self.dice.roll(6) {
                0 => self.path(),
                1 => self.target(),
                2 => self.dice.roll(5000).to_string(),
                3 => "18446744073709551616".to_owned(),
                4 => "x".repeat(self.dice.roll(70_000)),
                _ => self.pick(&["", "-1", "0x10", "1.5", "y", "1e3", " 7", "\0"]).to_owned(),
            };
            records.extend(record(key, value.as_bytes()));
        }
        if self.dice.roll(6) == 0 {
            let at = self.dice.roll(records.len());
            records[at] ^= 1 << self.dice.roll(8);
        }
        records
    }

    fn entry(&mut self, out: &mut Vec<u8>) {
        match self.dice.roll(30) {
            0 => pax(&self.records(), out),
            1 => {
                let mut raw = Raw::new(b"LKgxSMDV"[self.dice.roll(8)], "././@LongLink", "");
                raw.body = format!("{}\0", self.path()).into_bytes();
                raw.magic = GNU;
                raw.write(out);
            }
            _ => {}
        }
        let kind = b"000000011122223355567\0"[self.dice.roll(22)];
        let content = if matches!(kind, b'1' | b'2') {
            if self.dice.roll(2) == 0 { self.path() } else { self.target() }
        } else if matches!(kind, b'0' | 0 | b'7') {
            "c".repeat(self.dice.roll(1500))
        } else {
            String::new()
        };
        let mut raw = Raw::new(kind, &self.path(), &content);
        raw.mode = [0o644, 0o755, 0o4755, 0o1777, 0, 0o100_600][self.dice.roll(6)];
        raw.device = [(1, 3), (8, 0), (1, 5), (0, 0)][self.dice.roll(4)];
        raw.owner = self.owners[self.dice.roll(3)];
        raw.magic = [USTAR, USTAR, GNU][self.dice.roll(3)];
        if self.dice.roll(30) == 0 {
            (raw.owner, raw.magic) = ((0, u32::MAX), V7);
        }
        if self.dice.roll(40) == 0 {
            raw.size = Some([0, 1, 511, 513, 1 << 33, 1 << 40][self.dice.roll(6)]);
        }
        raw.write(out);
    }

    fn archive(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // What later entries try to go out through.
        for (name, target) in [("l", self.target()), ("m", self.target())] {
            if self.dice.roll(2) == 0 {
                Raw::new(b'2', name, &target).write(&mut out);
            }
        }
        for _ in 0..1 + self.dice.roll(6) {
            self.entry(&mut out);
        }
        let mut out = end(out);
        if self.dice.roll(4) == 0 {
            let block = self.dice.roll(out.len() / BLOCK) * BLOCK;
            let at = block + self.dice.roll(BLOCK);
            out[at] ^= 1 << self.dice.roll(8);
            if self.dice.roll(3) > 0 {
                sign(&mut out[block..block + BLOCK]);
            }
        }
        if self.dice.roll(8) == 0 {
            out.truncate(self.dice.roll(out.len()));
        }
        out
    }
}

#[test]
fn malformed_archives_change_nothing_outside_and_are_taken_or_refused_whole() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    // For more of them: SEED=7 SOAK=10.
    let seed = std::env::var("SEED").map_or(0xbad, |text| text.parse().unwrap());
    let rounds = rounds(600);
    let [host, unpacking] = OPENS.map(Host::new);
    let mut forge = Forge::new(seed, &host);
    let base = parse("a/ 700; a/b/; a/b/c=1; b=2; l->a; m->OUTSIDE; etc/; etc/passwd=3");
    let base = archive(&base);
    let base =
        [&host, &unpacking].map(|host| host.layers.import(&mut base.as_slice(), None).unwrap().diff_id)[0];
    let (mut taken, mut refused) = (0, 0);
    for round in 0..rounds {
        let bytes = forge.archive();
        let unpacked = unpacking.layers.import(&mut bytes.as_slice(), None);
        match host.layers.import(&mut bytes.as_slice(), None) {
            Ok(layer) => {
                taken += 1;
                match unpacked {
                    Ok(unpacked) => assert_eq!(unpacked.diff_id, layer.diff_id, "round {round}"),
                    // Attributes that an index has room for, and the file system of this directory has not.
                    Err(LayerError::Io { source, .. } | LayerError::NoSpace { source, .. })
                        if source.kind() != io::ErrorKind::InvalidInput =>
                    {
                        continue;
                    }
                    Err(error) => panic!("round {round}: {error} where it is unpacked: {error:?}"),
                }
                for chain in [vec![layer.diff_id], vec![base, layer.diff_id]] {
                    assert_eq!(host.show(&chain), unpacking.show(&chain), "round {round}");
                }
                let mut exported = io::sink();
                host.layers.export(&layer.id, &mut exported).unwrap();
            }
            Err(error) => {
                refused += 1;
                assert!(unpacked.is_err(), "round {round}: {error} with an index, and unpacked it is taken");
                assert!(!matches!(error, LayerError::Record { .. } | LayerError::LookUp { .. }), "{error:?}");
            }
        }
        for host in [&host, &unpacking] {
            host.assert_untouched(&format!("round {round}"));
        }
    }
    assert!(taken * 5 > rounds && refused * 5 > rounds, "{taken} taken, {refused} refused");
    assert!(peak_memory() < MEMORY, "{} MiB", peak_memory() >> 20);
}

/// Those of ADD, which are read less strictly.
#[test]
fn malformed_archives_that_are_added_change_nothing_outside() {
    if !require(&[Need::Root]) {
        return;
    }
    let seed = std::env::var("SEED").map_or(0xadd, |text| text.parse().unwrap());
    let rounds = rounds(300);
    let host = Host::new(OPENS[0]);
    let mut forge = Forge::new(seed, &host);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..rounds {
        let bytes = forge.archive();
        let tree = tempfile::tempdir_in(host.dir.path().join("root")).unwrap();
        let root = Root::open(tree.path()).unwrap();
        match unpack_added(&root, &mut bytes.as_slice(), Budget::default()) {
            Ok(added) => {
                taken += 1;
                let leads_out = |path: &Path| path.is_absolute() || path.iter().any(|name| name == "..");
                let paths = added.links.iter().flat_map(|link| [&link.path, &link.target]);
                assert!(!paths.chain(&added.implied).any(|path| leads_out(path)), "round {round}: {added:?}");
            }
            Err(_) => refused += 1,
        }
        host.assert_untouched(&format!("round {round}"));
    }
    assert!(taken * 5 > rounds && refused * 5 > rounds, "{taken} taken, {refused} refused");
    // What is only announced costs nothing.
    let mut bytes = Vec::new();
    let records =
        [record("GNU.sparse.size", b"1099511627776"), record("GNU.sparse.numblocks", b"0")].concat();
    pax(&[records, record("GNU.sparse.map", b"")].concat(), &mut bytes);
    Raw::new(b'0', "f", "").write(&mut bytes);
    let tree = tempfile::tempdir().unwrap();
    let root = Root::open(tree.path()).unwrap();
    let error = unpack_added(&root, &mut bytes.as_slice(), Budget::default()).unwrap_err();
    assert!(matches!(error, LayerError::Archive { reason: "too many bytes", .. }), "{error:?}");
}

/// Set in the test's own process in a user namespace.
const INSIDE: &str = "SHIPWAY_TEST_INSIDE_A_USER_NAMESPACE";

/// As without root: owners that are not mapped and devices cannot be made, so more is refused, and that as a whole.
#[test]
fn malformed_archives_in_a_user_namespace_change_nothing_outside_either() {
    if !require(&[Need::Overlay, Need::UserNamespaces]) {
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        return take_in_a_user_namespace();
    }
    let name = "malformed::malformed_archives_in_a_user_namespace_change_nothing_outside_either";
    let done = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "no test of this name: {said}");
}

fn take_in_a_user_namespace() {
    let mapped = fs_err::read_to_string("/proc/self/uid_map").unwrap();
    assert_eq!(mapped.split_whitespace().nth(2), Some("1"), "only one user is mapped: {mapped}");
    let host = Host::new(Unpacked::open_unpacking);
    let mut forge = Forge::new(0xbad, &host);
    let rounds = rounds(600);
    let mut taken = 0;
    for round in 0..rounds {
        // Few archives have files of the one user that is mapped alone, unless most are of it.
        forge.owners = [(0, 0), (0, 0), (u32::from(round % 4 == 0), 0)];
        let bytes = forge.archive();
        match host.layers.import(&mut bytes.as_slice(), None) {
            Ok(layer) => {
                taken += 1;
                host.show(&[layer.diff_id]);
                host.layers.export(&layer.id, &mut io::sink()).unwrap();
            }
            Err(error) => {
                assert!(!matches!(error, LayerError::Record { .. } | LayerError::LookUp { .. }), "{error:?}");
            }
        }
        host.assert_untouched(&format!("round {round}"));
    }
    assert!(taken * 10 > rounds && taken < rounds, "{taken} of {rounds} taken");
    assert!(peak_memory() < MEMORY, "{} MiB", peak_memory() >> 20);
}

/// The most memory that this process has had.
fn peak_memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// An archive that goes on for ever: one part, again and again.
struct Endless {
    part: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.part.len() - self.at);
        buffer[..length].copy_from_slice(&self.part[self.at..self.at + length]);
        self.at = (self.at + length) % self.part.len();
        Ok(length)
    }
}

#[test]
fn every_budget_ends_an_archive() {
    if !require(&[Need::Root]) {
        return;
    }
    let budget = Budget { bytes: 1 << 20, entries: 1000, path: 300, depth: 20, memory: 1 << 16 };
    let one = |kind, name: &str, content: &str| {
        let mut part = Vec::new();
        Raw::new(kind, name, content).write(&mut part);
        part
    };
    let mut huge = Raw::new(b'0', "huge", "");
    huge.size = Some(1 << 40);
    let many = |attribute: &str| {
        let mut part = Vec::new();
        pax(&record(attribute, &[b'x'; 1000]), &mut part);
        part.extend(one(b'0', "f", ""));
        part
    };
    let deep = |depth: usize| one(b'5', &"d/".repeat(depth), "");
    let spread = (0..2000).flat_map(|n| one(b'0', &format!("d{n}/e/f"), "")).collect::<Vec<u8>>();
    let cases = [
        ("bytes", one(b'0', "f", &"x".repeat(100_000)), "too many bytes"),
        ("a size that is only announced", huge.header().to_vec(), "too many bytes"),
        ("entries", one(b'0', "f", ""), "too many entries"),
        ("global headers", one(b'g', "g", ""), "too many global headers"),
        ("path", one(b'0', &"n".repeat(400), ""), "too long"),
        ("depth", deep(40), "too deep"),
        ("memory", spread, "too many directories"),
        ("attributes of one file", many("SCHILY.xattr.user.a"), "too many entries"),
    ];
    for (name, part, reason) in cases {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let error = unpack(&root, &mut Endless { part, at: 0 }, budget).unwrap_err();
        assert!(
            matches!(error, LayerError::Archive { reason: found, .. } if found.contains(reason)),
            "case {name}: {error:?}"
        );
    }
}

#[test]
fn what_follows_the_end_is_counted_too() {
    if !require(&[Need::Root]) {
        return;
    }
    let host = Host::new(OPENS[0]);
    let mut input = archive(&parse("a=1")).into_iter().chain([7; 5000]).collect::<Vec<u8>>();
    let layer = host.layers.import(&mut input.as_slice(), None).unwrap();
    assert_eq!(layer.diff_id.0, shipway_oci::Digest::of(&input));
    input.truncate(100);
    assert!(host.layers.import(&mut input.as_slice(), None).is_err());
    host.assert_untouched("cut");
}

//! Golden and hostile archives.

use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use shipway_layers::{Checked, LayerError, LayerStore as _, Unpacked};
use shipway_linux::Root;
use shipway_store::{Packed, Store};
use shipway_testkit::{Need, require};
use tar::EntryType;

use crate::{OPENS, Open};

/// One entry: kind, path, link target or content, mode.
type Entry = (EntryType, &'static str, &'static str, u32);

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, content, mode) in entries {
        let mut header = tar::Header::new_ustar();
        let name = path.as_bytes();
        // Written by hand: the crate refuses to write the hostile names that this is about.
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        let body = if matches!(*kind, LINK | HARD) {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            ""
        } else {
            content
        };
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

struct Fixture {
    dir: tempfile::TempDir,
    layers: Unpacked,
}

/// A layer as it is mounted.
#[derive(Debug)]
struct Seen(Root);

impl Seen {
    fn join(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd())).join(path)
    }
}

impl Fixture {
    fn new(open: Open) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("sentinel"), "untouched").unwrap();
        let layers = open(Store::open(&dir.path().join("root")).unwrap());
        Self { dir, layers }
    }

    fn import(&self, entries: &[Entry]) -> Result<Seen, LayerError> {
        let layer = self.layers.import(&mut archive(entries).as_slice(), None)?;
        self.layers.resolve(&[layer.diff_id])?;
        Ok(Seen(Root::open_layer(&self.layers.view(&[layer.id])[0]).unwrap()))
    }

    fn assert_untouched(&self, case: &str) {
        assert_eq!(
            fs_err::read_to_string(self.dir.path().join("sentinel")).unwrap(),
            "untouched",
            "case {case}"
        );
        let outside: Vec<_> =
            fs_err::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(outside.len(), 2, "case {case}: {outside:?}");
        assert_eq!(fs_err::read_dir(self.dir.path().join("root/active")).unwrap().count(), 0, "case {case}");
    }
}

#[test]
fn what_is_exported_is_imported_again_with_the_same_diff_id() {
    if !require(&[Need::Root]) {
        return;
    }
    for open in OPENS {
        let entries: [Entry; 8] = [
            (DIR, "bin/", "", 0o755),
            (FILE, "bin/su", "set-uid", 0o4755),
            (HARD, "bin/su2", "bin/su", 0o4755),
            (LINK, "bin/sh", "/bin/su", 0o777),
            (DIR, "tmp/", "", 0o1777),
            (FILE, "tmp/.wh.gone", "", 0o644),
            (FILE, "tmp/.wh..wh..opq", "", 0o644),
            (EntryType::Fifo, "pipe", "", 0o600),
        ];
        let fixture = Fixture::new(open);
        let tree = fixture.import(&entries).unwrap();
        assert_eq!(fs_err::metadata(tree.join("bin/su")).unwrap().permissions().mode() & 0o7777, 0o4755);
        assert_eq!(fs_err::metadata(tree.join("bin/su2")).unwrap().nlink(), 2);
        assert_eq!(fs_err::read_link(tree.join("bin/sh")).unwrap(), Path::new("/bin/su"));
        assert_eq!(fs_err::metadata(tree.join("tmp")).unwrap().mtime(), 1_700_000_000);
        let gone = fs_err::symlink_metadata(tree.join("tmp/gone")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);

        let first = fixture.layers.import(&mut archive(&entries).as_slice(), None).unwrap();
        let mut exported = Vec::new();
        fixture.layers.export(&first.id, &mut exported).unwrap();
        let other = Fixture::new(open);
        let second = other.layers.import(&mut exported.as_slice(), None).unwrap();
        let mut again = Vec::new();
        other.layers.export(&second.id, &mut again).unwrap();
        assert!(exported == again, "a canonical archive exports to itself");
    }
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    if !require(&[Need::Root]) {
        return;
    }
    for open in OPENS {
        let before: [Entry; 2] = [(FILE, "d/own", "1", 0o644), (FILE, "d/.wh.own", "", 0o644)];
        let tree = Fixture::new(open).import(&before);
        drop(tree.unwrap());
        for (name, entries) in [("after", before), ("before", [before[1], before[0]])] {
            let fixture = Fixture::new(open);
            let tree = fixture.import(&entries).unwrap();
            assert_eq!(fs_err::read_to_string(tree.join("d/own")).unwrap(), "1", "case {name}");
        }
    }
}

#[test]
fn hostile_archives_change_nothing_outside_and_leave_nothing_behind() {
    if !require(&[Need::Root]) {
        return;
    }
    for open in OPENS {
        let cases: [(&str, &[Entry]); 9] = [
            ("parent", &[(FILE, "../sentinel", "bad", 0o644)]),
            ("hidden parent", &[(FILE, "a/../../../sentinel", "bad", 0o644)]),
            ("hard link out", &[(HARD, "a", "../../sentinel", 0o644)]),
            ("hard link to nothing", &[(HARD, "a", "b", 0o644)]),
            ("empty whiteout", &[(FILE, ".wh.", "", 0o644)]),
            ("whiteout of the parent", &[(FILE, "a/.wh...", "", 0o644)]),
            ("whiteout of itself", &[(FILE, "a/.wh..", "", 0o644)]),
            ("smuggled whiteout", &[(EntryType::Char, "a", "", 0o644)]),
            ("root is a file", &[(FILE, "./", "bad", 0o644)]),
        ];
        for (name, entries) in cases {
            let fixture = Fixture::new(open);
            assert!(fixture.import(entries).is_err(), "case {name}");
            fixture.assert_untouched(name);
        }
    }
}

#[test]
fn links_in_the_archive_are_not_a_way_out() {
    if !require(&[Need::Root]) {
        return;
    }
    for open in OPENS {
        let cases: [(&str, &[Entry]); 4] = [
            ("absolute symlink", &[(LINK, "out", "/", 0o777), (FILE, "out/sentinel", "inside", 0o644)]),
            (
                "relative symlink",
                &[(LINK, "out", "../../../..", 0o777), (FILE, "out/sentinel", "inside", 0o644)],
            ),
            ("file over symlink", &[(LINK, "f", "../../../sentinel", 0o777), (FILE, "f", "inside", 0o644)]),
            ("directory over symlink", &[(LINK, "d", "../../..", 0o777), (DIR, "d", "", 0o700)]),
        ];
        for (name, entries) in cases {
            let fixture = Fixture::new(open);
            fixture.import(entries).unwrap();
            fixture.assert_untouched(name);
        }
    }
}

#[test]
fn a_damaged_or_wrong_archive_leaves_nothing() {
    if !require(&[Need::Root]) {
        return;
    }
    for open in OPENS {
        let good = archive(&[(FILE, "f", "content", 0o644)]);
        let mut damaged = good.clone();
        damaged[10] ^= 0xff;
        let fixture = Fixture::new(open);
        for (name, bytes) in [("damaged header", damaged.as_slice()), ("cut", &good[..515])] {
            assert!(fixture.layers.import(&mut &*bytes, None).is_err(), "case {name}");
            fixture.assert_untouched(name);
        }
        let wanted = shipway_oci::DiffId(shipway_oci::Digest::of(b"other"));
        let refused = fixture.layers.import(&mut good.as_slice(), Some(wanted));
        assert!(matches!(refused, Err(LayerError::Mismatch { .. })));
        fixture.assert_untouched("wrong digest");
    }
}

const OPAQUE: &str = "user.overlay.opaque";

#[test]
fn a_whiteout_and_an_own_entry_work_in_any_order() {
    if !require(&[Need::Root]) {
        return;
    }
    for open in OPENS {
        let cases: [(&str, &[Entry], bool); 5] = [
            ("whiteout, then directory", &[(FILE, ".wh.d", "", 0o644), (DIR, "d", "", 0o700)], true),
            ("directory, then whiteout", &[(DIR, "d", "", 0o700), (FILE, ".wh.d", "", 0o644)], true),
            ("whiteout, then a file below", &[(FILE, ".wh.d", "", 0o644), (FILE, "d/f", "x", 0o644)], true),
            ("a file below, then whiteout", &[(FILE, "d/f", "x", 0o644), (FILE, ".wh.d", "", 0o644)], true),
            ("opaque mark", &[(FILE, "d/.wh..wh..opq", "", 0o644), (FILE, "d/f", "x", 0o644)], true),
        ];
        for (name, entries, opaque) in cases {
            let fixture = Fixture::new(open);
            let Seen(root) = fixture.import(entries).unwrap();
            assert!(root.metadata("d").unwrap().unwrap().is_directory(), "case {name}");
            let marked = root.xattrs("d").unwrap().iter().any(|(key, value)| key == OPAQUE && value == b"y");
            assert_eq!(marked, opaque, "case {name}");
        }
    }
}

#[test]
fn later_entries_win_and_directories_keep_their_times() {
    if !require(&[Need::Root]) {
        return;
    }
    for open in OPENS {
        let fixture = Fixture::new(open);
        let tree = fixture
            .import(&[
                (FILE, "implied/first", "x", 0o644),
                (DIR, "implied", "", 0o750),
                (DIR, "d", "", 0o755),
                (FILE, "d/below", "x", 0o644),
                (FILE, "d", "now a file", 0o644),
                (LINK, "s", "/nowhere", 0o777),
                (DIR, "s", "", 0o711),
                (FILE, "only/implied", "x", 0o644),
                (DIR, "./", "", 0o751),
            ])
            .unwrap();
        let root = &tree.0;
        let metadata = |path: &str| root.metadata(path).unwrap().unwrap();
        assert_eq!(
            (metadata("implied").mode & 0o7777, metadata("implied").mtime),
            (0o750, (1_700_000_000, 0))
        );
        assert_eq!(fs_err::read_to_string(tree.join("d")).unwrap(), "now a file");
        assert_eq!(metadata("s").mode & 0o7777, 0o711);
        assert_eq!((metadata("only").mode & 0o7777, metadata("only").mtime), (0o755, (0, 0)));
        assert_eq!(metadata("").mode & 0o7777, 0o751);
    }
}

#[test]
fn a_hard_link_to_a_file_that_no_layer_has_is_refused_for_what_it_is() {
    for open in OPENS {
        let fixture = Fixture::new(open);
        let error = fixture.import(&[(HARD, "a", "bin/sh", 0o644)]).unwrap_err();
        assert!(matches!(error, LayerError::Archive { reason, .. } if reason.contains("no layer has")));
    }
}

#[test]
fn a_spoilt_index_or_archive_is_found_and_made_again_of_what_is_left() {
    if !require(&[Need::Root, Need::Indexes]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let layers = Unpacked::open_archiving(store.clone());
    let bytes = archive(&[(FILE, "f", "content", 0o644)]);
    let layer = layers.import(&mut bytes.as_slice(), None).unwrap();
    assert!(layer.id.is_indexed());
    let row = store.layer(&layer.id).unwrap().unwrap();
    let place = dir.path().join("layers").join(layer.id.as_str());
    let said = || match layers.check(&row).unwrap() {
        Checked::Faulty(reason) => reason,
        sound => format!("{sound:?}"),
    };
    let shown = || {
        let mut text = String::new();
        let root = Root::open_layer(&layers.view(std::slice::from_ref(&layer.id))[0]).unwrap();
        root.open_file("f").unwrap().read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!((said().as_str(), shown().as_str()), ("Sound", "content"));

    fs_err::write(place.join("index"), "broken").unwrap();
    assert_eq!(said(), "has an index that is not that of its archive");
    assert!(layers.restore(&layer.id, layer.diff_id).unwrap());
    assert_eq!((said().as_str(), shown().as_str()), ("Sound", "content"));

    fs_err::write(place.join("tar"), "broken").unwrap();
    assert!(said().starts_with("has another archive: its digest is sha256:"), "{}", said());
    assert!(!layers.restore(&layer.id, layer.diff_id).unwrap(), "nobody has its bytes");
    let digest = store.put_blob(&bytes).unwrap();
    let form = Packed { digest, size: 1, media_type: "x".to_owned(), packer: String::new() };
    store.record_packed(layer.diff_id, &form).unwrap();
    assert!(layers.restore(&layer.id, layer.diff_id).unwrap());
    assert_eq!((said().as_str(), shown().as_str()), ("Sound", "content"));
    assert_eq!(fs_err::read_dir(&place).unwrap().count(), 2);
}

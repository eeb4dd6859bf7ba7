//! An archive is unpacked or refused, and nothing outside of its root changes.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use shipway_layers::{Budget, unpack, unpack_added};
use shipway_linux::Root;

fuzz_target!(|bytes: &[u8]| {
    // Memory is faster than a disk, and this is about names.
    let base = Path::new("/dev/shm");
    let dir = tempfile::tempdir_in(if base.is_dir() { base } else { Path::new("/tmp") }).unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let sentinel = dir.path().join("sentinel");
    std::fs::write(&sentinel, "as it was").unwrap();
    let opened = Root::open(&root).unwrap();
    let _ = unpack(&opened, &mut &*bytes, Budget::default());
    let _ = unpack_added(&opened, &mut &*bytes, Budget { bytes: 1 << 24, ..Budget::default() });
    assert_eq!(std::fs::read(&sentinel).unwrap(), b"as it was");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
});

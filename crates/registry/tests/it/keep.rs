//! A store of a test's own.

use shipway_store::Store;

pub(crate) struct Kept {
    _dir: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Self { _dir: dir, store }
    }

    pub(crate) fn keep(&self) -> Store {
        self.store.clone()
    }
}

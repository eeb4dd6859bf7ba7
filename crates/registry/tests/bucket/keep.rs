//! A bucket of a test's own, in memory.

use std::sync::Arc;

use object_store::memory::InMemory;
use shipway_registry::Bucket;

pub(crate) struct Kept {
    pub(crate) objects: Arc<InMemory>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { objects: Arc::new(InMemory::new()) }
    }

    pub(crate) fn keep(&self) -> Bucket {
        Bucket::new(self.objects.clone(), "registry/one")
    }
}

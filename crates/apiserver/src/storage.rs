//! Objects with revisions: compare-and-swap, ordered watches, durable by SQLite, served from memory.
//!
//! Promises: a write is answered after it is durable (kinds that [`is_durable`] excludes go to memory only) and is
//! visible to readers only then; revisions grow over all kinds and over restarts; a watcher sees each change of its
//! kind after its position exactly once and in order, or learns that its position has left the history.

mod disk;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::selector::selectable_fields;
use crate::{KINDS, Kind};

/// Changes kept per kind for watchers that come back.
const HISTORY: usize = 1024;

/// An object as stored.
#[derive(Debug)]
pub(crate) struct Stored {
    /// `namespace/name`, or `name`.
    pub key: String,
    /// Revision of the last change.
    pub revision: u64,
    /// The object, `resourceVersion` and all.
    pub json: Bytes,
    /// Its labels.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// The fields that field selectors may name.
    pub fields: Box<[(&'static str, Box<str>)]>,
}

impl Stored {
    fn new(kind: &Kind, key: String, revision: u64, object: &Value, json: Bytes) -> Self {
        let labels = object["metadata"]["labels"].as_object().map_or_else(Default::default, |map| {
            map.iter().map(|(k, v)| (k.as_str().into(), v.as_str().unwrap_or_default().into())).collect()
        });
        Self { key, revision, json, labels, fields: selectable_fields(kind, object) }
    }

    /// Returns the object, parsed.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("the store holds only what it serialised")
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new.
    Added,
    /// It is different.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change.
#[derive(Debug)]
pub(crate) struct Event {
    /// What happened.
    pub change: Change,
    /// The object after the change; before it, with the revision of the deletion, if it is gone.
    pub object: Arc<Stored>,
    /// The object before the change.
    pub previous: Option<Arc<Stored>>,
}

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Something is there already.
    #[error("`{key}` already exists")]
    Exists {
        /// Key of the object.
        key: String,
    },
    /// Nothing is there.
    #[error("`{key}` does not exist")]
    Missing {
        /// Key of the object.
        key: String,
    },
    /// Somebody else wrote first.
    #[error("`{key}` has changed since it was read")]
    Conflict {
        /// Key of the object.
        key: String,
    },
    /// The database could not be used.
    #[error("could not {what} the cluster's database")]
    Database {
        /// What was tried.
        what: &'static str,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The writer has ended.
    #[error("the cluster's database is closed")]
    Closed,
}

/// A position that has left the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub(crate) struct Expired {
    /// The position asked for.
    pub asked: u64,
    /// The oldest position that can be resumed.
    pub oldest: u64,
}

#[derive(Debug, Default)]
struct PerKind {
    objects: BTreeMap<String, Arc<Stored>>,
    history: VecDeque<Arc<Event>>,
    /// Revision of the newest change that is not in the history.
    floor: u64,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    kinds: Vec<PerKind>,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    changed: Vec<watch::Sender<u64>>,
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    shared: Arc<Shared>,
    writes: std::sync::mpsc::Sender<writer::Write>,
}

/// Whether objects of this kind survive a restart.
fn is_durable(kind: &Kind) -> bool {
    kind.kind != "Event"
}

/// Position of `kind` in the table; aliases share one place.
fn index(kind: &Kind) -> usize {
    let stored = if kind.kind == "Event" { "" } else { kind.group };
    KINDS
        .iter()
        .position(|other| other.plural == kind.plural && other.group == stored)
        .expect("every kind is in the table")
}

impl Storage {
    /// Opens or creates the database at `path` and loads it.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        let (disk, revision, objects) = disk::Disk::open(path)?;
        let mut state = State { revision, kinds: Vec::new() };
        for _ in KINDS {
            state.kinds.push(PerKind { floor: revision, ..PerKind::default() });
        }
        for (at, stored) in objects {
            state.kinds[at].objects.insert(stored.key.clone(), Arc::new(stored));
        }
        let changed = KINDS.iter().map(|_| watch::channel(revision).0).collect();
        let shared = Arc::new(Shared { state: RwLock::new(state), changed });
        let writes = writer::start(disk, Arc::clone(&shared))?;
        Ok(Self { shared, writes })
    }

    fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the revision of the last visible change.
    pub(crate) fn revision(&self) -> u64 {
        self.read(|state| state.revision)
    }

    /// Returns an object.
    pub(crate) fn get(&self, kind: &Kind, key: &str) -> Option<Arc<Stored>> {
        self.read(|state| state.kinds[index(kind)].objects.get(key).cloned())
    }

    /// Returns the objects whose key starts with `prefix` and comes after `after`, in order, and the revision at
    /// which this was so.
    pub(crate) fn list(&self, kind: &Kind, prefix: &str, after: Option<&str>) -> (u64, Vec<Arc<Stored>>) {
        use std::ops::Bound;
        let from = match after {
            Some(key) => Bound::Excluded(key),
            None => Bound::Included(prefix),
        };
        self.read(|state| {
            let range = state.kinds[index(kind)].objects.range::<str, _>((from, Bound::Unbounded));
            let found =
                range.map(|(_, o)| o).take_while(|o| o.key.starts_with(prefix)).map(Arc::clone).collect();
            (state.revision, found)
        })
    }

    /// Returns a watcher of changes after `revision`.
    pub(crate) fn watch(&self, kind: &Kind, revision: u64) -> Watcher {
        let at = index(kind);
        let changed = self.shared.changed[at].subscribe();
        Watcher { shared: Arc::clone(&self.shared), at, cursor: revision, changed }
    }

    /// Stores a new object.
    pub(crate) async fn create(
        &self,
        kind: &Kind,
        key: String,
        object: Value,
    ) -> Result<Arc<Stored>, StorageError> {
        self.write(kind, key, writer::Op::Create(object)).await
    }

    /// Replaces the object that is at `expected`.
    pub(crate) async fn replace(
        &self,
        kind: &Kind,
        key: String,
        object: Value,
        expected: u64,
    ) -> Result<Arc<Stored>, StorageError> {
        self.write(kind, key, writer::Op::Replace { object, expected }).await
    }

    /// Removes the object that is at `expected`; `last` is what watchers see of it.
    pub(crate) async fn remove(
        &self,
        kind: &Kind,
        key: String,
        last: Value,
        expected: u64,
    ) -> Result<Arc<Stored>, StorageError> {
        self.write(kind, key, writer::Op::Remove { last, expected }).await
    }

    async fn write(&self, kind: &Kind, key: String, op: writer::Op) -> Result<Arc<Stored>, StorageError> {
        let (reply, answer) = oneshot::channel();
        let write = writer::Write { at: index(kind), key, op, reply };
        self.writes.send(write).map_err(|_closed| StorageError::Closed)?;
        answer.await.map_err(|_closed| StorageError::Closed)?
    }
}

/// A position in the history of a kind.
#[derive(Debug)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    at: usize,
    cursor: u64,
    changed: watch::Receiver<u64>,
}

impl Watcher {
    /// Returns the changes since the last call without waiting, and the revision they lead to.
    pub(crate) fn take(&mut self) -> Result<(u64, Vec<Arc<Event>>), Expired> {
        self.changed.mark_unchanged();
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        let kind = &state.kinds[self.at];
        if self.cursor < kind.floor {
            return Err(Expired { asked: self.cursor, oldest: kind.floor });
        }
        let start = kind.history.partition_point(|event| event.object.revision <= self.cursor);
        let events = kind.history.range(start..).map(Arc::clone).collect();
        self.cursor = self.cursor.max(state.revision);
        Ok((self.cursor, events))
    }

    /// Waits until there may be something to [`Self::take`]; false if the store is gone.
    pub(crate) async fn wait(&mut self) -> bool {
        self.changed.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests;

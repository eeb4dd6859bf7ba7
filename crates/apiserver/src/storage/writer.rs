//! The one thread that writes: it takes all writes that wait, commits them with one sync, shows them, answers.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

use super::disk::{Disk, Row};
use super::{Change, Event, HISTORY, Shared, StorageError, Stored, is_durable};
use crate::KINDS;

/// Writes that share a commit at most.
const BATCH: usize = 256;
/// How long an Event is kept, and how many.
const EVENT_LIFE: Duration = Duration::from_secs(3600);
const EVENTS: usize = 2000;

/// A write and where its answer goes.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) at: usize,
    pub(super) key: String,
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Result<Arc<Stored>, StorageError>>,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Op {
    Create(Value),
    Replace { object: Value, expected: u64 },
    Remove { last: Value, expected: u64 },
}

/// Starts the thread; it ends when the last sender is gone.
pub(super) fn start(disk: Disk, shared: Arc<Shared>) -> Result<Sender<Write>, StorageError> {
    let (sender, writes) = channel();
    let revision = shared.state.read().unwrap_or_else(PoisonError::into_inner).revision;
    let mut writer = Writer { disk, shared, revision, events: VecDeque::new() };
    std::thread::Builder::new()
        .name("api-storage".to_owned())
        .spawn(move || writer.run(&writes))
        .map_err(|_io| StorageError::Closed)?;
    Ok(sender)
}

#[derive(Debug)]
struct Writer {
    disk: Disk,
    shared: Arc<Shared>,
    revision: u64,
    /// Events in order of creation, to forget the oldest.
    events: VecDeque<(Instant, usize, String)>,
}

/// What the batch has changed so far: `None` is removed.
type Overlay = HashMap<(usize, String), Option<Arc<Stored>>>;
type Reply = oneshot::Sender<Result<Arc<Stored>, StorageError>>;

impl Writer {
    fn run(&mut self, writes: &Receiver<Write>) {
        while let Ok(first) = writes.recv() {
            let mut batch = vec![first];
            batch.extend(writes.try_iter().take(BATCH - 1));
            self.process(batch);
        }
    }

    fn process(&mut self, batch: Vec<Write>) {
        let mut overlay = Overlay::new();
        let mut done: Vec<(usize, Event)> = Vec::with_capacity(batch.len());
        let mut replies: Vec<Reply> = Vec::with_capacity(batch.len());
        for write in batch {
            match self.plan(&overlay, write.at, write.key, write.op) {
                Ok(event) => {
                    let now = (event.change != Change::Deleted).then(|| Arc::clone(&event.object));
                    overlay.insert((write.at, event.object.key.clone()), now);
                    done.push((write.at, event));
                    replies.push(write.reply);
                }
                Err(error) => drop(write.reply.send(Err(error))),
            }
        }
        self.forget_events(&mut overlay, &mut done);
        let rows: Vec<Row<'_>> = done
            .iter()
            .filter(|(at, _)| is_durable(&KINDS[*at]))
            .map(|(at, event)| match event.change {
                Change::Deleted => Row::Drop { at: *at, key: &event.object.key },
                Change::Added | Change::Modified => Row::Put { at: *at, stored: &event.object },
            })
            .collect();
        if let Err(error) = self.disk.commit(&rows, self.revision) {
            tracing::error!(error = &error as &dyn std::error::Error, "a commit failed");
            for reply in replies {
                drop(reply.send(Err(copy(&error))));
            }
            return;
        }
        let objects: Vec<Arc<Stored>> = done.iter().map(|(_, e)| Arc::clone(&e.object)).collect();
        self.show(done);
        for (reply, object) in replies.into_iter().zip(objects) {
            drop(reply.send(Ok(object)));
        }
    }

    fn current(&self, overlay: &Overlay, at: usize, key: &str) -> Option<Arc<Stored>> {
        if let Some(pending) = overlay.get(&(at, key.to_owned())) {
            return pending.clone();
        }
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        state.kinds[at].objects.get(key).cloned()
    }

    fn plan(&mut self, overlay: &Overlay, at: usize, key: String, op: Op) -> Result<Event, StorageError> {
        let previous = self.current(overlay, at, &key);
        let (change, mut object, expected) = match op {
            Op::Create(_) if previous.is_some() => return Err(StorageError::Exists { key }),
            Op::Create(object) => (Change::Added, object, None),
            Op::Replace { object, expected } => (Change::Modified, object, Some(expected)),
            Op::Remove { last, expected } => (Change::Deleted, last, Some(expected)),
        };
        match (&previous, expected) {
            (None, Some(_)) => return Err(StorageError::Missing { key }),
            (Some(found), Some(want)) if found.revision != want => {
                return Err(StorageError::Conflict { key });
            }
            _ => {}
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = Value::String(self.revision.to_string());
        let json = Bytes::from(serde_json::to_vec(&object).expect("a JSON value serialises"));
        if change == Change::Added && !is_durable(&KINDS[at]) {
            self.events.push_back((Instant::now(), at, key.clone()));
        }
        let stored = Arc::new(Stored::new(&KINDS[at], key, self.revision, &object, json));
        Ok(Event { change, object: stored, previous })
    }

    /// Removes events that are too old or too many.
    fn forget_events(&mut self, overlay: &mut Overlay, done: &mut Vec<(usize, Event)>) {
        while let Some((created, at, _)) = self.events.front() {
            if created.elapsed() < EVENT_LIFE && self.events.len() <= EVENTS {
                return;
            }
            let at = *at;
            let Some((_, _, key)) = self.events.pop_front() else { return };
            let Some(found) = self.current(overlay, at, &key) else { continue };
            let op = Op::Remove { last: found.value(), expected: found.revision };
            if let Ok(event) = self.plan(overlay, at, key.clone(), op) {
                overlay.insert((at, key), None);
                done.push((at, event));
            }
        }
    }

    /// Makes the changes visible.
    fn show(&self, done: Vec<(usize, Event)>) {
        let mut touched = Vec::new();
        {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            for (at, event) in done {
                let kind = &mut state.kinds[at];
                match event.change {
                    Change::Deleted => kind.objects.remove(&event.object.key),
                    Change::Added | Change::Modified => {
                        kind.objects.insert(event.object.key.clone(), Arc::clone(&event.object))
                    }
                };
                kind.history.push_back(Arc::new(event));
                if kind.history.len() > HISTORY
                    && let Some(gone) = kind.history.pop_front()
                {
                    kind.floor = gone.object.revision;
                }
                if !touched.contains(&at) {
                    touched.push(at);
                }
            }
            state.revision = self.revision;
        }
        for at in touched {
            self.shared.changed[at].send_replace(self.revision);
        }
    }
}

fn copy(error: &StorageError) -> StorageError {
    match error {
        StorageError::Database { what, source } => {
            StorageError::Database { what, source: Arc::clone(source) }
        }
        _ => StorageError::Closed,
    }
}

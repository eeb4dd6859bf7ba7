use serde_json::json;

use super::*;
use crate::kind_of;

fn pods() -> &'static Kind {
    kind_of("", "v1", "pods").unwrap()
}

fn open() -> (tempfile::TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(&dir.path().join("api.db")).unwrap();
    (dir, storage)
}

fn pod(name: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}}})
}

#[tokio::test]
async fn the_second_of_two_writers_gets_a_conflict() {
    let (_dir, store) = open();
    let first = store.create(pods(), "default/a".into(), pod("a")).await.unwrap();
    assert!(matches!(
        store.create(pods(), "default/a".into(), pod("a")).await,
        Err(StorageError::Exists { .. })
    ));
    let second = store.replace(pods(), "default/a".into(), pod("a"), first.revision).await.unwrap();
    assert!(second.revision > first.revision);
    assert!(matches!(
        store.replace(pods(), "default/a".into(), pod("a"), first.revision).await,
        Err(StorageError::Conflict { .. })
    ));
    assert!(matches!(
        store.remove(pods(), "default/b".into(), pod("b"), 1).await,
        Err(StorageError::Missing { .. })
    ));
}

#[tokio::test]
async fn a_watcher_sees_every_change_once_and_in_order() {
    let (_dir, store) = open();
    let mut watcher = store.watch(pods(), store.revision());
    let a = store.create(pods(), "default/a".into(), pod("a")).await.unwrap();
    assert!(watcher.wait().await);
    let a2 = store.replace(pods(), "default/a".into(), pod("a"), a.revision).await.unwrap();
    store.remove(pods(), "default/a".into(), pod("a"), a2.revision).await.unwrap();
    let (at, events) = watcher.take().unwrap();
    let changes: Vec<_> = events.iter().map(|e| e.change).collect();
    assert_eq!(changes, [Change::Added, Change::Modified, Change::Deleted]);
    assert_eq!(at, store.revision());
    assert!(watcher.take().unwrap().1.is_empty());
    let mut resumed = store.watch(pods(), a.revision);
    assert_eq!(resumed.take().unwrap().1.len(), 2);
}

#[tokio::test]
async fn a_position_outside_the_history_is_expired() {
    let (_dir, store) = open();
    let first = store.create(pods(), "default/a".into(), pod("a")).await.unwrap();
    let mut revision = first.revision;
    for _ in 0..=HISTORY {
        let next = store.replace(pods(), "default/a".into(), pod("a"), revision).await.unwrap();
        revision = next.revision;
    }
    assert!(store.watch(pods(), first.revision).take().is_err());
    assert!(store.watch(pods(), revision - 5).take().is_ok());
}

#[tokio::test]
async fn a_restart_keeps_objects_and_never_reuses_a_revision() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.db");
    let events = kind_of("", "v1", "events").unwrap();
    let last = {
        let store = Storage::open(&path).unwrap();
        store.create(pods(), "default/a".into(), pod("a")).await.unwrap();
        store.create(events, "default/e".into(), json!({"metadata": {"name": "e"}})).await.unwrap().revision
    };
    // The writer thread gives the file back when the last handle is gone; opening waits for its lock.
    let store = Storage::open(&path).unwrap();
    assert!(store.revision() >= last);
    assert_eq!(&*store.get(pods(), "default/a").unwrap().labels, &[("app".into(), "a".into())]);
    assert!(store.get(events, "default/e").is_none(), "events are not durable");
    assert!(store.watch(pods(), last - 1).take().is_err(), "a position before the restart is expired");
}

#[tokio::test]
async fn concurrent_writers_all_succeed_with_distinct_revisions() {
    let (_dir, store) = open();
    let writes = (0..200).map(|i| store.create(pods(), format!("default/p{i}"), pod(&format!("p{i}"))));
    let done = futures::future::join_all(writes).await;
    let mut revisions: Vec<u64> = done.into_iter().map(|r| r.unwrap().revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 200);
    let (revision, page) = store.list(pods(), "default/", Some("default/p98"));
    assert_eq!(page.len(), 1);
    assert_eq!(revision, store.revision());
}

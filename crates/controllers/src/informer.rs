//! One cache per kind, kept current by list and watch.
//!
//! Promises: after [`Informer::wait_synced`] the cache holds every object of its selection; handlers see each change
//! once, in the order of the server's revisions; a watch that the server forgot (410) is followed by a new list, and what
//! disappeared meanwhile is reported as deleted. What a controller wrote itself can be put in at once
//! ([`Informer::remember`]), so its next decision already sees it and no "expectations" are needed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// First and longest wait between attempts to reach the server.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// How many deleted objects are remembered, to ignore late answers about them.
const TOMBSTONES: usize = 512;
/// Seconds that one watch request lasts; the server may end it earlier.
const WATCH_SECONDS: u32 = 290;

/// What an informer can hold.
pub(crate) trait Kind: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}
impl<K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Kind for K {}

/// Namespace (empty for cluster-wide kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Namespace, empty for cluster-wide kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Returns the key of these two names.
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Returns the key of an object.
    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One change of one object: `old` is missing for a new one, `new` for a deleted one.
#[derive(Debug)]
pub(crate) struct Change<K> {
    /// The object before.
    pub old: Option<Arc<K>>,
    /// The object after.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// Returns the newest state that is known.
    pub(crate) fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Returns both states.
    pub(crate) fn both(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The cache of one kind.
pub(crate) struct Informer<K: Kind> {
    api: Api<K>,
    fields: Option<String>,
    trim: fn(&mut K),
    cache: Mutex<Cache<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K: Kind> Debug for Informer<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Informer").field("url", &self.api.resource_url()).finish_non_exhaustive()
    }
}

impl<K: Kind> Informer<K> {
    /// Returns an empty informer over `api`; nothing is asked before [`Informer::run`].
    pub(crate) fn over(api: Api<K>) -> Self {
        Self {
            api,
            fields: None,
            trim: |_| {},
            cache: Mutex::new(Cache::default()),
            handlers: Mutex::new(Vec::new()),
            synced: watch::Sender::new(false),
        }
    }

    /// Returns an informer over all namespaces.
    pub(crate) fn all(client: &Client) -> Self
    where
        K::DynamicType: Default,
    {
        Self::over(Api::all(client.clone()))
    }

    /// Limits it to a field selector.
    pub(crate) fn fields(mut self, selector: &str) -> Self {
        self.fields = Some(selector.to_owned());
        self
    }

    /// Drops what nobody here reads from each object before it is kept.
    pub(crate) fn trimmed(mut self, trim: fn(&mut K)) -> Self {
        self.trim = trim;
        self
    }

    /// Calls `handler` for every later change. It must be quick: it runs in the watch loop.
    pub(crate) fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Returns once the first list is in.
    pub(crate) async fn wait_synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        drop(synced.wait_for(|done| *done).await);
    }

    /// Returns an object.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.cache().objects.get(key).cloned()
    }

    /// Returns all objects of a namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let first = Key::new(namespace, "");
        let cache = self.cache();
        let rest = cache.objects.range(first..);
        rest.take_while(|(key, _)| key.namespace == namespace).map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Returns all objects.
    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.cache().objects.values().cloned().collect()
    }

    /// Takes in what a write of ours returned, unless the watch brought something newer.
    pub(crate) fn remember(&self, mut object: K) {
        self.trim_object(&mut object);
        self.offer(object);
    }

    /// Lists and watches until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut wait = BACK_OFF.0;
        while !stop.is_cancelled() {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = self.list_and_watch() => outcome,
            };
            match outcome {
                Ok(()) => wait = BACK_OFF.0,
                Err(error) => {
                    tracing::warn!(%error, url = self.api.resource_url(), "watch failed, trying again");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
                    }
                }
            }
        }
    }

    /// Lists once, then watches until the server forgets our revision (`Ok`) or fails.
    async fn list_and_watch(&self) -> Result<(), kube::Error> {
        let mut params = ListParams::default();
        params.field_selector.clone_from(&self.fields);
        let list = self.api.list(&params).await?;
        let mut version = list.metadata.resource_version.unwrap_or_default();
        self.replace(list.items, &version);
        self.synced.send_replace(true);
        let mut params = WatchParams::default().timeout(WATCH_SECONDS);
        params.field_selector.clone_from(&self.fields);
        loop {
            let stream = match self.api.watch(&params, &version).await {
                Err(kube::Error::Api(status)) if status.code == 410 => return Ok(()),
                other => other?,
            };
            pin_mut!(stream);
            while let Some(event) = stream.next().await {
                match event? {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        version = object.resource_version().unwrap_or(version);
                        self.remember(object);
                    }
                    WatchEvent::Deleted(object) => {
                        version = object.resource_version().unwrap_or(version);
                        self.forget(object);
                    }
                    WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                    WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                    WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
                }
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache<K>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trim_object(&self, object: &mut K) {
        let meta = object.meta_mut();
        meta.managed_fields = None;
        if let Some(annotations) = &mut meta.annotations {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        (self.trim)(object);
    }

    fn offer(&self, object: K) {
        let change = self.cache().put(object);
        if let Some(change) = change {
            self.notify(&change);
        }
    }

    fn forget(&self, mut object: K) {
        self.trim_object(&mut object);
        let change = self.cache().remove(&object);
        if let Some(change) = change {
            self.notify(&change);
        }
    }

    fn replace(&self, items: Vec<K>, version: &str) {
        let mut kept = std::collections::BTreeSet::new();
        for mut object in items {
            self.trim_object(&mut object);
            kept.insert(Key::of(&object));
            self.offer(object);
        }
        let listed: u64 = version.parse().unwrap_or(0);
        let gone: Vec<_> = {
            let cache = self.cache();
            let old = cache
                .objects
                .iter()
                .filter(|(key, object)| !kept.contains(*key) && revision(&***object) <= listed);
            old.map(|(_, object)| Arc::clone(object)).collect()
        };
        for object in gone {
            let change = self.cache().remove(&*object);
            if let Some(change) = change {
                self.notify(&change);
            }
        }
    }

    fn notify(&self, change: &Change<K>) {
        for handler in self.handlers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(change);
        }
    }
}

/// Returns the revision as a number; servers since 1.35 promise that it compares as one.
fn revision<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[derive(Debug)]
struct Cache<K> {
    objects: BTreeMap<Key, Arc<K>>,
    tombstones: VecDeque<String>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), tombstones: VecDeque::new() }
    }
}

impl<K: Resource> Cache<K> {
    fn put(&mut self, object: K) -> Option<Change<K>> {
        let uid = object.meta().uid.clone().unwrap_or_default();
        if self.tombstones.contains(&uid) && !uid.is_empty() {
            return None;
        }
        let key = Key::of(&object);
        let old = self.objects.get(&key);
        if let Some(old) = old
            && old.meta().uid == object.meta().uid
            && revision(&**old) >= revision(&object)
            && revision(&object) != 0
        {
            return None;
        }
        let new = Arc::new(object);
        let old = self.objects.insert(key, Arc::clone(&new));
        Some(Change { old, new: Some(new) })
    }

    fn remove(&mut self, object: &K) -> Option<Change<K>> {
        let uid = object.meta().uid.clone().unwrap_or_default();
        if self.tombstones.len() >= TOMBSTONES {
            self.tombstones.pop_front();
        }
        self.tombstones.push_back(uid);
        let key = Key::of(object);
        if self.objects.get(&key).is_some_and(|kept| kept.meta().uid != object.meta().uid) {
            return None;
        }
        let old = self.objects.remove(&key)?;
        Some(Change { old: Some(old), new: None })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("ns".to_owned());
        object.metadata.name = Some(name.to_owned());
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    #[test]
    fn an_older_answer_does_not_replace_a_newer_one() {
        let mut cache = Cache::default();
        assert!(cache.put(object("a", "1", 5)).is_some());
        assert!(cache.put(object("a", "1", 4)).is_none());
        assert!(cache.put(object("a", "1", 5)).is_none());
        assert!(cache.put(object("a", "1", 6)).is_some());
    }

    #[test]
    fn a_late_answer_does_not_raise_the_dead() {
        let mut cache = Cache::default();
        cache.put(object("a", "1", 5));
        assert!(cache.remove(&object("a", "1", 7)).is_some());
        assert!(cache.put(object("a", "1", 6)).is_none());
        assert!(cache.put(object("a", "2", 8)).is_some(), "a new object of the same name is another object");
        assert!(cache.remove(&object("a", "1", 7)).is_none(), "and is not removed with the old one");
    }
}

//! A cache of another registry.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::json;
use shipway_registry::{
    Config, Patience, Through, Upstream, UpstreamError, UpstreamList, UpstreamManifest, UpstreamPage,
};

use crate::world::{IMAGE, NOW, World, descriptor, sha256};

/// Longer than what is sent at a time.
const LENGTH: usize = 1_000_000;

/// Another registry with one image, `library/web:1`.
#[derive(Debug, Default)]
struct Fake {
    layer: Vec<u8>,
    manifest: Vec<u8>,
    is_gone: Mutex<bool>,
    /// It takes questions and says nothing, until this is false.
    hangs: Mutex<bool>,
    lies: bool,
    /// So much of a blob may be sent.
    allowed: Mutex<usize>,
    more: Condvar,
    looked_up: AtomicUsize,
    fetched: AtomicUsize,
}

fn noise() -> Vec<u8> {
    (0..LENGTH).map(|at| u8::try_from(at * at / 7 % 251).unwrap()).collect()
}

impl Fake {
    fn new() -> Self {
        let layer = noise();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("x/config", b"{}"),
            "layers": [descriptor("x/layer", &layer)],
        });
        Self {
            layer,
            manifest: manifest.to_string().into_bytes(),
            allowed: Mutex::new(LENGTH),
            ..Self::default()
        }
    }

    fn allow(&self, length: usize) {
        *self.allowed.lock().unwrap() = length;
        self.more.notify_all();
    }

    fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.more.notify_all();
    }

    fn check(&self, registry: &str, name: &str) -> Result<(), UpstreamError> {
        drop(self.more.wait_while(self.hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        if *self.is_gone.lock().unwrap() {
            return Err(UpstreamError::Failed("nobody answers".to_owned()));
        }
        match (registry, name) {
            ("docker.io", "library/web") => Ok(()),
            _ => Err(UpstreamError::NotFound("no such repository".to_owned())),
        }
    }
}

impl Upstream for Fake {
    fn look_up(&self, registry: &str, name: &str, tag: &str) -> Result<Option<String>, UpstreamError> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        self.check(registry, name)?;
        match tag {
            "1" => Ok(Some(sha256(&self.manifest))),
            "untold" => Ok(None),
            _ => Err(UpstreamError::NotFound("no such tag".to_owned())),
        }
    }

    fn manifest(&self, registry: &str, name: &str, _: &str) -> Result<UpstreamManifest, UpstreamError> {
        self.check(registry, name)?;
        self.fetched.fetch_add(1, Ordering::Relaxed);
        Ok(UpstreamManifest { bytes: self.manifest.clone(), media_type: IMAGE.to_owned() })
    }

    fn list(
        &self,
        registry: &str,
        name: &str,
        list: UpstreamList<'_>,
        query: &str,
    ) -> Result<UpstreamPage, UpstreamError> {
        self.check(registry, name)?;
        let (body, next) = match (list, query) {
            (UpstreamList::Tags, "n=2") => (json!({"tags": ["1", "2"]}), Some("n=2&last=2&ns=evil")),
            (UpstreamList::Tags, "n=2&last=2") => (json!({"tags": ["3"]}), None),
            (UpstreamList::Tags, _) => (json!({"tags": ["1", "2", "3"]}), None),
            (UpstreamList::Referrers(digest), _) if digest == sha256(&self.manifest) => {
                let of = |kind: &str| json!({"digest": sha256(kind.as_bytes()), "artifactType": kind});
                (json!({"manifests": [of("x/signature"), of("x/list")]}), None)
            }
            (UpstreamList::Referrers(_), _) => (json!({"manifests": null}), None),
        };
        Ok(UpstreamPage { bytes: body.to_string().into_bytes(), next: next.map(str::to_owned) })
    }

    fn blob_size(&self, registry: &str, name: &str, digest: &str) -> Result<u64, UpstreamError> {
        self.check(registry, name)?;
        if digest == sha256(&self.layer) {
            Ok(self.layer.len() as u64)
        } else {
            Err(UpstreamError::NotFound("no such blob".to_owned()))
        }
    }

    fn blob(
        &self,
        registry: &str,
        name: &str,
        _: (&str, u64),
        out: &mut dyn Write,
    ) -> Result<(), UpstreamError> {
        self.check(registry, name)?;
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let mut sent = 0;
        while sent < LENGTH {
            let allowed = self.more.wait_while(self.allowed.lock().unwrap(), |allowed| *allowed <= sent);
            let end = (*allowed.unwrap()).min(LENGTH);
            let mut bytes = self.layer[sent..end].to_vec();
            if self.lies {
                bytes[0] ^= 1;
            }
            out.write_all(&bytes).map_err(|error| UpstreamError::Failed(error.to_string()))?;
            sent = end;
        }
        Ok(())
    }
}

fn cache(fake: &Arc<Fake>) -> World {
    let registries = vec!["docker.io".to_owned(), "other.test".to_owned()];
    let upstream: Arc<dyn Upstream> = Arc::<Fake>::clone(fake);
    let [known, unknown, rest] = [100, 300, 60_000].map(Duration::from_millis);
    let through = Through::new(upstream, registries).with_patience(Patience { known, unknown, rest });
    World::with(|config| Config { through: Some(through), ..config })
}

async fn body_of(world: &World, target: &str) -> Body {
    let request = Request::builder().uri(target).body(Body::empty()).unwrap();
    let answer = world.registry.answer(request).await;
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// Reads so many bytes of a body.
async fn read(body: &mut Body, length: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < length {
        read.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_fetched_is_not_fetched_again() {
    let fake = Arc::new(Fake::new());
    let world = cache(&fake);
    let blob = format!("/v2/library/web/blobs/{}", sha256(&fake.layer));
    for round in 1..=2 {
        let manifest = world.get("/v2/library/web/manifests/1?ns=docker.io").await;
        assert_eq!(manifest.is(200).body, fake.manifest);
        assert_eq!(manifest.header("content-type"), IMAGE);
        let by_digest = format!("/v2/library/web/manifests/{}", sha256(&fake.manifest));
        assert_eq!(world.get(&by_digest).await.is(200).body, fake.manifest);
        let head = world.ask(&format!("HEAD {blob}"), &[], "").await;
        assert_eq!(head.is(200).header("content-length"), LENGTH.to_string());
        assert_eq!(world.get(&blob).await.is(200).body, fake.layer);
        assert_eq!(fake.looked_up.load(Ordering::Relaxed), round);
        assert_eq!(fake.fetched.load(Ordering::Relaxed), 2, "a manifest and a blob");
    }
    assert_eq!(world.get("/v2/library/web/manifests/untold").await.is(200).body, fake.manifest);
    let tags = world.get("/v2/library/web/tags/list").await;
    assert_eq!(tags.is(200).json(), json!({"name": "library/web", "tags": ["1", "2", "3"]}));
    assert_eq!(world.get("/v2/_catalog").await.is(200).json()["repositories"], json!([]));
    world.kept.store.gc(NOW).unwrap().unwrap();
    assert_eq!(world.get(&blob).await.is(200).body, fake.layer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_served_when_the_other_does_not_answer() {
    let fake = Arc::new(Fake::new());
    let world = cache(&fake);
    world.get("/v2/library/web/manifests/1").await.is(200);
    *fake.is_gone.lock().unwrap() = true;
    let stale = world.get("/v2/library/web/manifests/1").await;
    assert!(stale.is(200).header("warning").starts_with("110 "));
    assert_eq!(world.get("/v2/library/web/manifests/2").await.is(502).code(), "UNKNOWN");
    let blob = format!("/v2/library/web/blobs/{}", sha256(&fake.layer));
    world.get(&blob).await.is(502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_those_of_the_other_registry() {
    let fake = Arc::new(Fake::new());
    let world = cache(&fake);
    let first = world.get("/v2/library/web/tags/list?n=2&ns=docker.io").await;
    assert_eq!(first.is(200).json()["tags"], json!(["1", "2"]));
    let next = "/v2/library/web/tags/list?n=2&last=2&ns=docker.io";
    assert_eq!(first.header("link"), format!("<{next}>; rel=\"next\""));
    let second = world.get(next).await;
    assert_eq!((second.is(200).json()["tags"].clone(), second.header("link")), (json!(["3"]), ""));
    world.get("/v2/library/web/tags/list?n=x").await.is(400);
    world.get("/v2/library/other/tags/list").await.is(404);

    let referrers = format!("/v2/library/web/referrers/{}", sha256(&fake.manifest));
    let all = world.get(&referrers).await.is(200).json();
    assert_eq!((all["schemaVersion"].clone(), all["manifests"].as_array().unwrap().len()), (json!(2), 2));
    let signed = world.get(&format!("{referrers}?artifactType=x/signature")).await;
    assert_eq!(signed.is(200).json()["manifests"][0]["artifactType"], "x/signature");
    assert_eq!(signed.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(signed.header("oci-filters-applied"), "artifactType");

    // None that is known is not none, and what is known of the tags is told to be only that.
    world.get("/v2/library/web/manifests/1").await.is(200);
    *fake.is_gone.lock().unwrap() = true;
    world.get(&referrers).await.is(502);
    let stale = world.get("/v2/library/web/tags/list").await;
    assert_eq!(stale.is(200).json()["tags"], json!(["1"]));
    assert!(stale.header("warning").starts_with("110 "));
    world.get("/v2/library/web/tags/list?ns=other.test").await.is(502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_hangs_is_waited_for_once() {
    let fake = Arc::new(Fake::new());
    let world = cache(&fake);
    world.get("/v2/library/web/manifests/1").await.is(200);
    fake.hang(true);
    for _ in 0..50 {
        let stale = world.get("/v2/library/web/manifests/1").await;
        assert!(stale.is(200).header("warning").starts_with("110 "));
    }
    assert_eq!(fake.looked_up.load(Ordering::Relaxed), 2, "once before it hung, and once after");
    let refused = world.get("/v2/library/web/manifests/2").await;
    assert_eq!(refused.is(504).code(), "UNKNOWN");
    let text = refused.json()["errors"][0]["message"].to_string();
    assert!(text.contains("docker.io did not answer within"), "{text}");
    fake.hang(false);
    world.get("/v2/library/web/manifests/untold").await.is(200);
    assert_eq!(world.get("/v2/library/web/manifests/1").await.is(200).header("warning"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_reads_along_while_it_arrives() {
    let fake = Arc::new(Fake::new());
    fake.allow(LENGTH / 2);
    let world = cache(&fake);
    let target = format!("/v2/library/web/blobs/{}", sha256(&fake.layer));
    let (mut one, mut two) = (body_of(&world, &target).await, body_of(&world, &target).await);
    let mut first = read(&mut one, LENGTH / 2).await;
    let mut second = read(&mut two, LENGTH / 2).await;
    fake.allow(LENGTH);
    first.extend(read(&mut one, LENGTH / 2).await);
    second.extend(read(&mut two, LENGTH / 2).await);
    assert!(first == fake.layer && second == fake.layer);
    assert_eq!(fake.fetched.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_stops_nobody_else() {
    let fake = Arc::new(Fake::new());
    fake.allow(10);
    let world = cache(&fake);
    let target = format!("/v2/library/web/blobs/{}", sha256(&fake.layer));
    let mut impatient = body_of(&world, &target).await;
    read(&mut impatient, 10).await;
    drop(impatient);
    let part = [("range", "bytes=999990-999999")];
    let line = format!("GET {target}");
    let (answer, ()) = tokio::join!(world.ask(&line, &part, ""), async {
        fake.allow(LENGTH);
    });
    assert_eq!(answer.is(206).body, fake.layer[LENGTH - 10..]);
    assert_eq!(fake.fetched.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_what_was_asked_for_never_look_whole() {
    let fake = Arc::new(Fake { lies: true, ..Fake::new() });
    let world = cache(&fake);
    let digest = sha256(&fake.layer);
    let body = body_of(&world, &format!("/v2/library/web/blobs/{digest}")).await;
    assert!(body.collect().await.is_err());
    assert!(!world.kept.store.has_blob(&digest.parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_takes_nothing_itself() {
    let world = cache(&Arc::new(Fake::new()));
    for (line, status) in [
        ("POST /v2/library/web/blobs/uploads/", 405),
        ("GET /v2/library/web/blobs/uploads/x", 405),
        ("PUT /v2/library/web/manifests/1", 405),
        ("DELETE /v2/library/web/manifests/1", 405),
        ("GET /v2/library/web/manifests/1?ns=evil.test", 403),
        ("GET /v2/library/web/manifests/1?ns=other.test", 404),
        ("GET /v2/library/web/manifests/none", 404),
        ("GET /v2/", 200),
    ] {
        assert_eq!(world.ask(line, &[], "").await.status.as_u16(), status, "case {line}");
    }
}

//! Several registries on one bucket, and collections.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use shipway_registry::{Collected, Config, Registry};
use shipway_testkit::rounds;
use tokio::task::JoinSet;

use crate::world::{NOW, World, sha256, sha512};

const DAY: i64 = 24 * 60 * 60;

/// Returns another registry on the bucket of one.
pub(crate) fn another(world: &World) -> World {
    let kept = crate::keep::Kept { objects: Arc::clone(&world.kept.objects) };
    let registry = Registry::new(kept.keep(), Config::new(|| NOW));
    World { kept, registry }
}

pub(crate) async fn objects(world: &World, kind: &str) -> usize {
    let prefix = Path::from("registry/one").join(kind);
    world.kept.objects.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap().len()
}

pub(crate) async fn collect(world: &World, days: i64) -> Collected {
    collect_or_fail(world, days).await.unwrap()
}

pub(crate) async fn collect_or_fail(world: &World, days: i64) -> object_store::Result<Collected> {
    // The storage has a clock of its own.
    let written = world.kept.objects.list(None).map_ok(|object| object.last_modified.timestamp());
    let now = written.try_fold(0, |latest, at| async move { Ok(latest.max(at)) }).await.unwrap();
    world.kept.keep().collect(now + days * DAY + 1).await
}

#[tokio::test]
async fn each_piece_of_an_upload_may_reach_another_registry() {
    let world = World::new();
    let worlds = [another(&world), world];
    // Three parts and some, in pieces that end anywhere.
    let bytes: Vec<u8> = (0_u32..7_000_000).flat_map(u32::to_le_bytes).collect();
    let place = worlds[0].begin("team/web").await;
    let mut sent = 0;
    for (turn, length) in [3, 9 << 20, 100, 0, 16 << 20, 1].into_iter().enumerate() {
        let world = &worlds[turn % 2];
        let piece = bytes[sent..sent + length].to_vec();
        let added = world.ask(&format!("PATCH {place}"), &[], piece).await;
        sent += length;
        assert_eq!(added.is(202).header("range"), format!("0-{}", sent - 1));
    }
    let stands = worlds[1].get(&place).await;
    assert_eq!(stands.is(204).header("range"), format!("0-{}", sent - 1));
    let digest = sha512(&bytes);
    let line = format!("PUT {place}?digest={digest}");
    worlds[0].ask(&line, &[], bytes[sent..].to_vec()).await.is(201);
    assert_eq!(worlds[1].get(&format!("/v2/team/web/blobs/{digest}")).await.is(200).body, bytes);
    let line = format!("GET /v2/team/web/blobs/{digest}");
    let part = worlds[1].ask(&line, &[("range", "bytes=9000000-9000009")], "").await;
    assert_eq!(part.is(206).body, bytes[9_000_000..9_000_010]);
    assert_eq!((objects(&worlds[0], "uploads").await, objects(&worlds[0], "tails").await), (0, 0));
}

#[tokio::test]
async fn two_that_send_to_one_upload_do_not_mix() {
    let world = Arc::new(World::new());
    let place = world.begin("web").await;
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let slow = Body::from_stream(futures::stream::once(async move {
        receiver.await.unwrap();
        Ok::<_, std::io::Error>(Bytes::from_static(b"slow"))
    }));
    let mut waiting = JoinSet::new();
    waiting.spawn({
        let (world, line) = (Arc::clone(&world), format!("PATCH {place}"));
        async move { world.ask(&line, &[], slow).await }
    });
    // Until the slow one has begun nothing can be said of the order; either way one of them is told to come again.
    let fast = world.ask(&format!("PATCH {place}"), &[], "fast").await;
    sender.send(()).unwrap();
    let slow = waiting.join_next().await.unwrap().unwrap();
    let kept = match (fast.status.as_u16(), slow.status.as_u16()) {
        (202, 429) => &b"fast"[..],
        (202, 202) => b"fastslow",
        other => panic!("{other:?}"),
    };
    world.ask(&format!("PUT {place}?digest={}", sha256(kept)), &[], "").await.is(201);
    let got = world.get(&format!("/v2/web/blobs/{}", sha256(kept))).await;
    assert_eq!(got.is(200).body, kept);
}

#[tokio::test]
async fn what_no_manifest_names_goes_after_a_day() {
    let world = World::new();
    let other = another(&world);
    let digest = world.push_image("team/web", "1", "layer").await;
    let loose = world.push_blob("team/web", b"loose").await;
    world.begin("team/web").await;
    assert_eq!(collect(&world, 0).await, Collected::default());
    assert_eq!(collect(&world, 1).await, Collected { blobs: 1, bytes: 5, uploads: 1 });
    other.get(&format!("/v2/team/web/blobs/{loose}")).await.is(404);
    other.get(&format!("/v2/team/web/blobs/{}", sha256(b"layer"))).await.is(200);
    assert_eq!(collect(&world, 2).await, Collected::default());
    // It can come again where it was.
    other.push_blob("team/web", b"loose").await;
    assert_eq!(world.get(&format!("/v2/team/web/blobs/{loose}")).await.is(200).body, b"loose");
    other.ask(&format!("DELETE /v2/team/web/manifests/{digest}"), &[], "").await.is(202);
    world.get("/v2/team/web/manifests/1").await.is(404);
    assert_eq!(collect(&other, 1).await.blobs, 3);
    assert_eq!(objects(&world, "data").await, 0);
}

#[tokio::test]
async fn a_blob_that_came_twice_is_kept_once() {
    let world = World::new();
    for repository in ["one", "two"] {
        world.push_blob(repository, b"blob").await;
    }
    assert_eq!((objects(&world, "data").await, objects(&world, "uploads").await), (1, 0));
}

#[tokio::test]
async fn what_is_damaged_is_not_there() {
    let world = World::new();
    world.push_image("web", "1", "layer").await;
    for kind in ["blobs", "manifests"] {
        let prefix = Path::from("registry/one").join(kind);
        let found: Vec<_> = world.kept.objects.list(Some(&prefix)).try_collect().await.unwrap();
        for object in found {
            world.kept.objects.put(&object.location, "nonsense".into()).await.unwrap();
        }
    }
    world.get("/v2/web/manifests/1").await.is(404);
    world.get(&format!("/v2/web/blobs/{}", sha256(b"layer"))).await.is(404);
    world.push_image("web", "1", "layer").await;
    world.get("/v2/web/manifests/1").await.is(200);
}

/// To these collections everything is old, always, so they take away what pushes rely on; those are told so, and nothing is ever half there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_races_with_collections_is_whole_or_refused() {
    let world = Arc::new(World::new());
    let over = tokio_util::sync::CancellationToken::new();
    let mut collecting = JoinSet::new();
    collecting.spawn({
        let (world, over) = (another(&world), over.clone());
        async move {
            while !over.is_cancelled() {
                let now = UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
                world.kept.keep().collect_blobs(now + DAY + 2).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut clients = JoinSet::new();
    for client in 0..4 {
        let world = another(&world);
        clients.spawn(async move {
            for round in 0..rounds(25) {
                let repository = format!("team/{}", client % 2);
                let layer = format!("layer {}", round % 3);
                let manifest = world.image(&repository, &layer).await;
                let line = format!("PUT /v2/{repository}/manifests/{client}");
                let kind = [("content-type", crate::world::IMAGE)];
                let pushed = world.ask(&line, &kind, manifest.to_string()).await;
                assert!(matches!(pushed.status.as_u16(), 201 | 404 | 429), "{}", pushed.status);
                if pushed.status == 201 {
                    let digest = pushed.header("docker-content-digest");
                    let line = format!("DELETE /v2/{repository}/manifests/{digest}");
                    world.ask(&line, &[], "").await;
                }
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    over.cancel();
    collecting.join_next().await.unwrap().unwrap();
    // However it went, what is there is whole.
    let digest = world.push_image("team/0", "last", "layer 1").await;
    world.get(&format!("/v2/team/0/manifests/{digest}")).await.is(200);
    world.get(&format!("/v2/team/0/blobs/{}", sha256(b"layer 1"))).await.is(200);
    // And nothing stays that nothing names.
    for name in world.get("/v2/_catalog").await.json()["repositories"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        for tag in world.get(&format!("/v2/{name}/tags/list")).await.json()["tags"].as_array().unwrap() {
            let line = format!("HEAD /v2/{name}/manifests/{}", tag.as_str().unwrap());
            let found = world.ask(&line, &[], "").await;
            let line = format!("DELETE /v2/{name}/manifests/{}", found.header("docker-content-digest"));
            world.ask(&line, &[], "").await;
        }
    }
    collect(&world, 1).await;
    assert_eq!((objects(&world, "manifests").await, objects(&world, "data").await), (0, 0));
}

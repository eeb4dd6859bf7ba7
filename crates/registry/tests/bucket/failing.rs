//! Storage that fails: nothing is lost by that, nothing wrong is kept, and nothing stays for ever.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use shipway_registry::Collected;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::keep::Fault;
use crate::shared::{another, collect, collect_or_fail, objects};
use crate::world::{IMAGE, World, sha256};

/// Three parts and some.
fn long() -> Vec<u8> {
    (0_u32..6_300_000).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_part_that_did_not_get_there_is_missed() {
    let world = World::new();
    let bytes = long();
    let place = world.begin("web").await;
    world.ask(&format!("PATCH {place}"), &[], bytes[..100].to_vec()).await.is(202);
    world.kept.objects.fail("part", "data/", Fault::Refused);
    world.ask(&format!("PATCH {place}"), &[], bytes[100..].to_vec()).await.is(502);
    assert_eq!(world.kept.objects.faults(), 0);
    // Whoever asks is told to send again what was lost.
    let other = another(&world);
    assert_eq!(other.get(&place).await.is(204).header("range"), "0-99");
    other.ask(&format!("PATCH {place}"), &[], bytes[100..].to_vec()).await.is(202);
    let digest = sha256(&bytes);
    world.ask(&format!("PUT {place}?digest={digest}"), &[], "").await.is(201);
    assert_eq!(world.get(&format!("/v2/web/blobs/{digest}")).await.is(200).body, bytes);
    assert_eq!((world.kept.objects.open_parts(), objects(&world, "uploads").await), (0, 0));
}

#[tokio::test]
async fn what_the_storage_did_without_saying_so_is_not_lost() {
    let world = World::new();
    let digest = sha256(b"layer");
    world.kept.objects.fail("put", "blobs/", Fault::Unsaid);
    let line = format!("POST /v2/web/blobs/uploads/?digest={digest}");
    world.ask(&line, &[], "layer").await.is(502);
    assert_eq!(world.kept.objects.faults(), 0);
    world.push_blob("web", b"layer").await;
    let blob = format!("/v2/web/blobs/{digest}");
    assert_eq!(world.get(&blob).await.is(200).body, b"layer");
    world.push_image("web", "1", "layer").await;
    assert_eq!(collect(&world, 1).await, Collected { uploads: 1, ..Collected::default() });
    assert_eq!(world.get(&blob).await.is(200).body, b"layer");
    assert_eq!((objects(&world, "uploads").await, objects(&world, "data").await), (0, 2));
}

#[tokio::test]
async fn a_write_that_is_repeated_is_not_taken_for_anothers() {
    let world = World::new();
    let bytes = long();
    let (place, digest) = (world.begin("web").await, sha256(&bytes));
    let (middle, end) = (12 << 20, 20 << 20);
    for (line, piece) in [
        (format!("PATCH {place}"), &bytes[..100]),
        // Parts begin, and it rests.
        (format!("PATCH {place}"), &bytes[100..middle]),
        (format!("PATCH {place}"), &bytes[middle..end]),
        (format!("PUT {place}?digest={digest}"), &bytes[end..]),
    ] {
        world.kept.objects.fail("put", "uploads/", Fault::Repeated);
        let answer = world.ask(&line, &[], piece.to_vec()).await;
        assert!(answer.status.is_success(), "case {line}: {}", answer.status);
        assert_eq!(world.kept.objects.faults(), 0, "case {line}");
    }
    assert_eq!(world.get(&format!("/v2/web/blobs/{digest}")).await.is(200).body, bytes);
    assert_eq!((world.kept.objects.open_parts(), objects(&world, "uploads").await), (0, 0));
}

#[tokio::test]
async fn no_parts_stay_of_what_nobody_can_end() {
    let world = World::new();
    let bytes = long();
    let line = format!("POST /v2/web/blobs/uploads/?digest={}", sha256(&bytes));
    world.kept.objects.fail("complete", "data/", Fault::Refused);
    world.ask(&line, &[], bytes.clone()).await.is(502);
    assert_eq!((world.kept.objects.open_parts(), objects(&world, "uploads").await), (0, 0));

    // Complete without saying so is complete.
    world.kept.objects.fail("complete", "data/", Fault::Unsaid);
    world.ask(&line, &[], bytes.clone()).await.is(201);
    assert_eq!(world.get(&format!("/v2/web/blobs/{}", sha256(&bytes))).await.is(200).body, bytes);

    // Here the registry is killed in the middle.
    let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    world.kept.objects.fail("part", "data/", Fault::Held(Arc::clone(&come), go));
    tokio::select! {
        answer = world.ask(&line, &[], bytes.clone()) => panic!("{}", answer.status),
        () = come.notified() => {}
    }
    assert_eq!(world.kept.objects.open_parts(), 1);
    // And the first collection fails.
    world.kept.objects.fail("abort", "data/", Fault::Refused);
    collect_or_fail(&world, 1).await.unwrap_err();
    assert_eq!(collect(&world, 1).await.uploads, 1);
    assert_eq!((world.kept.objects.open_parts(), objects(&world, "uploads").await), (0, 0));
}

#[tokio::test]
async fn who_comes_too_late_to_an_upload_takes_nothing_from_who_has_it() {
    let world = Arc::new(World::new());
    let digest = sha256(b"layer");
    let place = world.begin("web").await;
    let line = format!("PUT {place}?digest={digest}");
    let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    world.kept.objects.fail("put", "blobs/", Fault::Held(Arc::clone(&come), Arc::clone(&go)));
    let mut first = JoinSet::new();
    first.spawn({
        let (world, line) = (Arc::clone(&world), line.clone());
        async move { world.ask(&line, &[], "layer").await }
    });
    come.notified().await;
    // A client that has waited long enough asks again, and a balancer asks another registry.
    let other = another(&world);
    other.ask(&line, &[], "layer").await.is(404);
    other.ask(&format!("DELETE {place}"), &[], "").await.is(404);
    other.ask(&format!("PATCH {place}"), &[], "more").await.is(404);
    go.notify_one();
    first.join_next().await.unwrap().unwrap().is(201);
    assert_eq!(other.get(&format!("/v2/web/blobs/{digest}")).await.is(200).body, b"layer");
    assert_eq!((objects(&world, "uploads").await, objects(&world, "data").await), (0, 1));
}

#[tokio::test]
async fn of_two_that_begin_parts_at_once_one_goes_on() {
    let world = Arc::new(World::new());
    let bytes = long();
    let place = world.begin("web").await;
    let (sender, receiver) = tokio::sync::oneshot::channel::<Bytes>();
    // It has found the upload as it was when its first byte is taken.
    let (come, begun) = (Arc::new(Notify::new()), Bytes::copy_from_slice(&bytes[..1]));
    let slow = futures::stream::once({
        let come = Arc::clone(&come);
        async move {
            come.notify_one();
            Ok::<_, std::io::Error>(begun)
        }
    });
    let slow = slow.chain(futures::stream::once(async move { Ok(receiver.await.unwrap()) }));
    let mut waiting = JoinSet::new();
    waiting.spawn({
        let (world, line) = (Arc::clone(&world), format!("PATCH {place}"));
        async move { world.ask(&line, &[], Body::from_stream(slow)).await }
    });
    come.notified().await;
    another(&world).ask(&format!("PATCH {place}"), &[], bytes.clone()).await.is(202);
    sender.send(Bytes::copy_from_slice(&bytes[1..])).unwrap();
    waiting.join_next().await.unwrap().unwrap().is(429);
    assert_eq!(world.kept.objects.open_parts(), 1);
    let digest = sha256(&bytes);
    world.ask(&format!("PUT {place}?digest={digest}"), &[], "").await.is(201);
    assert_eq!(world.get(&format!("/v2/web/blobs/{digest}")).await.is(200).body, bytes);
    assert_eq!(world.kept.objects.open_parts(), 0);
}

#[tokio::test]
async fn a_collection_that_is_cut_off_is_ended_by_another() {
    let world = World::new();
    let digest = world.push_blob("web", b"loose").await;
    world.kept.objects.fail("delete", "data/", Fault::Refused);
    collect_or_fail(&world, 1).await.unwrap_err();
    assert_eq!(objects(&world, "data").await, 1);
    world.get(&format!("/v2/web/blobs/{digest}")).await.is(404);
    assert_eq!(collect(&world, 2).await, Collected { blobs: 1, bytes: 5, uploads: 0 });
    assert_eq!(objects(&world, "data").await, 0);
}

#[tokio::test]
async fn a_push_mends_what_somebody_took_out_of_the_bucket() {
    let world = World::new();
    let digest = world.push_image("web", "1", "layer").await;
    let data = Path::from("registry/one/data");
    let mut bytes = world.kept.objects.list(Some(&data));
    while let Some(found) = bytes.next().await {
        world.kept.objects.delete(&found.unwrap().location).await.unwrap();
    }
    let blob = format!("/v2/web/blobs/{}", sha256(b"layer"));
    world.get(&blob).await.is(404);
    world.ask(&format!("HEAD {blob}"), &[], "").await.is(404);
    assert_eq!(world.push_image("web", "1", "layer").await, digest);
    assert_eq!(world.get(&blob).await.is(200).body, b"layer");
    assert_eq!(objects(&world, "data").await, 2);
}

#[tokio::test]
async fn storage_that_heeds_no_conditions_is_not_relied_on() {
    let world = World::new();
    let secret = world.kept.keep().secret().await.unwrap();
    assert_eq!(world.kept.keep().secret().await.unwrap(), secret);
    world.kept.objects.fail("put", "secret", Fault::Careless);
    let error = world.kept.keep().secret().await.unwrap_err();
    assert!(error.to_string().contains("does not heed `If-None-Match`"), "{error}");
    assert_eq!(world.kept.keep().secret().await.unwrap(), secret, "it is what it was");
}

#[tokio::test]
async fn a_tag_that_has_moved_meanwhile_is_neither_moved_nor_removed() {
    let world = Arc::new(World::new());
    for method in ["PUT", "DELETE"] {
        let there = format!("\"{}\"", world.push_image("web", "1", &format!("before {method}")).await);
        let late = world.image("web", "late").await.to_string();
        let soon = world.image("web", &format!("soon {method}")).await.to_string();
        let headers = [("content-type", IMAGE), ("if-match", there.as_str())];
        let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        world.kept.objects.fail("put", "tags/", Fault::Held(Arc::clone(&come), Arc::clone(&go)));
        let line = format!("{method} /v2/web/manifests/1");
        let (first, ()) = tokio::join!(world.ask(&line, &headers, late), async {
            come.notified().await;
            another(&world).ask("PUT /v2/web/manifests/1", &headers, soon.clone()).await.is(201);
            go.notify_one();
        });
        first.is(412);
        let is_there = format!("\"{}\"", sha256(soon.as_bytes()));
        assert_eq!(world.get("/v2/web/manifests/1").await.header("etag"), is_there, "{method}");
        // What was done without an answer is done.
        world.kept.objects.fail("put", "tags/", Fault::Repeated);
        let headers = [("content-type", IMAGE), ("if-match", is_there.as_str())];
        let done = if method == "PUT" { 201 } else { 202 };
        world.ask(&line, &headers, world.image("web", "after").await.to_string()).await.is(done);
    }
}

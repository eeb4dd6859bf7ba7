//! Many at once, for long. For more of it: `cargo xtask soak`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use shipway_testkit::{Dice, rounds};
use tokio::task::JoinSet;

use crate::world::{NOW, World, sha256};

fn files(world: &World, place: &str) -> usize {
    fs_err::read_dir(world.kept.store.root().join(place)).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_blob_from_everywhere_is_kept_once() {
    for round in 0..rounds(1) {
        let world = Arc::new(World::new());
        let shared = format!("shared {round}").repeat(10_000);
        let mut tasks = JoinSet::new();
        for client in 0..64 {
            let (world, shared) = (Arc::clone(&world), shared.clone());
            tasks.spawn(async move {
                let repository = format!("team/{client}");
                world.push_blob(&repository, shared.as_bytes()).await;
                world.push_blob(&repository, format!("own {client}").as_bytes()).await;
                // And some who change their minds, or whose connection breaks.
                let place = world.begin(&repository).await;
                let pieces = [Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("cut"))];
                let broken = Body::from_stream(futures::stream::iter(pieces));
                world.ask(&format!("PATCH {place}"), &[], broken).await.is(400);
                world.ask(&format!("DELETE {place}"), &[], "").await.is(204);
                let got = world.get(&format!("/v2/{repository}/blobs/{}", sha256(shared.as_bytes()))).await;
                assert_eq!(got.is(200).body, shared.as_bytes());
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!((files(&world, "blobs/sha256"), files(&world, "tmp")), (65, 0));
        assert_eq!(world.kept.store.fsck(&|_| {}).unwrap(), []);
    }
}

/// A collection that comes between an upload and its manifest has broken pushes elsewhere: quay's soak found 40 in 481 cycles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_push_is_broken_by_collections_that_never_end() {
    let world = Arc::new(World::new());
    let over = Arc::new(AtomicBool::new(false));
    let collections = Arc::new(AtomicUsize::new(0));
    let collector = {
        let (world, over, collections) = (Arc::clone(&world), Arc::clone(&over), Arc::clone(&collections));
        tokio::task::spawn_blocking(move || {
            while !over.load(Ordering::Relaxed) {
                let collected = world.kept.store.gc(NOW).unwrap().is_some();
                collections.fetch_add(usize::from(collected), Ordering::Relaxed);
                std::thread::yield_now();
            }
        })
    };
    let mut clients = JoinSet::new();
    for client in 0..4_u64 {
        let (world, collections) = (Arc::clone(&world), Arc::clone(&collections));
        clients.spawn(async move {
            let mut dice = Dice::new(client + 1);
            // On a busy machine the collector may come late.
            let is_enough = |cycle| cycle >= rounds(20) && collections.load(Ordering::Relaxed) > 0;
            for cycle in (0..rounds(2000)).take_while(|cycle| !is_enough(*cycle)) {
                let (repository, tag) = (format!("team/{}", dice.roll(3)), format!("t{}", dice.roll(4)));
                let layer = format!("layer {}", dice.roll(6));
                let digest = world.push_image(&repository, &tag, &layer).await;
                let pulled = world.get(&format!("/v2/{repository}/manifests/{digest}")).await;
                // Another client may have deleted it, but never only its blobs.
                if pulled.status == 200 {
                    let blob = format!("/v2/{repository}/blobs/{}", sha256(layer.as_bytes()));
                    assert_eq!(world.get(&blob).await.is(200).body, layer.as_bytes(), "cycle {cycle}");
                }
                if dice.roll(3) == 0 {
                    let line = format!("DELETE /v2/{repository}/manifests/{digest}");
                    let status = world.ask(&line, &[], "").await.status.as_u16();
                    assert!([202, 404].contains(&status), "{status}");
                }
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    collector.await.unwrap();
    assert!(collections.load(Ordering::Relaxed) > 0, "nothing was collected meanwhile");
    for repository in world.get("/v2/_catalog").await.json()["repositories"].as_array().unwrap() {
        let repository = repository.as_str().unwrap();
        let tags = world.get(&format!("/v2/{repository}/tags/list")).await;
        for tag in tags.is(200).json()["tags"].as_array().unwrap() {
            let tag = tag.as_str().unwrap();
            world.ask(&format!("DELETE /v2/{repository}/manifests/{tag}"), &[], "").await.is(202);
        }
    }
    assert_eq!(world.kept.store.fsck(&|_| {}).unwrap(), []);
}

//! What a registry has to do with the store that it is on.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;
use shipway_oci::{DiffId, Digest};
use shipway_registry::{Archives, Config};
use shipway_store::{LayerId, LayerNotes, LayerRow, MOUNT_PROOF};

use crate::world::{IMAGE, NOW, World, descriptor, sha256};

#[tokio::test]
async fn an_image_of_the_machines_own_is_in_no_repository() {
    let world = World::new();
    world.push_blob("web", b"blob").await;
    let own = world.kept.store.put_blob(b"own").unwrap();
    assert_eq!(own.to_string(), sha256(b"own"));
    world.get(&format!("/v2/web/blobs/{own}")).await.is(404);
}

#[tokio::test]
async fn nothing_is_collected_while_somebody_sends() {
    let world = World::new();
    let place = world.begin("web").await;
    world.ask(&format!("PATCH {place}"), &[], "half").await.is(202);
    assert_eq!(world.kept.store.gc(i64::MAX).unwrap(), None);
    world.ask(&format!("PUT {place}?digest={}", sha256(b"half")), &[], "").await.is(201);
    let digest = world.push_image("web", "1", "layer").await;
    world.kept.store.gc(i64::MAX).unwrap().unwrap();
    world.get(&format!("/v2/web/blobs/{}", sha256(b"layer"))).await.is(200);
    world.get("/v2/web/manifests/1").await.is(200);
    world.get(&format!("/v2/web/blobs/{}", sha256(b"half"))).await.is(404);
    world.ask(&format!("DELETE /v2/web/manifests/{digest}"), &[], "").await.is(202);
    world.kept.store.gc(i64::MAX).unwrap().unwrap();
    assert_eq!(std::fs::read_dir(world.kept.store.root().join("blobs/sha256")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_clock_that_is_set_in_the_middle_of_a_push_breaks_nothing() {
    const YEAR: i64 = 365 * 24 * 60 * 60;
    static CLOCK: AtomicI64 = AtomicI64::new(NOW);
    let world = World::with(|config| Config { clock: || CLOCK.load(Ordering::Relaxed), ..config });
    for (tag, clock) in [("1", NOW + YEAR), ("2", NOW - YEAR), ("3", NOW)] {
        let manifest = world.image("web", tag).await;
        CLOCK.store(clock, Ordering::Relaxed);
        world.kept.store.gc(world.kept.store.steady(clock)).unwrap().unwrap();
        world.push_manifest("web", tag, &manifest).await;
        world.get(&format!("/v2/web/blobs/{}", sha256(tag.as_bytes()))).await.is(200);
    }
}

/// Layers whose archives are `length` times the letter x.
#[derive(Debug)]
struct Letters(usize);

impl Archives for Letters {
    fn write(&self, _: DiffId, out: &mut dyn Write) -> std::io::Result<()> {
        (0..self.0).try_for_each(|_| out.write_all(b"x"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_read_the_store_need_not_send_what_is_in_it() {
    const LENGTH: usize = 700_000;
    let archives: Arc<dyn Archives> = Arc::new(Letters(LENGTH));
    let world = World::with(|config| Config { archives: Some(archives), ..config });
    let archive = vec![b'x'; LENGTH];
    let digest: Digest = sha256(&archive).parse().unwrap();
    let row = LayerRow {
        id: LayerId::unique(1),
        diff_id: Some(DiffId(digest)),
        size: LENGTH as u64,
        notes: LayerNotes::default(),
    };
    fs_err::create_dir(world.kept.store.root().join("layers").join(row.id.as_str())).unwrap();
    world.kept.store.record_layer(&row).unwrap();
    world.kept.store.put_blob(b"{}").unwrap();

    let manifest = |layer: &Digest| {
        json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("x/config", b"{}"),
            "layers": [{"mediaType": "x/layer", "digest": layer, "size": LENGTH}],
        })
        .to_string()
    };
    let push = async |repository: &str, manifest: &str, proof: &str| {
        let line = format!("PUT /v2/{repository}/manifests/1");
        let headers = [("host", "registry.test"), ("content-type", IMAGE), (MOUNT_PROOF, proof)];
        let answer = world.ask(&line, &headers, manifest.to_owned()).await;
        // Only who was shown the right proof, and has all of it, says that the store is the same.
        let digest = Digest::of(manifest.as_bytes());
        let right = world.kept.store.mount_answer("registry.test", repository, &digest).unwrap();
        let said = answer.headers.get(MOUNT_PROOF).and_then(|said| said.to_str().ok());
        assert_eq!(said, (answer.status == 201).then_some(right.as_str()));
        answer.status.as_u16()
    };
    let proof = |host: &str, repository: &str, manifest: &str| {
        world.kept.store.mount_proof(host, repository, &Digest::of(manifest.as_bytes())).unwrap()
    };
    let (image, broken) = (manifest(&digest), manifest(&Digest::of(b"none")));
    for (name, manifest, proof, want) in [
        ("a proof for another manifest", &image, proof("registry.test", "web", &broken), 404),
        ("for another repository", &image, proof("registry.test", "api", &image), 404),
        ("for another registry", &image, proof("evil.test", "web", &image), 404),
        ("no proof", &image, "x".to_owned(), 404),
        ("a layer that is not there", &broken, proof("registry.test", "web", &broken), 404),
        ("all is there", &image, proof("registry.test", "web", &image), 201),
    ] {
        assert_eq!(push("web", manifest, &proof).await, want, "case {name}");
    }
    assert_eq!(push("api", &image, &proof("registry.test", "web", &image)).await, 404);

    let across = format!("POST /v2/api/blobs/uploads/?mount={digest}&from=web");
    world.ask(&across, &[], "").await.is(201);
    // Nothing else needs it.
    world.kept.store.gc(NOW * 2).unwrap().unwrap();
    let target = format!("/v2/web/blobs/{digest}");
    let head = world.ask(&format!("HEAD {target}"), &[], "").await;
    assert_eq!(head.is(200).header("content-length"), LENGTH.to_string());
    assert_eq!(world.get(&target).await.is(200).body, archive);
    let part = world.ask(&format!("GET {target}"), &[("range", "bytes=300000-300009")], "").await;
    assert_eq!(part.is(206).body, b"xxxxxxxxxx");
    assert_eq!(world.kept.store.fsck(&|_| {}).unwrap(), []);
}

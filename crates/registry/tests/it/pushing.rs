use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use serde_json::json;
use shipway_oci::{DiffId, Digest};
use shipway_registry::{Archives, Config};
use shipway_store::{LayerId, LayerNotes, LayerRow, MOUNT_PROOF};

use crate::world::{IMAGE, NOW, World, descriptor, sha256, sha512};

#[tokio::test]
async fn content_comes_in_one_piece() {
    let world = World::new();
    let digest = sha256(b"blob");
    let place = world.begin("web").await;
    let ended = world.ask(&format!("PUT {place}?digest={digest}"), &[], "blob").await;
    ended.is(201);
    assert_eq!(ended.header("location"), format!("/v2/web/blobs/{digest}"));
    assert_eq!(ended.header("docker-content-digest"), digest);
    assert_eq!(world.get(ended.header("location")).await.is(200).body, b"blob");
    world.get(&place).await.is(404);
    // At once with its digest, and again: it is there already.
    assert_eq!(world.push_blob("web", b"blob").await, digest);
}

#[tokio::test]
async fn content_comes_in_pieces_that_are_in_order() {
    let world = World::new();
    let place = world.begin("web").await;
    let add = |range: &'static str, piece: &'static str| {
        let (world, line) = (&world, format!("PATCH {place}"));
        async move { world.ask(&line, &[("content-range", range)], piece).await }
    };
    let first = add("0-3", "0123").await;
    assert_eq!(first.is(202).header("range"), "0-3");
    assert_eq!(first.header("location"), place);
    for (range, piece) in [("5-6", "56"), ("0-3", "0123"), ("nonsense", "x"), ("4-3", "")] {
        let refused = add(range, piece).await;
        assert_eq!(refused.is(416).code(), "RANGE_INVALID", "{range}");
        assert_eq!((refused.header("range"), refused.header("location")), ("0-3", place.as_str()), "{range}");
    }
    let stands = world.get(&place).await;
    assert_eq!((stands.is(204).header("range"), stands.header("location")), ("0-3", place.as_str()));
    add("4-6", "456").await.is(202);
    let digest = sha256(b"0123456789");
    let line = format!("PUT {place}?digest={digest}");
    world.ask(&line, &[("content-range", "7-9")], "789").await.is(201);
    assert_eq!(world.get(&format!("/v2/web/blobs/{digest}")).await.body, b"0123456789");
    // Without a range a piece goes to the end.
    let place = world.begin("web").await;
    for piece in ["ab", "cd"] {
        world.ask(&format!("PATCH {place}"), &[], piece).await.is(202);
    }
    world.ask(&format!("PUT {place}?digest={}", sha256(b"abcd")), &[], "").await.is(201);
}

#[tokio::test]
async fn what_arrived_before_a_break_stays_to_go_on_from() {
    let world = World::new();
    let place = world.begin("web").await;
    let pieces: [Result<Bytes, std::io::Error>; 2] =
        [Ok(Bytes::from_static(b"01234")), Err(std::io::ErrorKind::ConnectionReset.into())];
    let body = Body::from_stream(futures::stream::iter(pieces));
    let broken = world.ask(&format!("PATCH {place}"), &[], body).await;
    assert_eq!(broken.is(400).code(), "BLOB_UPLOAD_INVALID");
    assert_eq!(world.get(&place).await.is(204).header("range"), "0-4");
    world.ask(&format!("PATCH {place}"), &[("content-range", "5-9")], "56789").await.is(202);
    let digest = sha256(b"0123456789");
    world.ask(&format!("PUT {place}?digest={digest}"), &[], "").await.is(201);
    assert_eq!(world.get(&format!("/v2/web/blobs/{digest}")).await.body, b"0123456789");
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_not_kept() {
    let world = World::new();
    for wanted in [sha256(b"other"), sha512(b"other")] {
        let place = world.begin("web").await;
        let refused = world.ask(&format!("PUT {place}?digest={wanted}"), &[], "blob").await;
        assert_eq!(refused.is(400).code(), "DIGEST_INVALID");
        world.get(&format!("/v2/web/blobs/{wanted}")).await.is(404);
        world.get(&format!("/v2/web/blobs/{}", sha256(b"blob"))).await.is(404);
        world.get(&place).await.is(404);
    }
    for digest in ["", "x", "md5:00", "sha256:XX"] {
        let place = world.begin("web").await;
        let refused = world.ask(&format!("PUT {place}?digest={digest}"), &[], "blob").await;
        assert_eq!(refused.is(400).code(), "DIGEST_INVALID", "{digest}");
    }
    assert_eq!(
        world.ask("POST /v2/web/blobs/uploads/?digest=x", &[], "").await.is(400).code(),
        "DIGEST_INVALID"
    );
}

#[tokio::test]
async fn both_algorithms_name_content() {
    let world = World::new();
    let digest = sha512(b"blob");
    let line = format!("POST /v2/web/blobs/uploads/?digest={}", digest.replace(':', "%3A"));
    assert_eq!(world.ask(&line, &[], "blob").await.is(201).header("docker-content-digest"), digest);
    assert_eq!(world.get(&format!("/v2/web/blobs/{digest}")).await.is(200).body, b"blob");
    world.get(&format!("/v2/web/blobs/{}", sha256(b"blob"))).await.is(404);
    let manifest = world.image("web", "layer").await.to_string();
    let line = format!("PUT /v2/web/manifests/{}", sha512(manifest.as_bytes()));
    let pushed = world.ask(&line, &[("content-type", IMAGE)], manifest.clone()).await;
    assert_eq!(pushed.is(201).header("docker-content-digest"), sha512(manifest.as_bytes()));
    let target = format!("/v2/web/manifests/{}", sha512(manifest.as_bytes()));
    assert_eq!(world.get(&target).await.is(200).body, manifest.as_bytes());
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_it_is() {
    let world = World::new();
    let digest = world.push_blob("base", b"blob").await;
    let mount = |query: String| {
        let world = &world;
        async move { world.ask(&format!("POST /v2/web/blobs/uploads/?{query}"), &[], "").await }
    };
    // One that does not have it: the upload begins.
    let begun = mount(format!("mount={digest}&from=other")).await;
    assert!(begun.is(202).header("location").starts_with("/v2/web/blobs/uploads/"));
    let mounted = mount(format!("mount={digest}&from=base")).await;
    assert_eq!(mounted.is(201).header("location"), format!("/v2/web/blobs/{digest}"));
    world.get(&format!("/v2/web/blobs/{digest}")).await.is(200);
    // Without a place to look in, all are looked in.
    let line = format!("POST /v2/third/blobs/uploads/?mount={digest}");
    world.ask(&line, &[], "").await.is(201);
    assert_eq!(mount(format!("mount={digest}&from=..")).await.is(400).code(), "NAME_INVALID");
    assert_eq!(mount("mount=x&from=base".to_owned()).await.is(400).code(), "DIGEST_INVALID");
}

#[tokio::test]
async fn an_upload_is_its_repositorys_alone() {
    let world = World::new();
    let place = world.begin("web").await;
    let elsewhere = place.replace("/web/", "/other/");
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = world.ask(&format!("{method} {elsewhere}"), &[], "").await;
        assert_eq!(answer.is(404).code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
    }
    let digest = sha256(b"x");
    world.ask(&format!("PUT {elsewhere}?digest={digest}"), &[], "x").await.is(404);
    world.ask(&format!("DELETE {place}"), &[], "").await.is(204);
    world.ask(&format!("DELETE {place}"), &[], "").await.is(404);
    world.ask(&format!("PUT {place}?digest={digest}"), &[], "x").await.is(404);
}

#[tokio::test]
async fn nothing_is_collected_while_somebody_sends() {
    let world = World::new();
    let place = world.begin("web").await;
    world.ask(&format!("PATCH {place}"), &[], "half").await.is(202);
    assert_eq!(world.store.gc(i64::MAX).unwrap(), None);
    world.ask(&format!("PUT {place}?digest={}", sha256(b"half")), &[], "").await.is(201);
    let digest = world.push_image("web", "1", "layer").await;
    world.store.gc(i64::MAX).unwrap().unwrap();
    world.get(&format!("/v2/web/blobs/{}", sha256(b"layer"))).await.is(200);
    world.get("/v2/web/manifests/1").await.is(200);
    world.get(&format!("/v2/web/blobs/{}", sha256(b"half"))).await.is(404);
    world.ask(&format!("DELETE /v2/web/manifests/{digest}"), &[], "").await.is(202);
    world.store.gc(i64::MAX).unwrap().unwrap();
    assert_eq!(std::fs::read_dir(world.store.root().join("blobs/sha256")).unwrap().count(), 0);
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
    fs_err::create_dir(world.store.root().join("layers").join(row.id.as_str())).unwrap();
    world.store.record_layer(&row).unwrap();
    let config = world.store.put_blob(b"{}").unwrap();

    let mount = async |repository: &str, digest: &Digest, proof: &str| {
        let line = format!("POST /v2/{repository}/blobs/uploads/?mount={digest}");
        let headers = [("host", "registry.test"), (MOUNT_PROOF, proof)];
        let answer = world.ask(&line, &headers, "").await;
        if answer.status == 202 {
            world.ask(&format!("DELETE {}", answer.header("location")), &[], "").await.is(204);
        }
        answer.status.as_u16()
    };
    let proof = |host: &str, repository: &str, digest: &Digest| {
        world.store.mount_proof(host, repository, digest).unwrap()
    };
    let none = Digest::of(b"none");
    for (name, repository, of, proof, want) in [
        ("a proof for another blob", "web", &digest, proof("registry.test", "web", &config), 202),
        ("for another repository", "web", &digest, proof("registry.test", "api", &digest), 202),
        ("for another registry", "web", &digest, proof("evil.test", "web", &digest), 202),
        ("no proof", "web", &digest, "x".to_owned(), 202),
        ("nothing there", "web", &none, proof("registry.test", "web", &none), 202),
        ("a layer", "web", &digest, proof("registry.test", "web", &digest), 201),
        ("a blob", "web", &config, proof("registry.test", "web", &config), 201),
    ] {
        assert_eq!(mount(repository, of, &proof).await, want, "case {name}");
    }

    let across = format!("POST /v2/api/blobs/uploads/?mount={digest}&from=web");
    world.ask(&across, &[], "").await.is(201);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("x/config", b"{}"),
        "layers": [{"mediaType": "x/layer", "digest": digest, "size": LENGTH}],
    });
    world.push_manifest("web", "1", &manifest).await;
    // Nothing else needs it.
    world.store.gc(NOW * 2).unwrap().unwrap();
    let target = format!("/v2/web/blobs/{digest}");
    let head = world.ask(&format!("HEAD {target}"), &[], "").await;
    assert_eq!(head.is(200).header("content-length"), LENGTH.to_string());
    assert_eq!(world.get(&target).await.is(200).body, archive);
    let part = world.ask(&format!("GET {target}"), &[("range", "bytes=300000-300009")], "").await;
    assert_eq!(part.is(206).body, b"xxxxxxxxxx");
    assert_eq!(world.store.fsck(&|_| {}).unwrap(), []);
}

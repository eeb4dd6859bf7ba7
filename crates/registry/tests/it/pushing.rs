use axum::body::Body;
use bytes::Bytes;

use crate::world::{IMAGE, World, sha256, sha512};

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

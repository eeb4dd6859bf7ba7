use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{IMAGE, INDEX, World, descriptor, sha256};

#[tokio::test]
async fn a_manifest_is_found_by_tag_and_by_digest() {
    let world = World::new();
    let digest = world.push_image("web", "1", "layer").await;
    for reference in ["1", &digest] {
        let found = world.get(&format!("/v2/web/manifests/{reference}")).await;
        assert_eq!(found.is(200).header("content-type"), IMAGE);
        assert_eq!(
            (found.header("docker-content-digest"), sha256(&found.body)),
            (digest.as_str(), digest.clone())
        );
        let line = format!("HEAD /v2/web/manifests/{reference}");
        let head = world.ask(&line, &[], "").await;
        assert_eq!(head.is(200).header("content-length"), found.body.len().to_string());
        let known = [("if-none-match", found.header("etag"))];
        world.ask(&format!("GET /v2/web/manifests/{reference}"), &known, "").await.is(304);
        let other = [("if-match", "\"other\"")];
        for method in ["GET", "HEAD", "DELETE"] {
            world.ask(&format!("{method} /v2/web/manifests/{reference}"), &other, "").await.is(412);
        }
    }
    // The tag moves; the older one is still there by its digest.
    let newer = world.push_image("web", "1", "newer").await;
    assert_eq!(world.get("/v2/web/manifests/1").await.header("docker-content-digest"), newer);
    world.get(&format!("/v2/web/manifests/{digest}")).await.is(200);
    for reference in ["2", &sha256(b"none")] {
        let missing = world.get(&format!("/v2/web/manifests/{reference}")).await;
        assert_eq!(missing.is(404).code(), "MANIFEST_UNKNOWN");
    }
    world.get("/v2/other/manifests/1").await.is(404);
}

#[tokio::test]
async fn a_change_is_made_of_the_version_that_it_is_meant_for() {
    let world = World::new();
    let digest = world.push_image("web", "1", "one").await;
    let manifest = world.image("web", "two").await.to_string();
    let [one, two] = [&digest, &sha256(manifest.as_bytes())].map(|digest| format!("\"{digest}\""));
    let put = async |tag: &str, header: &str, value: &str| {
        let headers = [("content-type", IMAGE), (header, value)];
        world.ask(&format!("PUT /v2/web/manifests/{tag}"), &headers, manifest.clone()).await
    };
    let delete = async |reference: &str, header: &str, value: &str| {
        world.ask(&format!("DELETE /v2/web/manifests/{reference}"), &[(header, value)], "").await
    };
    for (tag, header, value) in [
        ("1", "if-match", "\"other\""),
        ("1", "if-match", &two),
        ("1", "if-none-match", "*"),
        ("1", "if-none-match", &one),
        ("2", "if-match", "*"),
        ("2", "if-match", &one),
    ] {
        let refused = put(tag, header, value).await;
        let there = if tag == "1" { one.as_str() } else { "" };
        assert_eq!(refused.is(412).header("etag"), there, "case {tag}, {header}: {value}");
    }
    assert_eq!(world.get("/v2/web/manifests/1").await.header("etag"), one);
    world.get("/v2/web/manifests/2").await.is(404);
    put("1", "if-match", &format!("\"other\", {one}")).await.is(201);
    put("1", "if-match", &one).await.is(412);
    for _ in 0..2 {
        put("2", "if-none-match", "*").await.is(201);
        delete("2", "if-match", &one).await.is(412);
        delete("2", "if-none-match", &two).await.is(412);
        delete("2", "if-match", &two).await.is(202);
        assert_eq!(delete("2", "if-match", &two).await.is(404).code(), "MANIFEST_UNKNOWN");
        delete("2", "x-none", "").await.is(404);
        world.get("/v2/web/manifests/2").await.is(404);
        assert_eq!(world.get("/v2/web/tags/list").await.json()["tags"], json!(["1"]));
    }
    delete(&digest, "if-match", &two).await.is(412);
    delete(&digest, "if-match", &one).await.is(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_change_the_same_version_one_succeeds() {
    let world = Arc::new(World::new());
    let mut is_there = format!("\"{}\"", world.push_image("web", "1", "first").await);
    for method in ["PUT", "DELETE"] {
        let mut tasks = JoinSet::new();
        for client in 0..8 {
            let manifest = world.image("web", &format!("layer {client}")).await.to_string();
            let (world, is_there) = (Arc::clone(&world), is_there.clone());
            tasks.spawn(async move {
                let headers = [("content-type", IMAGE), ("if-match", is_there.as_str())];
                world.ask(&format!("{method} /v2/web/manifests/1"), &headers, manifest).await.status.as_u16()
            });
        }
        let mut done = tasks.join_all().await;
        done.sort_unstable();
        let [won, lost] = if method == "PUT" { [201, 412] } else { [202, 404] };
        assert_eq!((done.iter().filter(|status| **status == won).count(), done.len()), (1, 8), "{done:?}");
        assert!(done.iter().all(|status| [won, lost].contains(status)), "{method}: {done:?}");
        is_there = world.get("/v2/web/manifests/1").await.header("etag").to_owned();
    }
    world.get("/v2/web/manifests/1").await.is(404);
}

#[tokio::test]
async fn tags_go_alone_and_manifests_with_their_tags() {
    let world = World::new();
    let digest = world.push_image("web", "1", "layer").await;
    world.push_image("web", "2", "layer").await;
    world.ask("DELETE /v2/web/manifests/1", &[], "").await.is(202);
    world.get("/v2/web/manifests/1").await.is(404);
    world.get("/v2/web/manifests/2").await.is(200);
    assert_eq!(world.ask("DELETE /v2/web/manifests/1", &[], "").await.is(404).code(), "MANIFEST_UNKNOWN");
    world.ask(&format!("DELETE /v2/web/manifests/{digest}"), &[], "").await.is(202);
    world.get("/v2/web/manifests/2").await.is(404);
    world.ask(&format!("DELETE /v2/web/manifests/{digest}"), &[], "").await.is(404);
}

#[tokio::test]
async fn a_manifest_that_is_none_is_refused_and_leaves_the_tag_alone() {
    let world = World::new();
    let digest = world.push_image("web", "1", "layer").await;
    let lacking = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("x/config", b"{}"),
        "layers": [descriptor("x/layer", b"was not pushed")],
    });
    let put = |kind: &'static str, text: String| {
        let world = &world;
        async move { world.ask("PUT /v2/web/manifests/1", &[("content-type", kind)], text).await }
    };
    assert_eq!(put(IMAGE, lacking.to_string()).await.is(404).code(), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(put(IMAGE, "{".to_owned()).await.is(400).code(), "MANIFEST_INVALID");
    assert_eq!(put(INDEX, lacking.to_string()).await.is(400).code(), "MANIFEST_INVALID");
    let wrong = format!("PUT /v2/web/manifests/{}", sha256(b"other"));
    let manifest = world.image("web", "layer").await.to_string();
    assert_eq!(
        world.ask(&wrong, &[("content-type", IMAGE)], manifest).await.is(400).code(),
        "DIGEST_INVALID"
    );
    assert_eq!(world.get("/v2/web/manifests/1").await.header("docker-content-digest"), digest);
    // Layers that lie elsewhere need not be here.
    let foreign = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("x/config", b"{}"),
        "layers": [descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar", b"elsewhere")],
    });
    put(IMAGE, foreign.to_string()).await.is(201);
}

#[tokio::test]
async fn one_request_may_give_several_tags() {
    let world = World::new();
    let manifest = world.image("web", "layer").await.to_string();
    let digest = sha256(manifest.as_bytes());
    let line = format!("PUT /v2/web/manifests/{digest}?tag=a&tag=b");
    let pushed = world.ask(&line, &[("content-type", IMAGE)], manifest).await;
    assert_eq!(pushed.is(201).header("oci-tag"), "a, b");
    for tag in ["a", "b"] {
        let found = world.get(&format!("/v2/web/manifests/{tag}")).await;
        assert_eq!(found.is(200).header("docker-content-digest"), digest);
    }
}

#[tokio::test]
async fn manifests_that_are_about_another_are_listed_with_it() {
    let world = World::new();
    let subject = world.push_image("web", "1", "layer").await;
    let about = json!({"mediaType": IMAGE, "digest": subject, "size": 1});
    let mut kinds = Vec::new();
    for (kind, note) in [("x/sbom", "one"), ("x/signature", "two")] {
        let mut manifest = world.image("web", note).await;
        manifest["artifactType"] = json!(kind);
        manifest["subject"] = about.clone();
        manifest["annotations"] = json!({"note": note});
        let line = format!("PUT /v2/web/manifests/{note}");
        let pushed = world.ask(&line, &[("content-type", IMAGE)], manifest.to_string()).await;
        assert_eq!(pushed.is(201).header("oci-subject"), subject);
        kinds.push((
            kind,
            pushed.header("docker-content-digest").to_owned(),
            manifest.to_string().len(),
            note,
        ));
    }
    // An index may be about something too; it says of what kind it is, or is of none.
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": about});
    world.push_manifest("web", "index", &index).await;
    let listed = world.get(&format!("/v2/web/referrers/{subject}")).await;
    assert_eq!(listed.is(200).header("content-type"), INDEX);
    assert_eq!(listed.json()["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(listed.header("oci-filters-applied"), "");
    for (kind, digest, size, note) in kinds {
        let filtered = world.get(&format!("/v2/web/referrers/{subject}?artifactType={kind}")).await;
        let want = json!([{
            "mediaType": IMAGE, "digest": digest, "size": size, "artifactType": kind,
            "annotations": {"note": note},
        }]);
        assert_eq!(
            (&filtered.json()["manifests"], filtered.header("oci-filters-applied")),
            (&want, "artifactType")
        );
    }
    // Nothing is about it, or it is not known: an empty list.
    let none = world.get(&format!("/v2/web/referrers/{}", sha256(b"none"))).await;
    assert_eq!(none.is(200).json()["manifests"], json!([]));
    assert_eq!(world.get("/v2/web/referrers/x").await.is(400).code(), "DIGEST_INVALID");
}

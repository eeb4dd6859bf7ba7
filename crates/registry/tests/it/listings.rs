use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn tags_come_in_pages() {
    let world = World::new();
    for tag in ["b", "a", "C", "a-1"] {
        world.push_image("web", tag, "layer").await;
    }
    let all = world.get("/v2/web/tags/list").await;
    assert_eq!(all.is(200).json(), json!({"name": "web", "tags": ["C", "a", "a-1", "b"]}));
    assert_eq!(all.header("link"), "");
    let first = world.get("/v2/web/tags/list?n=2").await;
    assert_eq!(first.json()["tags"], json!(["C", "a"]));
    assert_eq!(first.header("link"), "</v2/web/tags/list?n=2&last=a>; rel=\"next\"");
    let second = world.get("/v2/web/tags/list?n=2&last=a").await;
    assert_eq!((&second.json()["tags"], second.header("link")), (&json!(["a-1", "b"]), ""));
    assert_eq!(world.get("/v2/web/tags/list?n=0").await.is(200).json()["tags"], json!([]));
    assert_eq!(world.get("/v2/web/tags/list?last=zzz").await.is(200).json()["tags"], json!([]));
    for n in ["-1", "x", "1.5"] {
        let refused = world.get(&format!("/v2/web/tags/list?n={n}")).await;
        assert_eq!(refused.is(400).code(), "PAGINATION_NUMBER_INVALID", "{n}");
    }
    world.get("/v2/web/tags/list?n=99999999999999999999").await.is(200);
    assert_eq!(world.get("/v2/none/tags/list").await.is(404).code(), "NAME_UNKNOWN");
}

#[tokio::test]
async fn repositories_come_in_pages() {
    let world = World::new();
    assert_eq!(world.get("/v2/_catalog").await.is(200).json(), json!({"repositories": []}));
    for repository in ["web", "team/api", "base"] {
        world.push_image(repository, "1", "layer").await;
    }
    let first = world.get("/v2/_catalog?n=2").await;
    assert_eq!(first.json(), json!({"repositories": ["base", "team/api"]}));
    assert_eq!(first.header("link"), "</v2/_catalog?n=2&last=team/api>; rel=\"next\"");
    assert_eq!(world.get("/v2/_catalog?last=team/api").await.json(), json!({"repositories": ["web"]}));
}

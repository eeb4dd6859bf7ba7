use crate::world::World;

#[tokio::test]
async fn a_blob_is_read_whole_in_part_and_not_again() {
    let world = World::new();
    let digest = world.push_blob("web", b"0123456789").await;
    let target = format!("/v2/web/blobs/{digest}");
    let head = world.ask(&format!("HEAD {target}"), &[], "").await;
    head.is(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("10", 0));
    assert_eq!(
        (head.header("docker-content-digest"), head.header("accept-ranges")),
        (digest.as_str(), "bytes")
    );
    let tag = head.header("etag").to_owned();
    let get = |headers: Vec<(&'static str, String)>| {
        let (world, line) = (&world, format!("GET {target}"));
        async move {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            world.ask(&line, &headers, "").await
        }
    };
    for (range, want, said) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let part = get(vec![("range", range.to_owned())]).await;
        assert_eq!((part.is(206).body.as_slice(), part.header("content-range")), (want.as_bytes(), said));
    }
    for range in ["bytes=0-3", "bytes=10-"] {
        let head = world.ask(&format!("HEAD {target}"), &[("range", range)], "").await;
        assert_eq!(head.is(200).header("content-length"), "10", "{range}");
    }
    let none = get(vec![("range", "bytes=10-".to_owned())]).await;
    assert_eq!((none.is(416).code().as_str(), none.header("content-range")), ("RANGE_INVALID", "bytes */10"));
    assert_eq!(get(vec![("range", "bytes=0-1,4-5".to_owned())]).await.is(200).body, b"0123456789");
    get(vec![("if-none-match", tag.clone())]).await.is(304);
    get(vec![("if-none-match", "\"other\"".to_owned())]).await.is(200);
    for (wanted, status) in [
        (tag.clone(), 200),
        (format!("\"other\", {tag}"), 200),
        ("*".to_owned(), 200),
        ("\"other\"".to_owned(), 412),
        (format!("W/{tag}"), 412),
    ] {
        get(vec![("if-match", wanted)]).await.is(status);
    }
    let both = get(vec![("if-match", "\"other\"".to_owned()), ("if-none-match", tag.clone())]).await;
    assert_eq!((both.is(412).code().as_str(), both.header("etag")), ("UNKNOWN", tag.as_str()));
    let resumed = get(vec![("range", "bytes=8-".to_owned()), ("if-range", tag)]).await;
    assert_eq!(resumed.is(206).body, b"89");
    get(vec![("range", "bytes=8-".to_owned()), ("if-range", "\"old\"".to_owned())]).await.is(200);
}

#[tokio::test]
async fn a_long_blob_comes_as_it_went() {
    let world = World::new();
    let bytes: Vec<u8> = (0_u32..700_000).flat_map(u32::to_le_bytes).collect();
    let digest = world.push_blob("web", &bytes).await;
    let target = format!("/v2/web/blobs/{digest}");
    assert_eq!(world.get(&target).await.is(200).body, bytes);
    let line = format!("GET {target}");
    let part = world.ask(&line, &[("range", "bytes=1000000-2499999")], "").await;
    assert_eq!(part.is(206).body, bytes[1_000_000..2_500_000]);
}

#[tokio::test]
async fn a_repository_has_what_was_pushed_to_it_and_no_more() {
    let world = World::new();
    let digest = world.push_blob("secret", b"blob").await;
    for method in ["GET", "HEAD", "DELETE"] {
        let line = format!("{method} /v2/other/blobs/{digest}");
        world.ask(&line, &[], "").await.is(404);
    }
    let target = format!("/v2/secret/blobs/{digest}");
    world.get(&target).await.is(200);
    let delete = format!("DELETE {target}");
    world.ask(&delete, &[("if-match", "\"other\"")], "").await.is(412);
    let tag = format!("\"{digest}\"");
    world.ask(&delete, &[("if-match", &tag)], "").await.is(202);
    assert_eq!(world.get(&target).await.is(404).code(), "BLOB_UNKNOWN");
    world.ask(&delete, &[("if-match", &tag)], "").await.is(404);
}

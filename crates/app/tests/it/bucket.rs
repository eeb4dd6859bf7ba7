//! A registry whose content is in object storage.

use std::sync::Arc;

use shipway_testkit::bucket::Bucket;
use shipway_testkit::registry::TestRegistry;

use crate::machine::{Machine, can_run};

#[test]
fn registries_that_share_a_bucket_serve_the_same_images() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let bucket = Arc::new(Bucket::default());
    let storage = machine.inside({
        let bucket = Arc::clone(&bucket);
        || TestRegistry::with_fault(move |asked, _| Some(bucket.answer(asked)))
    });
    let endpoint = format!("http://{}", storage.address);
    let args = ["registry", "serve", "-q", "--listen", "127.0.0.1:0", "--bucket", "s3://images/some/place"];
    let args = [&args[..], &["--bucket-endpoint", &endpoint]].concat();
    let (one, two) = (machine.serve(&args), machine.serve(&args));
    let name = |address: String| format!("{address}/team/box:1");
    machine.publish(&name(one.address()));
    assert_eq!(bucket.count("some/place/tags/team@box/"), 1);
    assert_eq!(bucket.count("some/place/uploads/"), 0);

    let elsewhere = machine.dir.path().join("elsewhere");
    let (root, state) = (elsewhere.join("root"), elsewhere.join("state"));
    let roots = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let command = ["run", "--rm", "--network", "none", &name(two.address()), "echo hi"];
    assert_eq!(machine.ok(&[&roots[..], &command].concat()).0, "hi\n");
    let again = machine.publish(&name(two.address()));
    assert_eq!(again.matches(": Layer already exists\n").count(), 3, "{again}");
    assert!(storage.asked().iter().all(|asked| asked.header("authorization").is_some()));
}

#[test]
fn a_bucket_that_cannot_be_used_is_told_before_anybody_relies_on_it() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    let storage = machine.inside(|| {
        TestRegistry::with_fault(|_, _| {
            Some(shipway_testkit::registry::Reply::new(403, "<Error><Code>AccessDenied</Code></Error>"))
        })
    });
    let endpoint = format!("http://{}", storage.address);
    for (url, endpoint, want) in [
        ("images", &*endpoint, "`images` is no bucket"),
        ("s3://", &endpoint, "`s3://` is no bucket"),
        ("s3://a?b", &endpoint, "`s3://a?b` is no bucket"),
        ("s3://images", &endpoint, "the bucket s3://images cannot be used: "),
        ("s3://images", &storage.address, "is no address of a service with buckets"),
    ] {
        let args =
            ["registry", "serve", "--listen", "127.0.0.1:0", "--bucket", url, "--bucket-endpoint", endpoint];
        let said = machine.refused(&args, 1);
        assert!(said.contains(want), "{url}: {said}");
    }
    let args = ["registry", "serve", "--bucket", "s3://images", "--pull-through", "docker.io"];
    assert!(machine.refused(&args, 2).contains("cannot be used with"));
}

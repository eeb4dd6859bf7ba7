use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use shipway_distribution::RegistryError;

use crate::image::{Image, noise};
use crate::machine::Machine;
use shipway_testkit::registry::{Asked, Drips, Reply, TestRegistry};

/// Pulls an image from a registry that answers some questions about its one large layer as `fault` says.
fn pull_with(
    image: &Image,
    fault: impl Fn(&Asked, usize) -> Option<Reply> + Send + Sync + 'static,
) -> (Machine, TestRegistry, Result<(), RegistryError>) {
    let registry = TestRegistry::with_fault(fault);
    image.publish(&registry, "web", "1");
    let machine = Machine::new();
    let pulled = machine.pull(&registry.name("web:1")).map(drop).map_err(|error| error.source);
    (machine, registry, pulled)
}

fn image() -> Image {
    Image::of(&[&noise(600_000)])
}

#[test]
fn a_lie_about_a_layer_is_found_and_nothing_of_it_is_kept() {
    let image = image();
    let digest = image.blob_digest(0);
    let blob = image.blobs[0].clone();
    let path = format!("/blobs/{digest}");
    let mut wrong = blob.clone();
    wrong[300_000] ^= 1;
    let cases: Vec<(&str, Reply, &str)> = vec![
        ("other bytes", Reply::new(200, wrong), "its digest is"),
        ("too short", Reply::new(200, &blob[..1000]), "it has 1000 bytes"),
        ("too long", Reply::new(200, [&blob[..], b"more"].concat()), "bytes, not"),
        ("without end", Reply { endless: true, ..Reply::new(200, blob.clone()) }, "more than its"),
        ("nothing", Reply::new(200, ""), "broke off after 0"),
        ("another part", Reply::new(206, &blob[5..]).header("Content-Range", "bytes 5-9/10"), "another part"),
    ];
    for (name, reply, said) in cases {
        let of_fault = path.clone();
        let (machine, _registry, pulled) =
            pull_with(&image, move |asked, _| asked.target.ends_with(&of_fault).then(|| reply.clone()));
        let error = pulled.unwrap_err();
        assert!(
            matches!(error, RegistryError::Content { .. } | RegistryError::Broken { .. }),
            "case {name}: {error}"
        );
        assert!(error.to_string().contains(said), "case {name}: {error}");
        assert!(!machine.store.has_blob(&digest), "case {name}");
        assert_eq!(machine.store.images().unwrap(), [], "case {name}");
        assert_eq!(fs_err::read_dir(machine.store.tmp()).unwrap().count(), 0, "case {name}");
    }
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let image = image();
    let blob = Arc::new(image.blobs[0].clone());
    let path = format!("/blobs/{}", image.blob_digest(0));
    for (name, ranges) in [("with ranges", true), ("without ranges", false)] {
        let (blob, path) = (Arc::clone(&blob), path.clone());
        let of_test = path.clone();
        let (machine, registry, pulled) = pull_with(&image, move |asked, _| {
            let is_it = asked.target.ends_with(&path);
            match asked.header("range") {
                None if is_it && ranges => {
                    Some(Reply { cut: Some(200_000), ..Reply::new(200, blob.to_vec()) })
                }
                Some("bytes=200000-") if is_it && ranges => {
                    let rest = Reply::new(206, &blob[200_000..]);
                    let range = format!("bytes 200000-{}/{}", blob.len() - 1, blob.len());
                    Some(Reply { cut: Some(100_000), ..rest.header("Content-Range", range) })
                }
                // The server knows no ranges: the whole again, longer each time.
                Some(_) if is_it && !ranges => Some(Reply::new(200, blob.to_vec())),
                None if is_it => Some(Reply { cut: Some(200_000), ..Reply::new(200, blob.to_vec()) }),
                _ => None,
            }
        });
        pulled.unwrap_or_else(|error| panic!("case {name}: {error}"));
        assert!(machine.store.has_blob(&image.blob_digest(0)), "case {name}");
        let asked: Vec<_> =
            registry.asked().into_iter().filter(|asked| asked.target.ends_with(&of_test)).collect();
        let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges[..2], [None, Some("bytes=200000-".to_owned())], "case {name}");
    }
}

#[test]
fn a_manifest_that_breaks_off_is_asked_for_again() {
    let image = image();
    let bytes = serde_json::to_vec(&image.manifest).unwrap();
    for (name, breaks) in [("once", 1), ("each time", usize::MAX)] {
        let (bytes, begun) = (bytes.clone(), AtomicUsize::new(0));
        let (_machine, _registry, pulled) = pull_with(&image, move |asked, _| {
            let is_it = asked.is("GET", "/manifests/") && begun.fetch_add(1, Ordering::SeqCst) < breaks;
            is_it.then(|| Reply { cut: Some(20), ..Reply::new(200, bytes.clone()) })
        });
        match pulled {
            Ok(()) => assert_eq!(breaks, 1, "case {name}"),
            Err(error) => {
                assert!(matches!(error, RegistryError::Broken { .. }), "case {name}: {error}");
                assert!(
                    error.to_string().contains("manifest of web:1 broke off after "),
                    "case {name}: {error}"
                );
                assert_ne!(breaks, 1, "case {name}: {error}");
            }
        }
    }
}

#[test]
fn a_registry_that_hardly_sends_anything_is_not_waited_for_again_and_again() {
    let image = image();
    let manifest = serde_json::to_vec(&image.manifest).unwrap();
    let blob = image.blobs[0].clone();
    let drips = |body: &[u8], at_once| {
        let drips = Drips { at_once, piece: 1, pause: Duration::from_millis(10) };
        Reply { drips: Some(drips), ..Reply::new(200, body) }
    };
    for (name, part, reply, most) in [
        ("a manifest", "/manifests/", drips(&manifest, 20), 2),
        ("a layer", "/blobs/", drips(&blob, 200_000), 3),
        ("a layer from its first byte on", "/blobs/", drips(&blob, 0), 3),
    ] {
        let layer = format!("/blobs/{}", image.blob_digest(0));
        let wanted = if part == "/blobs/" { layer } else { part.to_owned() };
        let of_fault = wanted.clone();
        let registry =
            TestRegistry::with_fault(move |asked, _| asked.is("GET", &of_fault).then(|| reply.clone()));
        image.publish(&registry, "web", "1");
        let mut machine = Machine::new();
        machine.silence = Duration::from_millis(200);
        let error = machine.refused(&registry.name("web:1"));
        assert!(matches!(error, RegistryError::Broken { .. }), "case {name}: {error}");
        assert!(error.with_cause().contains("bytes came in"), "case {name}: {}", error.with_cause());
        assert_eq!(registry.count("GET", &wanted), most, "case {name}");
    }
}

#[test]
fn a_slow_line_brings_an_image() {
    let image = Image::of(&[b"small"]);
    let manifest = serde_json::to_vec(&image.manifest).unwrap();
    // It takes several times as long as a server may be silent.
    let drips = Drips { at_once: 0, piece: 4, pause: Duration::from_millis(5) };
    let slow = Reply { drips: Some(drips), ..Reply::new(200, manifest) };
    let registry =
        TestRegistry::with_fault(move |asked, _| asked.is("GET", "/manifests/").then(|| slow.clone()));
    image.publish(&registry, "web", "1");
    let mut machine = Machine::new();
    machine.silence = Duration::from_millis(200);
    machine.pull(&registry.name("web:1")).unwrap();
    assert_eq!(registry.count("GET", "/manifests/"), 1);
}

#[test]
fn a_download_begins_again_where_the_rest_cannot_be_had() {
    let image = image();
    let blob = image.blobs[0].clone();
    let range = format!("bytes 0-{}/{}", blob.len() - 1, blob.len());
    let whole = Reply::new(206, blob.clone()).header("Content-Range", range);
    for (name, rest) in [("no part", Reply::new(416, "")), ("all of it as a part", whole)] {
        let (blob, path) = (blob.clone(), format!("/blobs/{}", image.blob_digest(0)));
        let begun = AtomicUsize::new(0);
        let (machine, _registry, pulled) = pull_with(&image, move |asked, _| {
            if !asked.target.ends_with(&path) {
                return None;
            }
            if asked.header("range").is_some() {
                return Some(rest.clone());
            }
            let is_first = begun.fetch_add(1, Ordering::SeqCst) == 0;
            is_first.then(|| Reply { cut: Some(200_000), ..Reply::new(200, blob.clone()) })
        });
        pulled.unwrap_or_else(|error| panic!("case {name}: {error}"));
        assert!(machine.store.has_blob(&image.blob_digest(0)), "case {name}");
    }
}

#[test]
fn a_download_that_never_gets_further_ends() {
    let image = image();
    let path = format!("/blobs/{}", image.blob_digest(0));
    let blob = image.blobs[0].clone();
    let (_machine, registry, pulled) = pull_with(&image, move |asked, _| {
        asked.target.ends_with(&path).then(|| match asked.header("range") {
            None => Reply { cut: Some(200_000), ..Reply::new(200, blob.clone()) },
            Some(_) => Reply { cut: Some(0), ..Reply::new(206, &blob[200_000..]) }
                .header("Content-Range", "bytes 200000-600000/600001"),
        })
    });
    let error = pulled.unwrap_err();
    assert!(matches!(error, RegistryError::Broken { received: 200_000, .. }), "{error}");
    assert!(registry.asked().len() < 20);
}

#[test]
fn a_registry_that_is_busy_is_asked_again_and_one_that_stays_so_is_told() {
    let limited = || {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your limit"}]}"#;
        Reply::new(429, body).header("Retry-After", "0")
    };
    let (_, _, pulled) = pull_with(&image(), move |_, number| (number % 2 == 0).then(limited));
    pulled.unwrap();
    let (_, registry, pulled) = pull_with(&image(), move |_, _| Some(limited()));
    let error = pulled.unwrap_err();
    assert!(
        error.to_string().ends_with("limits requests for the next 0 seconds: you have reached your limit"),
        "{error}"
    );
    assert_eq!(registry.asked().len(), 3);
    // One that names a pause for which nobody waits is asked once.
    let later = || Reply::new(429, "").header("Retry-After", "3600");
    let (_, registry, pulled) = pull_with(&image(), move |_, _| Some(later()));
    let text = pulled.unwrap_err().to_string();
    assert!(text.ends_with("limits requests for the next 3600 seconds"), "{text}");
    assert_eq!(registry.asked().len(), 1);
    let (_, _, pulled) = pull_with(&image(), move |_, number| (number < 2).then(|| Reply::new(503, "")));
    pulled.unwrap();
}

#[test]
fn whoever_waits_for_a_busy_registry_is_told_why() {
    let registry = TestRegistry::with_fault(|_, number| {
        (number == 0).then(|| Reply::new(429, "").header("Retry-After", "1"))
    });
    image().publish(&registry, "web", "1");
    let mut machine = Machine::new();
    machine.patience = Duration::from_secs(1);
    machine.pull(&registry.name("web:1")).unwrap();
    let notes = machine.notes.take();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains(" answered 429 (") && notes[0].ends_with(": asking again in 1 s"), "{notes:?}");
}

#[test]
fn a_registry_that_speaks_tls_is_told_from_one_that_is_broken() {
    let go = |asked: &Asked| {
        let text =
            if asked.is("HEAD", "/") { "" } else { "Client sent an HTTP request to an HTTPS server.\n" };
        Reply::new(400, text)
    };
    let registry = TestRegistry::with_fault(move |asked, _| Some(go(asked)));
    let source = TestRegistry::start();
    image().publish(&source, "web", "1");
    let machine = Machine::new();
    let pulled = machine.pull(&source.name("web:1")).unwrap();
    let name = registry.name("web:1");
    machine.store.tag(&name.parse().unwrap(), pulled.manifest, pulled.image_id, 1).unwrap();
    let error = machine.push(&name).unwrap_err().source;
    assert!(matches!(error, RegistryError::WantsTls { .. }), "{error}");
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let registry = TestRegistry::start();
    let config = registry.add_blob("chart", b"{}");
    let kind = "application/vnd.cncf.helm.config.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": kind, "digest": config, "size": 2 },
        "layers": [],
    });
    registry.add_manifest(
        "chart",
        "1",
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().as_bytes(),
    );
    let error = Machine::new().refused(&registry.name("chart:1"));
    assert!(
        error.to_string().ends_with(&format!("is no container image: its config is of type {kind}")),
        "{error}"
    );
    assert!(miette::Diagnostic::help(&error).unwrap().to_string().contains("`helm`"));
}

#[test]
fn documents_that_lie_or_are_too_large_are_refused() {
    let good = image();
    let body = good.manifest_bytes();
    let manifest = |bytes: Vec<u8>| {
        Reply::new(200, bytes).header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
    };
    let mut both = good.manifest.clone();
    both["manifests"] = json!([]);
    let mut twice = String::from_utf8(body.clone()).unwrap();
    twice.insert_str(1, "\"layers\":[],");
    let other = format!("sha256:{}", "0".repeat(64));
    let cases: Vec<(&str, Reply, &str)> = vec![
        ("five megabytes", manifest(vec![b' '; 5 << 20]), "larger than 4194304"),
        ("without end", Reply { endless: true, ..manifest(body.clone()) }, "larger than"),
        ("another digest", manifest(body.clone()).header("Docker-Content-Digest", other), "its digest is"),
        ("image and index", manifest(both.to_string().into_bytes()), "both as an image and as an index"),
        ("a name twice", manifest(twice.into_bytes()), "stands twice"),
        ("no JSON", manifest(b"<html>".to_vec()), "not valid"),
        ("deep", manifest("[".repeat(1_000_000).into_bytes()), "not valid"),
    ];
    for (name, reply, said) in cases {
        let (machine, _registry, pulled) =
            pull_with(&good, move |asked, _| asked.target.contains("/manifests/").then(|| reply.clone()));
        let error = pulled.unwrap_err();
        assert!(error.to_string().contains(said), "case {name}: {error}");
        assert_eq!(machine.store.images().unwrap(), [], "case {name}");
    }
}

#[test]
fn a_config_may_be_larger_than_a_manifest_up_to_a_limit() {
    let registry = TestRegistry::start();
    for (tag, megabytes) in [("large", 6), ("huge", 17)] {
        let mut image = Image::of(&[b"one"]);
        image.config["config"]["Labels"] = json!({ "says": "x".repeat(megabytes << 20) });
        image.describe();
        image.publish(&registry, "web", tag);
    }
    let machine = Machine::new();
    machine.pull(&registry.name("web:large")).unwrap();
    let error = machine.refused(&registry.name("web:huge"));
    assert!(error.to_string().contains("larger than 16777216 bytes"), "{error}");
    assert_eq!(machine.store.images().unwrap().len(), 1);
}

#[test]
fn a_digest_in_the_name_is_what_arrives_or_nothing() {
    let registry = TestRegistry::start();
    let (good, other) = (Image::of(&[b"good"]), Image::of(&[b"other"]));
    let digest = good.publish(&registry, "web", "1");
    other.publish(&registry, "web", "2");
    let machine = Machine::new();
    let name = registry.name(&format!("web:2@{digest}"));
    let pulled = machine.pull(&name).unwrap();
    assert_eq!(pulled.digest, digest, "the digest wins over the tag");

    let bytes = other.manifest_bytes();
    let lying = TestRegistry::with_fault(move |asked, _| {
        let reply = Reply::new(200, bytes.clone());
        let kind = "application/vnd.oci.image.manifest.v1+json";
        asked.target.contains("/manifests/").then(|| reply.header("Content-Type", kind))
    });
    let error = Machine::new().refused(&lying.name(&format!("web@{digest}")));
    assert!(error.to_string().contains("its digest is"), "{error}");
}

#[test]
fn a_config_that_lies_about_the_layers_is_found() {
    let registry = TestRegistry::start();
    let mut image = Image::of(&[b"one", b"two"]);
    image.config["rootfs"]["diff_ids"] = json!([image.diff_id(0)]);
    image.describe();
    image.publish(&registry, "web", "few");
    let machine = Machine::new();
    let error = machine.refused(&registry.name("web:few"));
    assert!(error.to_string().contains("it lists 2 layers, and the config 1"), "{error}");

    image.config["rootfs"]["diff_ids"] = json!([image.diff_id(1), image.diff_id(0)]);
    image.describe();
    image.publish(&registry, "web", "swapped");
    let error = machine.refused(&registry.name("web:swapped"));
    assert!(matches!(error, RegistryError::Layer { .. }), "{error}");
    assert_eq!(machine.store.images().unwrap(), []);
}

#[test]
fn addresses_in_a_manifest_are_not_followed() {
    let elsewhere = TestRegistry::start();
    let registry = TestRegistry::start();
    let mut image = Image::of(&[b"foreign"]);
    image.manifest["layers"][0]["urls"] = json!([format!("http://{}/layer", elsewhere.address)]);
    image.manifest["layers"][0]["mediaType"] =
        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    image.publish(&registry, "web", "1");
    Machine::new().pull(&registry.name("web:1")).unwrap();
    let layer = image.blob_digest(0).to_string();
    registry.contents().links.retain(|(_, digest)| *digest != layer);
    let error = Machine::new().refused(&registry.name("web:1"));
    let said = error.to_string();
    assert!(matches!(error, RegistryError::Elsewhere { .. }), "{said}");
    assert!(said.contains(&format!("at `http://{}/layer`", elsewhere.address)), "{said}");
    assert_eq!(elsewhere.asked().len(), 0);
}

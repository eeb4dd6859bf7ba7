use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use shipway_distribution::{Compression, Departure, Packing, RegistryError};
use shipway_oci::Digest;

use crate::image::{Image, noise};
use crate::machine::Machine;
use shipway_testkit::registry::{Reply, TestRegistry};

/// Makes an image as the builder does: its layers are trees, and its manifest names them uncompressed.
pub(crate) fn build(machine: &Machine, name: &str, tars: &[&[u8]]) {
    let mut image = Image::of(tars);
    for tar in tars {
        machine.trees.add(tar);
    }
    let layers: Vec<Value> = tars
        .iter()
        .map(|tar| crate::image::descriptor("application/vnd.oci.image.layer.v1.tar", tar))
        .collect();
    image.manifest["layers"] = json!(layers);
    let config = machine.store.put_blob(&image.config_bytes()).unwrap();
    let manifest = machine.store.put_blob(&image.manifest_bytes()).unwrap();
    machine.store.tag(&name.parse().unwrap(), manifest, config, 1).unwrap();
}

fn writes(registry: &TestRegistry) -> Vec<String> {
    let asked = registry.asked().into_iter();
    let writes = asked.filter(|asked| !["GET", "HEAD"].contains(&asked.method.as_str()));
    writes.map(|asked| format!("{} {}", asked.method, asked.target.split('?').next().unwrap())).collect()
}

#[test]
fn what_was_pushed_can_be_pulled_and_the_second_push_sends_nothing() {
    let registry = TestRegistry::start();
    let (builder, other) = (Machine::new(), Machine::new());
    let name = registry.name("team/web:1");
    let large = noise(9 << 20);
    build(&builder, &name, &[b"small", &large, b"small"]);
    let pushed = builder.push(&name).unwrap();
    let pulled = other.pull(&name).unwrap();
    assert_eq!(pulled.digest, pushed.digest);
    assert_eq!(pulled.image_id, builder.store.resolve(&name).unwrap().image_id);
    assert!(other.trees.has_layer(shipway_oci::DiffId(Digest::of(&large))));
    assert_eq!(registry.count("PATCH", ""), 1, "only the large one is worth being taken up again");

    registry.forget_questions();
    assert_eq!(builder.push(&name).unwrap(), pushed);
    assert_eq!(writes(&registry), ["PUT /v2/team/web/manifests/1"]);
    assert_eq!(registry.count("HEAD", "/blobs/"), 3);

    // What only the name of changes is only named.
    registry.forget_questions();
    let tagged = registry.name("team/web:2");
    let found = builder.store.resolve(&name).unwrap();
    builder.store.tag(&tagged.parse().unwrap(), found.manifest, found.image_id, 2).unwrap();
    builder.push(&tagged).unwrap();
    assert_eq!(writes(&registry), ["PUT /v2/team/web/manifests/2"]);
}

/// Returns the media types of the layers that a manifest in a registry has.
fn kinds(registry: &TestRegistry, path: &str) -> Vec<String> {
    let (_, bytes) = registry.contents().manifests[path].clone();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned()).collect()
}

#[test]
fn layers_go_out_in_the_form_that_is_wanted() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    let text = b"a line that repeats\n".repeat(100_000);
    // The second layer came as gzip.
    Image::of(&[b"base"]).publish(&registry, "base", "1");
    machine.pull(&registry.name("base:1")).unwrap();
    let name = registry.name("web:1");
    build(&machine, &name, &[&text, b"base"]);
    let of = |compression, level, force| Packing { compression, level, force, is_docker: false };
    let mut sizes = Vec::new();
    for (name, packing, want) in [
        ("as usual", None, ["tar+gzip", "tar+gzip"]),
        ("zstd", Some(of(Compression::Zstd, None, false)), ["tar+zstd", "tar+gzip"]),
        ("all zstd", Some(of(Compression::Zstd, None, true)), ["tar+zstd", "tar+zstd"]),
        ("gzip, weak", Some(of(Compression::Gzip, Some(1), false)), ["tar+gzip", "tar+gzip"]),
        ("gzip, hard", Some(of(Compression::Gzip, Some(9), false)), ["tar+gzip", "tar+gzip"]),
        ("all plain", Some(of(Compression::None, None, true)), ["tar", "tar"]),
    ] {
        let how = Departure { packing, by_digest: false };
        let pushed = machine.push_as(&registry.name("web:1"), how).unwrap();
        assert_eq!(kinds(&registry, "web/manifests/1"), want, "case {name}");
        let again = machine.push_as(&registry.name("web:1"), how).unwrap();
        assert_eq!(again, pushed, "case {name}");
        let (_, bytes) = registry.contents().manifests["web/manifests/1"].clone();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        sizes.push(manifest["layers"][0]["size"].as_u64().unwrap());
    }
    assert_eq!(sizes[5], text.len() as u64);
    assert!(sizes[4] < sizes[3] && sizes[3] < sizes[5], "a level is heeded: {sizes:?}");
}

#[test]
fn a_push_by_digest_names_nothing() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    build(&machine, &registry.name("web:1"), &[b"one"]);
    let how = Departure { packing: None, by_digest: true };
    let pushed = machine.push_as(&registry.name("web:1"), how).unwrap();
    let known: Vec<String> = registry.contents().manifests.keys().cloned().collect();
    assert_eq!(known, [format!("web/manifests/{}", pushed.digest)]);
}

#[test]
fn a_pulled_image_is_pushed_elsewhere_byte_for_byte() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let image = Image::of(&[b"one", b"two"]);
    let digest = image.publish(&from, "web", "1");
    let machine = Machine::new();
    let pulled = machine.pull(&from.name("web:1")).unwrap();
    let name = to.name("mirror/web:1");
    machine.store.tag(&name.parse().unwrap(), pulled.manifest, pulled.image_id, 2).unwrap();
    assert_eq!(machine.push(&name).unwrap().digest, digest);
    assert_eq!(Machine::new().pull(&name).unwrap().digest, digest);
}

#[test]
fn layers_are_mounted_from_where_they_came_from() {
    let registry = TestRegistry::start();
    let image = Image::of(&[b"base"]);
    image.publish(&registry, "base", "1");
    let machine = Machine::new();
    let pulled = machine.pull(&registry.name("base:1")).unwrap();
    let name = registry.name("team/web:1");
    machine.store.tag(&name.parse().unwrap(), pulled.manifest, pulled.image_id, 2).unwrap();
    registry.forget_questions();
    machine.push(&name).unwrap();
    let mount =
        format!("/v2/team/web/blobs/uploads/?mount=sha256%3A{}&from=base", image.blob_digest(0).hex());
    assert_eq!(registry.count("POST", &mount), 1);
    assert_eq!(registry.count("PUT", "/blobs/"), 1, "only the config is sent");
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_stopped() {
    let [first, registry] = [TestRegistry::start(), TestRegistry::start()];
    let machine = Machine::new();
    let [known, name] = [&first, &registry].map(|registry| registry.name("web:1"));
    let large = noise(9 << 20);
    build(&machine, &known, &[&large]);
    machine.push(&known).unwrap();
    // What was pulled is here as it goes out.
    let machine = Machine::new();
    let pulled = machine.pull(&known).unwrap();
    machine.store.tag(&name.parse().unwrap(), pulled.manifest, pulled.image_id, 1).unwrap();
    registry.contents().broken_uploads = vec![500_000, 1_500_000];
    machine.push(&name).unwrap();
    let ranges: Vec<String> = registry
        .asked()
        .iter()
        .filter(|asked| asked.method == "PATCH")
        .map(|asked| asked.header("content-range").unwrap().split('-').next().unwrap().to_owned())
        .collect();
    assert_eq!(ranges, ["0", "1500000", "2000000"]);
    assert_eq!(registry.count("POST", "/uploads/"), 2, "one for the layer and one for the config");
    Machine::new().pull(&name).unwrap();
}

#[test]
fn an_upload_that_gets_further_each_time_comes_to_its_end() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    let name = registry.name("web:1");
    build(&machine, &name, &[&noise(20 << 20)]);
    registry.contents().broken_uploads = vec![2_000_000; 8];
    machine.push(&name).unwrap();
    Machine::new().pull(&name).unwrap();
    assert_eq!(registry.count("PATCH", ""), 9);
}

#[test]
fn a_registry_that_wants_a_pause_in_an_upload_gets_it() {
    for (name, pause, want) in [("short", "1", true), ("long", "3600", false)] {
        let pieces = AtomicUsize::new(0);
        let registry = TestRegistry::with_fault(move |asked, _| {
            let is_limited = asked.is("PATCH", "") && pieces.fetch_add(1, Ordering::SeqCst) < 2;
            is_limited.then(|| Reply::new(429, "").header("Retry-After", pause))
        });
        let mut machine = Machine::new();
        machine.patience = Duration::from_secs(2);
        let web = registry.name("web:1");
        build(&machine, &web, &[&noise(20 << 20)]);
        let pushed = machine.push(&web);
        assert_eq!(pushed.is_ok(), want, "case {name}");
        assert_eq!(registry.count("PATCH", ""), if want { 3 } else { 2 }, "case {name}");
    }
}

#[test]
fn an_upload_that_the_registry_has_lost_begins_anew() {
    for (name, lost, want) in [("once", 1, true), ("always", usize::MAX, false)] {
        let ends = AtomicUsize::new(0);
        let registry = TestRegistry::with_fault(move |asked, _| {
            let is_lost = asked.is("PUT", "/uploads/") && ends.fetch_add(1, Ordering::SeqCst) < lost;
            let text = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"upload unknown"}]}"#;
            is_lost.then(|| Reply::new(404, text))
        });
        let machine = Machine::new();
        let web = registry.name("web:1");
        build(&machine, &web, &[b"layer"]);
        let pushed = machine.push(&web);
        assert_eq!(pushed.is_ok(), want, "case {name}");
        if want {
            Machine::new().pull(&web).unwrap();
        }
    }
    // A repository that there is not is not asked for again.
    let registry =
        TestRegistry::with_fault(|asked, _| asked.is("POST", "/uploads/").then(|| Reply::new(404, "")));
    let machine = Machine::new();
    build(&machine, &registry.name("web:1"), &[b"layer"]);
    machine.push(&registry.name("web:1")).unwrap_err();
    assert_eq!(registry.count("POST", "/uploads/"), 1);
}

#[test]
fn a_large_layer_is_sent_while_it_is_packed() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    let name = registry.name("web:1");
    let large = noise(20 << 20);
    build(&machine, &name, &[&large]);
    machine.push(&name).unwrap();
    let patches: Vec<_> = registry.asked().into_iter().filter(|asked| asked.is("PATCH", "")).collect();
    assert_eq!(patches.len(), 1);
    assert_eq!(patches[0].header("transfer-encoding"), Some("chunked"), "its length is not known");
    assert_eq!(registry.count("HEAD", "/blobs/"), 1, "of the config: the layer's digest is not known");
    let other = Machine::new();
    other.pull(&name).unwrap();
    assert!(other.trees.has_layer(shipway_oci::DiffId(Digest::of(&large))));
    registry.forget_questions();
    machine.push(&name).unwrap();
    assert_eq!(writes(&registry), ["PUT /v2/web/manifests/1"], "now it is");
}

#[test]
fn a_large_layer_whose_sending_breaks_off_goes_on_where_it_stopped() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    let name = registry.name("web:1");
    let large = noise(20 << 20);
    build(&machine, &name, &[&large]);
    registry.contents().broken_uploads = vec![9_000_000];
    machine.push(&name).unwrap();
    let patches = registry.asked().into_iter().filter(|asked| asked.is("PATCH", ""));
    let from: Vec<_> = patches.map(|asked| asked.header("content-range").map(str::to_owned)).collect();
    assert_eq!(from.len(), 2);
    assert_eq!(from[0], None);
    assert!(from[1].as_ref().is_some_and(|range| range.starts_with("9000000-")), "{from:?}");
    assert_eq!(registry.count("POST", "/uploads/"), 2, "one for the layer and one for the config");
    Machine::new().pull(&name).unwrap();
}

#[test]
fn a_registry_that_takes_no_chunks_gets_a_length() {
    let registry = TestRegistry::with_fault(|asked, _| {
        (asked.is("PATCH", "") && asked.header("content-length").is_none()).then(|| Reply::new(411, ""))
    });
    let machine = Machine::new();
    let name = registry.name("web:1");
    build(&machine, &name, &[&noise(20 << 20)]);
    machine.push(&name).unwrap();
    assert_eq!(registry.count("PATCH", ""), 2);
    Machine::new().pull(&name).unwrap();
}

#[test]
fn a_large_layer_that_cannot_be_made_again_is_not_pushed_as_something_else() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    let name = registry.name("web:1");
    let (before, after) = (noise(20 << 20), noise(21 << 20));
    build(&machine, &name, &[&before]);
    machine.trees.corrupt(&before, &after);
    let error = machine.push(&name).unwrap_err().source;
    assert!(matches!(error, RegistryError::NotRepeatable { .. }), "{error}");
    assert_eq!(registry.count("PUT", ""), 0);
}

#[test]
fn an_upload_is_not_sent_to_another_host() {
    let evil = TestRegistry::start();
    let location = format!("http://{}/v2/web/blobs/uploads/1", evil.address);
    let registry = TestRegistry::with_fault(move |asked, _| {
        asked.is("POST", "/uploads/").then(|| Reply::new(202, "").header("Location", location.clone()))
    });
    let machine = Machine::new();
    let name = registry.name("web:1");
    build(&machine, &name, &[b"secret"]);
    let error = machine.push(&name).unwrap_err().source;
    assert!(error.to_string().contains("is at another host"), "{error}");
    assert_eq!(evil.asked().len(), 0);
}

#[test]
fn a_registry_that_does_not_let_one_push_says_so() {
    let registry = TestRegistry::with_fault(|asked, _| {
        let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        asked.is("POST", "/uploads/").then(|| Reply::new(403, body))
    });
    let machine = Machine::new();
    let name = registry.name("web:1");
    build(&machine, &name, &[b"x"]);
    let error = machine.push(&name).unwrap_err().source;
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    assert!(error.to_string().ends_with("requested access to the resource is denied"), "{error}");
}

#[test]
fn a_layer_that_cannot_be_made_again_is_not_pushed_as_something_else() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    let name = registry.name("web:1");
    build(&machine, &name, &[b"before"]);
    machine.trees.corrupt(b"before", b"after");
    let error = machine.push(&name).unwrap_err().source;
    assert!(matches!(error, RegistryError::NotRepeatable { .. }), "{error}");
    assert_eq!(registry.count("PUT", ""), 0);
}

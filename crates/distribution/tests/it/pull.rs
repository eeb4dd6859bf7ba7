use serde_json::{Value, json};
use shipway_distribution::{Choice, RegistryError};
use shipway_oci::Digest;

use crate::image::{Image, OCI_INDEX, OCI_MANIFEST, descriptor};
use crate::machine::Machine;
use shipway_testkit::registry::TestRegistry;

#[test]
fn an_image_comes_with_its_layers_and_keeps_its_compressed_bytes() {
    let registry = TestRegistry::start();
    let image = Image::of(&[b"one", b"two", b"one"]);
    let digest = image.publish(&registry, "team/web", "1");
    let machine = Machine::new();
    let pulled = machine.pull(&registry.name("team/web:1")).unwrap();
    assert_eq!((pulled.manifest, pulled.digest), (digest, digest));
    assert_eq!(pulled.image_id, Digest::of(&image.config_bytes()));
    for layer in 0..3 {
        assert!(machine.trees.has_layer(image.diff_id(layer)));
        assert!(machine.store.has_blob(&image.blob_digest(layer)));
    }
    assert_eq!(registry.count("GET", "/blobs/"), 3, "two layers and the config, each once");

    registry.forget_questions();
    machine.pull(&registry.name("team/web:1")).unwrap();
    let asked: Vec<String> = registry.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked, ["/v2/team/web/manifests/1"]);
}

#[test]
fn the_image_for_the_platform_is_chosen_and_the_index_kept() {
    let registry = TestRegistry::start();
    let (amd, arm) = (Image::for_platform(&[b"amd"], "amd64"), Image::for_platform(&[b"arm"], "arm64"));
    let entry = |image: &Image, architecture: &str| {
        let mut entry = descriptor(OCI_MANIFEST, &image.manifest_bytes());
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        entry(&arm, "arm64"), entry(&amd, "amd64"),
    ]});
    amd.publish(&registry, "multi", "amd");
    arm.publish(&registry, "multi", "arm");
    let digest = registry.add_manifest("multi", "1", OCI_INDEX, index.to_string().as_bytes());
    let digest: Digest = digest.parse().unwrap();
    let machine = Machine::new();

    let pulled = machine.pull_for(&registry.name("multi:1"), Some("linux/arm64")).unwrap();
    assert_eq!(pulled.digest, digest);
    assert_eq!(pulled.manifest, Digest::of(&arm.manifest_bytes()));
    assert!(machine.store.has_blob(&digest), "the index is kept");
    assert!(!machine.trees.has_layer(amd.diff_id(0)));
    let pinned = registry.name(&format!("multi@{digest}"));
    assert_eq!(machine.store.resolve(&pinned).unwrap().image_id, pulled.image_id);

    // What goes out again is less, and somebody should know.
    machine.notes.take();
    let pushed = machine.push(&registry.name("multi:1")).unwrap();
    assert_eq!(pushed.digest, pulled.manifest);
    let notes = machine.notes.take();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains(&format!("the index {} is here", digest.short())), "{notes:?}");
    registry.add_manifest("multi", "1", OCI_INDEX, index.to_string().as_bytes());

    let error = machine.pull_for(&registry.name("multi:1"), Some("linux/s390x")).unwrap_err().source;
    assert_eq!(
        error.to_string(),
        format!(
            "no image for platform linux/s390x in `{}`; there are: linux/arm64, linux/amd64",
            registry.name("multi:1")
        )
    );
}

/// Puts an index of some entries into a registry, and returns what describes it.
fn publish_index(registry: &TestRegistry, tag: &str, entries: &[Value]) -> Value {
    let index =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": null});
    let bytes = index.to_string().into_bytes();
    registry.add_manifest("multi", tag, OCI_INDEX, &bytes);
    descriptor(OCI_INDEX, &bytes)
}

fn for_platform(mut entry: Value, architecture: &str) -> Value {
    entry["platform"] = json!({"os": "linux", "architecture": architecture});
    entry
}

#[test]
fn an_image_is_found_in_indexes_that_indexes_list() {
    let registry = TestRegistry::start();
    let (amd, arm) = (Image::for_platform(&[b"amd"], "amd64"), Image::for_platform(&[b"arm"], "arm64"));
    amd.publish(&registry, "multi", "amd");
    arm.publish(&registry, "multi", "arm");
    let of_image = |image: &Image, architecture: &str| {
        for_platform(descriptor(OCI_MANIFEST, &image.manifest_bytes()), architecture)
    };
    let of_amd = publish_index(&registry, "of-amd", &[of_image(&amd, "amd64")]);
    let of_arm = publish_index(&registry, "of-arm", &[of_image(&arm, "arm64")]);
    publish_index(&registry, "plain", &[of_amd.clone(), of_arm.clone()]);
    let said = [for_platform(of_arm, "arm64"), for_platform(of_amd, "amd64")];
    let inner = publish_index(&registry, "said", &said);
    publish_index(&registry, "deeper", &[inner]);
    for tag in ["plain", "said", "deeper"] {
        let machine = Machine::new();
        registry.forget_questions();
        let pulled = machine.pull_for(&registry.name(&format!("multi:{tag}")), Some("linux/amd64")).unwrap();
        assert_eq!(pulled.manifest, Digest::of(&amd.manifest_bytes()), "{tag}");
        assert!(machine.store.has_blob(&pulled.digest) && pulled.index.is_none(), "{tag}");
        let asked = registry.asked().iter().filter(|asked| asked.target.contains("/manifests/")).count();
        assert_eq!(asked, if tag == "deeper" { 4 } else { 3 }, "{tag}");
    }
    let machine = Machine::new();
    let refused = |tag: &str, platform: &str| {
        let name = registry.name(&format!("multi:{tag}"));
        let error = machine.pull_for(&name, Some(platform)).unwrap_err().source;
        (error.to_string(), miette::Diagnostic::help(&error).map(|help| help.to_string()).unwrap_or_default())
    };
    let (text, hint) = refused("plain", "linux/s390x");
    assert!(text.ends_with("; there are: linux/amd64, linux/arm64"), "{text}");
    assert!(hint.starts_with("choose one of them"), "{hint}");
    publish_index(&registry, "empty", &[]);
    let (text, hint) = refused("empty", "linux/amd64");
    assert!(text.ends_with("; its index lists no image") && hint.contains("another tag"), "{text}: {hint}");
}

#[test]
fn indexes_within_indexes_have_bounds() {
    let registry = TestRegistry::start();
    let image = Image::for_platform(&[b"amd"], "amd64");
    image.publish(&registry, "multi", "amd");
    let entry = for_platform(descriptor(OCI_MANIFEST, &image.manifest_bytes()), "amd64");
    let mut inner = publish_index(&registry, "0", &[entry]);
    for depth in 1..5 {
        inner = publish_index(&registry, &depth.to_string(), &[inner]);
    }
    let machine = Machine::new();
    let pull = |tag: &str| machine.pull_for(&registry.name(&format!("multi:{tag}")), Some("linux/amd64"));
    assert!(pull("3").is_ok());
    let text = pull("4").unwrap_err().source.to_string();
    assert!(text.contains("deeper than 4"), "{text}");
    // Each lists the next one twice: there are many ways, and few questions.
    let mut inner = publish_index(&registry, "wide", &[]);
    for _ in 0..3 {
        inner = publish_index(&registry, "wide", &vec![inner; 20]);
    }
    registry.forget_questions();
    let text = pull("wide").unwrap_err().source.to_string();
    assert!(text.contains("more than 32") && registry.asked().len() < 40, "{text}");
}

#[test]
fn an_image_whose_config_has_nulls_is_pulled_to_the_byte() {
    let registry = TestRegistry::start();
    let mut image = Image::of(&[b"layer"]);
    image.config["config"] = json!({"User": null, "Cmd": "run", "ArgsEscaped": null, "WorkingDir": null});
    image.config["history"] = Value::Null;
    image.describe();
    image.manifest["annotations"] = Value::Null;
    image.publish(&registry, "web", "1");
    let machine = Machine::new();
    let pulled = machine.pull(&registry.name("web:1")).unwrap();
    assert_eq!(pulled.image_id, Digest::of(&image.config_bytes()));
    let config = machine.store.config(&pulled.image_id).unwrap();
    assert_eq!(config.config.cmd.unwrap(), ["run"]);
}

#[test]
fn an_image_without_index_is_taken_as_it_is_unless_a_platform_was_asked_for() {
    let registry = TestRegistry::start();
    Image::for_platform(&[b"x"], "s390x").publish(&registry, "web", "1");
    let machine = Machine::new();
    let error = machine.pull_for(&registry.name("web:1"), Some("linux/amd64")).unwrap_err().source;
    assert!(matches!(error, RegistryError::Platform { .. }), "{error}");
    machine.pull_for(&registry.name("web:1"), None).unwrap();
    let platform = "linux/arm64".parse().unwrap();
    machine.pull_choice(&registry.name("web:1"), Choice::Rather(&platform)).unwrap();
}

#[test]
fn dockers_own_types_are_pulled_too() {
    let registry = TestRegistry::start();
    let mut image = Image::of(&[b"x", b"y"]);
    // Compat: BuildKit, with `compression=zstd,oci-mediatypes=false`.
    image.blobs[1] = zstd::encode_all(&b"y"[..], 3).unwrap();
    image.describe();
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    image.manifest["mediaType"] = json!(kind);
    image.manifest["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    image.manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    image.manifest["layers"][1]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.zstd");
    image.publish(&registry, "web", "1");
    registry.add_manifest("web", "1", kind, &image.manifest_bytes());
    let machine = Machine::new();
    machine.pull(&registry.name("web:1")).unwrap();
    assert!((0..2).all(|layer| machine.trees.has_layer(image.diff_id(layer))));
}

#[test]
fn what_is_not_there_and_nobody_answering_are_told_apart() {
    let registry = TestRegistry::start();
    let machine = Machine::new();
    let error = machine.refused(&registry.name("web:1"));
    assert_eq!(error.to_string(), format!("{} has no `web:1`: manifest unknown", registry.address));
    // A port that was free a moment ago.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = machine.refused(&format!("{gone}/web:1"));
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
}

#[test]
fn an_artifact_that_is_no_image_is_refused() {
    let registry = TestRegistry::start();
    for (name, change) in [
        ("config", ("/config/mediaType", "application/vnd.cncf.helm.config.v1+json")),
        ("layer", ("/layers/0/mediaType", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")),
    ] {
        let mut image = Image::of(&[b"x"]);
        *image.manifest.pointer_mut(change.0).unwrap() = json!(change.1);
        image.publish(&registry, "chart", name);
        let error = Machine::new().refused(&registry.name(&format!("chart:{name}")));
        assert!(error.to_string().contains(change.1), "{error}");
    }
}

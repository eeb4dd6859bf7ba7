//! Images in an index with what is attested of them.

use std::collections::BTreeMap;

use serde_json::json;
use shipway_distribution::RegistryError;
use shipway_oci::{Attested, Descriptor, Digest, Platform, Statement};
use shipway_store::Found;
use shipway_testkit::registry::TestRegistry;

use crate::image::{Image, OCI_INDEX, OCI_MANIFEST};
use crate::machine::Machine;

fn attested(image: &Image) -> Attested {
    let bytes = image.manifest_bytes();
    let mut listed = Descriptor::new(OCI_MANIFEST, Digest::of(&bytes), bytes.len() as u64);
    listed.platform = Some(Platform::linux("amd64"));
    let said = Statement::new(Statement::SPDX, json!({ "a": 1 }), &[], &listed.digest);
    Attested::new(listed, &[said], BTreeMap::new())
}

/// Puts an image and what is attested of it into a registry, as `app:1`, and returns the digest of the index.
fn publish(registry: &TestRegistry, image: &Image, attested: &Attested) -> Digest {
    image.publish(registry, "app", "image");
    for (_, bytes) in &attested.blobs {
        registry.add_blob("app", bytes);
    }
    for (_, bytes) in &attested.manifests {
        registry.add_manifest("app", "attestation", OCI_MANIFEST, bytes);
    }
    registry.add_manifest("app", "1", OCI_INDEX, &attested.index).parse().unwrap()
}

#[test]
fn an_index_of_one_image_comes_whole_and_goes_whole() {
    let registry = TestRegistry::start();
    let image = Image::of(&[b"one"]);
    let said = attested(&image);
    let digest = publish(&registry, &image, &said);
    let machine = Machine::new();
    let pulled = machine.pull(&registry.name("app:1")).unwrap();
    assert_eq!((pulled.index, pulled.digest), (Some(digest), digest));
    let found = Found { index: pulled.index, ..Found::new(pulled.image_id, pulled.manifest) };
    assert_eq!(machine.store.attested(&found), Some(said));

    registry.forget_questions();
    machine.pull(&registry.name("app:1")).unwrap();
    assert_eq!(registry.count("GET", "/blobs/"), 0, "what is here is not asked for: {:?}", registry.asked());

    let other = TestRegistry::start();
    machine.store.tag_found(&other.name("copy:2").parse().unwrap(), &found, 2).unwrap();
    assert_eq!(machine.push(&other.name("copy:2")).unwrap().digest, digest);
    let elsewhere = Machine::new();
    assert_eq!(elsewhere.pull(&other.name("copy:2")).unwrap().index, Some(digest));
}

#[test]
fn an_image_whose_attestations_cannot_be_had_comes_without_them() {
    let image = Image::of(&[b"one"]);
    let said = attested(&image);
    let huge = {
        let mut huge = said.clone();
        let text = String::from_utf8(huge.index).unwrap();
        let size = huge.manifests[0].0.size;
        huge.index = text.replace(&format!(r#""size":{size}"#), r#""size":1099511627776"#).into_bytes();
        huge
    };
    let without_statement = Attested { blobs: said.blobs[1..].to_vec(), ..said.clone() };
    let without_manifest = Attested { manifests: Vec::new(), ..said.clone() };
    for (name, there) in
        [("huge", &huge), ("no statement", &without_statement), ("no manifest", &without_manifest)]
    {
        let registry = TestRegistry::start();
        let digest = publish(&registry, &image, there);
        let machine = Machine::new();
        let pulled = machine.pull(&registry.name("app:1")).unwrap();
        assert_eq!((pulled.index, pulled.digest), (None, digest), "case {name}");
        assert!(machine.trees.has_layer(image.diff_id(0)), "case {name}");
    }
}

#[test]
fn of_an_index_for_several_platforms_nothing_more_is_asked_for() {
    let registry = TestRegistry::start();
    let image = Image::of(&[b"one"]);
    let mut said = attested(&image);
    let mut index: shipway_oci::Index = serde_json::from_slice(&said.index).unwrap();
    let mut other = index.manifests[0].clone();
    (other.digest, other.platform) = (Digest::of(b"other"), Some(Platform::linux("s390x")));
    index.manifests.push(other);
    said.index = serde_json::to_vec(&index).unwrap();
    publish(&registry, &image, &said);
    let machine = Machine::new();
    registry.forget_questions();
    assert_eq!(machine.pull(&registry.name("app:1")).unwrap().index, None);
    assert_eq!(
        (registry.count("GET", "/manifests/"), registry.count("GET", "/blobs/")),
        (2, 2),
        "{:?}",
        registry.asked()
    );
}

#[test]
fn an_index_for_several_platforms_goes_with_all_its_images() {
    let machine = Machine::new();
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    // Both are here, the second one without a name of its own.
    let images = [Image::of(&[b"one"]), Image::for_platform(&[b"one", b"two"], "s390x")];
    for (image, tag) in images.iter().zip(["a", "b"]) {
        image.publish(&from, "app", tag);
        machine.pull_for(&from.name(&format!("app:{tag}")), None).unwrap();
    }
    let mut other = attested(&images[1]);
    other.index = String::from_utf8(other.index).unwrap().replace("amd64", "s390x").into_bytes();
    let both = Attested::join(vec![attested(&images[0]), other], BTreeMap::new());
    let index = machine.store.put_attested(&both).unwrap();
    let image_id = machine.store.manifest(&both.images()[0].digest).unwrap().config.digest;
    let found = Found { index: Some(index), ..Found::new(image_id, both.images()[0].digest) };
    let name = to.name("app:all");
    machine.store.tag_found(&name.parse().unwrap(), &found, 1).unwrap();
    assert_eq!(machine.push(&name).unwrap().digest, index);
    for (platform, image) in [("amd64", &images[0]), ("s390x", &images[1])] {
        let elsewhere = Machine::new();
        let pulled = elsewhere.pull_for(&name, Some(&format!("linux/{platform}"))).unwrap();
        assert_eq!(pulled.manifest, Digest::of(&image.manifest_bytes()), "{platform}");
    }

    // Pulled again, for one platform, it stays whole.
    let again = machine.pull_for(&name, Some("linux/amd64")).unwrap();
    assert_eq!(again.index, Some(index));
    machine.store.tag_found(&name.parse().unwrap(), &found, 2).unwrap();

    // One of them goes from here: the name there is not to lose it too.
    fs_err::remove_file(machine.store.blob_path(&both.images()[1].digest)).unwrap();
    to.forget_questions();
    let failed = machine.push(&name).unwrap_err().source;
    assert!(matches!(failed, RegistryError::Incomplete { .. }), "{failed:?}");
    assert_eq!(to.count("PUT", "/manifests/"), 0);
}

#[test]
fn an_image_whose_index_is_damaged_is_pushed_alone() {
    let registry = TestRegistry::start();
    let image = Image::of(&[b"one"]);
    let said = attested(&image);
    publish(&registry, &image, &said);
    let machine = Machine::new();
    let name = registry.name("app:1");
    let pulled = machine.pull(&name).unwrap();
    let found = Found { index: pulled.index, ..Found::new(pulled.image_id, pulled.manifest) };
    let target = registry.name("alone:1");
    machine.store.tag_found(&target.parse().unwrap(), &found, 2).unwrap();
    fs_err::remove_file(machine.store.blob_path(&said.blobs[0].0.digest)).unwrap();
    assert_eq!(machine.push(&target).unwrap().digest, pulled.manifest);
}

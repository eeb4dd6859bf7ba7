//! Where results of builds go, and in what form.

use std::path::Path;

use serde_json::Value;
use shipway_testkit::registry::TestRegistry;

use crate::machine::{Machine, can_run};

/// Returns the media types of the layers of the one image in an OCI layout.
fn layers_of(layout: &Path) -> Vec<String> {
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap() };
    let index = read(&layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = read(&layout.join("blobs").join(digest));
    assert_eq!(manifest["annotations"]["made"], "here");
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned()).collect()
}

#[test]
fn layers_of_an_output_are_compressed_as_it_says() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nCOPY passwd /copied\n");
    let layout = machine.dir.path().join("layout");
    for (fields, want) in [
        ("", "tar"),
        (",compression=gzip", "tar+gzip"),
        (",compression=zstd,compression-level=19,force-compression=true", "tar+zstd"),
        (",compression=uncompressed", "tar"),
    ] {
        let output = format!("type=oci,tar=false,dest={}{fields},annotation.made=here", layout.display());
        machine.ok(&["build", "-q", "--no-cache", "-t", "made", "-o", &output, "."]);
        let kinds = layers_of(&layout);
        assert!(kinds.len() > 1 && kinds.iter().all(|kind| kind == want), "case {fields}: {kinds:?}");
        machine.dockerfile("FROM base\nCOPY passwd /again\n");
        let context = format!("base=oci-layout://{}", layout.display());
        machine.ok(&["build", "-q", "--build-context", &context, "."]);
        machine.dockerfile("FROM box\nCOPY passwd /copied\n");
        fs_err::remove_dir_all(&layout).unwrap();
    }
    let refused = machine.refused(&["build", "-o", "type=oci,dest=x,compression=estargz", "."], 1);
    assert!(refused.contains("compression `estargz` is not there yet"), "{refused}");
}

#[test]
fn what_is_pushed_by_digest_or_kept_as_steps_only_is_no_image_here() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    machine.dockerfile("FROM scratch\nCOPY passwd /passwd\nLABEL a=b\n");
    let images = || machine.ok(&["images", "-aq", "--no-trunc"]).0.lines().count();
    let before = images();
    let (_, told) = machine.ok(&["build", "-o", "type=cacheonly", "."]);
    assert!(told.contains("0 of 1 steps from the cache"), "{told}");
    assert_eq!(images(), before);

    let meta = machine.dir.path().join("meta.json");
    let digest_of = || -> String {
        let meta: Value = serde_json::from_slice(&fs_err::read(&meta).unwrap()).unwrap();
        meta["containerimage.digest"].as_str().unwrap().to_owned()
    };
    let by_digest =
        format!("type=image,name={},push-by-digest=true,name-canonical=true,push=true", registry.name("a/b"));
    let build = |args: &[&str]| {
        machine.ok(&[&["build", "-q", "--metadata-file", meta.to_str().unwrap()], args, &["."]].concat())
    };
    build(&["-o", &by_digest]);
    let there: Vec<String> = registry.contents().manifests.keys().cloned().collect();
    assert_eq!(there, [format!("a/b/manifests/{}", digest_of())]);
    assert_eq!(images(), before);

    // What the file says of a push is what is there, compressed.
    let name = registry.name("c/d:1");
    build(&["-t", &name, "-o", "type=registry,compression=zstd"]);
    let (_, manifest) = registry.contents().manifests[&format!("c/d/manifests/{}", digest_of())].clone();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(images(), before + 1);
}

//! One image for several platforms.

use std::sync::atomic::Ordering;

use shipway_build::{Attest, BuildError, BuildRequest, Provenance, SlsaVersion};
use shipway_oci::{Index, Platform, is_attestation};
use shipway_store::Found;
use shipway_testkit::{Need, require};

use crate::harness::Bench;

const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM debian AS tools\nRUN write /shared x\n\
                          FROM scratch\nARG TARGETARCH\nLABEL for=$TARGETARCH\nCOPY --from=tools /shared /shared\nCOPY $TARGETARCH /own\n";

fn request(bench: &Bench) -> BuildRequest {
    bench.debian();
    bench.file("amd64", "one");
    bench.file("riscv64", "other");
    let platforms = vec![Platform::linux("riscv64"), Platform::linux("amd64")];
    BuildRequest { platforms, ..bench.request(DOCKERFILE) }
}

fn can_build() -> bool {
    require(&[Need::Root, Need::Overlay])
}

#[test]
fn the_index_lists_an_image_for_each_and_nothing_is_done_twice() {
    if !can_build() {
        return;
    }
    let bench = Bench::new();
    let mut request = request(&bench);
    request.index_annotations = vec![("a".to_owned(), "b".to_owned())];
    let built = bench.run(&request).unwrap();
    assert_eq!(bench.runner.runs.load(Ordering::SeqCst), 1, "for the platform that both build on");
    let of: Vec<String> = built.parts.iter().map(|(platform, _)| platform.to_string()).collect();
    assert_eq!(of, ["linux/riscv64", "linux/amd64"]);
    for (place, (platform, text)) in [("riscv64", "other"), ("amd64", "one")].into_iter().enumerate() {
        let part = &built.parts[place].1;
        let config = bench.config(part);
        assert_eq!(
            (config.architecture.as_str(), config.config.labels["for"].as_str()),
            (platform, platform)
        );
        assert!(bench.listing(part).contains(&format!("own 644 0:0 {text}")), "{:?}", bench.listing(part));
    }
    let own = if cfg!(target_arch = "x86_64") { 1 } else { 0 };
    assert_eq!(built.image_id, built.parts[own].1.image_id, "the name means this machine's");

    let (digest, size) = built.index.unwrap();
    let bytes = bench.store.read_blob(&digest, size).unwrap();
    let index: Index = serde_json::from_slice(&bytes).unwrap();
    let listed: Vec<_> = index.manifests.iter().map(|listed| listed.digest).collect();
    assert_eq!(listed, [built.parts[0].1.manifest, built.parts[1].1.manifest]);
    assert_eq!(index.annotations["a"], "b");
    let found = bench.store.resolve("app").unwrap();
    assert_eq!((found.index, found.manifest), (Some(digest), built.manifest));

    // As long as the name stands for all of them, they stay.
    bench.store.cache_prune(i64::MAX).unwrap();
    bench.store.gc(0).unwrap().unwrap();
    let attested = bench.store.attested(&found).unwrap();
    assert_eq!(bench.store.images_in(&attested, &found).unwrap().len(), 2);
    assert!(bench.listing(&built.parts[0].1).contains(&"own 644 0:0 other".to_owned()));
    let images = bench.store.images().unwrap();
    assert_eq!(images.len(), 1, "no image without a name: {images:?}");
    assert_eq!(bench.store.layers_of_image(&images[0]).unwrap().len(), 3);
    bench.store.untag(&"app".parse().unwrap()).unwrap();
    bench.store.gc(0).unwrap().unwrap();
    assert!(bench.store.whole_image(&built.parts[0].1.manifest).is_none());
    bench.assert_nothing_left();
}

#[test]
fn what_is_attested_is_said_of_each() {
    if !can_build() {
        return;
    }
    let bench = Bench::new();
    let mut request = request(&bench);
    let provenance = Provenance {
        is_full: false,
        version: SlsaVersion::V1,
        builder_id: String::new(),
        is_reproducible: false,
    };
    request.attest = Attest { provenance: Some(provenance), sbom: false };
    let built = bench.run(&request).unwrap();
    let index = built.index.map(|(digest, _)| digest);
    let found = Found { index, ..Found::new(built.image_id, built.manifest) };
    let attested = bench.store.attested(&found).unwrap();
    for (platform, part) in &built.parts {
        let said = attested.statements(&part.manifest);
        assert_eq!(said.len(), 1, "{platform}");
        let name = format!("pkg:docker/app@latest?platform=linux%2F{}", platform.architecture);
        assert_eq!((said[0].subject[0].name.as_str(), said[0].subject.len()), (name.as_str(), 1));
    }
    let index: Index = serde_json::from_slice(&attested.index).unwrap();
    let kinds: Vec<bool> = index.manifests.iter().map(is_attestation).collect();
    assert_eq!(kinds, [false, false, true, true], "as BuildKit orders them");
}

#[test]
fn the_same_files_are_an_image_for_each() {
    if !can_build() {
        return;
    }
    let bench = Bench::new();
    let mut request = request(&bench);
    fs_err::write(&request.dockerfile, "FROM --platform=$BUILDPLATFORM debian\nCOPY amd64 /a\n").unwrap();
    for is_attested in [false, true] {
        let provenance = Provenance {
            is_full: false,
            version: SlsaVersion::V1,
            builder_id: String::new(),
            is_reproducible: false,
        };
        request.attest = Attest { provenance: is_attested.then_some(provenance), sbom: false };
        let built = bench.run(&request).unwrap();
        let configs: Vec<_> = built.parts.iter().map(|(_, part)| bench.config(part)).collect();
        assert_eq!(configs[0].rootfs, configs[1].rootfs);
        let own: Vec<&str> = configs.iter().map(|config| config.architecture.as_str()).collect();
        assert_eq!(own, ["riscv64", "amd64"], "whatever FROM says");
        let (digest, size) = built.index.unwrap();
        let index: Index = serde_json::from_slice(&bench.store.read_blob(&digest, size).unwrap()).unwrap();
        let images = index.manifests.iter().filter(|listed| !is_attestation(listed));
        let of: Vec<String> = images.map(|listed| listed.platform.as_ref().unwrap().to_string()).collect();
        assert_eq!(of, ["linux/riscv64", "linux/amd64"], "attested: {is_attested}");
    }
}

#[test]
fn a_platform_that_fails_leaves_no_name() {
    if !can_build() {
        return;
    }
    let bench = Bench::new();
    let mut request = request(&bench);
    request.platforms.push(Platform::linux("s390x"));
    let failed = bench.run(&request).unwrap_err();
    assert!(matches!(failed, BuildError::Step { .. }), "{failed:?}");
    assert_eq!(bench.store.images().unwrap(), []);
    assert_eq!(bench.log.lines("NAMED"), Vec::<String>::new());
    bench.file("s390x", "third");
    let built = bench.run(&request).unwrap();
    let runs = bench.runner.runs.load(Ordering::SeqCst);
    assert_eq!((built.parts.len(), runs), (3, 1), "what was done stays done");
}

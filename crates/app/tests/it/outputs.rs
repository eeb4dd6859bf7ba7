//! Where results of builds go, and in what form.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use serde_json::Value;
use shipway_testkit::registry::{TestRegistry, digest_of};

use crate::contexts::run;
use crate::machine::{Machine, can_run};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// Returns a document that a descriptor of an OCI layout names, which must be what that says.
fn described(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap();
    let path = layout.join("blobs").join(digest.replace(':', "/"));
    let bytes = fs_err::read(&path).unwrap();
    assert_eq!(
        (digest_of(&bytes).as_str(), bytes.len() as u64),
        (digest, descriptor["size"].as_u64().unwrap())
    );
    let document = read(&path);
    assert!(
        document["mediaType"] == descriptor["mediaType"] || document.get("rootfs").is_some(),
        "{document}"
    );
    document
}

/// Returns a document that is called as it is no other.
fn described_as_is(layout: &Path, descriptor: &Value) -> Value {
    read(&layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/")))
}

/// Returns the media types of the layers of the one image in an OCI layout.
fn layers_of(layout: &Path) -> Vec<String> {
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
    let refused = machine.refused(&["build", "-o", "type=oci,dest=x,compression=xz", "."], 1);
    assert!(refused.contains("compression `xz` is unknown: there are gzip, zstd"), "{refused}");
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
    let digest_told = || -> String { read(&meta)["containerimage.digest"].as_str().unwrap().to_owned() };
    let by_digest =
        format!("type=image,name={},push-by-digest=true,name-canonical=true,push=true", registry.name("a/b"));
    let build = |args: &[&str]| {
        machine.ok(&[&["build", "-q", "--metadata-file", meta.to_str().unwrap()], args, &["."]].concat())
    };
    build(&["-o", &by_digest]);
    let there: Vec<String> = registry.contents().manifests.keys().cloned().collect();
    assert_eq!(there, [format!("a/b/manifests/{}", digest_told())]);
    assert_eq!(images(), before);

    // What the file says of a push is what is there, compressed.
    let name = registry.name("c/d:1");
    build(&["-t", &name, "-o", "type=registry,compression=zstd"]);
    let (_, manifest) = registry.contents().manifests[&format!("c/d/manifests/{}", digest_told())].clone();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(images(), before + 1);
}

#[test]
fn an_archive_lists_its_image_under_its_names() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM scratch\nCOPY passwd /\n");
    let (archive, meta) = (machine.dir.path().join("image.tar"), machine.dir.path().join("meta.json"));
    let output = format!(
        "type=oci,dest={},\"name=org/a:1,org/b\",annotation-manifest-descriptor.made=here",
        archive.display()
    );
    let index = |flags: &[&str]| -> Value {
        let files = ["--metadata-file", meta.to_str().unwrap(), "-o", &output];
        machine.ok(&[&["build", "-q"][..], &files, flags, &["."]].concat());
        let mut index = Value::Null;
        let mut directories = Vec::new();
        let mut tar = tar::Archive::new(fs_err::File::open(&archive).unwrap());
        for entry in tar.entries().unwrap().map(Result::unwrap) {
            let path = entry.path().unwrap().display().to_string();
            if entry.header().entry_type().is_dir() {
                directories.push(path);
            } else if path == "index.json" {
                index = serde_json::from_reader(entry).unwrap();
            }
        }
        assert_eq!(directories, ["blobs/", "blobs/sha256/"]);
        index
    };
    let of = |index: &Value, name: &str| -> Vec<String> {
        let listed = index["manifests"].as_array().unwrap().iter();
        listed.map(|image| image["annotations"][name].as_str().unwrap().to_owned()).collect()
    };
    let named = index(&[]);
    let full = ["docker.io/org/a:1", "docker.io/org/b:latest"];
    assert_eq!(of(&named, "io.containerd.image.name"), full);
    assert_eq!(of(&named, "org.opencontainers.image.ref.name"), ["1", "latest"]);
    assert_eq!(of(&named, "made"), ["here", "here"]);
    assert!(of(&named, "org.opencontainers.image.created").iter().all(|time| time.starts_with("20")));
    assert_eq!(read(&meta)["image.name"], "docker.io/org/a:1,docker.io/org/b");
    // The flag is for archives, too.
    let tagged = index(&["-t", "org/c:2"]);
    assert_eq!(of(&tagged, "io.containerd.image.name"), ["docker.io/org/c:2"]);
}

#[test]
fn layers_of_other_tools_are_packed_anew_from_their_archives() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    // No tar that we would make of its files.
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [("z", "last"), ("a", "first")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    fs_err::write(machine.dir.path().join("odd.tar"), tar.into_inner().unwrap()).unwrap();
    machine.ok(&["import", machine.dir.path().join("odd.tar").to_str().unwrap(), "odd"]);
    machine.dockerfile("FROM odd\nCOPY passwd /copied\n");
    let layout = machine.dir.path().join("layout");
    for (compression, want) in [("zstd", "tar+zstd"), ("uncompressed", "tar"), ("estargz", "tar+gzip")] {
        let output = format!("type=oci,tar=false,dest={}", layout.display());
        let form = format!("compression={compression},force-compression=true,annotation.made=here");
        machine.ok(&["build", "-q", "-o", &format!("{output},{form}"), "."]);
        assert_eq!(layers_of(&layout), [want, want], "{compression}");
        fs_err::remove_dir_all(&layout).unwrap();
    }
}

/// Asserts that a manifest has Docker's media types only.
fn assert_is_docker(manifest: &Value, layers: &str, case: &str) {
    assert_eq!(manifest["mediaType"], DOCKER_MANIFEST, "{case}");
    assert_eq!(manifest["config"]["mediaType"], DOCKER_CONFIG, "{case}");
    let is_docker = |layer: &Value| layer["mediaType"] == format!("{DOCKER_LAYER}{layers}");
    assert!(manifest["layers"].as_array().unwrap().iter().all(is_docker), "{case}: {manifest}");
}

/// Returns the media type of an image as it is saved.
fn saved_kind(machine: &Machine, name: &str) -> String {
    let saved = machine.dir.path().join("saved");
    machine.ok(&["save", "-o", saved.to_str().unwrap(), name]);
    let mut archive = tar::Archive::new(fs_err::File::open(&saved).unwrap());
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let index = entries.find(|entry| entry.path().unwrap().ends_with("index.json")).unwrap();
    let index: Value = serde_json::from_reader(index).unwrap();
    index["manifests"][0]["mediaType"].as_str().unwrap().to_owned()
}

#[test]
fn documents_have_the_media_types_that_an_output_says() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    // The base comes as OCI has it, with a compressed layer.
    machine.ok(&["tag", "box", &registry.name("base:1")]);
    machine.ok(&["push", "-q", &registry.name("base:1")]);
    machine.ok(&["rmi", "box", &registry.name("base:1")]);
    machine.ok(&["system", "prune", "-f"]);
    machine.dockerfile(&format!("FROM {}\nCOPY passwd /copied\n", registry.name("base:1")));
    let (layout, meta, id) = (
        machine.dir.path().join("layout"),
        machine.dir.path().join("meta.json"),
        machine.dir.path().join("id"),
    );
    let build = |args: &[&str]| {
        let files = ["--metadata-file", meta.to_str().unwrap(), "--iidfile", id.to_str().unwrap()];
        machine.ok(&[&["build", "-q"][..], &files, args, &["."]].concat());
        read(&meta)
    };
    for (fields, layers) in [
        (",compression=gzip", ".gzip"),
        (",compression=zstd,force-compression=true", ".zstd"),
        (",compression=uncompressed,force-compression=true", ""),
    ] {
        let output = format!("type=oci,tar=false,dest={},oci-mediatypes=false{fields}", layout.display());
        let told = build(&["--annotation", "made=here", "-o", &output]);
        let listed = &read(&layout.join("index.json"))["manifests"][0];
        assert_eq!(
            (&listed["mediaType"], &listed["digest"]),
            (&DOCKER_MANIFEST.into(), &told["containerimage.digest"])
        );
        assert_eq!(told["containerimage.descriptor"]["mediaType"], DOCKER_MANIFEST);
        let manifest = described(&layout, listed);
        assert_is_docker(&manifest, layers, fields);
        assert_eq!(manifest["annotations"]["made"], "here");
        assert_eq!(manifest["config"]["digest"], fs_err::read_to_string(&id).unwrap());
        described(&layout, &manifest["config"]);
        fs_err::remove_dir_all(&layout).unwrap();
    }
    // As they are kept: the base's layer as it came, the one of this build as a tar.
    let output = format!("type=oci,tar=false,dest={},oci-mediatypes=false", layout.display());
    build(&["-o", &output]);
    let manifest = described(&layout, &read(&layout.join("index.json"))["manifests"][0]);
    let kinds: Vec<&Value> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["mediaType"]).collect();
    let (own, base) = kinds.split_last().unwrap();
    assert!(
        *own == DOCKER_LAYER && base.iter().all(|kind| **kind == format!("{DOCKER_LAYER}.gzip")),
        "{kinds:?}"
    );

    // A name stands for what its output says, here and in the registry.
    let name = registry.name("c/d:1");
    let told = build(&["-o", &format!("type=registry,name={name},oci-mediatypes=false"), "-t", "typed"]);
    let (kind, pushed) = registry.contents().manifests["c/d/manifests/1"].clone();
    assert_eq!(
        (kind.as_str(), told["containerimage.digest"].as_str()),
        (DOCKER_MANIFEST, Some(&*digest_of(&pushed)))
    );
    assert_is_docker(&serde_json::from_slice(&pushed).unwrap(), ".gzip", "pushed");
    let saved_kind = |name: &str| saved_kind(&machine, name);
    assert_eq!(saved_kind(&name), DOCKER_MANIFEST);
    assert_eq!(saved_kind("typed"), "application/vnd.oci.image.manifest.v1+json");
    build(&["-o", "type=image,oci-mediatypes=false", "-t", "typed"]);
    assert_eq!(saved_kind("typed"), DOCKER_MANIFEST);

    for (args, want) in [
        (&["--provenance=mode=min"][..], "nothing can be attested"),
        (&["--sbom=true"], "nothing can be attested"),
        (
            &["--platform", "linux/amd64,linux/riscv64", "--annotation", "index:a=b"],
            "only manifests can be annotated",
        ),
    ] {
        let refused = machine.refused(&[&["build", "-o", &output], args, &["."]].concat(), 1);
        assert!(refused.contains(want) && refused.contains("hint: "), "{refused}");
    }
}

#[test]
fn images_for_several_platforms_are_listed_in_the_media_types_of_the_output() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    machine.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY passwd /$TARGETARCH\n");
    let (layout, meta, id) = (
        machine.dir.path().join("layout"),
        machine.dir.path().join("meta.json"),
        machine.dir.path().join("id"),
    );
    let name = registry.name("c/d:1");
    let build = |output: &str| {
        let files = ["--metadata-file", meta.to_str().unwrap(), "--iidfile", id.to_str().unwrap()];
        let platforms = ["--platform", "linux/amd64,linux/riscv64"];
        machine.ok(&[&["build", "-q"][..], &files, &platforms, &["-o", output, "."]].concat());
        read(&meta)
    };
    for (oci, kind) in [("false", DOCKER_INDEX), ("true", OCI_INDEX)] {
        let told = build(&format!(
            "type=oci,tar=false,compression=gzip,dest={},oci-mediatypes={oci}",
            layout.display()
        ));
        let listed = &read(&layout.join("index.json"))["manifests"][0];
        assert_eq!((&listed["mediaType"], &listed["digest"]), (&kind.into(), &told["containerimage.digest"]));
        assert_eq!(listed["digest"], fs_err::read_to_string(&id).unwrap(), "the index that there is");
        let index = described(&layout, listed);
        let platforms: Vec<&Value> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| {
                let manifest = described(&layout, image);
                if oci == "false" {
                    assert_is_docker(&manifest, ".gzip", "in a layout");
                }
                &image["platform"]["architecture"]
            })
            .collect();
        assert_eq!(platforms, ["amd64", "riscv64"]);
        fs_err::remove_dir_all(&layout).unwrap();
        let told = build(&format!("type=registry,name={name},oci-mediatypes={oci}"));
        let (found, pushed) = registry.contents().manifests["c/d/manifests/1"].clone();
        assert_eq!(
            (found.as_str(), told["containerimage.digest"].as_str()),
            (kind, Some(&*digest_of(&pushed)))
        );
    }
}

#[test]
fn files_for_several_platforms_are_in_one_place_where_that_is_wanted() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let out = machine.dir.path().join("out");
    let archive = machine.dir.path().join("files.tar");
    let build = |platforms: &str, kind: &str, split: &str| {
        let dest = if kind == "tar" { &archive } else { &out };
        let output = format!("type={kind},dest={}{split}", dest.display());
        machine.ok(&["build", "-q", "--platform", platforms, "-o", &output, "."]);
    };
    let (both, one) = ("linux/amd64,linux/riscv64", "linux/riscv64");
    machine.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY passwd /etc/$TARGETARCH\n");
    for (platforms, split, want) in [
        (both, "", &["linux_amd64/etc/amd64", "linux_riscv64/etc/riscv64"][..]),
        (both, ",platform-split=true", &["linux_amd64/etc/amd64", "linux_riscv64/etc/riscv64"]),
        (both, ",platform-split=false", &["etc/amd64", "etc/riscv64"]),
        (one, "", &["etc/riscv64"]),
        (one, ",platform-split=false", &["etc/riscv64"]),
        (one, ",platform-split=true", &["linux_riscv64/etc/riscv64"]),
    ] {
        build(platforms, "local", split);
        assert!(want.iter().all(|path| out.join(path).is_file()), "{platforms} {split}");
        assert_eq!(
            fs_err::read_dir(&out).unwrap().count(),
            if want[0].starts_with("etc") { 1 } else { want.len() }
        );
        fs_err::remove_dir_all(&out).unwrap();
        build(platforms, "tar", split);
        let mut archive = tar::Archive::new(fs_err::File::open(&archive).unwrap());
        let paths =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        let files: Vec<String> = paths.filter(|path| !path.ends_with('/')).collect();
        assert_eq!(files, want, "{platforms} {split}");
    }
    // What would be lost is named, and nothing is written.
    machine.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY passwd /etc/$TARGETARCH\nCOPY passwd /etc/both\n");
    for kind in ["local", "tar"] {
        fs_err::remove_file(&archive).unwrap_or_default();
        let dest = if kind == "tar" { &archive } else { &out };
        let output = format!("type={kind},dest={},platform-split=false", dest.display());
        let refused = machine.refused(&["build", "--platform", both, "-o", &output, "."], 1);
        assert!(refused.contains("`/etc/both` is there for linux/amd64 and for linux/riscv64"), "{refused}");
        assert!(refused.contains("hint: ") && !dest.exists(), "{refused}");
    }
}

/// Asserts that a layer is what its descriptor, its diff ID and its own table say, and returns the names in the table.
fn assert_is_stargz(layout: &Path, layer: &Value, diff_id: &Value) -> Vec<String> {
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let digest = layer["digest"].as_str().unwrap();
    let blob = fs_err::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap();
    assert_eq!((digest_of(&blob).as_str(), blob.len() as u64), (digest, layer["size"].as_u64().unwrap()));
    let mut plain = Vec::new();
    MultiGzDecoder::new(blob.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(*diff_id, digest_of(&plain));
    let told = &layer["annotations"];
    assert_eq!(told["io.containers.estargz.uncompressed-size"], plain.len().to_string());
    let footer = std::str::from_utf8(&blob[blob.len() - 35..blob.len() - 13]).unwrap();
    let start = usize::from_str_radix(footer.strip_suffix("STARGZ").unwrap(), 16).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(&blob[start..]));
    let mut toc = Vec::new();
    archive.entries().unwrap().next().unwrap().unwrap().read_to_end(&mut toc).unwrap();
    assert_eq!(told["containerd.io/snapshot/stargz/toc.digest"], digest_of(&toc));
    let toc: Value = serde_json::from_slice(&toc).unwrap();
    let entries = toc["entries"].as_array().unwrap();
    for entry in entries.iter().filter(|entry| entry["offset"].is_u64()) {
        let mut content = Vec::new();
        let offset = usize::try_from(entry["offset"].as_u64().unwrap()).unwrap();
        GzDecoder::new(&blob[offset..]).read_to_end(&mut content).unwrap();
        let size = usize::try_from(entry["size"].as_u64().unwrap()).unwrap();
        assert_eq!(entry["digest"], digest_of(&content[..size]), "{entry}");
    }
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn layers_in_estargz_are_what_their_tables_say() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let (layout, meta, id) = (
        machine.dir.path().join("layout"),
        machine.dir.path().join("meta.json"),
        machine.dir.path().join("id"),
    );
    machine.dockerfile("FROM box\nCOPY passwd /copied\nRUN echo made > /made; rm /copied\n");
    let build = |args: &[&str]| {
        let files = ["--metadata-file", meta.to_str().unwrap(), "--iidfile", id.to_str().unwrap()];
        machine.ok(&[&["build", "-q", "--network", "none"][..], &files, args, &["."]].concat());
        read(&meta)
    };
    let output = format!(
        "type=oci,tar=false,dest={},compression=estargz,force-compression=true,annotation.made=here",
        layout.display()
    );
    let mut digests = Vec::new();
    for attested in [&[][..], &["--provenance=mode=min"]] {
        let told = build(&[attested, &["-o", &output]].concat());
        let mut listed = read(&layout.join("index.json"))["manifests"][0].clone();
        assert_eq!(told["containerimage.digest"], listed["digest"]);
        if !attested.is_empty() {
            let index = described(&layout, &listed);
            listed = index["manifests"][0].clone();
            let said = described(&layout, &index["manifests"][1]);
            let statement = described_as_is(&layout, &said["layers"][0]);
            let subject = format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap());
            assert_eq!(listed["digest"], subject, "it is said of the image that is there");
        }
        let manifest = described(&layout, &listed);
        let config = described(&layout, &manifest["config"]);
        assert_eq!(
            (&manifest["annotations"]["made"], &told["containerimage.config.digest"]),
            (&"here".into(), &manifest["config"]["digest"])
        );
        assert_eq!(manifest["config"]["digest"], fs_err::read_to_string(&id).unwrap());
        let (layers, diff_ids) =
            (manifest["layers"].as_array().unwrap(), config["rootfs"]["diff_ids"].as_array().unwrap());
        assert_eq!(layers.len(), diff_ids.len());
        let names: Vec<Vec<String>> = layers
            .iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| assert_is_stargz(&layout, layer, diff_id))
            .collect();
        assert!(names.iter().any(|names| names.contains(&"bin/busybox".to_owned())), "{names:?}");
        assert!(names.last().unwrap().contains(&".wh.copied".to_owned()), "{names:?}");
        digests.push(listed["digest"].clone());
        fs_err::remove_dir_all(&layout).unwrap();
    }
    assert_eq!(digests[0], digests[1], "the same bytes again");
}

#[test]
fn images_in_estargz_run_and_are_passed_on_as_they_are() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let meta = machine.dir.path().join("meta.json");
    machine.dockerfile("FROM box\nCOPY passwd /copied\nRUN echo made > /made; rm /copied\n");
    let name = registry.name("c/d:1");
    let pushed = format!("type=registry,name={name},compression=estargz,force-compression=true");
    let archive = "type=oci,dest=made.tar,compression=estargz";
    let meta_file = ["--metadata-file", meta.to_str().unwrap()];
    machine.ok(&[
        &["build", "-q", "--network", "none"][..],
        &meta_file,
        &["-o", &pushed, "-o", archive, "."],
    ]
    .concat());
    let told = read(&meta);
    let pushed: Value = serde_json::from_slice(&registry.contents().manifests["c/d/manifests/1"].1).unwrap();
    assert!(
        pushed["layers"].as_array().unwrap().iter().all(|layer| layer["annotations"].is_object()),
        "{pushed}"
    );
    assert_eq!(pushed["config"]["digest"], told["containerimage.config.digest"]);
    let run = ["run", "--rm", "--network", "none", &name, "cat /made; ls -a /"];
    machine.ok(&["rmi", &name]);
    machine.ok(&["builder", "prune", "-af"]);
    let (said, _) = machine.ok(&run);
    let files: Vec<&str> = said.lines().collect();
    assert!(files[0] == "made" && files.contains(&"bin") && !files.contains(&"copied"), "{said}");
    assert!(!said.contains("stargz") && !said.contains("landmark"), "{said}");
    let again = registry.name("e/f:1");
    machine.ok(&["tag", &name, &again]);
    machine.ok(&["push", "-q", &again]);
    let passed: Value = serde_json::from_slice(&registry.contents().manifests["e/f/manifests/1"].1).unwrap();
    assert_eq!(passed, pushed);
    let (loaded, _) = machine.ok(&["load", "-q", "-i", "made.tar"]);
    let loaded = loaded.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(machine.ok(&["run", "--rm", "--network", "none", &loaded, "cat /made"]).0, "made\n");

    let refused = machine.refused(&["build", "--cache-to", "type=inline", "-o", archive, "."], 1);
    assert!(refused.contains("cannot have layers in eStargz") && refused.contains("hint: "), "{refused}");
}

#[test]
fn files_in_a_directory_belong_to_whoever_asks_and_have_their_times() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let made = UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    fs_err::OpenOptions::new()
        .write(true)
        .open(machine.context().join("page"))
        .and_then(|file| file.set_modified(made))
        .unwrap();
    machine.dockerfile("FROM scratch\nCOPY --chown=1000:1001 --chmod=4755 page /d/page\n");
    machine.ok(&["build", "-q", "-o", "out", "-o", "type=tar,dest=out.tar", "."]);
    let found = fs_err::metadata(machine.context().join("out/d/page")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (0, 0, 0o4755));
    assert_eq!(found.modified().unwrap(), made);
    let listed = run(&machine.context(), "tar tvf out.tar --numeric-owner d/page");
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains(" 1000/1001 "), "{listed}");
}

//! What is attested of an image goes with it: to a registry, to other machines, into files.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;
use shipway_oci::Digest;
use shipway_testkit::registry::{Reply, TestRegistry};
use shipway_testkit::{Need, require};

use crate::machine::{Machine, can_run};

/// A secret that must not be anywhere.
const CANARY: &str = "canary-5f2c1d-do-not-tell";
const ANSWER: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

const STATUS: &str = "Package: bash
Status: install ok installed
Maintainer: Matthias Klose <doko@debian.org>
Architecture: amd64
Version: 5.2.15-2+b7
Description: GNU Bourne Again SHell
";

/// Asks a registry of the machine for something below `/v2/`.
fn get(machine: &Machine, address: &str, path: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    machine.inside(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        let ask = format!(
            "GET /v2/{path} HTTP/1.1\r\nHost: {address}\r\nAccept: {ANSWER}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).unwrap();
        stream.read_to_end(&mut answer).unwrap();
    });
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(head.starts_with("http/1.1 200") && !head.contains("chunked"), "{path}: {head}");
    answer.split_off(end + 4)
}

/// Asks for what a descriptor says, and checks that it is that.
fn described(machine: &Machine, address: &str, kind: &str, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let bytes = get(machine, address, &format!("team/web/{kind}/{digest}"));
    assert_eq!(Digest::of(&bytes).to_string(), digest);
    assert_eq!(bytes.len() as u64, descriptor["size"]);
    assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "{descriptor}");
    bytes
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A machine with a context whose image has a package, a secret and a build argument.
fn machine() -> Machine {
    let machine = Machine::with_box();
    let write = |name: &str, text: &str| fs_err::write(machine.context().join(name), text).unwrap();
    write("status", STATUS);
    write("os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    write("token", CANARY);
    machine.dockerfile(
        "FROM box AS base\nARG WHO=nobody\nCOPY os-release /etc/os-release\nCOPY status /var/lib/dpkg/status\n\
         FROM base\nARG WHO\nRUN --mount=type=secret,id=token test -s /run/secrets/token && echo $WHO > /who\n",
    );
    machine
}

fn build<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let always = ["build", "--network", "none", "--secret", "id=token,src=token"];
    [&always[..], flags, &["."]].concat()
}

fn metadata(machine: &Machine) -> Value {
    json(&fs_err::read(machine.context().join("metadata.json")).unwrap())
}

#[test]
fn what_is_attested_goes_to_a_registry_and_comes_back() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let root = |name: &str| machine.dir.path().join(name).to_str().unwrap().to_owned();
    // A registry on another store: layers are compressed for it, and the manifest becomes another one.
    let server =
        machine.serve(&["--root", &root("registry"), "registry", "serve", "-q", "--listen", "127.0.0.1:0"]);
    let address = server.address();
    let name = format!("{address}/team/web:1");
    let said = machine
        .ok(&build(&[
            "-t",
            &name,
            "--push",
            "--provenance=mode=max,builder-id=https://ci.test/7",
            "--sbom",
            "--build-arg",
            "WHO=me",
            "--annotation",
            "index:org.example.a=b",
            "--metadata-file",
            "metadata.json",
        ]))
        .1;
    let here = metadata(&machine);
    assert_eq!(here["containerimage.descriptor"]["mediaType"], "application/vnd.oci.image.index.v1+json");

    let index = get(&machine, &address, "team/web/manifests/1");
    let digest = Digest::of(&index).to_string();
    assert!(said.contains(&format!("pushed {name}@{digest}")), "{said}");
    let index = json(&index);
    assert_eq!(index["annotations"]["org.example.a"], "b");
    let [image, listed] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
    assert_eq!(image["platform"]["os"], "linux");
    assert_eq!(
        (&listed["platform"]["os"], &listed["platform"]["architecture"]),
        (&"unknown".into(), &"unknown".into())
    );
    assert_eq!(listed["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(listed["annotations"]["vnd.docker.reference.digest"], image["digest"]);

    let manifest = json(&described(&machine, &address, "manifests", image));
    assert_eq!(manifest["config"]["digest"], here["containerimage.config.digest"]);
    assert!(manifest["layers"][0]["mediaType"].as_str().unwrap().ends_with("+gzip"));
    let attestations = json(&described(&machine, &address, "manifests", listed));
    let config = json(&described(&machine, &address, "blobs", &attestations["config"]));
    let mut predicates = Vec::new();
    for (at, layer) in attestations["layers"].as_array().unwrap().iter().enumerate() {
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        assert_eq!(config["rootfs"]["diff_ids"][at], layer["digest"]);
        let statement = json(&described(&machine, &address, "blobs", layer));
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v0.1");
        assert_eq!(statement["predicateType"], layer["annotations"]["in-toto.io/predicate-type"]);
        let subject = &statement["subject"][0];
        let purl = format!("pkg:docker/{}/team/web@1?platform=linux%2F", address.replace(':', "%3A"));
        assert!(subject["name"].as_str().unwrap().starts_with(&purl), "{subject}");
        assert_eq!(format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap()), image["digest"]);
        predicates.push((statement["predicateType"].clone(), statement["predicate"].clone()));
    }
    let [(provenance_type, provenance), (sbom_type, sbom)] = predicates.as_slice() else {
        panic!("{predicates:?}")
    };
    assert_eq!(
        (provenance_type, sbom_type),
        (&"https://slsa.dev/provenance/v0.2".into(), &"https://spdx.dev/Document".into())
    );
    check_provenance(&machine, provenance);
    check_sbom(sbom);

    travel(&machine, &address, (&name, &digest), provenance);

    // The secret is nowhere, encoded or not.
    for store in ["root", "registry", "elsewhere", "third"] {
        for blob in fs_err::read_dir(machine.dir.path().join(store).join("blobs/sha256")).unwrap() {
            let bytes = fs_err::read(blob.unwrap().path()).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{store}");
        }
    }
    drop(server);
    machine.assert_nothing_is_left();
}

/// Pulls the image elsewhere, from where it goes on.
fn travel(machine: &Machine, address: &str, (name, digest): (&str, &str), provenance: &Value) {
    let root = |name: &str| machine.dir.path().join(name).to_str().unwrap().to_owned();
    // Elsewhere it comes with the image, which runs as before.
    let roots = ["--root", &root("elsewhere"), "--state", &root("elsewhere-state")];
    let there = |args: &[&str]| machine.ok(&[&roots[..], args].concat()).0;
    assert!(there(&["pull", name]).contains(&format!("Digest: {digest}\n")));
    assert_eq!(there(&["run", "--rm", "--network", "none", name, "cat /who"]), "me\n");
    let shown = json(there(&["inspect", name]).as_bytes());
    assert_eq!(
        (&shown[0]["Descriptor"]["digest"], &shown[0]["Manifests"][1]["Available"]),
        (&digest.into(), &true.into())
    );
    let shown = there(&["inspect", "-f", "{{json .Provenance.SLSA}}", name]);
    assert_eq!(json(shown.as_bytes()), *provenance);
    let shown = there(&["inspect", "-f", "{{.SBOM.SPDX.SPDXID}}", name]);
    assert_eq!(shown, "SPDXRef-DOCUMENT\n");
    // From there it goes on as it is, also under another name, in a file, and after a collection.
    there(&["tag", name, "copy"]);
    there(&["tag", "copy", &format!("{address}/team/copy:2")]);
    there(&["rmi", name, "copy"]);
    there(&["system", "prune", "-f"]);
    let pushed = there(&["push", &format!("{address}/team/copy:2")]);
    assert!(pushed.contains(&format!("2: digest: {digest} size: ")), "{pushed}");
    there(&["save", "-o", &root("saved.tar"), &format!("{address}/team/copy:2")]);
    let roots = ["--root", &root("third"), "--state", &root("third-state")];
    let third = |args: &[&str]| machine.ok(&[&roots[..], args].concat()).0;
    third(&["load", "-i", &root("saved.tar")]);
    let shown = json(third(&["inspect", &format!("{address}/team/copy:2")]).as_bytes());
    assert_eq!(shown[0]["Descriptor"]["digest"], digest);
}

fn check_provenance(machine: &Machine, said: &Value) {
    assert_eq!(said["builder"]["id"], "https://ci.test/7");
    assert_eq!(said["buildType"], "https://mobyproject.org/buildkit@v1");
    let base = machine.inspect("box")["Descriptor"]["digest"]
        .as_str()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let [material] = said["materials"].as_array().unwrap().as_slice() else { panic!("{said}") };
    assert!(
        material["uri"].as_str().unwrap().starts_with("pkg:docker/box@latest?platform=linux%2F"),
        "{material}"
    );
    assert_eq!(material["digest"]["sha256"], base);
    let invocation = &said["invocation"];
    assert_eq!(invocation["configSource"]["entryPoint"], "Dockerfile");
    assert_eq!(invocation["parameters"]["frontend"], "dockerfile.v0");
    assert_eq!(invocation["parameters"]["args"]["build-arg:WHO"], "me");
    assert_eq!(invocation["parameters"]["secrets"], serde_json::json!([{ "id": "token", "optional": true }]));
    assert_eq!(invocation["parameters"]["locals"][0]["name"], "context");
    let metadata = &said["metadata"];
    assert!(metadata["buildStartedOn"].as_str().unwrap() <= metadata["buildFinishedOn"].as_str().unwrap());
    assert_eq!(
        metadata["completeness"],
        serde_json::json!({ "parameters": true, "environment": true, "materials": false })
    );
    let details = &metadata["https://mobyproject.org/buildkit@v1#metadata"];
    let steps = said["buildConfig"]["steps"].as_array().unwrap();
    let instructions: Vec<&str> = steps.iter().map(|step| step["instruction"].as_str().unwrap()).collect();
    assert_eq!(instructions.len(), 4, "{instructions:?}");
    assert!(instructions[3].starts_with("RUN --mount=type=secret,id=token"), "{instructions:?}");
    assert_eq!((&steps[3]["inputs"], &steps[3]["line"]), (&serde_json::json!(["step2:0"]), &7.into()));
    assert_eq!(details["layers"]["step3:0"][0][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
    assert_eq!(details["source"]["infos"][0]["filename"], "Dockerfile");
}

fn check_sbom(said: &Value) {
    assert_eq!((&said["spdxVersion"], &said["dataLicense"]), (&"SPDX-2.3".into(), &"CC0-1.0".into()));
    let packages = said["packages"].as_array().unwrap();
    let bash = packages.iter().find(|package| package["name"] == "bash").unwrap();
    assert_eq!(
        bash["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12"
    );
    assert_eq!(packages.len(), 2);
}

#[test]
fn save_tells_what_is_not_here() {
    if !can_run() {
        return;
    }
    let machine = machine();
    machine.ok(&build(&["-t", "web", "--sbom"]));
    let shown = machine.inspect("web");
    let listed = shown["Manifests"].as_array().unwrap().iter().find(|listed| listed["Kind"] == "attestation");
    let digest = listed.unwrap()["Descriptor"]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    fs_err::remove_file(machine.dir.path().join("root/blobs/sha256").join(digest)).unwrap();
    let said = machine.ok(&["save", "-o", "saved.tar", "web"]).1;
    assert!(said.contains("web:latest: what its index lists is not all here"), "{said}");
    machine.ok(&["rmi", "web"]);
    machine.ok(&["load", "-i", "saved.tar"]);
    assert_eq!(machine.inspect("web").get("Manifests"), None);
}

#[test]
fn what_was_fetched_is_a_material_with_its_digest() {
    if !can_run() || !require(&[Need::Git, Need::Tar]) {
        return;
    }
    let machine = machine();
    let files = machine.dir.path().join("files");
    let work = machine.dir.path().join("work");
    fs_err::create_dir_all(&files).unwrap();
    fs_err::create_dir_all(&work).unwrap();
    let git = "git -c user.name=me -c user.email=me@test -c init.defaultBranch=main";
    let served = files.clone();
    let server = machine.inside(move || {
        TestRegistry::with_fault(move |asked, _| {
            let path = asked.target.split('?').next().unwrap().trim_start_matches('/');
            Some(
                fs_err::read(served.join(path))
                    .map_or_else(|_| Reply::new(404, ""), |bytes| Reply::new(200, bytes)),
            )
        })
    });
    let url = format!("http://{}", server.address);
    fs_err::write(files.join("one"), "one").unwrap();
    fs_err::write(work.join("file"), "of the repository").unwrap();
    let commit = |dir: &std::path::Path| {
        let line = format!(
            "{git} init -q && {git} add . && {git} commit -qm x && git clone -q --bare . {0}/app.git && \
             git -C {0}/app.git update-server-info && git rev-parse HEAD",
            files.display()
        );
        let output = Command::new("sh").args(["-c", &line]).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let one = Digest::of(b"one");
    let dockerfile =
        format!("FROM scratch\nADD {url}/one /one\nADD --checksum={one} {url}/one /again\nCOPY file /file\n");
    fs_err::write(work.join("Dockerfile"), dockerfile).unwrap();
    let head = commit(&work);
    let context = format!("{}/app.git#main", url.replace("http://", &format!("http://me:{CANARY}@")));
    for time in ["anew", "cached"] {
        machine.ok(&["build", "-t", "web", "--network", "none", "--provenance", &context]);
        let said = json(machine.ok(&["inspect", "-f", "{{json .Provenance.SLSA}}", "web"]).0.as_bytes());
        let materials = serde_json::json!([
            { "uri": format!("{url}/app.git#main"), "digest": { "sha1": head } },
            { "uri": format!("{url}/one"), "digest": { "sha256": one.hex() } },
        ]);
        assert_eq!(said["materials"], materials, "{time}");
        assert_eq!(said["invocation"]["configSource"]["digest"]["sha1"], head.as_str());
        assert_eq!(said["metadata"]["completeness"]["materials"], true);
        assert_eq!(said["metadata"]["https://mobyproject.org/buildkit@v1#hermetic"], true);
        assert!(!said.to_string().contains(CANARY), "{said}");
    }
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(files.join("context.tgz")).args(["file", "Dockerfile"]).current_dir(&work);
    assert!(tar.status().unwrap().success());
    machine.ok(&[
        "build",
        "-t",
        "web",
        "--network",
        "none",
        "--provenance=version=v1",
        &format!("{url}/context.tgz"),
    ]);
    let said = json(machine.ok(&["inspect", "-f", "{{json .Provenance.SLSA}}", "web"]).0.as_bytes());
    let digest = Digest::of(&fs_err::read(files.join("context.tgz")).unwrap()).hex();
    let source = serde_json::json!({ "uri": format!("{url}/context.tgz"), "digest": { "sha256": digest }, "path": "Dockerfile" });
    assert_eq!(said["buildDefinition"]["externalParameters"]["configSource"], source);
    machine.assert_nothing_is_left();
}

#[test]
fn little_is_told_where_little_is_wanted_and_the_same_twice_with_an_epoch() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let flags = ["-t", "web", "--metadata-file", "metadata.json", "--build-arg", "WHO=somebody"];
    let provenance = || json(machine.ok(&["inspect", "-f", "{{json .Provenance.SLSA}}", "web"]).0.as_bytes());

    machine.ok(&build(&flags));
    assert_eq!(
        metadata(&machine)["containerimage.descriptor"]["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(machine.inspect("web").get("Manifests"), None, "nothing is attested unless somebody wants it");

    machine.ok(&build(&[&flags[..], &["--attest", "type=provenance,mode=min"]].concat()));
    let said = provenance();
    assert!(!said.to_string().contains("somebody") && said.get("buildConfig").is_none(), "{said}");
    assert_eq!(
        (&said["metadata"]["completeness"]["parameters"], said["materials"].as_array().unwrap().len()),
        (&false.into(), 1)
    );

    let mut digests = Vec::new();
    for _time in 0..2 {
        let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--no-cache", "--sbom=true"];
        machine.ok(&build(&[&flags[..], &epoch, &["--provenance=mode=max,version=v1"]].concat()));
        digests.push(metadata(&machine)["containerimage.digest"].clone());
        let said = provenance();
        assert_eq!(said["buildDefinition"]["resolvedDependencies"].as_array().unwrap().len(), 1, "{said}");
        assert_eq!(said["runDetails"]["metadata"].get("startedOn"), None);
        let created = machine.ok(&["inspect", "-f", "{{.SBOM.SPDX.creationInfo.created}}", "web"]).0;
        assert_eq!(created, "2023-11-14T22:13:20Z\n");
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(machine.inspect("web")["Descriptor"]["digest"], digests[0]);

    // Into a layout beside the store.
    machine.ok(&build(&["-o", "type=oci,tar=false,dest=layout", "--provenance=mode=min"]));
    let index = json(&fs_err::read(machine.context().join("layout/index.json")).unwrap());
    assert_eq!(index["manifests"][0]["mediaType"], "application/vnd.oci.image.index.v1+json");

    let said = machine.refused(&build(&["--sbom=generator=scanner:1"]), 1);
    assert!(said.contains("`scanner:1`") && said.contains("hint: "), "{said}");
    let said = machine.refused(&build(&["--annotation", "index:a=b"]), 1);
    assert!(said.contains("there is no index to annotate"), "{said}");
    machine.assert_nothing_is_left();
}

//! Images for other machines than this one.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shipway_linux::{MountAttributes, new_filesystem};
use shipway_testkit::registry::TestRegistry;
use shipway_testkit::{Need, require};

use crate::machine::{Machine, can_run};

/// What no machine of ours is.
const OTHER: &str = "linux/riscv64";

fn platform_of(machine: &Machine, image: &str) -> String {
    machine.ok(&["inspect", "-f", "{{.Os}}/{{.Architecture}}", image]).0.trim().to_owned()
}

#[test]
fn what_is_made_here_for_another_machine_needs_no_emulator() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "FROM --platform=$BUILDPLATFORM box AS build\nARG TARGETPLATFORM TARGETARCH BUILDARCH\n\
         RUN echo $TARGETPLATFORM $TARGETARCH > /said; test $BUILDARCH != $TARGETARCH\n\
         FROM scratch\nCOPY --from=build /said /said\n",
    );
    let build = |args: &[&str]| {
        machine.ok(&[&["build", "-q", "--network", "none", "--platform", OTHER], args, &["."]].concat()).0
    };
    build(&["-t", "made"]);
    assert_eq!(platform_of(&machine, "made"), OTHER);
    let out = machine.dir.path().join("out");
    build(&["--output", out.to_str().unwrap()]);
    assert_eq!(fs_err::read_to_string(out.join("said")).unwrap(), "linux/riscv64 riscv64\n");

    machine.dockerfile("FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"true\"]\n");
    let errors = machine.refused(&["build", "--platform", "linux/pdp11", "."], 1);
    for part in [
        "programs for linux/pdp11 do not run on this machine",
        "qemu-user-static",
        "--platform=$BUILDPLATFORM",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
    let errors = machine.refused(&["build", "--platform", "freebsd/amd64", "."], 1);
    for part in ["a stage for freebsd/amd64 cannot run commands on Linux", "--platform=$BUILDPLATFORM"] {
        assert!(errors.contains(part), "{errors}");
    }

    // What is here for this machine only is told as that, by whatever way it comes.
    machine.ok(&["tag", "box", "127.0.0.1:1/box:1"]);
    machine.dockerfile("FROM 127.0.0.1:1/box:1\nCOPY passwd /x\n");
    let errors = machine.refused(&["build", "--platform", OTHER, "."], 1);
    let host = platform_of(&machine, "box");
    assert!(errors.contains(&format!("is here for {host}, and {OTHER} cannot be had")), "{errors}");
    assert!(errors.contains("FROM --platform=$BUILDPLATFORM"), "{errors}");
    let layout = machine.dir.path().join("layout");
    machine.dockerfile("FROM scratch\nCOPY passwd /x\n");
    machine.ok(&["build", "-q", "-o", &format!("type=oci,tar=false,dest={}", layout.display()), "."]);
    machine.dockerfile("FROM base\nCOPY passwd /y\n");
    let context = format!("base=oci-layout://{}", layout.display());
    machine.ok(&["build", "-q", "--build-context", &context, "."]);
    let errors = machine.refused(&["build", "--platform", OTHER, "--build-context", &context, "."], 1);
    assert!(errors.contains(&format!("for {host}, not for {OTHER}")), "{errors}");
    machine.ok(&["build", "-q", "--build-context", &context, "--provenance", "mode=max", "."]);
}

#[test]
fn other_systems_get_what_is_made_here() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "FROM --platform=$BUILDPLATFORM box AS build\nARG TARGETOS TARGETARCH\nRUN echo $TARGETOS $TARGETARCH > /app\n\
         FROM scratch AS files-windows\nCOPY --from=build /app /app.exe\n\
         FROM scratch AS files-darwin\nCOPY --from=build /app /app\n\
         FROM files-$TARGETOS\nWORKDIR C:\\\\Program\\\\x\nCOPY passwd y\nCMD app\n",
    );
    let out = machine.dir.path().join("out");
    let output = out.to_str().unwrap();
    let build = ["build", "-q", "--network", "none", "--platform", "macos/arm64,windows/amd64"];
    machine.ok(&[&build[..], &["-t", "made", "-o", output, "."]].concat());
    for (path, want) in [("darwin_arm64/app", "darwin arm64\n"), ("windows_amd64/app.exe", "windows amd64\n")]
    {
        assert_eq!(fs_err::read_to_string(out.join(path)).unwrap(), want);
    }
    assert!(out.join("windows_amd64/Program/x/y").exists());
    let of = |platform: &str| {
        let said = machine.ok(&["inspect", "--platform", platform, "made"]).0;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        (said[0]["Os"].clone(), said[0]["Config"].clone())
    };
    let (os, config) = of("windows/amd64");
    assert_eq!((os, &config["WorkingDir"]), ("windows".into(), &"\\Program\\x".into()));
    assert_eq!(config["Cmd"], serde_json::json!(["cmd", "/S", "/C", "app"]));
    assert!(config["Env"].as_array().is_none_or(Vec::is_empty), "{config}");
    let (os, config) = of("darwin/arm64");
    assert_eq!((os, &config["Cmd"]), ("darwin".into(), &serde_json::json!(["/bin/sh", "-c", "app"])));
    assert!(config["Env"][0].as_str().unwrap().starts_with("PATH="), "{config}");
}

#[test]
fn one_platform_is_as_several_if_that_is_wanted() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM scratch\nCOPY passwd /x\n");
    let out = machine.dir.path().join("out");
    let layout = machine.dir.path().join("layout");
    let (files, image) = (out.display().to_string(), format!("type=oci,tar=false,dest={}", layout.display()));
    let wanted = ["--build-arg", "BUILDKIT_MULTI_PLATFORM=1", "--annotation", "index:a=b"];
    machine.ok(&[&["build", "-q", "-t", "one", "-o", &files, "-o", &image][..], &wanted, &["."]].concat());
    let host = platform_of(&machine, "box");
    assert!(out.join(host.replace('/', "_")).join("x").exists());
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap() };
    let index = read(&layout.join("index.json"))["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let index = read(&layout.join("blobs").join(index.replace(':', "/")));
    assert_eq!(index["annotations"], json!({"a": "b"}));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(index["manifests"][0]["platform"]["os"], "linux");
    assert_eq!(platform_of(&machine, "one"), host);
}

#[test]
fn an_image_is_for_what_was_asked() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM --platform=$BUILDPLATFORM box\nRUN echo x > /x\n");
    machine.ok(&["build", "-q", "--network", "none", "--platform", OTHER, "-t", "asked", "."]);
    assert_eq!(platform_of(&machine, "asked"), OTHER);
    machine.ok(&["build", "-q", "--network", "none", "-t", "unasked", "."]);
    assert_eq!(platform_of(&machine, "unasked"), platform_of(&machine, "box"));
    // A variant is in the archive's index as in the image.
    machine.dockerfile("FROM scratch\nCOPY passwd /x\n");
    let layout = machine.dir.path().join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    for (asked, want) in [("linux/arm/v5", "v5"), ("linux/amd64/v3", "v3")] {
        machine.ok(&["build", "-q", "--platform", asked, "-o", &output, "."]);
        let index = fs_err::read(layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(index["manifests"][0]["platform"]["variant"], want, "{index}");
        fs_err::remove_dir_all(&layout).unwrap();
    }
}

/// Of an archive, and of a name.
fn one_platform_is_taken(machine: &Machine, other: &Machine, saved: &Path, name: &str) {
    let load = ["load", "-i", saved.to_str().unwrap()];
    other.ok(&[&load[..], &["--platform", OTHER]].concat());
    assert_eq!(platform_of(other, name), OTHER);
    let said = other.refused(&[&load[..], &["--platform", "linux/s390x"]].concat(), 1);
    assert!(said.contains("linux/s390x"), "{said}");
    let alone = machine.dir.path().join("alone.tar");
    machine.ok(&["save", "--platform", OTHER, "-o", alone.to_str().unwrap(), name]);
    other.ok(&["load", "-i", alone.to_str().unwrap()]);
    assert_eq!((platform_of(other, name).as_str(), other.inspect(name).get("Manifests")), (OTHER, None));
}

#[test]
fn a_name_stands_for_images_for_several_platforms() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let host = platform_of(&machine, "box");
    machine.dockerfile(
        "FROM --platform=$BUILDPLATFORM box AS build\nARG TARGETARCH\nRUN echo $TARGETARCH > /said\n\
         FROM scratch\nCOPY --from=build /said /said\n",
    );
    let registry = machine.inside(TestRegistry::start);
    let name = registry.name("team/web:1");
    let meta = machine.dir.path().join("meta.json");
    let out = machine.dir.path().join("out");
    let both = format!("{host},{OTHER}");
    let (id, told) = machine.ok(&[
        &["build", "--progress", "plain", "--network", "none", "--platform", &both, "--platform", OTHER][..],
        &["-t", &name, "--provenance=mode=min", "--annotation", "index:a=b", "--push"],
        &["--metadata-file", meta.to_str().unwrap(), "-o", out.to_str().unwrap(), "."],
    ]
    .concat());
    assert_eq!(id, "");
    let architecture = host.split('/').nth(1).unwrap();
    for part in
        [&format!("[{host} build 2/2] RUN"), "[linux/riscv64 build 2/2] RUN", "exporting manifest list"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    for (platform, text) in [(host.replace('/', "_"), architecture), (OTHER.replace('/', "_"), "riscv64")] {
        let said = fs_err::read_to_string(out.join(platform).join("said")).unwrap();
        assert_eq!(said.trim(), text);
    }
    assert_eq!(platform_of(&machine, &name), host);
    let steps =
        |platform: &str| machine.ok(&["history", "--platform", platform, "-q", "--no-trunc", &name]).0;
    assert_ne!(steps(&host), steps(OTHER));

    // All of it is in the registry, by the digest that the file says or as compressed.
    let (kind, index) = registry.contents().manifests["team/web/manifests/1"].clone();
    assert_eq!(kind, "application/vnd.oci.image.index.v1+json");
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["annotations"]["a"], "b");
    let listed = index["manifests"].as_array().unwrap();
    assert_eq!(listed.len(), 4, "two images and what is attested of each: {index}");
    for entry in listed {
        let path = format!("team/web/manifests/{}", entry["digest"].as_str().unwrap());
        assert!(registry.contents().manifests.contains_key(&path), "{path}");
    }
    assert_eq!(listed[1]["platform"]["architecture"], "riscv64");
    let meta: Value = serde_json::from_slice(&fs_err::read(&meta).unwrap()).unwrap();
    assert_eq!(meta["containerimage.descriptor"]["mediaType"], "application/vnd.oci.image.index.v1+json");

    // An archive of the name has both; another machine takes the one for it.
    let saved = machine.dir.path().join("saved.tar");
    machine.ok(&["save", "-o", saved.to_str().unwrap(), &name]);
    let mut archive = tar::Archive::new(fs_err::File::open(&saved).unwrap());
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    // Their directory; two configs, manifests and layers; for each a statement with config and manifest; the index.
    assert_eq!(paths.iter().filter(|path| path.starts_with("blobs/sha256/")).count(), 14, "{paths:?}");
    let other = Machine::with_box();
    one_platform_is_taken(&machine, &other, &saved, &name);
    other.ok(&["load", "-i", saved.to_str().unwrap()]);
    assert_eq!(platform_of(&other, &name), host);

    // Also after a pull, and without the registry, a later build finds the one that it needs by the name.
    machine.ok(&["pull", "-q", &name]);
    drop(registry);
    for machine in [&machine, &other] {
        machine.dockerfile(&format!("FROM {name}\nCOPY passwd /x\n"));
        machine.ok(&["build", "-q", "--platform", OTHER, "-t", "on", "."]);
        assert_eq!(platform_of(machine, "on"), OTHER);
    }
    // The files of all, in one archive.
    let files = machine.dir.path().join("files.tar");
    let output = format!("type=tar,dest={}", files.display());
    machine.ok(&["build", "-q", "--platform", &both, "-o", &output, "."]);
    let mut archive = tar::Archive::new(fs_err::File::open(&files).unwrap());
    let paths: Vec<PathBuf> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
    let wanted = [host.replace('/', "_"), OTHER.replace('/', "_")]
        .map(|platform| PathBuf::from(platform).join("said"));
    assert!(wanted.iter().all(|path| paths.contains(path)), "{paths:?}");
    // The last name takes all along.
    machine.ok(&["rmi", &name, "on"]);
    machine.ok(&["system", "prune", "-f"]);
    assert_eq!(machine.ok(&["images", "-aq", "--filter", "dangling=true"]).0, "");
}

#[test]
fn one_platform_of_a_name_is_removed_and_the_others_stay() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let host = platform_of(&machine, "box");
    let both = format!("{host},{OTHER}");
    let here = |name: &str, platform: &str| {
        machine.shipway(&["inspect", "--platform", platform, name]).status.success()
    };
    machine.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY passwd /$TARGETARCH\nENV FOR=$TARGETARCH\n");
    let build = || drop(machine.ok(&["build", "-q", "--no-cache", "--platform", &both, "-t", "web", "."]));
    build();
    machine.ok(&["builder", "prune", "-af"]);
    let rmi = |args: &[&str]| machine.ok(&[&["rmi"], args].concat());

    // What is not there, and what is no platform.
    let said = machine.refused(&["rmi", "--platform", &format!("{OTHER},linux/s390x"), "web"], 1);
    assert!(said.contains(&format!("is here for {host}, {OTHER}, not for linux/s390x")), "{said}");
    assert!(here("web", OTHER), "all of them or none");
    assert_eq!(rmi(&["-f", "--platform", "linux/s390x", "web"]).0, "");
    assert!(machine.refused(&["rmi", "--platform", "a/b/c/d", "web"], 1).contains("not a platform"));
    // Names that share it are not changed unasked.
    machine.ok(&["tag", "web", "web2"]);
    let said = machine.refused(&["rmi", "--platform", OTHER, "web"], 1);
    assert!(
        said.contains("`web2:latest` would lose its image") && said.contains("shipway rmi -f --platform"),
        "{said}"
    );
    let id = machine.inspect("web")["Id"].as_str().unwrap().to_owned();
    let (out, notes) = rmi(&["-f", "--platform", OTHER, "web"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "the image and its layer: {out}");
    assert!(lines.iter().all(|line| line.starts_with("Deleted: sha256:")), "{out}");
    assert!(notes.contains("`web` cannot be pushed as a whole without its image"), "{notes}");
    for name in ["web", "web2"] {
        assert!(here(name, &host) && !here(name, OTHER), "{name}");
        assert_eq!(machine.inspect(name)["Id"], id.as_str());
    }
    machine.ok(&["system", "fsck"]);
    let registry = machine.inside(TestRegistry::start);
    let remote = registry.name("web:1");
    machine.ok(&["tag", "web", &remote]);
    assert!(
        machine.refused(&["push", &remote], 1).contains("or push one that is here: `shipway push --platform")
    );
    let said = machine.refused(&["push", "--platform", OTHER, &remote], 1);
    assert!(said.contains(&format!("is here for {host}, not for {OTHER}")), "{said}");
    machine.ok(&["push", "-q", "--platform", &host, &remote]);
    let (kind, _) = registry.contents().manifests["web/manifests/1"].clone();
    assert_eq!(kind, "application/vnd.oci.image.manifest.v1+json", "the image alone");
    // The one that is left goes with its name.
    let out = rmi(&["--platform", &host, "web2"]).0;
    assert_eq!(out, "Untagged: web2:latest\n");
    rmi(&[&remote]);
    assert!(rmi(&["--platform", &host, "web"]).0.starts_with("Untagged: web:latest\nDeleted: "));

    // Of this machine's own the name becomes the other one.
    build();
    let (_, notes) = rmi(&["--platform", &host, "web"]);
    assert!(
        notes.contains(&format!("`web:latest` is now the image for {OTHER}, which is not this machine's")),
        "{notes}"
    );
    assert_eq!(platform_of(&machine, "web"), OTHER);
    assert!(!here("web", &host));
    build();
    assert!(here("web", &host) && here("web", OTHER), "a build brings it back");
    rmi(&["--platform", OTHER, "--platform", &host, "web"]);
    assert!(machine.refused(&["inspect", "web"], 1).contains("web"));
}

#[test]
fn each_platform_takes_its_own_image_of_a_layout() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let host = platform_of(&machine, "box");
    let both = format!("{host},{OTHER}");
    let architecture = host.split('/').nth(1).unwrap();
    let layout = machine.context().join("layout");
    let build = |platforms: &str, rest: &[&str]| {
        let context = "base=oci-layout://layout:v1";
        let args = ["build", "-q", "--platform", platforms, "--build-context", context];
        machine.shipway(&[&args[..], rest, &["."]].concat())
    };
    machine.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY passwd /$TARGETARCH\nENV FOR=$TARGETARCH\n");
    let output = "type=oci,tar=false,dest=layout";
    machine.ok(&["build", "-q", "--platform", &both, "-t", "made:v1", "-o", output, "."]);
    machine.ok(&["rmi", "made:v1"]);
    machine.ok(&["builder", "prune", "-af"]);
    let path = layout.join("index.json");
    let index: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let inner = fs_err::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap();
    let mut flat: Value = serde_json::from_slice(&inner).unwrap();
    for entry in flat["manifests"].as_array_mut().unwrap() {
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    }
    // An index of both in the layout's own, and one that is the layout's own.
    for (name, index) in [("inside", index.clone()), ("itself", flat)] {
        fs_err::write(&path, index.to_string()).unwrap();
        machine.dockerfile(
            "FROM --platform=$BUILDPLATFORM base AS here\nFROM base\nARG TARGETARCH\nCOPY --from=here / /here/\n\
             COPY --from=base /$TARGETARCH /copied\nLABEL for=$FOR\n",
        );
        let out = machine.dir.path().join("out");
        let built = build(&both, &["-t", "on", "-o", out.to_str().unwrap(), "--provenance"]);
        assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
        for (platform, own) in [(host.as_str(), architecture), (OTHER, "riscv64")] {
            let files = out.join(platform.replace('/', "_"));
            for path in [own, "copied", &format!("here/{architecture}")] {
                assert!(files.join(path).is_file(), "{name}: {path} for {platform}");
            }
            assert_eq!(files.join("riscv64").exists(), platform == OTHER, "{name}: {platform}");
        }
        assert_eq!(machine.inspect("on")["Config"]["Labels"]["for"], architecture, "{name}");
        fs_err::remove_dir_all(&out).unwrap();
        let refused = build("linux/s390x", &[]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("it has nothing for linux/s390x") && said.contains("hint: "), "{name}: {said}");
    }
}

/// Lets busybox run what says that it is for the other machine, until it is dropped.
struct Emulator {
    mount: OwnedFd,
    name: String,
}

impl Emulator {
    fn register() -> Self {
        let mount = new_filesystem("binfmt_misc", &[], MountAttributes::default()).unwrap();
        let emulator = Self { mount, name: format!("shipway-test-{}", std::process::id()) };
        let zeros = "\\x00".repeat(8);
        let magic = format!("\\x7fELF\\x02\\x01\\x01\\x00{zeros}\\x02\\x00\\xf3\\x00");
        let any = "\\xff".repeat(7);
        let mask = format!("{any}\\x00{any}\\xff\\xfe\\xff\\xff\\xff");
        let line = format!(":{}:M::{magic}:{mask}:/bin/busybox:F", emulator.name);
        fs_err::write(emulator.path("register"), line).unwrap();
        emulator
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.mount.as_raw_fd()))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(fs_err::write(self.path(&self.name), "-1"));
    }
}

#[test]
fn with_an_emulator_the_steps_run_too() {
    if !can_run() || !require(&[Need::BinfmtMisc]) {
        return;
    }
    let machine = Machine::with_box();
    let program = machine.context().join("busybox");
    let mut bytes = fs_err::read(&program).unwrap();
    bytes[18..20].copy_from_slice(&243_u16.to_le_bytes());
    fs_err::write(&program, bytes).unwrap();
    machine.dockerfile(
        "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nRUN echo emulated > /said\nCMD [\"cat\", \"/said\"]\n",
    );
    let emulator = Emulator::register();
    machine.ok(&["build", "-q", "--network", "none", "--platform", OTHER, "-t", "made", "."]);
    assert_eq!(platform_of(&machine, "made"), OTHER);
    let said = machine.ok(&["run", "--rm", "--network", "none", "made", "sh", "-c", "cat /said"]).0;
    assert_eq!(said, "emulated\n");
    drop(emulator);
    let errors = machine
        .refused(&["build", "--no-cache", "--network", "none", "--platform", OTHER, "-t", "made", "."], 1);
    assert!(errors.contains("no emulator is registered"), "{errors}");
}

#[test]
fn a_base_that_is_for_another_machine_alone_is_taken_with_a_warning() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = registry.name("base:1");
    machine.dockerfile("FROM scratch\nCOPY passwd /passwd\n");
    machine.ok(&["build", "-q", "--platform", OTHER, "-t", &name, "."]);
    machine.ok(&["push", "-q", &name]);
    machine.ok(&["rmi", &name]);
    machine.ok(&["system", "prune", "-f"]);
    let build = || machine.ok(&["build", "--progress", "plain", "--network", "none", "-t", "made", "."]).1;
    machine.dockerfile(&format!("FROM box\nCOPY --from={name} /passwd /taken\n"));
    build();
    machine.dockerfile(&format!("FROM {name}\nCOPY passwd /copied\n"));
    let said = build();
    assert!(said.contains("WARN: InvalidBaseImagePlatform: "), "{said}");
    assert_eq!(platform_of(&machine, "made"), platform_of(&machine, "box"));
    // The name stays that of the image that runs here.
    machine.ok(&["tag", "box", &name]);
    machine.ok(&["build", "-q", "--pull", "--network", "none", "."]);
    assert_eq!(platform_of(&machine, &name), platform_of(&machine, "box"));
    machine.ok(&["rmi", &name]);
    assert!(
        machine.refused(&["pull", "--platform", "linux/pdp11", &name], 1).contains("no image for platform")
    );
}

#[test]
fn a_base_for_another_machine_comes_beside_the_one_for_this_and_is_found_again() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    machine.dockerfile("FROM scratch\nLABEL for=other\nCOPY passwd /passwd\n");
    let [own, other] = [("own", None), ("other", Some(OTHER))].map(|(tag, platform)| {
        let name = registry.name(&format!("base:{tag}"));
        match platform {
            None => drop(machine.ok(&["tag", "box", &name])),
            Some(platform) => drop(machine.ok(&["build", "-q", "--platform", platform, "-t", &name, "."])),
        }
        machine.ok(&["push", "-q", &name]);
        machine.ok(&["rmi", &name]);
        let (kind, bytes) = registry.contents().manifests[&format!("base/manifests/{tag}")].clone();
        json!({"mediaType": kind, "size": bytes.len(), "digest": shipway_testkit::registry::digest_of(&bytes)})
    });
    let listed = |mut entry: Value, platform: &str| {
        let (os, architecture) = platform.split_once('/').unwrap();
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    };
    let host = platform_of(&machine, "box");
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [listed(own, &host), listed(other, OTHER)]});
    registry.add_manifest("base", "1", kind, index.to_string().as_bytes());
    machine.ok(&["system", "prune", "-f"]);

    let base = registry.name("base:1");
    machine.dockerfile(&format!("FROM {base}\nCOPY passwd /copied\n"));
    let build = |args: &[&str]| drop(machine.ok(&[&["build", "-q", "-t", "made"], args, &["."]].concat()));
    for (args, platform) in [(&[][..], host.as_str()), (&["--platform", OTHER], OTHER), (&[], &host)] {
        build(args);
        assert_eq!(platform_of(&machine, "made"), platform);
        assert_eq!(platform_of(&machine, &base), host, "the name is that of the one for this machine");
    }
    let asked = registry.asked().len();
    build(&["--platform", OTHER]);
    assert_eq!(platform_of(&machine, "made"), OTHER);
    assert_eq!(registry.asked().len(), asked, "both are here");

    // What a build brought beside the name goes by the name and its platform.
    machine.ok(&["rmi", "made"]);
    let (out, _) = machine.ok(&["rmi", "--platform", OTHER, &base]);
    assert!(out.contains(&format!("Untagged: {}@sha256:", base.trim_end_matches(":1"))), "{out}");
    assert_eq!(platform_of(&machine, &base), host);
    assert!(machine.refused(&["rmi", "--platform", OTHER, &base], 1).contains(&format!("not for {OTHER}")));
}

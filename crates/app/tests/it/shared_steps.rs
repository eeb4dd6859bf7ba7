//! Build steps that machines share through registries, directories and images, by the real program.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;
use shipway_testkit::registry::{Reply, TestRegistry, digest_of};
use shipway_testkit::{Need, require};

use crate::machine::{Machine, Served, can_run};

/// A stage that is copied from, and one that is the image. Commands leave times, so doing them again gives another image.
const STAGES: &str = "FROM scratch AS made\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"date\", \"+%s.%N\"]\n\
                      RUN [\"/bin/busybox\", \"sh\", \"-c\", \"/bin/busybox date +%s.%N > /when\"]\n\
                      FROM scratch\nCOPY busybox /sbin/busybox\nWORKDIR /srv\nCOPY --from=made /when .\nCOPY page .\n\
                      RUN [\"/sbin/busybox\", \"sh\", \"-c\", \"/sbin/busybox cat page when > served\"]\n";

/// What a build said.
struct Said {
    id: String,
    lines: String,
}

impl Said {
    fn cached(&self) -> usize {
        self.lines.matches(" CACHED\n").count()
    }

    fn ran(&self) -> usize {
        self.lines.matches(" not cached: ").count()
    }

    /// How many layers were fetched; what goes on at the same time is named again when more is said of it.
    fn fetched(&self) -> usize {
        let lines = self.lines.lines().filter(|line| line.contains("[internal] fetch layer "));
        lines.collect::<std::collections::BTreeSet<_>>().len()
    }

    fn warnings(&self) -> Vec<&str> {
        self.lines.lines().filter(|line| line.starts_with("warning: ")).collect()
    }
}

fn machine() -> Machine {
    let machine = Machine::new();
    machine.dockerfile(STAGES);
    machine
}

fn build(machine: &Machine, flags: &[&str]) -> Said {
    let base = ["build", "--progress", "plain", "--network", "none", "-t", "app"];
    let (_, lines) = machine.ok(&[&base[..], flags, &["."]].concat());
    let id = machine.inspect("app")["Id"].as_str().unwrap().to_owned();
    Said { id, lines }
}

/// Everything that the machine has is gone, as on another one; the context stays as it is.
fn forget(machine: &Machine) {
    fs_err::remove_dir_all(machine.dir.path().join("root")).unwrap();
}

fn push(machine: &Machine, name: &str) {
    machine.ok(&["tag", "app", name]);
    machine.ok(&["push", name]);
}

fn serve(machine: &Machine) -> Served {
    let root = machine.dir.path().join("served");
    machine.serve(&["--root", root.to_str().unwrap(), "registry", "serve", "--listen", "127.0.0.1:0"])
}

#[test]
fn another_machine_takes_every_step_from_a_registry_and_has_the_same_image() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let registry = serve(&machine);
    let name = format!("{}/team/web:cache", registry.address());
    for (form, flags) in [
        ("manifest", "mode=max"),
        ("index", "mode=max,image-manifest=false"),
        ("of docker", "mode=max,oci-mediatypes=false"),
        ("zstd", "mode=max,compression=zstd"),
        ("estargz", "mode=max,compression=estargz"),
        ("min", "mode=min"),
    ] {
        let to = format!("type=registry,ref={name},{flags}");
        let first = build(&machine, &["--no-cache", "--cache-to", &to]);
        assert!(first.lines.contains(" exporting cache to registry\n"), "{form}: {}", first.lines);
        assert!(first.lines.contains(" writing cache manifest sha256:"), "{form}: {}", first.lines);
        forget(&machine);
        let again = build(&machine, &["--cache-from", &name]);
        assert!(again.lines.contains(&format!(" importing cache manifest from {name}\n")), "{}", again.lines);
        assert_eq!((again.cached(), again.ran()), (8, 0), "{form}: {}", again.lines);
        assert_eq!(again.fetched(), 5, "{form}: {}", again.lines);
        assert_eq!(again.id, first.id, "{form}");
        assert_eq!(again.warnings(), [""; 0], "{form}");
        forget(&machine);
    }
    machine.assert_nothing_is_left();
}

#[test]
fn layers_of_a_cache_in_estargz_are_those_that_the_steps_made() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let directory = machine.dir.path().join("cache");
    let to = format!("type=local,dest={},mode=max,compression=estargz", directory.display());
    let from = format!("type=local,src={}", directory.display());
    let first = build(&machine, &["--no-cache", "--cache-to", &to]);
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap() };
    let blob = |digest: &Value| directory.join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
    let manifest = read(&blob(&read(&directory.join("index.json"))["manifests"][0]["digest"]));
    for layer in manifest["layers"].as_array().unwrap() {
        let (told, bytes) = (&layer["annotations"], fs_err::read(blob(&layer["digest"])).unwrap());
        assert!(told["containerd.io/snapshot/stargz/toc.digest"].is_string(), "{layer}");
        assert!(bytes[..bytes.len() - 13].ends_with(b"STARGZ"), "{layer}");
        let mut plain = Vec::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(told["containerd.io/uncompressed"], digest_of(&plain));
    }
    forget(&machine);
    // What came is put into another cache, too, and is the same from there.
    let second = machine.dir.path().join("second");
    let second_to = format!("type=local,dest={},mode=max", second.display());
    let again = build(&machine, &["--cache-from", &from, "--cache-to", &second_to]);
    assert_eq!((again.cached(), again.ran(), &again.id), (8, 0, &first.id), "{}", again.lines);
    assert_eq!(again.warnings(), [""; 0]);
    forget(&machine);
    let third = build(&machine, &["--cache-from", &format!("type=local,src={}", second.display())]);
    assert_eq!((third.ran(), &third.id), (0, &first.id), "{}", third.lines);
    machine.assert_nothing_is_left();
}

#[test]
fn a_changed_file_costs_the_steps_that_read_it_whatever_the_cache_kept() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let directory = machine.dir.path().join("cache");
    let (to, from) = (
        format!("type=local,dest={}", directory.display()),
        format!("type=local,src={}", directory.display()),
    );
    for (mode, ran) in [("max", 2), ("min", 2)] {
        fs_err::write(machine.context().join("page"), "first\n").unwrap();
        build(&machine, &["--no-cache", "--cache-to", &format!("{to},mode={mode},tag={mode}")]);
        forget(&machine);
        fs_err::write(machine.context().join("page"), "second\n").unwrap();
        let said = build(&machine, &["--cache-from", &format!("{from},tag={mode}")]);
        assert_eq!((said.cached(), said.ran()), (6, ran), "{mode}: {}", said.lines);
        forget(&machine);
    }
    // A change of the first stage, whose layers only one of the two has.
    machine.dockerfile(&STAGES.replace("/bin/busybox date +%s.%N > /when", "echo edited > /when"));
    fs_err::write(machine.context().join("page"), "first\n").unwrap();
    for (mode, first_stage) in [("max", 1), ("min", 3)] {
        let said = build(&machine, &["--cache-from", &format!("{from},tag={mode}")]);
        let ran = said.lines.lines().filter(|line| line.contains("not cached: ")).count();
        // And three on top of the file that is copied.
        assert_eq!(ran, first_stage + 3, "{mode}: {}", said.lines);
        assert_eq!(said.warnings(), [""; 0], "{mode}");
        forget(&machine);
    }
    let layout: Value = serde_json::from_slice(&fs_err::read(directory.join("oci-layout")).unwrap()).unwrap();
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
}

#[test]
fn an_image_is_its_own_cache() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let registry = serve(&machine);
    let name = format!("{}/team/web:1", registry.address());
    for flags in [&["--cache-to", "type=inline"][..], &["--build-arg", "BUILDKIT_INLINE_CACHE=1"]] {
        let first = build(&machine, &[flags, &["--no-cache"]].concat());
        push(&machine, &name);
        forget(&machine);
        let again = build(&machine, &[flags, &["--cache-from", &name]].concat());
        assert_eq!((again.cached(), again.ran(), &again.id), (8, 0, &first.id), "{}", again.lines);
        assert_eq!(
            machine.ok(&["run", "--rm", "--network", "none", "app", "/sbin/busybox", "cat", "/srv/page"]).0,
            "first\n"
        );
        forget(&machine);
    }
    // Without a cache in it, and where there is nothing.
    build(&machine, &[]);
    push(&machine, &name);
    forget(&machine);
    let said = build(&machine, &["--cache-from", &name]);
    let want = format!("warning: the cache `{name}` is not used: it is an image without a cache in it");
    assert_eq!((said.warnings(), said.ran()), (vec![want.as_str()], 8));
    machine.assert_nothing_is_left();
}

#[test]
fn an_image_for_several_platforms_is_the_cache_of_each() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = serve(&machine);
    let (base, name) =
        (format!("{}/team/base:1", registry.address()), format!("{}/team/web:1", registry.address()));
    machine.ok(&["tag", "box", &base]);
    machine.ok(&["push", &base]);
    machine.dockerfile(&format!(
        "FROM --platform=$BUILDPLATFORM {base} AS made\nARG TARGETARCH\nRUN date +%s.%N > /when\n\
         FROM scratch\nCOPY --from=made /when /\n",
    ));
    let output = format!("type=registry,name={name}");
    let several = ["--platform", "linux/amd64,linux/riscv64", "--cache-to", "type=inline", "-o", &output];
    let build = |flags: &[&str]| {
        machine
            .ok(&[&["build", "--progress", "plain", "--network", "none"][..], &several, flags, &["."]]
                .concat())
            .1
    };
    let pushed = |said: &str| {
        let line = said.lines().find(|line| line.starts_with("pushed ")).unwrap();
        line.rsplit_once('@').unwrap().1.to_owned()
    };
    let first = pushed(&build(&[]));
    forget(&machine);
    let again = build(&["--cache-from", &name]);
    assert_eq!((pushed(&again), again.contains(" not cached: ")), (first, false), "{again}");
}

#[test]
fn a_directory_that_is_reset_keeps_what_it_lists() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let directory = machine.dir.path().join("cache");
    let to = |more: &str| format!("type=local,dest={}{more}", directory.display());
    // What an image has there that an index lists is needed, and another's unfinished file is his.
    let layout = format!("type=oci,tar=false,dest={}", directory.display());
    build(&machine, &["--provenance", "mode=min", "-o", &layout]);
    let blobs = directory.join("blobs/sha256");
    fs_err::write(blobs.join("somebody.part"), "").unwrap();
    let kept: Vec<PathBuf> = fs_err::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
    build(&machine, &["--cache-to", &to(",tag=one")]);
    build(&machine, &["--no-cache", "--cache-to", &to(",tag=other")]);
    build(&machine, &["--no-cache", "--cache-to", &to(",tag=one")]);
    let there = || fs_err::read_dir(&blobs).unwrap().count();
    let before = there();
    build(&machine, &["--cache-to", &to(",tag=one,reset=true")]);
    assert!(there() < before, "{} of {before}", there());
    assert_eq!(kept.iter().find(|path| !path.exists()), None);
    for tag in ["one", "other"] {
        forget(&machine);
        let from = format!("type=local,src={},tag={tag}", directory.display());
        let said = build(&machine, &["--cache-from", &from]);
        assert_eq!((said.warnings(), said.ran()), (vec![], 0), "{tag}: {}", said.lines);
    }
}

#[test]
fn caches_that_are_damaged_or_missing_cost_time_only() {
    if !can_run() {
        return;
    }
    let machine = machine();
    let directory = machine.dir.path().join("cache");
    let (to, from) = (
        format!("type=local,dest={},mode=max", directory.display()),
        format!("type=local,src={}", directory.display()),
    );
    let said = build(&machine, &["--cache-from", &from]);
    assert_eq!((said.warnings().len(), said.ran()), (1, 8), "{}", said.lines);
    build(&machine, &["--cache-to", &to]);
    let blobs = directory.join("blobs/sha256");
    let damage = |what: &dyn Fn(&Path, u64)| {
        for entry in fs_err::read_dir(&blobs).unwrap() {
            let path = entry.unwrap().path();
            what(&path, fs_err::metadata(&path).unwrap().len());
        }
    };
    let manifest = |path: &Path| fs_err::read(path).unwrap().starts_with(b"{");
    // All layers have other bytes, or too few.
    damage(&|path, size| {
        if !manifest(path) {
            fs_err::write(path, vec![7; usize::try_from(size).unwrap()]).unwrap();
        }
    });
    forget(&machine);
    let said = build(&machine, &["--cache-from", &from]);
    assert_eq!(said.ran(), 8, "{}", said.lines);
    assert!(said.warnings().iter().all(|line| line.contains("a layer of the cache")), "{}", said.lines);
    assert_ne!(said.warnings().len(), 0);
    damage(&|path, _| {
        if !manifest(path) {
            fs_err::write(path, "").unwrap();
        }
    });
    forget(&machine);
    assert_eq!(build(&machine, &["--cache-from", &from]).ran(), 8);
    // All documents.
    damage(&|path, _| fs_err::write(path, "{}").unwrap());
    forget(&machine);
    let said = build(&machine, &["--cache-from", &from]);
    assert_eq!((said.warnings().len(), said.ran()), (1, 8), "{}", said.lines);
    // A registry that lies, and one that has nothing.
    let registry = machine.inside(|| {
        TestRegistry::with_fault(|asked, _| {
            let is_closed = asked.is("POST", "/v2/closed/");
            let lies = asked.is("GET", "/v2/web/blobs/").then(|| Reply::new(200, "lies"));
            lies.or_else(|| is_closed.then(|| Reply::new(405, "closed")))
        })
    });
    let name = registry.name("web:cache");
    build(&machine, &["--cache-to", &name]);
    forget(&machine);
    let said = build(&machine, &["--cache-from", &format!("{name},{}", registry.name("none:1"))]);
    assert_eq!((said.warnings().len(), said.ran()), (2, 8), "{}", said.lines);
    // What cannot be written is an error, unless nobody minds.
    let closed = registry.name("closed:1");
    let refused = ["build", "--network", "none", "--cache-to", &closed, "."];
    let said = machine.refused(&refused, 1);
    assert!(said.contains(&format!("error: cannot export the cache to `{closed}`")), "{said}");
    assert!(said.contains("\nhint: "), "{said}");
    let said = build(&machine, &["--cache-to", &format!("type=registry,ref={closed},ignore-error=true")]);
    assert_eq!((said.warnings().len(), said.ran()), (1, 0), "{}", said.lines);
    machine.assert_nothing_is_left();
}

#[test]
fn a_cache_is_something_that_others_can_copy() {
    if !can_run() || !require(&[Need::Skopeo]) {
        return;
    }
    let machine = machine();
    let registry = serve(&machine);
    let (name, copy) =
        (format!("{}/web:cache", registry.address()), format!("{}/moved/web:cache", registry.address()));
    let first = build(&machine, &["--cache-to", &format!("type=registry,ref={name},mode=max")]);
    let skopeo = |args: &[&str]| {
        let mut command = Command::new("skopeo");
        let output = machine.inside(|| command.args(args).output().unwrap());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    let manifest: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.buildkit.cacheconfig.v0");
    assert!(manifest["layers"].as_array().unwrap().len() > 5, "those of both stages: {manifest}");
    skopeo(&[
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("docker://{name}"),
        &format!("docker://{copy}"),
    ]);
    let layout = format!("oci:{}:latest", machine.dir.path().join("layout").display());
    skopeo(&["--insecure-policy", "copy", "--src-tls-verify=false", &format!("docker://{name}"), &layout]);
    for from in [copy, format!("type=local,src={}", machine.dir.path().join("layout").display())] {
        forget(&machine);
        let again = build(&machine, &["--cache-from", &from]);
        assert_eq!((again.ran(), &again.id), (0, &first.id), "{from}: {}", again.lines);
    }
}

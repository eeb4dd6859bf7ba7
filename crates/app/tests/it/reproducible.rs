//! The same Dockerfile gives the same bytes: elsewhere, later, by somebody else, and beside other builds.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use shipway_testkit::rounds;

use crate::machine::{Machine, can_run};

const EPOCH: &str = "SOURCE_DATE_EPOCH=1700000000";

/// Gives a tree other owners and times than those that it has.
fn disturb(path: &Path) {
    let found = fs_err::symlink_metadata(path).unwrap();
    if found.is_dir() {
        fs_err::read_dir(path).unwrap().for_each(|entry| disturb(&entry.unwrap().path()));
    }
    let (uid, gid) = (found.uid() + 1000, found.gid() + 1000);
    chown(path, Some(uid), Some(gid)).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_800_000_000 + found.ino() % 1000);
    std::fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn with_an_epoch_the_same_image_comes_out_elsewhere_later_and_for_others() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let archive = machine.dir.path().join("box.tar");
    machine.ok(&["save", "-o", archive.to_str().unwrap(), "box"]);
    let other = Machine::new();
    other.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    let text = "FROM box AS build\nWORKDIR /made/here\nRUN echo $SOURCE_DATE_EPOCH > stamp; mkdir -p a/b; ln stamp a/link; ln -s stamp c\n\
                FROM box\nARG SOURCE_DATE_EPOCH\nENV A=1\nWORKDIR /srv\nCOPY --chown=web tree .\nCOPY --from=build /made /made\n\
                COPY --link passwd /etc/extra/\nRUN rm /etc/passwd; echo later > /later\nVOLUME /data\nCMD [\"true\"]\n";
    let build = |machine: &Machine, file: &str| {
        machine.dockerfile(text);
        let tree = machine.context().join("tree");
        fs_err::create_dir_all(tree.join("deep/er")).unwrap();
        for (name, mode) in [("deep/er/file", 0o640), ("run.sh", 0o755), ("empty", 0o600)] {
            fs_err::write(tree.join(name), name).unwrap();
            fs_err::set_permissions(tree.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        if file == "second" {
            disturb(&tree);
        }
        let out = machine.dir.path().join(file);
        let output = format!("type=oci,dest={}", out.display());
        let metadata = machine.dir.path().join("metadata");
        machine.ok(&[
            "build",
            "-q",
            "--network",
            "none",
            "--build-arg",
            EPOCH,
            "-t",
            "made",
            "-o",
            &output,
            "--metadata-file",
            metadata.to_str().unwrap(),
            ".",
        ]);
        let said: serde_json::Value = serde_json::from_slice(&fs_err::read(metadata).unwrap()).unwrap();
        (said["containerimage.digest"].clone(), fs_err::read(out).unwrap())
    };
    let (digest, bytes) = build(&machine, "first");
    // The passwd of the context came with the box.
    fs_err::copy(machine.context().join("passwd"), other.context().join("passwd")).unwrap();
    let (again, same) = build(&other, "second");
    assert_eq!(again, digest);
    assert!(same == bytes, "the archives differ");
    // Without anything cached it is made once more.
    machine.ok(&["builder", "prune", "-af"]);
    assert_eq!(build(&machine, "third").0, digest);
}

#[test]
fn builds_at_once_share_a_cache_and_give_what_they_give_alone() {
    const AT_ONCE: usize = 8;
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let dockerfile = |number: usize| {
        let path = machine.dir.path().join(format!("Dockerfile.{number}"));
        let text = format!(
            "FROM box AS base\nRUN echo shared > /shared; mkdir -p /d; echo x > /d/x\n\
             FROM base\nRUN --mount=type=cache,target=/cache,sharing={} test -e /cache; echo {} > /kind\n\
             COPY passwd /copied\nRUN rm /d/x; echo {number} > /number\n",
            if number.is_multiple_of(2) { "shared" } else { "locked" },
            number % 3,
        );
        fs_err::write(&path, text).unwrap();
        path.display().to_string()
    };
    let files: Vec<String> = (0..AT_ONCE).map(dockerfile).collect();
    let names: Vec<String> = (0..AT_ONCE).map(|number| format!("made{number}")).collect();
    let args = |number: usize| {
        let (file, name) = (files[number].as_str(), names[number].as_str());
        vec!["build", "-q", "--network", "none", "--build-arg", EPOCH, "-f", file, "-t", name, "."]
    };
    let alone: Vec<String> = (0..AT_ONCE).map(|number| machine.ok(&args(number)).0).collect();
    for round in 0..rounds(2) {
        for name in &names {
            machine.ok(&["rmi", name]);
        }
        machine.ok(&["builder", "prune", "-af"]);
        let mut running: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let mut command = machine.command(&args(number));
                machine.spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
            })
            .collect();
        // Whoever tidies up meanwhile takes nothing away that is needed.
        while running.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            machine.ok(&["builder", "prune", "-af"]);
            machine.ok(&["system", "prune", "-f"]);
        }
        for (number, child) in running.into_iter().enumerate() {
            let output = child.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "round {round}, build {number}: {errors}");
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                alone[number],
                "round {round}, build {number}"
            );
        }
        assert!(machine.shipway(&["system", "fsck"]).status.success(), "round {round}");
    }
    machine.assert_nothing_is_left();
}

#[test]
fn the_epoch_of_the_environment_holds_unless_one_is_given() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine
        .dockerfile("FROM box\nARG SOURCE_DATE_EPOCH\nLABEL epoch=$SOURCE_DATE_EPOCH\nCOPY passwd /copy\n");
    for (given, epoch, created) in [
        (&[][..], "1000000000", "2001-09-09T01:46:40Z"),
        (&["--build-arg", EPOCH][..], "1700000000", "2023-11-14T22:13:20Z"),
    ] {
        let args = [&["build", "-q", "-t", "made"], given, &["."]].concat();
        let mut command = machine.command(&args);
        command.env("SOURCE_DATE_EPOCH", "1000000000");
        let done = machine.inside(|| command.output().unwrap());
        assert!(done.status.success(), "{done:?}");
        let made = machine.inspect("made");
        assert_eq!((&made["Config"]["Labels"]["epoch"], &made["Created"]), (&epoch.into(), &created.into()));
    }
}

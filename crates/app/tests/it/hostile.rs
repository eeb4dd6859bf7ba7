//! Dockerfiles and contexts that want more than is theirs. The numbers are those of `docs/security.md`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use shipway_testkit::rounds;

use crate::machine::{Machine, can_run};

const SENTINEL: &str = "sentinel-8c41";

/// A machine with a file that no build has any business with, beside the context.
fn machine() -> Option<Machine> {
    if !can_run() {
        return None;
    }
    let machine = Machine::with_box();
    fs_err::write(machine.dir.path().join("sentinel"), SENTINEL).unwrap();
    Some(machine)
}

/// Builds, and returns what it says and whether it succeeded.
fn build(machine: &Machine, dockerfile: &str) -> (bool, String) {
    machine.dockerfile(dockerfile);
    let output = machine.shipway(&["build", "--progress", "plain", "--network", "none", "-t", "made", "."]);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn links_lead_no_mount_and_no_copy_out_of_where_they_are_15_18_19() {
    let Some(machine) = machine() else { return };
    let outside = machine.dir.path().join("sentinel");
    symlink(&outside, machine.context().join("absolute")).unwrap();
    symlink("../sentinel", machine.context().join("relative")).unwrap();
    symlink(machine.dir.path(), machine.context().join("directory")).unwrap();
    let up = "../".repeat(30);
    let evil = format!(
        "FROM box AS evil\nRUN ln -s {} /absolute; ln -s {up}{} /relative; ln -s / /root-link; mkdir -p /d; ln -s {up} /d/up\n",
        outside.display(),
        outside.display()
    );
    let run = "RUN grep -rh 'sentine[l]-' /x; true";
    // What is in the context itself is seen.
    fs_err::copy(&outside, machine.context().join("own")).unwrap();
    let (done, said) = build(&machine, &format!("{evil}FROM box\nCOPY own /x\n{run}\n"));
    assert!(done && said.contains(SENTINEL), "{said}");
    fs_err::remove_file(machine.context().join("own")).unwrap();
    // Why it fails, if it does.
    for (name, line, why) in [
        ("copy of an absolute link", "COPY absolute /x", "is not in the build context"),
        ("copy of a relative link", "COPY relative /x", "is not in the build context"),
        ("copy below a link", "COPY directory/sentinel /x", "is not in the build context"),
        ("copy of all", "COPY . /x/", ""),
        ("copy from a stage", "COPY --from=evil /absolute /relative /x/", "is not in stage `evil`"),
        ("copy from below a link of a stage", "COPY --from=evil /d/up /x/", ""),
        (
            "bind of the context",
            "RUN --mount=type=bind,source=directory,target=/x cat /x/sentinel",
            "is not in the build context",
        ),
        (
            "bind of a file",
            "RUN --mount=type=bind,source=relative,target=/x cat /x",
            "is not in the build context",
        ),
        (
            "bind of a stage",
            "RUN --mount=type=bind,from=evil,source=/absolute,target=/x cat /x",
            "is not in stage `evil`",
        ),
        (
            "bind of a stage upwards",
            "RUN --mount=type=bind,from=evil,source=/relative,target=/x cat /x",
            "is not in stage `evil`",
        ),
        (
            "cache of a stage",
            "RUN --mount=type=cache,from=evil,source=/d/up,target=/x cat /x/sentinel",
            "can't open '/x/sentinel'",
        ),
        (
            "part of a cache",
            "RUN --mount=type=cache,id=evil,target=/c ln -sfn /etc /c/absolute; ln -sfn ../../../../../../.. /c/up\n\
             RUN --mount=type=cache,id=evil,source=absolute,target=/x cat /x",
            "cannot open in a cache `absolute`",
        ),
        (
            "part of a cache above it",
            "RUN --mount=type=cache,id=evil,source=up/etc,target=/x ls /x",
            "cannot open in a cache `up/etc`",
        ),
        (
            "cache with a way up",
            "RUN --mount=type=cache,id=../../../sentinel,target=/x cat /x/* /x",
            "Is a directory",
        ),
        (
            "tmpfs over a link",
            "RUN ln -s /proc /link\nRUN --mount=type=tmpfs,target=/link/x true; cat /x",
            "cannot run",
        ),
    ] {
        let (done, said) = build(&machine, &format!("{evil}FROM box\n{line}\n{run}\n"));
        assert!(!said.contains(SENTINEL), "case {name}: {said}");
        assert!(done == why.is_empty() && said.contains(why), "case {name}: {said}");
    }
    for (name, line, why) in [
        ("propagation", "RUN --mount=type=bind,target=/x,bind-propagation=shared true", "bind-propagation"),
        ("unknown option", "RUN --mount=type=bind,target=/x,z true", "`z`"),
        ("unknown kind", "RUN --mount=type=host,target=/x true", "host"),
        ("more rights", "RUN --security=insecure true", "--allow security.insecure"),
        ("a device", "RUN --device=all true", "--device"),
    ] {
        let (done, said) = build(&machine, &format!("FROM box\n{line}\n"));
        assert!(!done && said.contains(why), "case {name}: {said}");
    }
    assert_eq!(fs_err::read_to_string(&outside).unwrap(), SENTINEL);
}

#[test]
fn a_step_is_confined_unless_the_dockerfile_and_the_one_who_builds_say_otherwise_17() {
    let Some(machine) = machine() else { return };
    let mount = "mount -t tmpfs none /mnt && echo mounted";
    let built = |line: &str, flags: &[&str]| {
        machine.dockerfile(&format!("FROM box\nRUN mkdir /mnt\n{line}\n"));
        let args = ["build", "--progress", "plain", "--network", "none"];
        let output = machine.shipway(&[&args[..], flags, &["."]].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let allow = ["--allow", "security.insecure"];
    let (insecure, sandbox) = (format!("RUN --security=insecure {mount}"), format!("RUN {mount}"));
    for (name, line, flags, code, want) in [
        ("without leave", &insecure, &[][..], 1, "RUN --security=insecure is not allowed"),
        ("not asked for", &sandbox, &allow[..], 1, "permission denied"),
        ("with leave", &insecure, &allow, 0, "mounted"),
        ("again", &insecure, &allow, 0, "3 of 3 steps from the cache"),
        ("what was insecure is no sandbox's", &sandbox, &allow, 1, "permission denied"),
    ] {
        let (got, said) = built(line, flags);
        assert!(got == Some(code) && said.contains(want), "case {name}: {said}");
    }
}

/// Ends a race, also where a test fails in it.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_context_that_changes_under_a_build_gives_nothing_from_elsewhere_15_19() {
    let Some(machine) = machine() else { return };
    let (directory, aside) = (machine.context().join("d"), machine.context().join("aside"));
    fs_err::create_dir(&directory).unwrap();
    fs_err::write(directory.join("sentinel"), "own").unwrap();
    let racing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = |path: &Path| -> std::io::Result<()> {
                fs_err::rename(path, &aside)?;
                symlink(machine.dir.path(), path)?;
                fs_err::remove_file(path)?;
                fs_err::rename(&aside, path)
            };
            while racing.load(Ordering::Relaxed) {
                swap(&directory).unwrap();
            }
        });
        let _end = End(&racing);
        for round in 0..rounds(4) {
            // It may find nothing, or that something changed; never what is outside.
            let run = "RUN --mount=type=bind,source=d,target=/b cat /x/* /b/* 2>/dev/null; true";
            let (_, said) = build(&machine, &format!("FROM box\nLABEL round={round}\nCOPY d /x/\n{run}\n"));
            assert!(!said.contains(SENTINEL), "round {round}: {said}");
        }
    });
}

#[test]
fn what_is_mounted_over_is_removed_where_it_was_made_and_nowhere_else_16() {
    let Some(machine) = machine() else { return };
    // Nothing is there before the step but what is mounted over.
    let script = "b=/bin/busybox; $b mkdir /other; $b touch /other/resolv.conf /other/hosts /other/hostname; \
                  $b mv /etc /moved && $b ln -s other /etc";
    let (done, said) = build(
        &machine,
        &format!(
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"{script}\"]\n"
        ),
    );
    assert!(done, "{said}");
    let out = machine.dir.path().join("out");
    machine.ok(&["build", "-q", "--network", "none", "-o", out.to_str().unwrap(), "."]);
    assert_eq!(fs_err::read_link(out.join("etc")).unwrap(), Path::new("other"));
    let names = |place: &str| -> Vec<String> {
        let entries = fs_err::read_dir(out.join(place)).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("other"), ["hostname", "hosts", "resolv.conf"]);
}

#[test]
fn an_image_that_looks_like_the_result_of_a_step_is_not_taken_for_it_20() {
    let Some(machine) = machine() else { return };
    let dockerfile = "FROM box\nRUN echo genuine > /file\n";
    assert!(build(&machine, dockerfile).0);
    let archive = machine.dir.path().join("made.tar");
    machine.ok(&["save", "-o", archive.to_str().unwrap(), "made", "box"]);
    let other = Machine::new();
    other.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    let (done, said) = build(&other, dockerfile);
    assert!(done && !said.contains("CACHED"), "{said}");
    assert!(said.contains("1 of 2 steps from the cache"), "only the base is here: {said}");
}

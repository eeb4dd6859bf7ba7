//! Flags of `build` that scripts written for Docker use.

use crate::machine::{Machine, can_run};

#[test]
fn a_script_for_docker_finds_its_flags() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "FROM box\nRUN --mount=type=secret,id=s,env=S --mount=type=secret,id=s \
         echo \"[${S-unset}]\" > /seen; wc -c < /run/secrets/s >> /seen\nENTRYPOINT [\"/bin/cat\", \"/seen\"]\n",
    );
    let (_, said) = machine.ok(&[
        "build",
        "--builder=default",
        "--platform=local",
        "--pull=false",
        "--no-cache=true",
        "--push=false",
        "--check=false",
        "--security-opt=seccomp=unconfined",
        "--cache-from=type=gha",
        "--cache-to=type=inline,mode=max",
        "--secret=id=s,env=NO_SUCH_VARIABLE_IS_SET",
        "--iidfile=",
        "--progress=",
        "--network=none",
        "--provenance",
        "false",
        "-t=web",
        ".",
    ]);
    for want in [
        "warning: --security-opt has no effect",
        "warning: --cache-from `type=gha` is left out",
        "warning: the secret `s` is empty: the variable NO_SUCH_VARIABLE_IS_SET is not set",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    assert_eq!(machine.ok(&["run", "--rm=true", "-it=false", "web"]).0, "[]\n0\n");
    // What goes elsewhere is kept too if it is to be loaded.
    for (load, left) in [("--load=false", 0), ("--load", 1)] {
        machine.dockerfile(&format!("FROM scratch\nCOPY page /{left}\n"));
        machine.ok(&["build", "-q", load, "-o", "type=tar,dest=files.tar", "."]);
        let listed = machine.ok(&["images", "-q", "--filter=dangling=true"]).0;
        assert_eq!(listed.lines().count(), left, "case {load}: {listed}");
    }
    // A pipe is written, and stays.
    let id = machine.ok(&["build", "--progress=none", "--iidfile=/dev/stdout", "."]).0;
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    for (flag, want) in [
        ("--label==a", "--label `=a` has no name"),
        ("--build-arg==a", "--build-arg `=a` has no name"),
        ("--annotation=foo:x=y", "nothing of an image is called `foo`"),
    ] {
        assert!(machine.refused(&["build", flag, "."], 1).contains(want), "case {flag}");
    }
    machine.refused(&["build", "--pull=maybe", "."], 125);
}

#[test]
fn what_is_for_one_platform_is_said_of_it_alone() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM scratch\nCOPY page /\n");
    let layout = machine.context().join("layout");
    let read = |path: &str| -> serde_json::Value {
        serde_json::from_slice(&fs_err::read(layout.join(path)).unwrap()).unwrap()
    };
    let blob = |descriptor: &serde_json::Value| {
        read(&format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/")))
    };
    machine.ok(&[
        "build",
        "-q",
        "--platform=linux/amd64,linux/riscv64",
        "--annotation=all=1",
        "--annotation=manifest[linux/riscv64],manifest-descriptor[linux/RISCV64]:own=2",
        "-o=type=oci,tar=false,dest=layout",
        ".",
    ]);
    let listed = blob(&read("index.json")["manifests"][0])["manifests"].clone();
    let [amd64, riscv64] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(riscv64["platform"]["architecture"], "riscv64");
    assert_eq!(blob(amd64)["annotations"], serde_json::json!({"all": "1"}));
    assert_eq!(blob(riscv64)["annotations"], serde_json::json!({"all": "1", "own": "2"}));
    assert_eq!((amd64.get("annotations"), &riscv64["annotations"]["own"]), (None, &"2".into()));
    // One alone is another case, and what the environment says is a platform too.
    fs_err::remove_dir_all(&layout).unwrap();
    let own = ["--annotation=manifest[linux/riscv64]:own=2", "--annotation=manifest[linux/s390x]:other=3"];
    let args = [&["build", "-q"][..], &own, &["-o=type=oci,tar=false,dest=layout", "."]].concat();
    let mut command = machine.command(&args);
    let output = command.env("DOCKER_DEFAULT_PLATFORM", "linux/riscv64").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let manifest = blob(&read("index.json")["manifests"][0]);
    assert_eq!(manifest["annotations"], serde_json::json!({"own": "2"}));
    assert_eq!(blob(&manifest["config"])["architecture"], "riscv64");
}

#[test]
fn no_new_image_is_called_as_if_it_were_an_id() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM scratch\nCOPY passwd /passwd\n");
    let id = "a".repeat(64);
    let output = format!("type=image,name={id}");
    for args in [&["-t", &id][..], &["-o", &output]] {
        let said = machine.refused(&[&["build", "-q"], args, &["."]].concat(), 1);
        assert!(said.contains("looks like the id of an image"), "{said}");
    }
    let digest = format!("web@sha256:{id}");
    assert!(machine.refused(&["build", "-t", &digest, "."], 1).contains("hint: give it a tag: `web:TAG`"));
    assert!(machine.refused(&["import", "/dev/null", &id], 1).contains("looks like the id"));
    machine.ok(&["build", "-q", "-t", &format!("{id}:1"), "."]);
}

#[test]
fn flags_with_values_that_docker_refuses_end_with_its_code() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    for (args, code) in [
        (&["build", "--ulimit", "x", "."][..], 125),
        (&["build", "--ulimit", "nofile=2:1"], 125),
        (&["build", "--shm-size", "x", "."], 125),
        (&["build", "-c", "many", "."], 125),
        (&["build", "--add-host", "x", "."], 1),
        (&["build", "--network", "nope", "."], 1),
        (&["system", "prune", "--filter", "x"], 125),
        (&["image", "prune", "--filter", "x"], 125),
        (&["image", "prune", "--nonsense"], 125),
        (&["image", "--nonsense"], 125),
        (&["builder", "prune", "--filter", "x"], 125),
        (&["builder", "prune", "--filter", "x=y", "-f"], 1),
        (&["builder", "prune", "--max-used-space", "x"], 125),
        (&["images", "-f", "x"], 125),
        (&["ps", "-f", "x"], 125),
        (&["run", "--shm-size", "x", "box"], 125),
        (&["--nonsense"], 125),
    ] {
        let said = machine.refused(args, code);
        assert!(said.contains("error: "), "{args:?}: {said}");
    }
}

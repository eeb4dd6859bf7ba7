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
    for (flag, want) in [
        ("--label==a", "--label `=a` has no name"),
        ("--build-arg==a", "--build-arg `=a` has no name"),
        ("--annotation=foo:x=y", "nothing of an image is called `foo`"),
    ] {
        assert!(machine.refused(&["build", flag, "."], 1).contains(want), "case {flag}");
    }
    machine.refused(&["build", "--pull=maybe", "."], 125);
}

//! Git repositories that are unlike most.

use shipway_testkit::{Need, require};

use crate::contexts::run;
use crate::machine::{Machine, can_run};

#[test]
fn repositories_may_name_their_commits_by_sha256() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let repository = machine.dir.path().join("long.git");
    fs_err::create_dir(&repository).unwrap();
    fs_err::write(repository.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /of-context\n").unwrap();
    let git = "git -c user.name=me -c user.email=me@test";
    let made = format!(
        "{git} init -q --object-format=sha256 && git add . && {git} commit -qm one && {git} tag v1 && git rev-parse v1"
    );
    let commit = String::from_utf8(run(&repository, &made)).unwrap().trim().to_owned();
    // In the place of ssh: what it is to run there runs here.
    let ssh = machine.dir.path().join("ssh");
    fs_err::write(&ssh, "#!/bin/sh\nfor command; do :; done\nexec sh -c \"$command\"\n").unwrap();
    run(machine.dir.path(), "chmod 755 ssh");
    let address = format!("ssh://here{}", repository.display());
    for reference in ["", "#v1", &format!("#{commit}"), &format!("?tag=v1&checksum={commit}")] {
        let context = format!("{address}{reference}");
        let mut build = machine.command(&["build", "-q", "-t", "long", &context]);
        let output = build.env("GIT_SSH_COMMAND", &ssh).output().unwrap();
        assert!(output.status.success(), "{context}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut build = machine.command(&["build", "-q", &format!("{address}#nosuch")]);
    let output = build.env("GIT_SSH_COMMAND", &ssh).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`nosuch` is no branch, tag or commit"), "{said}");
    machine.dockerfile(&format!("FROM scratch\nADD --checksum={commit} {address}#v1 /added/\n"));
    let mut build = machine.command(&["build", "-q", "-o", "out", "."]);
    let output = build.env("GIT_SSH_COMMAND", &ssh).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(machine.context().join("out/added/Dockerfile").exists());
}

//! Git repositories that are unlike most.

use std::sync::Arc;

use shipway_testkit::registry::{Reply, TestRegistry};
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

#[test]
fn a_repository_that_is_added_is_cached_by_its_commit() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let repository = machine.dir.path().join("kept.git");
    fs_err::create_dir(&repository).unwrap();
    fs_err::write(repository.join("file"), "one\n").unwrap();
    let git = "git -c user.name=me -c user.email=me@test";
    let made =
        format!("{git} init -q && git add . && {git} commit -qm one && {git} tag v1 && git rev-parse v1");
    let commit = String::from_utf8(run(&repository, &made)).unwrap().trim().to_owned();
    let ssh = machine.dir.path().join("ssh");
    fs_err::write(&ssh, "#!/bin/sh\nfor command; do :; done\nexec sh -c \"$command\"\n").unwrap();
    run(machine.dir.path(), "chmod 755 ssh");
    let address = format!("ssh://here{}", repository.display());
    let build = |flags: &str, reference: &str| {
        machine.dockerfile(&format!("FROM box\nADD {flags} {address}{reference} /added\nRUN ls /added\n"));
        let mut build = machine.command(&["build", "--network", "none", "."]);
        let output = build.env("GIT_SSH_COMMAND", &ssh).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said.contains("3 of 3 steps from the cache")
    };
    let checked = format!("--checksum={commit}");
    for (name, flags, reference, cached) in [
        ("the first", "--keep-git-dir", "#v1", false),
        ("with all that git writes anew at each fetch", "--keep-git-dir", "#v1", true),
        ("the same by another name", "--keep-git-dir", "", true),
        ("with a checksum", &format!("--keep-git-dir {checked}"), "#v1", true),
        ("without its history", "", "#v1", false),
        ("and with a checksum", &checked, "", true),
    ] {
        assert_eq!(build(flags, reference), cached, "case {name}");
    }
    run(&repository, &format!("echo two > file && {git} commit -qam two"));
    for (name, reference, cached) in [("another commit", "", false), ("the former", "#v1", true)] {
        assert_eq!(build("--keep-git-dir", reference), cached, "case {name}");
    }
    // The same files, another commit.
    assert!(!build("", ""));
    run(&repository, &format!("{git} commit -q --allow-empty -m three"));
    for (name, flags, cached) in [("with its history", "--keep-git-dir", false), ("without", "", true)] {
        assert_eq!(build(flags, ""), cached, "case {name}");
    }
}

#[test]
fn secrets_let_a_build_in() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let served = machine.dir.path().join("served");
    let repository = machine.dir.path().join("repository");
    fs_err::create_dir_all(&served).unwrap();
    fs_err::create_dir_all(&repository).unwrap();
    fs_err::write(served.join("file"), "a file\n").unwrap();
    fs_err::write(repository.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /of-context\n").unwrap();
    let git = "git -c user.name=me -c user.email=me@test -c init.defaultBranch=main";
    run(
        &repository,
        &format!(
            "{git} init -q && {git} add . && {git} commit -qm one && git clone -q --bare . ../served/app.git && \
             git -C ../served/app.git update-server-info"
        ),
    );
    let files = Arc::new(served);
    let server = machine.inside(|| {
        TestRegistry::with_fault(move |asked, _| {
            let path = asked.target.split('?').next().unwrap().trim_start_matches('/');
            // x-access-token:open-sesame
            let wanted = match path.starts_with("app.git") {
                true => "basic eC1hY2Nlc3MtdG9rZW46b3Blbi1zZXNhbWU=",
                false => "Bearer open-sesame",
            };
            if asked.header("authorization") != Some(wanted) {
                return Some(Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"here\""));
            }
            Some(
                fs_err::read(files.join(path))
                    .map_or_else(|_| Reply::new(404, ""), |bytes| Reply::new(200, bytes)),
            )
        })
    });
    let (host, port) =
        server.address.to_string().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("http://{host}:{port}");
    fs_err::write(machine.context().join("token"), "open-sesame\n").unwrap();
    let (of_files, of_one) = (format!("HTTP_AUTH_TOKEN_{host}"), format!("GIT_AUTH_TOKEN.{host}:{port}"));
    let secret = |id: &str| format!("--secret=id={id},src=token");
    let context = format!("{url}/app.git");
    for id in ["GIT_AUTH_TOKEN", &of_one] {
        machine.ok(&["build", "-q", "-o", "out", &secret(id), &context]);
        assert!(machine.context().join("out/of-context").is_file(), "{id}");
    }
    machine.refused(&["build", "-q", &context], 1);
    machine.dockerfile(&format!(
        "FROM scratch\nADD {url}/app.git /app\nADD {url}/file /\nCOPY --from=other / /other\n"
    ));
    let other = format!("other={url}/app.git");
    let flags = ["build", "-q", "-o", "out", "--build-context", &other, "."];
    let said = machine.ok(&[&flags[..], &[&secret("GIT_AUTH_TOKEN"), &secret(&of_files)]].concat()).1;
    assert!(!said.contains("open-sesame"), "{said}");
    for file in ["app/Dockerfile", "file", "other/Dockerfile"] {
        assert!(machine.context().join("out").join(file).is_file(), "{file}");
    }
    let said = machine.refused(&[&flags[..], &["--no-cache", &secret("GIT_AUTH_TOKEN")]].concat(), 1);
    assert!(said.contains("HTTP_AUTH_TOKEN_"), "{said}");

    // A server that points elsewhere does not take the login there.
    let elsewhere = context.clone();
    let pointing = machine.inside(|| {
        TestRegistry::with_fault(move |asked, _| {
            let rest = asked.target.strip_prefix("/app.git").unwrap_or_default();
            Some(Reply::new(301, "").header("Location", format!("{elsewhere}{rest}")))
        })
    });
    let context = format!("http://{}/app.git", pointing.address);
    let said = machine.refused(&["build", "-q", &secret("GIT_AUTH_TOKEN"), &context], 1);
    assert!(said.contains("301"), "{said}");
}

#[test]
fn an_address_says_how_old_files_are_and_how_they_come() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let repository = machine.dir.path().join("old.git");
    fs_err::create_dir(&repository).unwrap();
    fs_err::create_dir(repository.join("below")).unwrap();
    fs_err::write(repository.join("below/file"), "one\n").unwrap();
    fs_err::write(repository.join("Dockerfile"), "FROM scratch\nCOPY below /of-context/\n").unwrap();
    let git = "export GIT_COMMITTER_DATE=2001-02-03T04:05:06Z && git -c user.name=me -c user.email=me@test";
    let made = format!("{git} init -q && git add . && {git} commit -qm one && git rev-parse HEAD");
    let commit = String::from_utf8(run(&repository, &made)).unwrap().trim().to_owned();
    let ssh = machine.dir.path().join("ssh");
    fs_err::write(&ssh, "#!/bin/sh\nfor command; do :; done\nexec sh -c \"$command\"\n").unwrap();
    run(machine.dir.path(), "chmod 755 ssh");
    let address = format!("ssh://here{}", repository.display());
    let build = |context: &str| {
        let mut build = machine.command(&["build", "-q", "--output", "out", context]);
        build.env("GIT_SSH_COMMAND", &ssh).output().unwrap()
    };
    let add = |flags: &str, query: &str| {
        machine.dockerfile(&format!("FROM scratch\nADD {flags} {address}{query} /added/\n"));
        let output = build(".");
        output.status.success().then_some(()).ok_or(String::from_utf8(output.stderr).unwrap())
    };
    let age = |file: &str| {
        let metadata = fs_err::metadata(machine.context().join("out").join(file)).unwrap();
        std::os::unix::fs::MetadataExt::mtime(&metadata)
    };
    add("", "?mtime=commit").unwrap();
    assert_eq!((age("added/below"), age("added/below/file")), (981_173_106, 981_173_106));
    let output = build(&format!("{address}?mtime=commit"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(age("of-context/file"), 981_173_106);
    add("", &format!("?fetch-by-commit&checksum={commit}#nosuch")).unwrap();
    for (flags, query, why) in [
        ("--keep-git-dir", "?keep-git-dir=false", "different things of `.git`"),
        ("--checksum=0123", &format!("?checksum={commit}"), "--checksum `0123`"),
        ("", "?fetch-by-commit", "whole name"),
    ] {
        let said = add(flags, query).unwrap_err();
        assert!(said.contains(why), "{flags} {query}: {said}");
    }
}

#[test]
fn what_cannot_be_meant_is_told_before_anything_is_done() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    for (flags, query, why) in [
        ("--keep-git-dir", "?keep-git-dir=0", "different things of `.git`"),
        ("--checksum=main", "", "`main` is no commit"),
        ("", "?nosuch=1", "`nosuch` means nothing"),
    ] {
        machine.dockerfile(&format!("FROM scratch\nADD {flags} https://nowhere.invalid/x.git{query} /x\n"));
        let output = machine.command(&["build", "--check", "."]).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && said.contains(why), "{flags} {query}: {said}");
    }
}

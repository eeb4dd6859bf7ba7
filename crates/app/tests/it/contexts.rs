//! Where builds read from: the standard input, addresses, repositories, named contexts.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use shipway_testkit::registry::{Reply, TestRegistry};
use shipway_testkit::{Need, require};

use crate::machine::{Machine, can_run};

/// Runs a build with something on its standard input, and returns what it says.
pub(crate) fn build_from(machine: &Machine, args: &[&str], input: &[u8]) -> (Option<i32>, String) {
    let mut command = machine.command(&[&["build", "--network", "none"], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = machine.spawn(&mut command);
    // One that is refused at once does not read it.
    drop(child.stdin.take().unwrap().write_all(input));
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn ok(machine: &Machine, args: &[&str], input: &[u8]) -> String {
    let (code, said) = build_from(machine, args, input);
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

pub(crate) fn cat(machine: &Machine, image: &str, path: &str) -> String {
    machine.ok(&["run", "--rm", "--network", "none", image, &format!("cat {path}")]).0
}

pub(crate) fn run(dir: &Path, line: &str) -> Vec<u8> {
    let output = Command::new("sh").args(["-c", line]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Serves the files of a directory, with tags by which they are known again.
fn serve(machine: &Machine, dir: &Path) -> TestRegistry {
    let dir = Arc::new(dir.to_owned());
    machine.inside(move || {
        TestRegistry::with_fault(move |asked, _| {
            let path = asked.target.split('?').next().unwrap().trim_start_matches('/').to_owned();
            let path = if path.is_empty() { "file".to_owned() } else { path };
            let Ok(bytes) = fs_err::read(dir.join(path)) else { return Some(Reply::new(404, "")) };
            let tag = format!("\"{}\"", bytes.len());
            if asked.header("if-none-match") == Some(&tag) {
                return Some(Reply::new(304, ""));
            }
            let reply = Reply::new(200, bytes).header("ETag", tag);
            let reply = reply.header("Content-Disposition", "attachment; filename=\"proposed\"");
            Some(reply.header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"))
        })
    })
}

#[test]
fn context_and_dockerfile_come_on_the_standard_input() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let dir = machine.dir.path().join("else");
    fs_err::create_dir_all(dir.join("sub")).unwrap();
    fs_err::write(dir.join("Dockerfile"), "FROM box\nCOPY sub/file /file\n").unwrap();
    fs_err::write(dir.join("sub/Other"), "FROM box\nCOPY sub/file /other\n").unwrap();
    fs_err::write(dir.join("sub/file"), "of a tar\n").unwrap();
    let tar = run(&dir, "tar c .");
    ok(&machine, &["-t", "tar", "-"], &tar);
    assert_eq!(cat(&machine, "tar", "/file"), "of a tar\n");
    let ways = [("tar cz .", "gzip"), ("tar cJ .", "xz"), ("tar cj .", "bzip2")];
    for (packed, image) in &ways[..if require(&[Need::Packers]) { 3 } else { 1 }] {
        ok(&machine, &["-t", image, "-f", "sub/Other", "-"], &run(&dir, packed));
        assert_eq!(cat(&machine, image, "/other"), "of a tar\n");
    }
    // A Dockerfile of this machine, by its whole path, which the archive does not have.
    fs_err::write(machine.dir.path().join("Mine"), "FROM box\nCOPY sub/file /mine\n").unwrap();
    let mine = machine.dir.path().join("Mine").display().to_string();
    ok(&machine, &["-t", "mine", "-f", &mine, "-"], &tar);
    assert_eq!(cat(&machine, "mine", "/mine"), "of a tar\n");
    // A Dockerfile alone, with nothing to copy; and one for a directory.
    ok(&machine, &["-t", "alone", "-"], b"FROM box\nRUN echo alone > /alone\n");
    assert_eq!(cat(&machine, "alone", "/alone"), "alone\n");
    ok(&machine, &["-t", "piped", "-f", "-", dir.to_str().unwrap()], b"FROM box\nCOPY sub/file /piped\n");
    assert_eq!(cat(&machine, "piped", "/piped"), "of a tar\n");

    for (args, input, want) in [
        (&["-f", "-", "-"][..], &b""[..], "cannot be both the Dockerfile and the context"),
        (&["-"], b"FROM box\nCOPY nothing /\n", "`nothing` is not in the build context"),
        (&["-f", "Dockerfile.none", "-"], &tar, "there is no `Dockerfile.none` in the context"),
        (&["-"], &tar[..700], "error: "),
        (&["nowhere"], b"", "the build context `nowhere` is no directory"),
        (&["ftp://a.test/x"], b"", "is no address that a context is fetched from"),
    ] {
        let (code, said) = build_from(&machine, args, input);
        assert!(code == Some(1) && said.contains(want), "{args:?}: {said}");
    }
    // Small letters are as good if there is nothing else.
    for (text, want) in [("FROM box\nRUN echo small > /case\n", "small\n"), ("", "large\n")] {
        let (small, large) = (dir.join("dockerfile"), dir.join("Dockerfile"));
        if text.is_empty() {
            fs_err::write(&large, "FROM box\nRUN echo large > /case\n").unwrap();
        } else {
            fs_err::remove_file(&large).unwrap();
            fs_err::write(&small, text).unwrap();
        }
        ok(&machine, &["-t", "case", "-"], &run(&dir, "tar c ."));
        assert_eq!(cat(&machine, "case", "/case"), want, "tar");
        ok(&machine, &["-t", "case", dir.to_str().unwrap()], b"");
        assert_eq!(cat(&machine, "case", "/case"), want, "directory");
    }
    let (code, said) = build_from(&machine, &["-f", "Other", "-"], b"FROM box\n");
    assert!(code == Some(1) && said.contains("--file names another one"), "{said}");
    // A Dockerfile that leads out of what was sent is not read.
    fs_err::remove_file(dir.join("Dockerfile")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("Dockerfile")).unwrap();
    let (code, said) = build_from(&machine, &["-"], &run(&dir, "tar c ."));
    assert!(code == Some(1) && said.contains("there is no `Dockerfile`"), "{said}");
    assert_eq!(machine.count("root/active"), 0);
}

#[test]
fn images_of_layouts_are_built_on_without_names() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let layout = machine.context().join("layout");
    machine.dockerfile("FROM box\nRUN echo of the layout > /file\nENV FROM=layout\n");
    let output =
        ["build", "-q", "--network", "none", "-t", "made:v1", "-o", "type=oci,tar=false,dest=layout", "."];
    machine.ok(&output);
    machine.ok(&["rmi", "made:v1"]);
    machine.ok(&["builder", "prune", "-af"]);
    let images = machine.ok(&["images", "-aq"]).0;

    machine.dockerfile("FROM box\nCOPY --from=other /file /copied\nRUN cat /copied\n");
    let build = |source: &str| {
        let context = format!("other={source}");
        machine.shipway(&["build", "--network", "none", "-t", "named", "--build-context", &context, "."])
    };
    let text = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();
    let said = text(build("oci-layout://layout"));
    assert!(
        said.contains("of the layout\n") && said.contains("load metadata for oci-layout://layout"),
        "{said}"
    );
    assert_eq!(
        machine.ok(&["images", "-aq"]).0.lines().count(),
        images.lines().count() + 1,
        "only the new one"
    );
    let index: serde_json::Value =
        serde_json::from_slice(&fs_err::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    for source in ["oci-layout://layout:v1".to_owned(), format!("oci-layout://./layout@{digest}")] {
        let said = text(build(&source));
        assert!(said.contains("3 of 3 steps from the cache"), "{source}: {said}");
    }
    // A base image, too; what it needs stays when the store is cleaned.
    machine.dockerfile("FROM other\nRUN cat /file && test $FROM = layout\n");
    assert!(build("oci-layout://layout").status.success());
    machine.ok(&["system", "prune", "-f"]);
    assert_eq!(cat(&machine, "named", "/file"), "of the layout\n");

    let nothing = machine.context().join("nothing");
    fs_err::create_dir(&nothing).unwrap();
    fs_err::write(machine.context().join("page"), "x").unwrap();
    for (source, want) in [
        ("oci-layout://layout:v2", "it has no image with the tag `v2`; the tags are: v1"),
        ("oci-layout://nothing", "it has no index.json"),
        ("oci-layout://nowhere", "cannot read the OCI layout `nowhere`"),
        ("oci-layout://page", "cannot read the OCI layout `page`"),
        ("oci-layout://layout@sha256:12", "is no digest"),
    ] {
        let output = build(source);
        let said = text(output);
        assert!(said.contains(want) && said.contains("hint: "), "{source}: {said}");
    }
    // What is not what its digest says is not taken.
    let blob = layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    fs_err::write(&blob, "{}").unwrap();
    assert!(text(build("oci-layout://layout")).contains(" is damaged"));
    fs_err::remove_file(&blob).unwrap();
    assert!(text(build("oci-layout://layout")).contains(" is missing"));
}

#[test]
fn named_contexts_stand_for_stages_and_images() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let assets = machine.dir.path().join("assets");
    fs_err::create_dir(&assets).unwrap();
    fs_err::write(assets.join("file"), "assets\n").unwrap();
    fs_err::write(assets.join("hidden"), "hidden\n").unwrap();
    fs_err::write(assets.join(".dockerignore"), "hidden\n").unwrap();
    machine.ok(&["tag", "box", "other"]);
    machine.dockerfile(
        "FROM nowhere.test/base AS base\nFROM base AS tools\nRUN echo stage > /file\nFROM base\n\
         COPY --from=tools . /copied/\nRUN --mount=from=tools,target=/m cat /m/file > /mounted\n",
    );
    let from = format!("tools={}", assets.display());
    let base = "nowhere.test/base=docker-image://other";
    let args = ["build", "-q", "--network", "none", "-t", "named", "--build-context", &from];
    machine.ok(&[&args[..], &["--build-context", base, "."]].concat());
    assert_eq!(cat(&machine, "named", "/copied/file"), "assets\n");
    assert_eq!(cat(&machine, "named", "/mounted"), "assets\n");
    let left_out = machine.ok(&["run", "--rm", "--network", "none", "named", "ls -A /copied"]).0;
    assert_eq!(left_out, ".dockerignore\nfile\n");
    for (context, want) in [
        ("x", "it has no source"),
        ("x=", "its name or its source is empty"),
        ("x=target:y", "are not there yet"),
        ("x=/nowhere", "is no directory"),
        ("x=docker-image://No", "is no image"),
    ] {
        let said = machine.refused(&["build", "--build-context", context, "."], 1);
        assert!(said.contains(want), "{context}: {said}");
    }
    // Nothing stays nothing, but for a stage that is called so.
    machine.dockerfile("FROM scratch\nCOPY page /page\n");
    let scratch = ["build", "-q", "--build-context", "scratch=docker-image://other", "-o", "nothing", "."];
    machine.ok(&scratch);
    assert_eq!(run(&machine.context().join("nothing"), "find . -type f"), b"./page\n");
    machine.dockerfile("FROM nowhere.test/base\nCOPY page /page\n");
    let empty =
        ["build", "-q", "--build-context", "nowhere.test/base=docker-image://scratch", "-o", "empty", "."];
    machine.ok(&empty);
    assert_eq!(run(&machine.context().join("empty"), "find . -type f"), b"./page\n");
    machine.dockerfile("FROM scratch AS scratch\nCOPY page /page\nFROM scratch\n");
    machine.ok(&[&scratch[..5], &["stage", "."]].concat());
    assert!(machine.context().join("stage/bin/busybox").exists());
    machine.dockerfile("FROM tools\nCOPY page /page\n");
    machine.ok(&["build", "-q", "--network", "none", "-o", "files", "--build-context", &from, "."]);
    assert_eq!(
        run(&machine.context().join("files"), "find . -type f | sort"),
        b"./.dockerignore\n./file\n./page\n"
    );
}

#[test]
fn files_are_added_from_addresses() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let served = machine.dir.path().join("served");
    fs_err::create_dir(&served).unwrap();
    fs_err::write(served.join("file"), "fetched\n").unwrap();
    run(&served, "mkdir in && echo packed > in/file && tar cf in.tar in");
    let server = serve(&machine, &served);
    let url = format!("http://{}", server.address);
    let digest = shipway_testkit::registry::digest_of(b"fetched\n");
    let text = format!(
        "FROM box\nCOPY page /page\nADD {url}/file /dir/\nADD {url}/file page /both/\nADD {url}/file?x=1 /renamed\n\
         ADD {url}/in.tar /kept/\nADD --unpack=true {url}/in.tar /unpacked/\n\
         ADD --checksum={digest} --chmod=u+x,go=r --keep-git-dir=true {url}/file /checked\n"
    );
    machine.dockerfile(&text);
    let build = ["build", "--network", "none", "-t", "added", "."];
    machine.ok(&build);
    let listed = machine.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "added",
        "stat -c '%a %Y %n' /dir/file /both/page /renamed /kept/in.tar /checked && cat /unpacked/in/file",
    ]);
    let want = "600 784111777 /dir/file\n644 ";
    assert!(listed.0.starts_with(want), "{}", listed.0);
    assert!(
        listed
            .0
            .contains("600 784111777 /renamed\n600 784111777 /kept/in.tar\n744 784111777 /checked\npacked\n"),
        "{}",
        listed.0
    );

    // What has not changed is not sent again, and what is pinned is not even asked for.
    server.forget_questions();
    let (_, said) = machine.ok(&build);
    assert!(said.contains("8 of 8 steps from the cache"), "{said}");
    let asked = server.asked();
    assert!(
        asked.len() == 5 && asked.iter().all(|asked| asked.header("if-none-match").is_some()),
        "{asked:?}"
    );
    // They are called as their addresses end, whatever the server says.
    fs_err::create_dir(served.join("a%20b")).unwrap();
    fs_err::write(served.join("a%20b/c%2fd"), "d\n").unwrap();
    let ends = ["/file?x=1#y", "", "/a%20b/c%2fd", "/file?/e"];
    let adds: String = ends.iter().map(|end| format!("ADD {url}{end} /names/\n")).collect();
    machine.dockerfile(&format!("FROM box\n{adds}RUN ls /names > /list\n"));
    machine.ok(&["build", "-q", "--network", "none", "-t", "names", "."]);
    assert_eq!(cat(&machine, "names", "/list"), "__unnamed__\nd\nfile\n");

    fs_err::write(served.join("file"), "fetched again\n").unwrap();
    machine.dockerfile(&format!("FROM box\nADD {url}/file /file\n"));
    machine.ok(&["build", "-q", "--network", "none", "-t", "added", "."]);
    assert_eq!(cat(&machine, "added", "/file"), "fetched again\n");

    for (line, want) in [
        (format!("ADD --checksum={digest} {url}/file /x"), "digest mismatch for"),
        (format!("ADD {url}/none /x"), "answered with status 404"),
        ("ADD http://127.0.0.1:1/none /x".to_owned(), "because: Connection refused"),
        (format!("ADD --checksum=sha512:00 {url}/file /x"), "only sha256 is taken"),
        (format!("COPY {url}/file /x"), "COPY takes no URL"),
        (format!("ADD --checksum={digest} page /x"), "is for one source that is a URL"),
    ] {
        machine.dockerfile(&format!("FROM box\n{line}\n"));
        let said = machine.refused(&["build", "--network", "none", "-t", "bad", "."], 1);
        assert!(said.contains(want), "{line}: {said}");
    }
    assert_eq!(machine.count("root/active"), 0);
}

#[test]
fn a_named_context_that_is_fetched_needs_no_dockerfile() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let (work, served) = publish_repository(&machine);
    let server = serve(&machine, &served);
    let url = format!("http://{}/app", server.address);
    run(&work, &format!("tar czf {}/app-bare.tgz -C docker file", served.display()));
    machine.dockerfile("FROM box\nCOPY --from=files file /file\n");
    for (address, want) in
        [(format!("{url}.git#v1:docker"), "first\n"), (format!("{url}-bare.tgz"), "second\n")]
    {
        let named = format!("files={address}");
        machine.ok(&["build", "-q", "--network", "none", "-t", "named", "--build-context", &named, "."]);
        assert_eq!(cat(&machine, "named", "/file"), want, "{address}");
    }
    fs_err::write(served.join("single"), "text\n").unwrap();
    let single = format!("files=http://{}/single", server.address);
    let said = machine.refused(&["build", "--build-context", &single, "."], 1);
    assert!(said.contains("is no archive"), "{said}");
}

#[test]
fn repositories_within_repositories_come_too() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let (work, served) = publish_repository(&machine);
    let git =
        "git -c user.name=me -c user.email=me@test -c init.defaultBranch=main -c protocol.file.allow=always";
    // Two deep, one by an address of its own and one by one that is relative.
    let server = serve(&machine, &served);
    let url = format!("http://{}", server.address);
    let served_at = served.display();
    let steps = [
        format!("{git} clone -q {served_at}/app.git ../outer && cd ../outer"),
        format!(
            "{git} submodule -q add {served_at}/app.git relative && {git} submodule -q add {served_at}/app.git whole"
        ),
        format!("{git} config -f .gitmodules submodule.relative.url ../app.git"),
        format!("{git} config -f .gitmodules submodule.whole.url {url}/app.git"),
        format!("cd whole && {git} checkout -q v1 && cd .. && {git} add -A && {git} commit -qm outer"),
        format!(
            "git clone -q --bare . {served_at}/outer.git && git -C {served_at}/outer.git update-server-info"
        ),
    ];
    run(&work, &steps.join(" && "));
    machine.dockerfile(&format!(
        "FROM box\nADD {url}/outer.git /all/\nADD --keep-git-dir http://me:word@{}/outer.git /kept/\nADD {url}/outer.git?submodules=false /none/\n",
        server.address
    ));
    machine.ok(&["build", "-q", "--network", "none", "-t", "nested", "."]);
    let seen = "cat /all/relative/docker/file /all/whole/docker/file /kept/whole/docker/file; ls /none/whole; \
                grep url /kept/.git/config | head -1; grep -r word /kept/.git || true";
    let seen = machine.ok(&["run", "--rm", "--network", "none", "nested", seen]).0;
    assert_eq!(seen, format!("second\nfirst\nfirst\n\turl = {url}/outer.git\n"));
    assert_eq!(machine.count("root/active"), 0);
}

/// Makes a repository with two commits, `v1` and `side`, of a directory `docker`, and publishes it and that directory as an archive. Returns
/// where it is, and what is published.
fn publish_repository(machine: &Machine) -> (PathBuf, PathBuf) {
    let served = machine.dir.path().join("served");
    let work = machine.dir.path().join("work");
    fs_err::create_dir_all(work.join("docker")).unwrap();
    fs_err::create_dir(&served).unwrap();
    fs_err::write(work.join("docker/Dockerfile"), "FROM box\nCOPY . /ctx/\n").unwrap();
    fs_err::write(work.join("docker/file"), "first\n").unwrap();
    let git = "git -c user.name=me -c user.email=me@test -c init.defaultBranch=main";
    run(
        &work,
        &format!(
            "{git} init -q && git add . && {git} commit -qm one && git tag v1 && {git} tag -am note noted"
        ),
    );
    fs_err::write(work.join("docker/file"), "second\n").unwrap();
    run(&work, &format!("{git} commit -qam two && git branch side HEAD"));
    let publish = format!(
        "git clone -q --bare . {0}/app.git && git -C {0}/app.git update-server-info",
        served.display()
    );
    run(&work, &publish);
    run(&work, &format!("tar czf {}/app.tgz -C docker .", served.display()));
    (work, served)
}

#[test]
fn a_dockerfile_of_this_machine_is_for_any_context() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let (_work, served) = publish_repository(&machine);
    let server = serve(&machine, &served);
    let url = format!("http://{}/app", server.address);
    let own = machine.context().join("Own");
    fs_err::write(&own, "FROM box\nCOPY docker/file /of-context\n").unwrap();
    let whole = format!("{url}.git");
    machine.ok(&["build", "-q", "--network", "none", "-t", "own", "-f", own.to_str().unwrap(), &whole]);
    assert_eq!(cat(&machine, "own", "/of-context"), "second\n");
    // So is one from an address.
    fs_err::copy(&own, served.join("Own")).unwrap();
    let fetched = format!("http://{}/Own", server.address);
    machine.ok(&["build", "-q", "--network", "none", "-t", "fetched", "-f", &fetched, &whole]);
    assert_eq!(cat(&machine, "fetched", "/of-context"), "second\n");
    fs_err::create_dir(machine.context().join("docker")).unwrap();
    fs_err::write(machine.context().join("docker/file"), "here\n").unwrap();
    machine.ok(&["build", "-q", "--network", "none", "-t", "fetched", "-f", &fetched, "."]);
    assert_eq!(cat(&machine, "fetched", "/of-context"), "here\n");
    let said = machine.refused(&["build", "--network", "none", "-f", &format!("{fetched}x"), "."], 1);
    assert!(said.contains("404"), "{said}");
    // A name that is not absolute is one of the context.
    for name in ["Own", "/no/such/Own"] {
        let said = machine.refused(&["build", "--network", "none", "-f", name, &whole], 1);
        assert!(
            said.contains(&format!("there is no `{name}` ")) && said.contains("in the context"),
            "{said}"
        );
    }
}

#[test]
fn contexts_come_from_archives_and_repositories() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    let (work, served) = publish_repository(&machine);
    let commit = String::from_utf8(run(&work, "git rev-parse v1")).unwrap().trim().to_owned();
    let tag = String::from_utf8(run(&work, "git rev-parse noted")).unwrap().trim().to_owned();
    let server = serve(&machine, &served);
    let url = format!("http://{}/app", server.address);
    for (context, want) in [
        (format!("{url}.tgz"), "second\n"),
        (format!("{url}.git#:docker"), "second\n"),
        (format!("{url}.git#v1:docker"), "first\n"),
        (format!("{url}.git#{commit}:docker"), "first\n"),
        (format!("{url}.git?branch=side&subdir=docker"), "second\n"),
        (format!("{url}.git?tag=v1&subdir=docker&checksum={commit}"), "first\n"),
        (format!("{url}.git?tag=noted&subdir=docker&checksum={tag}"), "first\n"),
    ] {
        machine.ok(&["build", "-q", "--network", "none", "-t", "cloned", &context]);
        assert_eq!(cat(&machine, "cloned", "/ctx/file"), want, "{context}");
    }
    // Its history comes if that is asked for.
    for (kept, want) in [("1", "/ctx/.git/HEAD\n"), ("0", "")] {
        let argument = format!("BUILDKIT_CONTEXT_KEEP_GIT_DIR={kept}");
        let whole = format!("{url}.git");
        let build = ["build", "-q", "--network", "none", "-t", "kept", "-f", "docker/Dockerfile"];
        machine.ok(&[&build[..], &["--build-arg", &argument, &whole]].concat());
        let find = ["run", "--rm", "--network", "none", "kept", "find /ctx -name HEAD -maxdepth 2"];
        assert_eq!(machine.ok(&find).0, want, "{kept}");
    }
    // What is a Dockerfile itself has no other one in it.
    fs_err::write(served.join("plain"), "FROM box\nRUN echo plain > /plain\n").unwrap();
    let plain = format!("http://{}/plain", server.address);
    let build = ["build", "-q", "--network", "none", "-t", "plain", "-f", "Other", &plain];
    let (_, said) = machine.ok(&build);
    assert!(
        said.contains(&format!("warning: `{plain}` is a Dockerfile: --file Other is not read")),
        "{said}"
    );
    assert_eq!(cat(&machine, "plain", "/plain"), "plain\n");
    for (context, want) in [
        (format!("{url}.git#nosuch"), "`nosuch` is no branch, tag or commit"),
        (format!("{url}.git#main:../.."), "is no directory of"),
        (format!("{url}.git?checksum=0123&subdir=docker"), "is at commit"),
        (format!("{url}.git?x=y"), "means nothing in an address"),
        (format!("{url}.git?tag=v1#main"), "names both `main` and `refs/tags/v1`"),
        (format!("{url}.git#--upload-pack=touch /tmp/x"), "is not a branch"),
        (format!("{url}.git"), "there is no `Dockerfile`"),
    ] {
        let said = machine.refused(&["build", "--network", "none", &context], 1);
        assert!(said.contains(want), "{context}: {said}");
    }

    // The same of ADD; a commit that is named whole is asked for once.
    machine.dockerfile(&format!(
        "FROM box\nADD --keep-git-dir=true {url}.git#{commit} /all/\nADD {url}.git#v1:docker /some/\n"
    ));
    let build = ["build", "--network", "none", "-t", "added", "."];
    machine.ok(&build);
    assert_eq!(cat(&machine, "added", "/some/file"), "first\n");
    let there = machine.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "added",
        "ls -d /all/.git /some/.git 2>&1; cat /all/docker/file",
    ]);
    assert!(
        there.0.contains("/all/.git\n")
            && there.0.ends_with("first\n")
            && !there.0.contains("\n/some/.git\n"),
        "{}",
        there.0
    );
    let (_, said) = machine.ok(&build);
    assert!(said.contains("from the cache"), "{said}");
    assert_eq!(machine.count("root/active"), 0);
}

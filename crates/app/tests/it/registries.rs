//! Images go to registries and come back, and travel in files, by the real program.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use shipway_testkit::registry::{Asked, Reply, TestRegistry};
use shipway_testkit::{Need, require};

use crate::machine::{Machine, can_run};

/// `me:secret`
const BASIC: &str = "Basic bWU6c2VjcmV0";

fn digest_in(said: &str) -> String {
    let words = said.split_whitespace();
    words.rev().find(|word| word.starts_with("sha256:")).unwrap().to_owned()
}

#[test]
fn an_image_goes_to_a_registry_and_comes_back() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = registry.name("team/box:1");
    let pushed = machine.publish(&name);
    let digest = digest_in(&pushed);
    let first = format!("The push refers to repository [{}]\n", registry.name("team/box"));
    assert!(pushed.starts_with(&first), "{pushed}");
    assert_eq!(pushed.matches(": Pushed\n").count(), 3, "{pushed}");
    assert!(pushed.contains(&format!("\n1: digest: {digest} size: ")), "{pushed}");
    let (again, _) = machine.ok(&["push", &name]);
    assert_eq!((again.matches(": Layer already exists\n").count(), digest_in(&again)), (3, digest.clone()));
    assert_eq!(machine.ok(&["push", "-q", &name]).0, format!("{name}\n"));

    // Elsewhere a container pulls what it needs.
    let elsewhere = machine.dir.path().join("elsewhere");
    let (root, state) = (elsewhere.join("root"), elsewhere.join("state"));
    let roots = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let command = ["run", "--rm", "--network", "none", &name, "echo hi"];
    let (printed, said) = machine.ok(&[&roots[..], &command].concat());
    assert_eq!(printed, "hi\n");
    assert!(said.starts_with(&format!("Unable to find image '{name}' locally\n")), "{said}");
    assert_eq!(said.matches(": Pull complete\n").count(), 3, "{said}");
    let end = format!("Digest: {digest}\nStatus: Downloaded newer image for {name}\n");
    assert!(said.ends_with(&end), "{said}");

    // Only whoever insists asks for what is here.
    machine.ok(&["rmi", "box"]);
    registry.forget_questions();
    machine.ok(&["run", "--rm", "--network", "none", &name, "true"]);
    assert_eq!(registry.asked().len(), 0);
    machine.ok(&["run", "--rm", "--network", "none", "--pull", "always", &name, "true"]);
    assert!(registry.count("GET", "/manifests/") > 0 && registry.count("GET", "/blobs/") == 0);
    let (pulled, _) = machine.ok(&["pull", &name]);
    let end = format!("Digest: {digest}\nStatus: Image is up to date for {name}\n{name}\n");
    assert!(pulled.starts_with("1: Pulling from team/box\n") && pulled.ends_with(&end), "{pulled}");

    // By digest, and as the base of a build.
    let gone = machine.ok(&["rmi", &name]).0;
    let repository = registry.name("team/box");
    assert!(
        gone.starts_with(&format!("Untagged: {name}\nUntagged: {repository}@{digest}\nDeleted: ")),
        "{gone}"
    );
    let pinned = registry.name(&format!("team/box@{digest}"));
    machine.ok(&["pull", "-q", &pinned]);
    assert_eq!(machine.inspect(&pinned)["RepoDigests"], serde_json::json!([pinned]));
    let listed = machine.ok(&["images", "--digests", "--format", "{{.Repository}}@{{.Digest}}"]).0;
    assert!(listed.lines().any(|line| line == pinned), "{listed}");
    machine.ok(&["rmi", &pinned]);
    machine.dockerfile(&format!("FROM {name}\nRUN echo on top > /top\n"));
    let (_, said) = machine.ok(&["build", "-t", "above", "--network", "none", "."]);
    assert!(said.contains(&format!("pulling {name}\n")) && said.contains("pulled "), "{said}");
    assert_eq!(machine.ok(&["run", "--rm", "--network", "none", "above", "cat /top"]).0, "on top\n");
    registry.forget_questions();
    machine.ok(&["build", "-t", "above", "--network", "none", "."]);
    assert_eq!(registry.asked().len(), 0);
    machine.ok(&["build", "-t", "above", "--network", "none", "--pull", "."]);
    assert!(registry.count("GET", "/manifests/") > 0);
    machine.assert_nothing_is_left();
}

#[test]
fn what_a_registry_does_not_give_is_told_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    // A layer that is not what its digest says.
    let registry = machine.inside(|| {
        TestRegistry::with_fault(|asked, _| {
            (asked.is("GET", "/v2/bad/blobs/")).then(|| Reply::new(200, "something else"))
        })
    });
    for repository in ["good", "bad"] {
        let name = registry.name(&format!("{repository}:1"));
        machine.publish(&name);
        machine.ok(&["rmi", &name]);
    }
    machine.ok(&["rmi", "box"]);
    let bad = registry.name("bad:1");
    let said = machine.refused(&["pull", &bad], 1);
    assert!(
        said.contains(&format!("error: could not pull `{bad}`")) && said.contains("sent a wrong"),
        "{said}"
    );
    let said = machine.refused(&["pull", &registry.name("good:2")], 1);
    assert!(said.contains("has no `good:2`") && said.contains("hint: check the name and the tag"), "{said}");
    let said = machine.refused(&["run", "--rm", &registry.name("nowhere")], 125);
    assert!(said.contains("has no `nowhere:latest`"), "{said}");
    let said = machine.refused(&["pull", "No/Name"], 1);
    assert!(said.contains("hint: "), "{said}");
    assert_eq!(machine.ok(&["images", "-aq"]).0, "");
    machine.assert_nothing_is_left();
}

#[test]
fn a_registry_that_wants_a_name_gets_it_after_a_login() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let guard = |asked: &Asked, _: usize| {
        (asked.header("authorization") != Some(BASIC)).then(|| {
            Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#)
                .header("WWW-Authenticate", "Basic realm=\"test\"")
        })
    };
    let registry = machine.inside(|| TestRegistry::with_fault(guard));
    let docker = machine.dir.path().join("docker");
    let run = |args: &[&str], input: &str| {
        let mut command = machine.command(args);
        command.env("DOCKER_CONFIG", &docker).stdin(Stdio::piped());
        let mut child = machine.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let name = registry.name("box:1");
    machine.ok(&["tag", "box", &name]);
    let (code, _, said) = run(&["push", &name], "");
    assert_eq!(code, Some(1));
    let hint = format!("hint: log in, then try again: `shipway login {}`", registry.address);
    assert!(said.contains("refused access to `box`") && said.contains(&hint), "{said}");
    let login = ["login", "-u", "me", "--password-stdin", &registry.address];
    let (code, _, said) = run(&login, "wrong\n");
    assert_eq!(code, Some(1), "{said}");
    assert!(!docker.join("config.json").exists(), "nothing is kept of a login that failed");
    let file = || fs_err::read_to_string(docker.join("config.json")).unwrap();
    for to_file in [false, true] {
        let args = [&login[..], if to_file { &["--to-file"] } else { &[] }].concat();
        let (code, printed, said) = run(&args, if to_file { "secret\r\n" } else { "secret\n" });
        assert_eq!((code, printed.as_str()), (Some(0), "Login Succeeded\n"), "{said}");
        let is_clear = said.contains("WARNING! Your credentials are stored unencrypted in");
        // Where the kernel has no keyrings for us they are in the file all the same.
        assert!(is_clear || !to_file && said.contains("in the kernel's keyring until"), "{said}");
        assert_eq!(file().contains(BASIC.trim_start_matches("Basic ")), is_clear, "{}", file());
        // Who says nothing more is logged in with what is kept.
        let (code, printed, said) = run(&["login", &registry.address], "");
        assert_eq!((code, printed.as_str()), (Some(0), "Login Succeeded\n"), "{said}");
        assert_eq!(said, "Authenticating with existing credentials... [Username: me]\n");
        let out = run(&["push", "-q", &name], "");
        assert_eq!(out, (Some(0), format!("{name}\n"), String::new()));
        machine.ok(&["rmi", &name]);
        assert_eq!(run(&["pull", "-q", &name], "").0, Some(0));
        assert_eq!(run(&["logout", &registry.address], "").0, Some(0));
        assert!(!file().contains(&registry.address), "{}", file());
        assert_eq!(run(&["pull", "-q", &name], "").0, Some(1));
        let (code, _, said) = run(&["login", &registry.address], "");
        assert!(code == Some(1) && said.contains("cannot ask for user name and password"), "{said}");
    }
    // What is kept may not be right any more.
    let kept = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"bWU6b2xk\"}}}}}}", registry.address);
    fs_err::write(docker.join("config.json"), kept).unwrap();
    let (code, _, said) = run(&["login", &registry.address], "");
    assert!(code == Some(1) && said.contains("does not take this user name and password"), "{said}");
}

#[test]
fn a_digest_is_no_name_of_its_own_beside_a_tag() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = machine.move_box_to(&registry);
    let (repository, second) = (name.strip_suffix(":1").unwrap(), registry.name("box:2"));
    machine.ok(&["pull", "-q", &name]);
    let document = machine.inspect(&name);
    let (by_digest, id) = (document["RepoDigests"][0].as_str().unwrap(), document["Id"].as_str().unwrap());
    machine.ok(&["rmi", &name]);
    let rows = || machine.ok(&["images", "--format", "{{.Tag}} {{.Digest}}"]).0;
    let digest = by_digest.rsplit('@').next().unwrap();

    machine.ok(&["pull", "-q", by_digest]);
    assert_eq!(rows(), format!("<none> {digest}\n"));
    machine.ok(&["pull", "-q", &name]);
    assert_eq!(rows(), format!("1 {digest}\n"));
    machine.ok(&["tag", &name, &second]);
    machine.ok(&["rmi", &second]);
    assert_eq!(rows(), format!("1 {digest}\n"));
    let gone = machine.ok(&["rmi", &name]).0;
    let want = format!("Untagged: {name}\nUntagged: {repository}@{digest}\nDeleted: {id}\n");
    assert!(gone.starts_with(&want), "{gone}");
    assert_eq!(rows(), "");

    machine.ok(&["pull", "-q", by_digest]);
    machine.ok(&["tag", by_digest, &second]);
    machine.ok(&["rmi", id]);
    assert_eq!(rows(), "");

    machine.ok(&["pull", "-q", by_digest]);
    machine.ok(&["pull", "-q", &name]);
    assert_eq!(machine.ok(&["rmi", by_digest]).0, format!("Untagged: {by_digest}\n"));
    assert_eq!(machine.ok(&["images", "--format", "{{.Tag}}"]).0, "1\n");
    machine.ok(&["tag", &name, "other"]);
    let said = machine.refused(&["rmi", id], 1);
    assert!(said.contains("has 2 names"), "{said}");
}

#[test]
fn images_travel_in_files() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.ok(&["tag", "box", "other/box:2"]);
    let (history, _) = machine.ok(&["history", "box"]);
    assert_eq!(history.lines().count(), 6, "a heading and a line for each instruction: {history}");
    assert!(
        history.contains("ENTRYPOINT [\"/bin/sh\" \"-c\"]") || history.contains("ENTRYPOINT"),
        "{history}"
    );
    let id = machine.inspect("box")["Id"].clone();
    machine.ok(&["save", "-o", "boxes.tar", "box", "other/box:2"]);
    machine.ok(&["rmi", "box", "other/box:2"]);
    assert_eq!(machine.ok(&["images", "-aq"]).0, "");
    let (loaded, _) = machine.ok(&["load", "-q", "-i", "boxes.tar"]);
    assert_eq!(loaded, "Loaded image: box:latest\nLoaded image: other/box:2\n");
    assert_eq!(machine.inspect("other/box:2")["Id"], id);
    assert_eq!(machine.script(&["--network", "none"], "echo hi"), "hi\n");

    // A repository is all of its tags.
    machine.ok(&["import", "boxes.tar", "other/box:10"]);
    machine.ok(&["save", "-o", "all.tar", "other/box"]);
    machine.ok(&["rmi", "other/box:10"]);
    let (loaded, _) = machine.ok(&["load", "-i", "all.tar"]);
    assert_eq!(loaded, "Loaded image: other/box:10\nLoaded image: other/box:2\n");
    machine.ok(&["rmi", "other/box:10"]);

    // A name counts once; a directory is as good as an archive; who stops to read is told so.
    machine.ok(&["save", "-o", "twice.tar", "box", "box"]);
    let layout = machine.context().join("layout");
    fs_err::create_dir(&layout).unwrap();
    tar::Archive::new(fs_err::File::open(machine.context().join("twice.tar")).unwrap())
        .unpack(&layout)
        .unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs_err::read(layout.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["box:latest"]));
    assert_eq!(machine.ok(&["load", "-i", "layout"]).0, "Loaded image: box:latest\n");
    let said = machine.refused(&["load", "-i", "app"], 1);
    assert!(said.contains("could not open the archive"), "{said}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = machine.command(&["save", "box"]).stdout(writer).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(1) && said.contains("nobody reads the rest of it"), "{said}");

    // The layers that go are told, as the image is.
    assert_eq!(machine.ok(&["rmi", "box"]).0, "Untagged: box:latest\n");
    let gone = machine.ok(&["rmi", "-f", id.as_str().unwrap()]).0;
    assert!(
        gone.starts_with(&format!("Untagged: other/box:2\nDeleted: {}\n", id.as_str().unwrap())),
        "{gone}"
    );
    let (_, said) = machine.ok(&["rmi", "-f", "box"]);
    assert!(said.contains("no such image: box"), "{said}");
    machine.refused(&["rmi", "box"], 1);
    machine.ok(&["system", "prune", "-af"]);
    machine.ok(&["load", "-i", "boxes.tar"]);
    machine.ok(&["rmi", "box"]);
    let gone = machine.ok(&["rmi", "other/box:2"]).0;
    assert_eq!(gone.matches("Deleted: sha256:").count(), 4, "an image of three layers: {gone}");

    // An archive that breaks off brings nothing.
    let archive = machine.context().join("boxes.tar");
    let whole = fs_err::read(&archive).unwrap();
    for length in [0, 100, whole.len() / 2] {
        fs_err::write(&archive, &whole[..length]).unwrap();
        let said = machine.refused(&["load", "-i", "boxes.tar"], 1);
        assert!(said.contains("hint: "), "{length} bytes: {said}");
        assert_eq!(machine.ok(&["images", "-aq"]).0, "", "{length} bytes");
    }
    let said = machine.refused(&["save", "-o", "none.tar", "nowhere"], 1);
    assert!(said.contains("nowhere") && !machine.context().join("none.tar").exists(), "{said}");
    machine.assert_nothing_is_left();
}

/// Returns the status with which a registry answers to one that it is called by a name.
fn status_for(machine: &Machine, address: &str, host: &str) -> String {
    let mut answer = String::new();
    machine.inside(|| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let ask = format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        stream.read_to_string(&mut answer).unwrap();
    });
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn our_own_registry_takes_images_and_gives_them_back() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let mut server = machine.serve(&["registry", "serve", "--listen", "127.0.0.1:0"]);
    let address = server.address();
    let name = format!("{address}/team/box:1");
    machine.ok(&["tag", "box", &name]);
    let blobs = machine.count("root/blobs/sha256");
    let (pushed, _) = machine.ok(&["push", &name]);
    // It is the same store: nothing is sent, compressed or copied.
    assert_eq!(pushed.matches(": Layer already exists\n").count(), 3, "{pushed}");
    assert_eq!(machine.count("root/blobs/sha256"), blobs);
    let digest = digest_in(&pushed);
    machine.ok(&["rmi", "box", &name]);
    machine.ok(&["system", "prune", "-af"]);
    assert_eq!(machine.ok(&["images", "-aq"]).0, "");
    // A build that is pushed at once writes names too.
    machine.dockerfile("FROM scratch\nCOPY page /page\n");
    let page = format!("{address}/page:1");
    let said = machine.ok(&["build", "-t", &page, "--push", "."]).1;
    assert!(said.contains(&format!("pushed {page}@sha256:")), "{said}");
    machine.ok(&["rmi", &page]);
    machine.ok(&["pull", "-q", &page]);
    // All tags at once.
    for tag in ["2", "3"] {
        machine.ok(&["tag", &page, &format!("{address}/page:{tag}")]);
    }
    let repository = format!("{address}/page");
    let (pushed, _) = machine.ok(&["push", "--all-tags", &repository]);
    assert_eq!(pushed.matches(": digest: sha256:").count(), 3, "{pushed}");
    for tag in ["1", "2", "3"] {
        machine.ok(&["rmi", &format!("{repository}:{tag}")]);
    }
    let (pulled, _) = machine.ok(&["pull", "-q", "-a", &repository]);
    assert_eq!(pulled, format!("{repository}:1\n{repository}:2\n{repository}:3\n"));
    assert!(machine.refused(&["pull", "-a", &page], 1).contains("tag can't be used with --all-tags/-a"));
    assert!(machine.refused(&["push", "-a", "nothing"], 1).contains("no image here has the name `nothing"));
    // A page in a browser may reach it, by a name of its own.
    assert_eq!(status_for(&machine, &address, &address), "200");
    assert_eq!(status_for(&machine, &address, "evil.example"), "403");
    // What was pushed is the registry's, and outlives the image here.
    let elsewhere = machine.dir.path().join("elsewhere");
    let (root, state) = (elsewhere.join("root"), elsewhere.join("state"));
    let roots = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
    for reference in [name.clone(), format!("{address}/team/box@{digest}")] {
        let command = ["run", "--rm", "--network", "none", "--pull", "always", &reference, "echo hi"];
        assert_eq!(machine.ok(&[&roots[..], &command].concat()).0, "hi\n");
    }
    // The same store: nothing is sent twice.
    machine.ok(&["pull", "-q", &name]);
    assert_eq!(machine.ok(&["run", "--rm", "--network", "none", &name, "echo here"]).0, "here\n");
    let said = machine.refused(&["registry", "serve", "--listen", &address], 1);
    assert!(said.contains("could not listen on") && said.contains("--listen 127.0.0.1:PORT"), "{said}");
    let said = machine.refused(&["registry", "serve", "--listen", "0.0.0.0:5000"], 1);
    assert!(
        said.contains("everybody who reaches it could push") && said.contains("--htpasswd FILE"),
        "{said}"
    );
    let pidfd = shipway_linux::open_pidfd(i32::try_from(server.process.id()).unwrap()).unwrap();
    shipway_linux::signal_pidfd(pidfd, 2).unwrap();
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(" - \"PUT /v2/team/box/manifests/1\" 201 0 "), "{said}");
    machine.assert_nothing_is_left();
}

#[test]
fn our_own_registry_gives_a_base_from_elsewhere_as_the_archive_that_it_came_as() {
    if !can_run() || !require(&[Need::Tar]) {
        return;
    }
    let machine = Machine::with_box();
    let tree = machine.context().join("tree");
    fs_err::create_dir_all(tree.join("bin")).unwrap();
    for name in ["cat", "sh"] {
        fs_err::copy("/bin/busybox", tree.join("bin").join(name)).unwrap();
    }
    fs_err::write(tree.join("file"), "of the base\n").unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-cf", "base.tar", "-C", "tree", "file", "bin"]).current_dir(machine.context());
    assert!(tar.status().unwrap().success());
    machine.ok(&["import", "base.tar", "base"]);
    machine.dockerfile("FROM base\nRUN cat /file > /copy\n");
    let server = machine.serve(&["registry", "serve", "-q", "--listen", "127.0.0.1:0"]);
    let name = format!("{}/above:1", server.address());
    machine.ok(&["build", "-q", "--network", "none", "-t", &name, "--push", "."]);
    let elsewhere = machine.dir.path().join("elsewhere");
    let (root, state) = (elsewhere.join("root"), elsewhere.join("state"));
    let roots = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let command = ["run", "--rm", "--network", "none", &name, "cat", "/copy"];
    assert_eq!(machine.ok(&[&roots[..], &command].concat()).0, "of the base\n");
    drop(server);
    machine.assert_nothing_is_left();
}

#[test]
fn what_no_registry_takes_is_kept_as_one_does() {
    if !can_run() || !require(&[Need::Tar, Need::Packers]) {
        return;
    }
    let machine = Machine::with_box();
    let mut tar = Command::new("tar");
    tar.args(["-cJf", "tree.tar.xz", "--transform", "s,busybox,bin/cat,", "busybox", "page"]);
    assert!(tar.current_dir(machine.context()).status().unwrap().success());
    machine.ok(&["import", "tree.tar.xz", "tree"]);
    machine.ok(&["save", "-o", "saved.tar", "tree"]);
    let mut pack = Command::new("bzip2");
    assert!(pack.arg("saved.tar").current_dir(machine.context()).status().unwrap().success());
    machine.ok(&["rmi", "tree"]);
    machine.ok(&["load", "-i", "saved.tar.bz2"]);
    let server = machine.serve(&["registry", "serve", "-q", "--listen", "127.0.0.1:0"]);
    let name = format!("{}/tree:1", server.address());
    machine.ok(&["tag", "tree", &name]);
    machine.ok(&["push", &name]);
    let elsewhere = machine.dir.path().join("elsewhere");
    let (root, state) = (elsewhere.join("root"), elsewhere.join("state"));
    let roots = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let command = ["run", "--rm", "--network", "none", &name, "/bin/cat", "/page"];
    assert_eq!(machine.ok(&[&roots[..], &command].concat()).0, "first\n");
    drop(server);
    machine.assert_nothing_is_left();
}

#[test]
fn our_own_registry_lets_in_whom_it_knows() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let file = |name: &str, text: &str| {
        let path = machine.dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = file("crt.pem", &made.cert.pem());
    let key = file("key.pem", &made.signing_key.serialize_pem());
    let users = file("users", &format!("me:{}\n", bcrypt::hash("secret", 4).unwrap()));
    let clear = ["registry", "serve", "--listen", "0.0.0.0:0", "--htpasswd", &users];
    assert!(machine.refused(&clear, 1).contains("would travel unencrypted"));
    let flags = ["--tls-cert", &certificate, "--tls-key", &key, "--anonymous-pull"];
    let server = machine.serve(&[&clear, &flags[..]].concat());
    let address = server.address().replace("0.0.0.0:", "localhost:");

    let settings = file("registries.toml", &format!("[registry.\"{address}\"]\nca = \"{certificate}\"\n"));
    let docker = machine.dir.path().join("docker");
    let shipway = |args: &[&str], input: &str| {
        let mut command = machine.command(args);
        command.env("SHIPWAY_REGISTRIES", &settings).env("DOCKER_CONFIG", &docker);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = machine.spawn(&mut command);
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let name = format!("{address}/team/box:1");
    machine.ok(&["tag", "box", &name]);
    let (code, said) = shipway(&["push", &name], "");
    assert!(code == 1 && said.contains(&format!("shipway login {address}")), "{said}");
    let login = ["login", "-u", "me", "--password-stdin", &address];
    assert_eq!(shipway(&login, "wrong").0, 1);
    assert_eq!(shipway(&login, "secret").0, 0);
    assert_eq!(shipway(&["push", &name], "").0, 0);
    assert_eq!(shipway(&["logout", &address], "").0, 0);
    machine.ok(&["rmi", &name]);
    let (code, said) = shipway(&["pull", &name], "");
    assert_eq!(code, 0, "everybody may pull: {said}");
    // Who does not know its authority is told what to write.
    let said = machine.refused(&["pull", &name], 1);
    assert!(said.contains("speaks HTTPS") && said.contains("plain-http = false"), "{said}");
    file("registries.toml", &format!("[registry.\"{address}\"]\nplain-http = false\n"));
    let (code, said) = shipway(&["pull", &name], "");
    assert!(code == 1 && said.contains("is not trusted") && said.contains("ca = \"FILE.pem\""), "{said}");
    drop(server);
    machine.assert_nothing_is_left();
}

#[test]
fn our_own_registry_remembers_what_another_one_has() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let origin = machine.inside(TestRegistry::start);
    let name = origin.name("team/box:1");
    machine.publish(&name);

    let root = |name: &str| machine.dir.path().join(name).to_str().unwrap().to_owned();
    let of_cache = ["--root", &root("cache"), "registry", "serve", "-q", "--listen", "127.0.0.1:0"];
    let server = machine.serve(&[&of_cache[..], &["--pull-through", &origin.address]].concat());
    let cache = &server.url;
    let settings = machine.dir.path().join("registries.toml");
    let text = format!("[registry.\"{}\"]\nmirrors = [\"{cache}\"]\n", origin.address);
    fs_err::write(&settings, text).unwrap();
    let pull = |place: &str| {
        let mut command = machine.command(&["--root", &root(place), "pull", "-q", &name]);
        let output = machine.inside(|| command.env("SHIPWAY_REGISTRIES", &settings).output().unwrap());
        assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
    };
    origin.forget_questions();
    pull("one");
    assert!(origin.count("GET", "/blobs/") > 0);
    origin.forget_questions();
    pull("two");
    assert_eq!(origin.count("GET", ""), 0, "only what the tag stands for is asked: {:?}", origin.asked());
    drop(origin);
    pull("three");
    drop(server);
    machine.assert_nothing_is_left();
}

#[test]
fn an_image_for_several_platforms_shows_them_all() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = registry.name("box:amd64");
    let own = digest_in(&machine.publish(&name));
    let size = registry.contents().manifests[&format!("box/manifests/{own}")].1.len();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let other = format!("sha256:{}", "a".repeat(64));
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
            {"mediaType": kind, "digest": other, "size": 7,
             "platform": {"os": "linux", "architecture": "s390x"}},
            {"mediaType": kind, "digest": own, "size": size,
             "platform": {"os": "linux", "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }}},
        ],
    });
    let kind = "application/vnd.oci.image.index.v1+json";
    let digest = registry.add_manifest("box", "1", kind, index.to_string().as_bytes());
    machine.ok(&["rmi", "box", &name]);
    let name = registry.name("box:1");
    machine.ok(&["pull", "-q", &name]);
    let document = machine.inspect(&name);
    assert_eq!(document["RepoDigests"], serde_json::json!([registry.name(&format!("box@{digest}"))]));
    assert_eq!(document["Descriptor"]["digest"], digest);
    let listed: Vec<(&str, bool, &str)> = document["Manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|listed| {
            let platform = listed["Descriptor"]["platform"]["architecture"].as_str().unwrap();
            (listed["ID"].as_str().unwrap(), listed["Available"].as_bool().unwrap(), platform)
        })
        .collect();
    let here = listed[1].2;
    assert_eq!(listed, [(&*other, false, "s390x"), (&*own, true, here)]);
    machine.ok(&["tag", &name, "box:2"]);
    let tree = machine.ok(&["images", "--tree"]).0;
    let short = |digest: &str| digest["sha256:".len()..][..12].to_owned();
    let lines: Vec<Vec<&str>> = tree.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[..2], [vec!["Info", "->", "U", "In", "Use"], vec![]], "{tree}");
    assert_eq!(lines[3], [name.as_str()], "{tree}");
    assert_eq!(lines[4][0], "box:2", "{tree}");
    assert_eq!(lines[5][1..], ["linux/s390x", &short(&other), "0B", "0B"], "{tree}");
    assert_eq!(lines[6][1..3], [&format!("linux/{here}"), &short(&own)], "{tree}");
    assert!(!tree.contains('\u{1b}'), "{tree}");
    // A container uses it.
    machine.ok(&["run", "-d", "--network", "none", "box:2", "sleep 60"]);
    let tree = machine.ok(&["images", "--tree"]).0;
    assert_eq!(tree.lines().filter(|line| line.ends_with("   U")).count(), 2, "{tree}");
    for flag in ["-q", "--no-trunc", "--digests", "--format=json"] {
        let said = machine.refused(&["images", "--tree", flag], 1);
        assert!(said.contains("and --tree do not go together"), "{flag}: {said}");
    }
    let id = machine.ok(&["ps", "-q"]).0;
    machine.ok(&["rm", "-f", id.trim()]);
}

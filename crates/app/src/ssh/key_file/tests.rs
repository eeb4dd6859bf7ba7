use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use ring::rand::SystemRandom;
use shipway_build::SshAgent as _;
use shipway_linux::Root;
use shipway_testkit::{Need, require};

use super::super::KeyAgent;
use super::super::wire::Writer;
use super::*;

/// Runs a program of OpenSSH, and returns what it printed, or `None` if it failed.
fn run(command: &mut Command) -> Option<String> {
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

fn pem(kind: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(bytes))
}

#[test]
fn every_kind_of_key_signs_as_openssh_wants_it() {
    if !require(&[Need::OpenSsh]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let kinds = [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("pkcs1", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("pkcs8", &["-t", "ecdsa", "-m", "PKCS8"]),
    ];
    let mut files = Vec::new();
    for (name, options) in kinds {
        let file = dir.path().join(name);
        let made =
            run(Command::new("ssh-keygen").args(options).args(["-q", "-N", "", "-C", name, "-f"]).arg(&file));
        assert!(made.is_some(), "{name}");
        files.push(file);
    }
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let agent = KeyAgent::load(&paths).unwrap();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let keys = Arc::clone(&agent.0);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client may have had enough.
            drop(super::super::protocol::serve(&keys, connection));
        }
    });
    let ssh_add = || {
        let mut command = Command::new("ssh-add");
        command.env("SSH_AUTH_SOCK", &socket);
        command
    };
    let listed = run(ssh_add().arg("-L")).unwrap();
    let apart = dir.path().join("apart");
    fs_err::create_dir(&apart).unwrap();
    let data = dir.path().join("data");
    fs_err::write(&data, "to be signed").unwrap();
    for file in &files {
        let public = fs_err::read_to_string(file.with_extension("pub")).unwrap();
        assert!(listed.contains(public.split(' ').nth(1).unwrap()), "{}", file.display());
        // Beside a public key alone there is only the agent to sign.
        let alone = apart.join(file.file_name().unwrap()).with_extension("pub");
        fs_err::write(&alone, public).unwrap();
        let keygen = |how: &str, options: &[&std::ffi::OsStr]| {
            let mut command = Command::new("ssh-keygen");
            command.env("SSH_AUTH_SOCK", &socket).args(["-Y", how, "-n", "test"]).args(options);
            command.stdin(std::fs::File::open(&data).unwrap());
            run(&mut command)
        };
        let signature = keygen("sign", &["-f".as_ref(), alone.as_os_str()]).unwrap();
        let written = apart.join("signature");
        fs_err::write(&written, signature).unwrap();
        let looked = keygen("check-novalidate", &["-s".as_ref(), written.as_os_str()]);
        assert!(looked.is_some_and(|looked| looked.starts_with("Good ")), "{}", file.display());
    }
    assert!(listed.contains(" ed25519\n"), "comments are told: {listed}");
    assert!(run(ssh_add().arg("-D")).is_none(), "nothing is removed");
    assert!(run(ssh_add().arg("-L")).is_some(), "and the agent goes on");

    let locked = dir.path().join("locked");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&locked)).unwrap();
    assert!(matches!(KeyAgent::load(&[&locked]), Err(KeyFileError::Encrypted { .. })));
    let long = dir.path().join("p521");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ecdsa", "-b", "521", "-N", "", "-f"]).arg(&long))
        .unwrap();
    let refused = KeyAgent::load(&[&long]).unwrap_err();
    assert!(refused.to_string().contains("it is of the kind `ecdsa-sha2-nistp521`"), "{refused}");
    let public = locked.with_extension("pub");
    assert!(KeyAgent::load(&[&public]).unwrap_err().to_string().ends_with("it is a public one"));
}

#[test]
fn what_is_no_key_is_told() {
    let ed25519 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    assert!(matches!(parse(&pem("PRIVATE KEY", ed25519.as_ref())), Ok((Key::Ed25519(_), None))));
    let openssh = |kind: &str, checks: (usize, usize)| {
        let inner =
            Writer::default().number(checks.0).number(checks.1).string(kind).string("x").string("y").0;
        let whole = Writer(MAGIC.to_vec())
            .string("none")
            .string("none")
            .string("")
            .number(1)
            .string("")
            .string(inner);
        pem("OPENSSH PRIVATE KEY", &whole.0)
    };
    let is_unsupported = |text: &str| matches!(parse(text), Err(Wrong::Unsupported(_)));
    assert!(is_unsupported(&openssh("sk-ssh-ed25519@openssh.com", (1, 1))));
    assert!(is_unsupported(&pem("EC PRIVATE KEY", b"x")) && is_unsupported(&pem("RSA PRIVATE KEY", b"x")));
    let old =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let cut = openssh("ssh-ed25519", (1, 1)).replace("-----END", "");
    for (name, text, want) in [
        ("other checks", openssh("ssh-ed25519", (1, 2)), DAMAGED),
        ("a seed that is too short", openssh("ssh-ed25519", (1, 1)), DAMAGED),
        ("numbers that are none", openssh("ssh-rsa", (1, 1)), DAMAGED),
        ("a point that is none", openssh("ecdsa-sha2-nistp256", (1, 1)), DAMAGED),
        ("cut", cut, DAMAGED),
        ("no base64", "-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----".to_owned(), DAMAGED),
        ("an old one with a passphrase", old.to_owned(), Wrong::Encrypted),
        ("a certificate", pem("CERTIFICATE", b"x"), Wrong::NoKey("it holds something else")),
        ("a public one", "ssh-ed25519 AAAA me".to_owned(), Wrong::NoKey("it is a public one")),
        ("empty", String::new(), Wrong::NoKey("it does not begin as one")),
    ] {
        assert_eq!(parse(&text).map(|_key| ()), Err(want), "case {name}");
    }
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    Root::open(dir.path()).unwrap().make_node("key", 0o010_600, 0).unwrap();
    let key = dir.path().join("key");
    let refused = KeyAgent::load(&[&key]).unwrap_err().to_string();
    assert_eq!(refused, format!("the ssh key `{}` is no file", key.display()));
}

#[test]
fn a_connection_needs_no_place_and_ends_with_what_is_no_message() {
    use std::io::{Read as _, Write as _};

    let agent = KeyAgent::load(&[]).unwrap();
    let mut stream = agent.connect().unwrap();
    let mut answer = [0; 9];
    stream.write_all(&[0, 0, 0, 1, 11]).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0, 0, 0, 5, 12, 0, 0, 0, 0]);
    stream.write_all(&[0, 0, 0, 1, 27]).unwrap();
    stream.read_exact(&mut answer[..5]).unwrap();
    assert_eq!(answer[..5], [0, 0, 0, 1, 5], "what it does not know it refuses");
    stream.write_all(&[0xff, 0xff, 0xff, 0xff]).unwrap();
    assert_eq!(stream.read(&mut answer).unwrap(), 0);
}

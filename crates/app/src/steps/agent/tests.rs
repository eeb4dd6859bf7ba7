use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use shipway_testkit::{Need, require};
use tempfile::TempDir;

use super::*;
use crate::ssh::SocketAgent;

const FAILURE: &[u8] = &[5];

/// A program that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Makes an agent's socket and one that leads to it.
fn way_to_agent() -> (TempDir, UnixListener, Agent) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("agent")).unwrap();
    let way = way_to(&dir.path().join("agent"), &dir);
    (dir, listener, way)
}

fn way_to(socket: &Path, dir: &TempDir) -> Agent {
    let target: Arc<dyn SshAgent> = Arc::new(SocketAgent(socket.to_owned()));
    Agent::open(&dir.path().join("own"), &target, (0o600, 0, 0)).unwrap()
}

fn send(stream: &mut UnixStream, message: &[u8]) {
    let length = u32::try_from(message.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes(), message].concat()).unwrap();
}

fn receive(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

#[test]
fn only_identities_and_signatures_are_asked_for() {
    if !require(&[Need::Root]) {
        return;
    }
    let (_dir, listener, way) = way_to_agent();
    let mut client = UnixStream::connect(&way.path).unwrap();
    let (mut agent, _) = listener.accept().unwrap();
    for (name, message) in [
        ("remove all of version 1", &[9][..]),
        ("add", &[17, 0]),
        ("remove", &[18, 0]),
        ("remove all", &[19]),
        ("lock", &[22, 0, 0, 0, 1, b'x']),
        ("unlock", &[23, 0, 0, 0, 1, b'x']),
        ("an extension", &[27, 0, 0, 0, 1, b'x']),
    ] {
        send(&mut client, message);
        assert_eq!(receive(&mut client).unwrap(), FAILURE, "case {name}");
    }
    // These are the first that the agent hears.
    for (asked, answer) in [(&[11][..], &[12, 0, 0, 0, 0][..]), (&[13, b'k'], &[14, b's']), (&[13], FAILURE)]
    {
        send(&mut client, asked);
        assert_eq!(receive(&mut agent).unwrap(), asked);
        send(&mut agent, answer);
        assert_eq!(receive(&mut client).unwrap(), answer);
    }
    // What is too long ends the connection.
    client.write_all(&(257_u32 << 10).to_be_bytes()).unwrap();
    assert!(receive(&mut client).is_err() && receive(&mut agent).is_err());
    let own = way.path.clone();
    drop(way);
    assert!(UnixStream::connect(own).is_err(), "nobody listens any more");
}

#[test]
fn openssh_lists_keys_through_it_and_removes_none() {
    if !require(&[Need::Root, Need::OpenSsh]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (socket, key) = (dir.path().join("agent"), dir.path().join("key"));
    let mut command = Command::new("ssh-agent");
    command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null());
    let mut agent = Ending(command.spawn().unwrap());
    while UnixStream::connect(&socket).is_err() {
        assert!(agent.0.try_wait().unwrap().is_none(), "it runs");
        std::thread::yield_now();
    }
    let way = way_to(&socket, &dir);
    let run = |program: &str, socket: &Path, args: &[&str]| {
        Command::new(program).args(args).env("SSH_AUTH_SOCK", socket).output().unwrap()
    };
    let key = key.to_str().unwrap();
    assert!(run("ssh-keygen", &socket, &["-q", "-t", "ed25519", "-N", "", "-f", key]).status.success());
    assert!(run("ssh-add", &socket, &["-q", key]).status.success());
    fs_err::remove_file(key).unwrap();
    assert!(!run("ssh-add", &way.path, &["-D"]).status.success(), "keys are not removed");
    let listed = run("ssh-add", &way.path, &["-L"]);
    let public = format!("{key}.pub");
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), fs_err::read_to_string(&public).unwrap());
    let data = format!("{key}.data");
    fs_err::write(&data, "to be signed").unwrap();
    let signed = run("ssh-keygen", &way.path, &["-q", "-Y", "sign", "-n", "test", "-f", &public, &data]);
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
}

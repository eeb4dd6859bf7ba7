use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use shipway_testkit::{Need, require};

use super::*;
use crate::ssh::{KeyAgent, SocketAgent};

const FAILURE: &[u8] = &[5];

/// A program that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn way_to(agent: impl SshAgent + 'static, own: &Path) -> Agent {
    let agent: Arc<dyn SshAgent> = Arc::new(agent);
    Agent::open(own, &agent, (0o600, 0, 0)).unwrap()
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
    let dir = tempfile::tempdir().unwrap();
    let (own, socket) = (dir.path().join("own"), dir.path().join("agent"));
    let listener = UnixListener::bind(&socket).unwrap();
    let way = way_to(SocketAgent(socket), &own);
    let mut client = UnixStream::connect(&own).unwrap();
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
    drop(way);
    assert!(UnixStream::connect(own).is_err(), "nobody listens any more");
}

#[test]
fn openssh_lists_keys_through_it_and_removes_none() {
    if !require(&[Need::Root, Need::OpenSsh]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (own, socket, key) = (dir.path().join("own"), dir.path().join("agent"), dir.path().join("key"));
    let mut command = Command::new("ssh-agent");
    command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null());
    let mut agent = Ending(command.spawn().unwrap());
    while UnixStream::connect(&socket).is_err() {
        assert!(agent.0.try_wait().unwrap().is_none(), "it runs");
        std::thread::yield_now();
    }
    let _way = way_to(SocketAgent(socket.clone()), &own);
    let run = |program: &str, socket: &Path, args: &[&str]| {
        Command::new(program).args(args).env("SSH_AUTH_SOCK", socket).output().unwrap()
    };
    let key = key.to_str().unwrap();
    assert!(run("ssh-keygen", &socket, &["-q", "-t", "ed25519", "-N", "", "-f", key]).status.success());
    assert!(run("ssh-add", &socket, &["-q", key]).status.success());
    fs_err::remove_file(key).unwrap();
    assert!(!run("ssh-add", &own, &["-D"]).status.success(), "keys are not removed");
    let listed = run("ssh-add", &own, &["-L"]);
    let public = format!("{key}.pub");
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), fs_err::read_to_string(&public).unwrap());
    let data = format!("{key}.data");
    fs_err::write(&data, "to be signed").unwrap();
    let signed = run("ssh-keygen", &own, &["-q", "-Y", "sign", "-n", "test", "-f", &public, &data]);
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
}

/// Asks for the identities of an agent that has none.
fn is_served(stream: &mut UnixStream) -> bool {
    let asked = stream.write_all(&[0, 0, 0, 1, 11]);
    asked.is_ok() && receive(stream).is_ok_and(|answer| answer == [12, 0, 0, 0, 0])
}

#[test]
fn a_step_has_so_many_connections_and_no_more() {
    if !require(&[Need::Root]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    let way = way_to(KeyAgent::load(&[]).unwrap(), &own);
    let connect = || UnixStream::connect(&own).unwrap();
    let mut clients: Vec<UnixStream> = (0..MOST).map(|_| connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(is_served(client), "connection {number}");
    }
    let mut further: Vec<UnixStream> = (0..100).map(|_| connect()).collect();
    assert!(!further.iter_mut().any(is_served), "they are closed");
    assert!(clients.iter_mut().all(is_served), "and the others go on");
    clients.pop();
    while !is_served(&mut connect()) {
        std::thread::yield_now();
    }
    drop(way);
    assert!(UnixStream::connect(&own).is_err(), "nobody waits for those that are open");
}

#[test]
fn connections_to_an_agent_that_is_gone_are_closed() {
    if !require(&[Need::Root]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    let _way = way_to(SocketAgent(dir.path().join("nowhere")), &own);
    for _ in 0..2 * MOST {
        assert!(!is_served(&mut UnixStream::connect(&own).unwrap()));
    }
}

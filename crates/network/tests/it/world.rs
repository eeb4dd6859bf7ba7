//! A host and a neighbour on the same wire, both network namespaces.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Duration;

use shipway_linux::{NetworkNamespace, RouteSocket, Veth, forget_private_mounts};
use shipway_network::{Bridge, BridgeConfig, Sandbox};
use tempfile::TempDir;

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const WAIT: Duration = Duration::from_secs(5);
/// What does not arrive in this time is taken for dropped.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// State folder of a bridge; its mounts go with it, also after a panic.
pub(crate) struct StateFolder(TempDir);

impl StateFolder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        let namespaces = self.0.path().join("network/netns");
        for entry in fs_err::read_dir(&namespaces).into_iter().flatten().flatten() {
            drop(NetworkNamespace::delete(&entry.path()));
        }
        drop(forget_private_mounts(&namespaces));
    }
}

pub(crate) struct World {
    pub(crate) host: NetworkNamespace,
    pub(crate) neighbour: NetworkNamespace,
    pub(crate) folder: StateFolder,
}

impl World {
    pub(crate) fn new() -> Self {
        let (host, neighbour) = (NetworkNamespace::new().unwrap(), NetworkNamespace::new().unwrap());
        let mut outer = host.run(RouteSocket::open).unwrap().unwrap();
        let mut inner = neighbour.run(RouteSocket::open).unwrap().unwrap();
        let wire = Veth {
            name: "eth0",
            bridge: None,
            peer_name: "eth0",
            peer_mac: [2, 0, 0, 0, 0, 1],
            peer_namespace: neighbour.as_fd(),
            mtu: 1450,
        };
        outer.create_veth(&wire).unwrap();
        for (socket, address) in [(&mut outer, HOST), (&mut inner, NEIGHBOUR)] {
            for name in ["lo", "eth0"] {
                let index = socket.link(name).unwrap().unwrap().index;
                socket.set_up(index).unwrap();
            }
            let index = socket.link("eth0").unwrap().unwrap().index;
            socket.add_address(index, address, 24).unwrap();
        }
        let index = outer.link("eth0").unwrap().unwrap().index;
        outer.add_default_route(index, NEIGHBOUR).unwrap();
        let world = Self { host, neighbour, folder: StateFolder::new() };
        world.set_on_host("ipv4/ip_forward", "0");
        world
    }

    pub(crate) fn config(&self) -> BridgeConfig {
        BridgeConfig { root_id: "7e57c0de".into(), state_root: self.folder.path().to_owned() }
    }

    /// Does something on the host.
    pub(crate) fn on_host<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        self.host.run(what).unwrap()
    }

    pub(crate) fn bridge(&self) -> Bridge {
        self.on_host(|| Bridge::open(self.config()).unwrap())
    }

    pub(crate) fn set_on_host(&self, name: &str, value: &str) {
        self.on_host(|| fs_err::write(format!("/proc/sys/net/{name}"), value).unwrap());
    }

    pub(crate) fn on_host_is(&self, name: &str) -> String {
        self.on_host(|| fs_err::read_to_string(format!("/proc/sys/net/{name}")).unwrap().trim().to_owned())
    }

    /// Runs a program on the host and returns what it printed.
    pub(crate) fn host_command(&self, line: &str) -> String {
        command(&self.host, line)
    }

    pub(crate) fn neighbour_command(&self, line: &str) -> String {
        command(&self.neighbour, line)
    }

    /// Whether a sandbox reaches the neighbour; the host's address is the one it comes from.
    pub(crate) fn gets_out(&self, sandbox: &Sandbox) -> bool {
        let from = reaches(&inside(sandbox), &self.neighbour, NEIGHBOUR);
        from.inspect(|from| assert_eq!(*from, HOST, "masqueraded")).is_some()
    }

    /// Whether a sandbox does not reach the neighbour.
    pub(crate) fn is_kept_in(&self, sandbox: &Sandbox) -> bool {
        is_cut_off(&inside(sandbox), &self.neighbour, NEIGHBOUR)
    }
}

pub(crate) fn inside(sandbox: &Sandbox) -> NetworkNamespace {
    NetworkNamespace::open(&sandbox.netns).unwrap()
}

/// Connects from one namespace to another; returns the address that the other end saw, or nothing if there was no answer.
pub(crate) fn reaches(from: &NetworkNamespace, to: &NetworkNamespace, address: Ipv4Addr) -> Option<IpAddr> {
    connects(from, to, (address, WAIT))
}

/// Whether there is no answer, for as long as one could take on a machine that is not too busy.
pub(crate) fn is_cut_off(from: &NetworkNamespace, to: &NetworkNamespace, address: Ipv4Addr) -> bool {
    connects(from, to, (address, SILENCE)).is_none()
}

fn connects(
    from: &NetworkNamespace,
    to: &NetworkNamespace,
    (address, wait): (Ipv4Addr, Duration),
) -> Option<IpAddr> {
    let listener = to.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = SocketAddr::from((address, port));
    let mut stream = from.run(|| TcpStream::connect_timeout(&target, wait)).unwrap().ok()?;
    let (mut accepted, peer) = listener.accept().unwrap();
    accepted.write_all(b"hello").unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let mut text = [0; 5];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
    Some(peer.ip())
}

/// Whether a program that a test needs beyond the kernel is there; says so where it is not.
pub(crate) fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        #[expect(clippy::print_stderr, reason = "a skip is seen by the person who runs the test")]
        {
            eprintln!("skipped: this machine lacks `{tool}`");
        }
        assert!(std::env::var_os("CI").is_none(), "`{tool}` is missing");
    }
    found
}

fn command(namespace: &NetworkNamespace, line: &str) -> String {
    let output = namespace.run(|| Command::new("sh").args(["-ec", line]).output()).unwrap().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

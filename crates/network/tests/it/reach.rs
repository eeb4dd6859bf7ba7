//! Who reaches whom.

use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use shipway_network::{Bridge, BridgeConfig, SandboxNetwork as _};
use shipway_testkit::{Need, require};

use crate::world::{HOST, NEIGHBOUR, SILENCE, StateFolder, WAIT, World, has, inside, is_cut_off, reaches};

#[test]
fn host_and_sandboxes_and_the_world_are_reached() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let (first, second) = world.on_host(|| (bridge.create("a").unwrap(), bridge.create("b").unwrap()));
    assert_eq!(reaches(&world.host, &inside(&first), first.address), Some(first.gateway.into()));
    assert_eq!(reaches(&inside(&first), &inside(&second), second.address), Some(first.address.into()));
    assert_eq!(reaches(&inside(&first), &world.host, first.gateway), Some(first.address.into()));
    assert!(world.gets_out(&first));
    assert_eq!(world.on_host(|| bridge.blockers().unwrap()), []);
}

/// The neighbour knows the range and sends packets for it to the host, which forwards.
#[test]
fn a_neighbour_does_not_reach_sandboxes() {
    if !require(&[Need::Root]) || !has("ip") {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("a").unwrap());
    world.neighbour_command(&format!("ip route add {}/16 via {HOST}", bridge.subnet().base()));
    assert!(is_cut_off(&world.neighbour, &inside(&sandbox), sandbox.address));
    if has("nft") {
        // Without the rules it would get through: the test tests something.
        world.host_command("nft flush ruleset");
        assert!(reaches(&world.neighbour, &inside(&sandbox), sandbox.address).is_some());
        world.on_host(|| bridge.ensure_rules().unwrap());
        assert!(is_cut_off(&world.neighbour, &inside(&sandbox), sandbox.address));
        world.host_command("nft flush table ip shipway-7e57c0de");
        world.on_host(|| bridge.ensure_rules().unwrap());
        assert!(is_cut_off(&world.neighbour, &inside(&sandbox), sandbox.address));
    }
}

/// What listens on the host's address in the network, such as the cluster's API, is not for neighbours.
#[test]
fn a_neighbour_does_not_reach_the_hosts_address_in_the_network() {
    if !require(&[Need::Root]) || !has("ip") || !has("nft") {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("a").unwrap());
    world.neighbour_command(&format!("ip route add {}/16 via {HOST}", bridge.subnet().base()));
    assert!(is_cut_off(&world.neighbour, &world.host, sandbox.gateway));
    assert!(reaches(&inside(&sandbox), &world.host, sandbox.gateway).is_some());
    assert!(reaches(&world.host, &world.host, sandbox.gateway).is_some());
    world.host_command("nft flush ruleset");
    assert!(
        reaches(&world.neighbour, &world.host, sandbox.gateway).is_some(),
        "without rules it would arrive"
    );
}

/// A neighbour can send packets for 127.0.0.1 over the wire; where the host routes them they must not arrive.
#[test]
fn a_port_on_the_hosts_loopback_is_not_reached_over_the_wire() {
    if !require(&[Need::Root]) || !has("ip") || !has("nft") {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    world.set_on_host("ipv4/conf/eth0/route_localnet", "1");
    world.neighbour_command(&format!(
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
         ip address delete 127.0.0.1/8 dev lo
         ip rule add to 127.0.0.1 priority 0 lookup 100
         ip rule add from all priority 1 lookup local
         ip rule delete priority 0 lookup local
         ip route add 127.0.0.1 via {HOST} src {NEIGHBOUR} table 100"
    ));
    let loopback = Ipv4Addr::LOCALHOST;
    assert!(is_cut_off(&world.neighbour, &world.host, loopback));
    world.host_command("nft flush ruleset");
    assert!(reaches(&world.neighbour, &world.host, loopback).is_some(), "without rules it would arrive");
    world.on_host(|| bridge.ensure_rules().unwrap());
    assert!(is_cut_off(&world.neighbour, &world.host, loopback));
}

#[test]
fn a_sandbox_cannot_speak_with_a_foreign_address() {
    if !require(&[Need::Root]) || !has("ip") {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("liar").unwrap());
    let false_address = Ipv4Addr::new(203, 0, 113, 5);
    let liar = inside(&sandbox);
    let listener = world.on_host(|| UdpSocket::bind((sandbox.gateway, 0)).unwrap());
    let to = listener.local_addr().unwrap();
    let send = |from: Ipv4Addr, wait| {
        listener.set_read_timeout(Some(wait)).unwrap();
        let socket = liar.run(|| UdpSocket::bind((from, 0)).unwrap()).unwrap();
        socket.send_to(b"x", to).unwrap();
        listener.recv_from(&mut [0; 8]).is_ok()
    };
    liar.run(|| {
        let mut socket = shipway_linux::RouteSocket::open().unwrap();
        let index = socket.link("eth0").unwrap().unwrap().index;
        socket.add_address(index, false_address, 32).unwrap();
    })
    .unwrap();
    // The way back must not be what stops it.
    world.host_command(&format!("ip route add {false_address} dev {}", bridge.device()));
    assert!(send(sandbox.address, WAIT));
    assert!(!send(false_address, SILENCE));
}

/// On the machine's own network: a sandbox resolves the package mirror of the host's configuration and connects to it.
#[test]
fn a_sandbox_reaches_the_package_mirror() {
    if !require(&[Need::Root, Need::Registries]) {
        return;
    }
    let Some(mirror) = mirror() else { return eprintln!("skipped: no plain mirror is configured") };
    let folder = StateFolder::new();
    let root_id = format!("{:x}", std::process::id() | 0x7000_0000);
    let config = BridgeConfig { root_id, state_root: folder.path().to_owned() };
    /// Leaves nothing behind, whatever happens in between.
    struct Destroyed(Option<Bridge>);
    impl Drop for Destroyed {
        fn drop(&mut self) {
            drop(self.0.take().map(Bridge::destroy));
        }
    }
    let bridge = Destroyed(Some(Bridge::open(config).unwrap()));
    let sandbox = bridge.0.as_ref().unwrap().create("apt").unwrap();
    let connected = inside(&sandbox)
        .run(|| {
            let addresses = (mirror.as_str(), 80).to_socket_addrs().expect("a name server answers");
            let mut v4 = addresses.filter(std::net::SocketAddr::is_ipv4);
            v4.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(10)).is_ok())
        })
        .unwrap();
    assert!(connected, "{mirror} does not answer");
    // From the outside to a port inside, by the address: the host's own connection.
    let listener = inside(&sandbox).run(|| TcpListener::bind((sandbox.address, 0)).unwrap()).unwrap();
    assert!(TcpStream::connect(listener.local_addr().unwrap()).is_ok());
}

/// Host name of the first plain mirror in the host's package configuration.
fn mirror() -> Option<String> {
    let folder = fs_err::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let files = folder.map(|entry| entry.path()).chain(["/etc/apt/sources.list".into()]);
    let texts = files.filter_map(|path| fs_err::read_to_string(path).ok());
    texts.collect::<Vec<_>>().iter().flat_map(|text| text.lines()).find_map(|line| {
        let line = line.trim_start();
        let (_, rest) = line.split_once("http://").filter(|_| !line.starts_with('#'))?;
        Some(rest.split(['/', ' ', ':']).next()?.to_owned())
    })
}

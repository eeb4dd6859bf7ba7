//! What is made, found again, and removed.

use shipway_linux::nft::NftSocket;
use shipway_linux::{NetworkNamespace, RouteSocket};
use shipway_network::{Bridge, BridgeConfig, NetworkError, SandboxNetwork as _};
use shipway_testkit::{Need, require};

use crate::world::{World, inside, is_cut_off, reaches};

fn names_of_links(world: &World) -> Vec<String> {
    let mut socket = world.on_host(|| RouteSocket::open().unwrap());
    socket.links().unwrap().into_iter().map(|link| link.name).collect()
}

#[test]
fn opening_twice_finds_the_same_network() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let first = world.bridge();
    let sandbox = world.on_host(|| first.create("web").unwrap());
    let second = world.bridge();
    assert_eq!(second.subnet(), first.subnet());
    assert_eq!(world.on_host(|| second.list().unwrap()), std::slice::from_ref(&sandbox));
    assert_eq!(names_of_links(&world).iter().filter(|name| name.starts_with("sw-")).count(), 1);
    assert!(reaches(&world.host, &inside(&sandbox), sandbox.address).is_some());
}

#[test]
fn a_range_that_the_host_uses_is_left_alone() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let free = world.on_host(|| {
        let bridge = Bridge::open(world.config()).unwrap();
        let free = bridge.subnet();
        bridge.destroy().unwrap();
        free
    });
    let mut socket = world.on_host(|| RouteSocket::open().unwrap());
    socket.create_bridge("other", [2, 0, 0, 0, 0, 9], 1500).unwrap();
    let index = socket.link("other").unwrap().unwrap().index;
    socket.add_address(index, free.gateway(), 24).unwrap();
    assert_ne!(world.bridge().subnet(), free);
}

#[test]
fn a_lost_state_file_does_not_change_the_range_of_a_bridge_in_use() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let first = world.on_host(|| bridge.create("first").unwrap());
    fs_err::remove_file(world.folder.path().join("network/state.json")).unwrap();
    let again = world.bridge();
    assert_eq!(again.subnet(), bridge.subnet());
    // The namespace without a name went; its address can be given out although its device may still be there.
    let second = world.on_host(|| again.create("second").unwrap());
    assert_eq!(second.address, first.address);
    assert!(reaches(&world.host, &inside(&second), second.address).is_some());
}

#[test]
fn an_address_whose_namespace_is_gone_is_free_again() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("gone").unwrap());
    let kept = world.on_host(|| bridge.create("kept").unwrap());
    NetworkNamespace::delete(&sandbox.netns).unwrap();
    let mut socket = world.on_host(|| RouteSocket::open().unwrap());
    let port = |socket: &mut RouteSocket| socket.link("sw7e57c0de0002").unwrap();
    while port(&mut socket).is_some() {
        std::thread::yield_now(); // the kernel takes it away in its own time
    }
    let bridge = world.bridge();
    assert_eq!(world.on_host(|| bridge.list().unwrap()), [kept]);
    assert!(!sandbox.netns.exists());
}

#[test]
fn a_removed_sandbox_whose_processes_live_on_gives_way_to_a_new_one() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let first = world.on_host(|| bridge.create("first").unwrap());
    let held = inside(&first);
    world.on_host(|| bridge.remove("first").unwrap());
    assert!(!first.netns.exists());
    // Make the address come again at once.
    let path = world.folder.path().join("network/state.json");
    let text = fs_err::read_to_string(&path).unwrap().replace("\"next\":3", "\"next\":2");
    fs_err::write(&path, text).unwrap();
    let second = world.on_host(|| bridge.create("second").unwrap());
    assert_eq!(second.address, first.address);
    assert!(reaches(&world.host, &inside(&second), second.address).is_some());
    let mut old = held.run(|| RouteSocket::open().unwrap()).unwrap();
    assert_eq!(old.link("eth0").unwrap(), None);
}

#[test]
fn a_bridge_that_somebody_removed_comes_back_with_its_sandboxes() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("web").unwrap());
    world.on_host(|| RouteSocket::open().unwrap().delete_link(bridge.device()).unwrap());
    assert!(is_cut_off(&world.host, &inside(&sandbox), sandbox.address));
    let again = world.bridge();
    assert_eq!(again.subnet(), bridge.subnet());
    assert!(reaches(&world.host, &inside(&sandbox), sandbox.address).is_some());
}

#[test]
fn destroying_leaves_the_host_as_it_was() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let before = names_of_links(&world);
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("web").unwrap());
    assert_eq!(world.on_host_is("ipv4/ip_forward"), "1");
    world.on_host(|| bridge.destroy().unwrap());
    assert_eq!(world.on_host_is("ipv4/ip_forward"), "0");
    let mut firewall = world.on_host(|| NftSocket::open().unwrap());
    assert_eq!(firewall.chains().unwrap(), []);
    assert!(!sandbox.netns.exists());
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.folder.path().to_str().unwrap()));
    while names_of_links(&world) != before {
        std::thread::yield_now(); // the kernel takes ports away in its own time
    }
}

#[test]
fn forwarding_that_was_on_stays_on() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    world.set_on_host("ipv4/ip_forward", "1");
    world.on_host(|| Bridge::open(world.config()).unwrap().destroy().unwrap());
    assert_eq!(world.on_host_is("ipv4/ip_forward"), "1");
    // Nor is it taken from another bridge that came after ours.
    world.set_on_host("ipv4/ip_forward", "0");
    let bridge = world.bridge();
    let mut socket = world.on_host(|| RouteSocket::open().unwrap());
    socket.create_bridge("docker0", [2, 0, 0, 0, 0, 9], 1500).unwrap();
    world.on_host(|| bridge.destroy().unwrap());
    assert_eq!(world.on_host_is("ipv4/ip_forward"), "1");
}

#[test]
fn two_roots_on_one_host_are_two_networks() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let first = world.bridge();
    let other_folder = crate::world::StateFolder::new();
    let config = BridgeConfig { root_id: "0badcafe".into(), state_root: other_folder.path().to_owned() };
    let second = world.on_host(|| Bridge::open(config).unwrap());
    assert_ne!(first.subnet(), second.subnet());
    let mine = world.on_host(|| first.create("same").unwrap());
    let other = world.on_host(|| second.create("same").unwrap());
    assert!(is_cut_off(&inside(&mine), &inside(&other), other.address), "roots are apart");
    world.on_host(|| second.destroy().unwrap());
    assert!(world.gets_out(&mine), "the other one still forwards");
}

#[test]
fn a_root_id_that_would_not_fit_into_a_name_is_refused() {
    for bad in ["", "123456789", "notahexa", "../../aa"] {
        let config = BridgeConfig { root_id: bad.into(), state_root: "/nonexistent".into() };
        assert!(matches!(Bridge::open(config), Err(NetworkError::InvalidId { .. })), "case {bad}");
    }
}

#[test]
fn inside_there_are_loopback_addresses_a_default_route_and_the_wires_size() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("web").unwrap());
    let namespace = inside(&sandbox);
    let mut socket = namespace.run(|| RouteSocket::open().unwrap()).unwrap();
    let device = socket.link("eth0").unwrap().unwrap();
    assert!(device.up && device.mtu == 1450, "{device:?}");
    let addresses: Vec<String> =
        socket.addresses().unwrap().into_iter().map(|found| found.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1".to_owned(), sandbox.address.to_string(), "::1".into()]);
    let read = |name: &str| fs_err::read_to_string(format!("/proc/sys/net/{name}")).unwrap();
    let settings =
        namespace.run(|| [read("ipv6/conf/eth0/accept_ra"), read("ipv6/conf/eth0/disable_ipv6")]).unwrap();
    assert_eq!(settings, ["0\n", "1\n"]);
}

#[test]
fn a_bridge_is_found_with_its_sandboxes_and_nothing_is_made_for_it() {
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let before = names_of_links(&world);
    assert!(world.on_host(|| Bridge::find(world.config()).unwrap()).is_none());
    assert_eq!(names_of_links(&world), before);
    assert_eq!(fs_err::read_dir(world.folder.path()).unwrap().count(), 0);
    let bridge = world.bridge();
    let sandbox = world.on_host(|| bridge.create("web").unwrap());
    let found = Bridge::find(world.config()).unwrap().unwrap();
    assert_eq!((found.subnet(), found.list().unwrap()), (bridge.subnet(), vec![sandbox]));
    found.remove("web").unwrap();
    assert_eq!(bridge.list().unwrap(), []);
}

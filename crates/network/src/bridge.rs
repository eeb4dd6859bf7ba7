//! Sandboxes on a bridge of the host.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use shipway_linux::nft::NftSocket;
use shipway_linux::{Link, NetworkNamespace, RouteSocket, Veth, forget_private_mounts, keep_mounts_private};

use crate::error::NetworkError;
use crate::firewalls::{Blocker, Opening};
use crate::host;
use crate::rules::Subject;
use crate::sandbox::{Sandbox, SandboxNetwork};
use crate::state::{Locked, State};
use crate::subnet::{self, PREFIX, Subnet};

/// What a bridge belongs to.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Up to 8 hexadecimal digits that name the root; part of the name of every device and rule.
    pub root_id: String,
    /// Folder for what must not outlive a restart of the machine.
    pub state_root: PathBuf,
}

/// A bridge with sandboxes on it.
#[derive(Debug)]
pub struct Bridge {
    directory: PathBuf,
    names: Names,
    subnet: Subnet,
}

#[derive(Debug)]
struct Names {
    bridge: String,
    table: String,
    ports: String,
}

const INSIDE: &str = "eth0";
const LOOPBACK: &str = "lo";
const LARGEST_PACKET: u32 = 1500;
const SMALLEST_PACKET: u32 = 1280;

/// In a sandbox, before its device arrives: IPv6 stays on for the loopback device alone.
const SETTINGS: [(&str, &str); 3] = [
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv6/conf/lo/disable_ipv6", "0"),
];

impl Bridge {
    /// Makes the bridge, or finds it, and puts everything around it in order: range, forwarding, rules, other firewalls.
    ///
    /// Addresses of sandboxes that are gone become free. Any number of processes may have the same bridge open.
    pub fn open(config: BridgeConfig) -> Result<Self, NetworkError> {
        let BridgeConfig { root_id, state_root } = config;
        let names = Names::new(&root_id)?;
        let directory = state_root.join("network");
        let locked = Locked::new(&directory)?;
        let mut socket = route_socket()?;
        let existing = socket.link(&names.bridge).map_err(NetworkError::kernel)?;
        let loaded = locked.load()?;
        let new = loaded.is_none();
        let seed = u32::from_str_radix(&root_id, 16).unwrap_or_default();
        let mut state = match (loaded, &existing) {
            (Some(state), _) => state,
            // The file was removed under a bridge that is in use: its range is what it has.
            (None, Some(bridge)) => match address_of(&mut socket, bridge)? {
                Some(address) => State::new(Subnet::around(address)),
                None => State::new(free_subnet(&mut socket, seed)?),
            },
            (None, None) => State::new(free_subnet(&mut socket, seed)?),
        };
        if existing.is_none() && !new && state.sandboxes.is_empty() {
            // Nobody holds on to the old range, and the host may have come to use it.
            state.subnet = free_subnet(&mut socket, seed)?;
        }
        let bridge = Self { directory, names, subnet: state.subnet };
        let mut changed = new || existing.is_none();
        let device = bridge.ensure_device(&mut socket, existing)?;
        changed |= bridge.reclaim(&mut socket, &mut state, device)?;
        changed |= bridge.ensure_forwarding(&mut state)?;
        if changed {
            locked.save(&state)?;
        }
        bridge.apply_rules()?;
        Ok(bridge)
    }

    /// Finds the bridge of a state folder as it was left, to look at its sandboxes and take them away; `None` if there is
    /// none. Asks the kernel nothing and changes nothing.
    pub fn find(config: BridgeConfig) -> Result<Option<Self>, NetworkError> {
        let names = Names::new(&config.root_id)?;
        let directory = config.state_root.join("network");
        if !State::is_in(&directory) {
            return Ok(None);
        }
        let state = Locked::new(&directory)?.load()?;
        Ok(state.map(|state| Self { directory, names, subnet: state.subnet }))
    }

    /// Returns the range of the network.
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Returns the name of the host's device.
    pub fn device(&self) -> &str {
        &self.names.bridge
    }

    /// Puts firewall rules back that somebody removed; cheap if they are there.
    pub fn ensure_rules(&self) -> Result<(), NetworkError> {
        let _locked = Locked::new(&self.directory)?;
        self.apply_rules()
    }

    fn apply_rules(&self) -> Result<(), NetworkError> {
        let mut socket = nft_socket()?;
        self.subject().ensure(&mut socket).map_err(NetworkError::kernel)?;
        for blocker in self.opening().ensure(&mut socket).map_err(NetworkError::kernel)? {
            tracing::warn!(hint = blocker.hint, "{blocker}");
        }
        Ok(())
    }

    /// Returns what keeps sandboxes from reaching other networks, for people to read.
    pub fn blockers(&self) -> Result<Vec<Blocker>, NetworkError> {
        let mut found = self.opening().missing(&mut nft_socket()?).map_err(NetworkError::kernel)?;
        if host::setting(host::FORWARDING)? == "0" {
            found.push(Blocker {
                what: "the host does not forward packets".into(),
                hint: "run `sysctl -w net.ipv4.ip_forward=1`".into(),
            });
        }
        Ok(found)
    }

    /// Removes everything: sandboxes, bridge, rules, and puts the host's forwarding back to what it was.
    ///
    /// Forwarding stays on where another bridge may have come to need it.
    pub fn destroy(self) -> Result<(), NetworkError> {
        let locked = Locked::new(&self.directory)?;
        let state = locked.load()?;
        self.take_down(locked, state)
    }

    /// Does as [`Bridge::destroy`] if there is no sandbox, and none can be made meanwhile; returns whether it did.
    pub fn destroy_if_empty(self) -> Result<bool, NetworkError> {
        let locked = Locked::new(&self.directory)?;
        let state = locked.load()?;
        if state.as_ref().is_some_and(|state| !state.sandboxes.is_empty()) {
            return Ok(false);
        }
        self.take_down(locked, state).map(|()| true)
    }

    fn take_down(self, locked: Locked, state: Option<State>) -> Result<(), NetworkError> {
        let namespaces = self.namespaces();
        for id in state.iter().flat_map(|state| state.sandboxes.keys()) {
            self.delete_namespace(id)?;
        }
        forget_private_mounts(&namespaces).map_err(NetworkError::io("unmount", &namespaces))?;
        let mut socket = route_socket()?;
        match socket.delete_link(&self.names.bridge) {
            Err(error) if !error.is_missing() => return Err(NetworkError::kernel(error)),
            _ => {}
        }
        let mut firewall = nft_socket()?;
        self.opening().withdraw(&mut firewall).map_err(NetworkError::kernel)?;
        self.subject().remove(&mut firewall).map_err(NetworkError::kernel)?;
        if let Some(before) = state.and_then(|state| state.forwarding_before) {
            let links = socket.links().map_err(NetworkError::kernel)?;
            if !links.iter().any(|link| link.kind == "bridge") {
                host::set(host::FORWARDING, &before)?;
            }
        }
        locked.forget()
    }

    /// Returns the number of the bridge.
    fn ensure_device(&self, socket: &mut RouteSocket, existing: Option<Link>) -> Result<u32, NetworkError> {
        let name = &self.names.bridge;
        let bridge = if let Some(bridge) = existing {
            bridge
        } else {
            let mtu = mtu(socket)?;
            let made = socket.create_bridge(name, mac(self.subnet.gateway()), mtu);
            made.map_err(NetworkError::kernel)?;
            for (setting, value) in [("accept_ra", "0"), ("disable_ipv6", "1")] {
                host::set(&format!("ipv6/conf/{name}/{setting}"), value)?;
            }
            find(socket, name)?
        };
        if !bridge.up {
            socket.set_up(bridge.index).map_err(NetworkError::kernel)?;
        }
        match socket.add_address(bridge.index, self.subnet.gateway(), PREFIX) {
            Err(error) if !error.exists_already() => Err(NetworkError::kernel(error)),
            _ => Ok(bridge.index),
        }
    }

    /// Forgets sandboxes whose namespace is gone, and namespaces that belong to none; connects the others where they have
    /// come off. Returns whether the state has changed.
    fn reclaim(
        &self,
        socket: &mut RouteSocket,
        state: &mut State,
        bridge: u32,
    ) -> Result<bool, NetworkError> {
        let directory = self.namespaces();
        fs_err::create_dir_all(&directory).map_err(NetworkError::io("create", &directory))?;
        keep_mounts_private(&directory).map_err(NetworkError::io("mount", &directory))?;
        let links = socket.links().map_err(NetworkError::kernel)?;
        for loose in
            links.iter().filter(|link| link.name.starts_with(&self.names.ports) && link.master.is_none())
        {
            socket.set_master(loose.index, bridge).map_err(NetworkError::kernel)?;
        }
        let alive: HashSet<String> = links.into_iter().map(|link| link.name).collect();
        let before = state.sandboxes.len();
        let mut gone = Vec::new();
        // A pair of devices ends with the namespace of either end, so a missing port tells that the sandbox is gone.
        state.sandboxes.retain(|id, address| {
            let kept = alive.contains(&self.port(*address));
            if !kept {
                gone.push(id.clone());
            }
            kept
        });
        let entries = fs_err::read_dir(&directory).map_err(NetworkError::io("list", &directory))?;
        for entry in entries {
            let entry = entry.map_err(NetworkError::io("list", &directory))?;
            let id = entry.file_name().to_string_lossy().into_owned();
            if !state.sandboxes.contains_key(&id) {
                gone.push(id);
            }
        }
        for id in gone {
            self.delete_namespace(&id)?;
        }
        Ok(state.sandboxes.len() != before)
    }

    /// Returns whether the state has changed.
    fn ensure_forwarding(&self, state: &mut State) -> Result<bool, NetworkError> {
        let before = host::setting(host::FORWARDING)?;
        if before != "0" {
            return Ok(false);
        }
        if let Err(error) = host::set(host::FORWARDING, "1") {
            // Containers still reach each other and this host; `blockers` says what is missing.
            tracing::warn!(%error, "containers will not reach other networks");
            return Ok(false);
        }
        let first = state.forwarding_before.is_none();
        state.forwarding_before.get_or_insert(before);
        Ok(first)
    }

    fn subject(&self) -> Subject<'_> {
        Subject { table: &self.names.table, bridge: &self.names.bridge, subnet: self.subnet }
    }

    fn opening(&self) -> Opening<'_> {
        Opening { bridge: &self.names.bridge, tag: &self.names.table }
    }

    fn namespaces(&self) -> PathBuf {
        self.directory.join("netns")
    }

    /// Returns the name of the host's end of a sandbox; it follows from the address, so it can be found without a list.
    fn port(&self, address: Ipv4Addr) -> String {
        format!("{}{:04x}", self.names.ports, subnet::number(address))
    }

    fn sandbox(&self, id: &str, address: Ipv4Addr) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            netns: self.namespaces().join(id),
            address,
            prefix: PREFIX,
            gateway: self.subnet.gateway(),
            mac: mac(address),
        }
    }

    fn delete_namespace(&self, id: &str) -> Result<(), NetworkError> {
        let path = self.namespaces().join(id);
        NetworkNamespace::delete(&path).map_err(NetworkError::io("remove network namespace", path))
    }

    /// Makes namespace and devices of a sandbox.
    fn build(&self, sandbox: &Sandbox) -> Result<(), NetworkError> {
        let failed = |operation| NetworkError::io(operation, &sandbox.netns);
        let namespace =
            NetworkNamespace::create(&sandbox.netns).map_err(failed("create network namespace"))?;
        let inside = namespace.run(|| {
            for (setting, value) in SETTINGS {
                host::set(setting, value)?;
            }
            route_socket()
        });
        let mut inside = inside.map_err(failed("enter network namespace"))??;
        let mut outside = route_socket()?;
        let port = self.port(sandbox.address);
        let veth = Veth {
            name: &port,
            bridge: Some(find(&mut outside, &self.names.bridge)?.index),
            peer_name: INSIDE,
            peer_mac: sandbox.mac,
            peer_namespace: namespace.as_fd(),
            mtu: mtu(&mut outside)?,
        };
        match outside.create_veth(&veth) {
            // Left by a sandbox that was removed while a process was still in it.
            Err(error) if error.exists_already() => {
                match outside.delete_link(&port) {
                    Err(error) if !error.is_missing() => return Err(NetworkError::kernel(error)),
                    _ => {}
                }
                outside.create_veth(&veth).map_err(NetworkError::kernel)?;
            }
            other => other.map_err(NetworkError::kernel)?,
        }
        let loopback = find(&mut inside, LOOPBACK)?.index;
        let device = find(&mut inside, INSIDE)?.index;
        inside.set_up(loopback).map_err(NetworkError::kernel)?;
        inside.add_address(device, sandbox.address, sandbox.prefix).map_err(NetworkError::kernel)?;
        inside.set_up(device).map_err(NetworkError::kernel)?;
        inside.add_default_route(device, sandbox.gateway).map_err(NetworkError::kernel)
    }
}

impl SandboxNetwork for Bridge {
    fn create(&self, id: &str) -> Result<Sandbox, NetworkError> {
        check(id)?;
        let locked = Locked::new(&self.directory)?;
        let mut state = locked.load()?.unwrap_or_else(|| State::new(self.subnet));
        if let Some(address) = state.sandboxes.get(id).copied() {
            let sandbox = self.sandbox(id, address);
            let port = route_socket()?.link(&self.port(address)).map_err(NetworkError::kernel)?;
            if port.is_some() {
                return Ok(sandbox);
            }
            self.delete_namespace(id)?;
        }
        let address = state.assign(id)?;
        let sandbox = self.sandbox(id, address);
        let made = self.build(&sandbox).and_then(|()| locked.save(&state));
        if let Err(error) = made {
            self.delete_namespace(id)?;
            return Err(error);
        }
        Ok(sandbox)
    }

    fn remove(&self, id: &str) -> Result<(), NetworkError> {
        check(id)?;
        let locked = Locked::new(&self.directory)?;
        let Some(mut state) = locked.load()? else { return Ok(()) };
        if state.sandboxes.remove(id).is_some() {
            // The kernel takes the devices away in its own time, with all others that are due.
            self.delete_namespace(id)?;
            locked.save(&state)?;
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<Sandbox>, NetworkError> {
        let state = Locked::new(&self.directory)?.load()?;
        let sandboxes = state.map(|state| state.sandboxes).unwrap_or_default();
        Ok(sandboxes.into_iter().map(|(id, address)| self.sandbox(&id, address)).collect())
    }
}

impl Names {
    /// The longest is `sw`, 8 digits, 4 digits: one less than the kernel allows.
    fn new(root_id: &str) -> Result<Self, NetworkError> {
        let good = (1..=8).contains(&root_id.len()) && root_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !good {
            return Err(NetworkError::InvalidId { id: root_id.to_owned() });
        }
        Ok(Self {
            bridge: format!("sw-{root_id}"),
            table: format!("shipway-{root_id}"),
            ports: format!("sw{root_id}"),
        })
    }
}

fn check(id: &str) -> Result<(), NetworkError> {
    let good = (1..=128).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good { Ok(()) } else { Err(NetworkError::InvalidId { id: id.to_owned() }) }
}

/// Returns a hardware address that follows from an IP address: neighbours need not learn a new one when it comes again.
fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    // The second bit says that nobody bought it.
    [0x02, 0x53, a, b, c, d]
}

fn route_socket() -> Result<RouteSocket, NetworkError> {
    RouteSocket::open().map_err(NetworkError::io("open a netlink socket in", "/proc/thread-self/ns/net"))
}

fn nft_socket() -> Result<NftSocket, NetworkError> {
    NftSocket::open().map_err(NetworkError::io("open a netlink socket in", "/proc/thread-self/ns/net"))
}

fn find(socket: &mut RouteSocket, name: &str) -> Result<Link, NetworkError> {
    let found = socket.link(name).map_err(NetworkError::kernel)?;
    found.ok_or_else(|| NetworkError::io("find device", name)(std::io::ErrorKind::NotFound.into()))
}

fn address_of(socket: &mut RouteSocket, link: &Link) -> Result<Option<Ipv4Addr>, NetworkError> {
    let addresses = socket.addresses().map_err(NetworkError::kernel)?;
    Ok(addresses.into_iter().find_map(|found| match found.address {
        IpAddr::V4(address) if found.interface == link.index && found.prefix == PREFIX => Some(address),
        _ => None,
    }))
}

fn free_subnet(socket: &mut RouteSocket, seed: u32) -> Result<Subnet, NetworkError> {
    let addresses = socket.addresses().map_err(NetworkError::kernel)?;
    let routes = socket.routes().map_err(NetworkError::kernel)?;
    let used = addresses
        .into_iter()
        .map(|address| (address.address, address.prefix))
        .chain(routes.into_iter().map(|route| (route.destination, route.prefix)));
    let mut used: Vec<(Ipv4Addr, u8)> = used
        .filter_map(|(address, prefix)| match address {
            IpAddr::V4(address) => Some((address, prefix)),
            IpAddr::V6(_) => None,
        })
        .collect();
    // Name servers are reached by the default route, so no route of their own gives them away.
    let names = crate::resolv_conf().text;
    let servers = names.lines().filter_map(|line| line.strip_prefix("nameserver ")?.parse().ok());
    used.extend(servers.map(|server| (server, 32)));
    subnet::choose(&used, seed).ok_or(NetworkError::NoSubnet)
}

/// Returns the largest packet that the host's way out takes.
fn mtu(socket: &mut RouteSocket) -> Result<u32, NetworkError> {
    let routes = socket.routes().map_err(NetworkError::kernel)?;
    let out = routes.iter().filter(|route| route.prefix == 0 && route.destination.is_ipv4());
    let out: Vec<u32> = out.filter_map(|route| route.interface).collect();
    let links = socket.links().map_err(NetworkError::kernel)?;
    let smallest = links.iter().filter(|link| out.contains(&link.index)).map(|link| link.mtu).min();
    Ok(smallest.unwrap_or(LARGEST_PACKET).clamp(SMALLEST_PACKET, LARGEST_PACKET))
}

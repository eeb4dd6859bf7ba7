//! Links, addresses and routes (rtnetlink).

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use super::{
    ACKNOWLEDGE, CREATE, DUMP, EXCLUSIVE, Message, NetlinkError, REQUEST, Reply, Socket, attributes,
};

// Spec: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, veth.h.
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const LINK_NETNS: u16 = 28;
const LINK_MASK: u16 = 29;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const SKIP_STATISTICS: u32 = 1 << 3;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_BROADCAST: u16 = 4;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const FLAG_UP: u32 = 1;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_BOOT: u8 = 3;
const ROUTE_UNICAST: u8 = 1;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `bridge`, `veth`, …; empty for real hardware.
    pub kind: String,
    /// Number of the bridge that it is a port of.
    pub master: Option<u32>,
    /// Largest packet.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
}

/// An address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Number of the device.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
}

/// A route of any table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: IpAddr,
    /// Bits of the destination; zero for a default route.
    pub prefix: u8,
    /// Number of the device.
    pub interface: Option<u32>,
}

/// A pair of devices: what enters one comes out of the other.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// Name of the end in this namespace, which is switched on at once.
    pub name: &'a str,
    /// Number of the bridge that this end becomes a port of, if any.
    pub bridge: Option<u32>,
    /// Name of the other end.
    pub peer_name: &'a str,
    /// Hardware address of the other end.
    pub peer_mac: [u8; 6],
    /// Namespace of the other end.
    pub peer_namespace: BorrowedFd<'a>,
    /// Largest packet, for both.
    pub mtu: u32,
}

/// A socket for links, addresses and routes of one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
}

impl RouteSocket {
    /// Opens a socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(None)? })
    }

    /// Makes a bridge and switches it on.
    pub fn create_bridge(&mut self, name: &str, mac: [u8; 6], mtu: u32) -> Result<(), NetlinkError> {
        let mut message = link_message(NEW_LINK, REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE, 0, true);
        message.text(LINK_NAME, name).attribute(LINK_ADDRESS, &mac).number(LINK_MTU, mtu);
        message.nested(LINK_INFO, |info| {
            info.text(INFO_KIND, "bridge");
        });
        self.send(&format!("create bridge {name}"), message)
    }

    /// Makes a pair of devices, one end of it a port of a bridge and switched on, the other in another namespace.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<(), NetlinkError> {
        let mut message = link_message(NEW_LINK, REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE, 0, true);
        message.text(LINK_NAME, veth.name).number(LINK_MTU, veth.mtu);
        if let Some(bridge) = veth.bridge {
            message.number(LINK_MASTER, bridge);
        }
        message.nested(LINK_INFO, |info| {
            info.text(INFO_KIND, "veth").nested(INFO_DATA, |data| {
                data.nested(VETH_PEER, |peer| {
                    // Switched on later: the kernel refuses to do it before the other end is complete.
                    peer.raw(&link_header(0, false));
                    let namespace = veth.peer_namespace.as_fd().as_raw_fd().cast_unsigned();
                    peer.text(LINK_NAME, veth.peer_name)
                        .attribute(LINK_ADDRESS, &veth.peer_mac)
                        .number(LINK_MTU, veth.mtu)
                        .number(LINK_NETNS, namespace);
                });
            });
        });
        self.send(&format!("create device {}", veth.name), message)
    }

    /// Removes a device. That of a pair takes its other end with it.
    pub fn delete_link(&mut self, name: &str) -> Result<(), NetlinkError> {
        let mut message = link_message(DELETE_LINK, REQUEST | ACKNOWLEDGE, 0, false);
        message.text(LINK_NAME, name);
        self.send(&format!("remove device {name}"), message)
    }

    /// Switches a device on.
    pub fn set_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        let message = link_message(NEW_LINK, REQUEST | ACKNOWLEDGE, index, true);
        self.send(&format!("switch on device {index}"), message)
    }

    /// Makes a device a port of a bridge.
    pub fn set_master(&mut self, index: u32, bridge: u32) -> Result<(), NetlinkError> {
        let mut message = link_message(NEW_LINK, REQUEST | ACKNOWLEDGE, index, false);
        message.number(LINK_MASTER, bridge);
        self.send(&format!("make device {index} a port of {bridge}"), message)
    }

    /// Returns a device by its name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut message = link_message(GET_LINK, REQUEST | ACKNOWLEDGE, 0, false);
        message.number(LINK_MASK, SKIP_STATISTICS).text(LINK_NAME, name);
        match self.socket.exchange(&format!("find device {name}"), &[message]) {
            Ok(replies) => Ok(replies.iter().find_map(read_link)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns all devices.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let mut message = link_message(GET_LINK, REQUEST | DUMP, 0, false);
        message.number(LINK_MASK, SKIP_STATISTICS);
        let replies = self.socket.exchange("list devices", &[message])?;
        Ok(replies.iter().filter_map(read_link).collect())
    }

    /// Gives a device an address.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), NetlinkError> {
        let mut header = vec![FAMILY_V4, prefix, 0, 0];
        header.extend(index.to_ne_bytes());
        let mut message = Message::new(NEW_ADDRESS, REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE, &header);
        let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(address) | host_bits);
        message
            .attribute(ADDRESS_LOCAL, &address.octets())
            .attribute(ADDRESS_ADDRESS, &address.octets())
            .attribute(ADDRESS_BROADCAST, &broadcast.octets());
        self.send(&format!("add address {address}/{prefix}"), message)
    }

    /// Sends everything that no other route takes to a gateway.
    pub fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> Result<(), NetlinkError> {
        let header = [FAMILY_V4, 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, 0, ROUTE_UNICAST, 0, 0, 0, 0];
        let mut message = Message::new(NEW_ROUTE, REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE, &header);
        message.attribute(ROUTE_GATEWAY, &gateway.octets()).number(ROUTE_INTERFACE, index);
        self.send(&format!("add default route to {gateway}"), message)
    }

    /// Returns the addresses of all devices.
    pub fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, NetlinkError> {
        let message = Message::new(GET_ADDRESS, REQUEST | DUMP, &[0; 8]);
        let replies = self.socket.exchange("list addresses", &[message])?;
        Ok(replies.iter().filter_map(read_address).collect())
    }

    /// Returns the routes of all tables and both families.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        let message = Message::new(GET_ROUTE, REQUEST | DUMP, &[0; 12]);
        let replies = self.socket.exchange("list routes", &[message])?;
        Ok(replies.iter().filter_map(read_route).collect())
    }

    fn send(&mut self, operation: &str, message: Message) -> Result<(), NetlinkError> {
        self.socket.exchange(operation, &[message]).map(drop)
    }
}

fn link_header(index: u32, up: bool) -> [u8; 16] {
    let flags = if up { FLAG_UP } else { 0 }.to_ne_bytes();
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags);
    // Which of the flags are meant.
    header[12..16].copy_from_slice(&flags);
    header
}

fn link_message(kind: u16, flags: u16, index: u32, up: bool) -> Message {
    Message::new(kind, flags, &link_header(index, up))
}

fn read_link(reply: &Reply) -> Option<Link> {
    let (header, rest) = (reply.payload.get(..16)?, reply.payload.get(16..)?);
    if reply.kind != NEW_LINK {
        return None;
    }
    let mut link = Link {
        index: number(header.get(4..)?)?,
        name: String::new(),
        kind: String::new(),
        master: None,
        mtu: 0,
        up: number(header.get(8..)?)? & FLAG_UP != 0,
    };
    for (kind, value) in attributes(rest) {
        match kind {
            LINK_NAME => link.name = text(value),
            LINK_MASTER => link.master = number(value),
            LINK_MTU => link.mtu = number(value)?,
            LINK_INFO => {
                let found = attributes(value).find(|(kind, _)| *kind == INFO_KIND);
                link.kind = found.map_or_else(String::new, |(_, value)| text(value));
            }
            _ => {}
        }
    }
    Some(link)
}

fn read_address(reply: &Reply) -> Option<InterfaceAddress> {
    let (header, rest) = (reply.payload.get(..8)?, reply.payload.get(8..)?);
    if reply.kind != NEW_ADDRESS {
        return None;
    }
    // Of a point-to-point link ADDRESS is the other end, LOCAL our own.
    let own = attributes(rest).find(|(kind, _)| *kind == ADDRESS_LOCAL);
    let (_, value) = own.or_else(|| attributes(rest).find(|(kind, _)| *kind == ADDRESS_ADDRESS))?;
    Some(InterfaceAddress {
        interface: number(header.get(4..)?)?,
        address: address(value)?,
        prefix: header[1],
    })
}

fn read_route(reply: &Reply) -> Option<Route> {
    let (header, rest) = (reply.payload.get(..12)?, reply.payload.get(12..)?);
    if reply.kind != NEW_ROUTE {
        return None;
    }
    let mut route = Route {
        destination: match header[0] {
            FAMILY_V4 => Ipv4Addr::UNSPECIFIED.into(),
            FAMILY_V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        },
        prefix: header[1],
        interface: None,
    };
    for (kind, value) in attributes(rest) {
        match kind {
            ROUTE_DESTINATION => route.destination = address(value)?,
            ROUTE_INTERFACE => route.interface = number(value),
            _ => {}
        }
    }
    Some(route)
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetworkNamespace;
    use shipway_testkit::{Need, require};

    const MAC: [u8; 6] = [2, 0, 10, 210, 0, 2];

    #[test]
    fn a_bridge_a_pair_an_address_and_a_route_are_made_and_found() {
        if !require(&[Need::Root]) {
            return;
        }
        let (host, inside) = (NetworkNamespace::new().unwrap(), NetworkNamespace::new().unwrap());
        let mut outer = host.run(RouteSocket::open).unwrap().unwrap();
        let mut inner = inside.run(RouteSocket::open).unwrap().unwrap();
        assert_eq!(outer.link("br").unwrap(), None);
        outer.create_bridge("br", [2, 0, 10, 210, 0, 1], 1400).unwrap();
        assert!(outer.create_bridge("br", MAC, 1400).unwrap_err().exists_already());
        let bridge = outer.link("br").unwrap().unwrap();
        assert!(bridge.up && bridge.kind == "bridge" && bridge.mtu == 1400, "{bridge:?}");
        let gateway = Ipv4Addr::new(10, 210, 0, 1);
        outer.add_address(bridge.index, gateway, 16).unwrap();

        let veth = Veth {
            name: "port",
            bridge: Some(bridge.index),
            peer_name: "eth0",
            peer_mac: MAC,
            peer_namespace: inside.as_fd(),
            mtu: 1400,
        };
        outer.create_veth(&veth).unwrap();
        let port = outer.link("port").unwrap().unwrap();
        assert!(port.up && port.master == Some(bridge.index) && port.kind == "veth", "{port:?}");
        let eth = inner.link("eth0").unwrap().unwrap();
        assert!(!eth.up);
        inner.add_address(eth.index, Ipv4Addr::new(10, 210, 0, 2), 16).unwrap();
        inner.set_up(eth.index).unwrap();
        inner.add_default_route(eth.index, gateway).unwrap();
        assert!(inner.routes().unwrap().iter().any(|route| route.prefix == 0 && route.destination.is_ipv4()));
        let addresses = outer.addresses().unwrap();
        assert!(addresses.iter().any(|found| found.address == gateway && found.prefix == 16));

        outer.delete_link("port").unwrap();
        assert!(outer.delete_link("port").unwrap_err().is_missing());
        assert_eq!(inner.link("eth0").unwrap(), None, "a pair goes as one");
    }

    #[test]
    fn an_error_has_the_operation_and_the_kernels_words() {
        if !require(&[Need::Root]) {
            return;
        }
        let host = NetworkNamespace::new().unwrap();
        let mut socket = host.run(RouteSocket::open).unwrap().unwrap();
        let error = socket.create_bridge("a-name-that-is-too-long", MAC, 1500).unwrap_err();
        assert!(
            error.to_string().starts_with("could not create bridge a-name-that-is-too-long ("),
            "{error}"
        );
    }

    #[test]
    fn hundreds_of_links_are_listed_whole() {
        if !require(&[Need::Root]) {
            return;
        }
        let host = NetworkNamespace::new().unwrap();
        let mut socket = host.run(RouteSocket::open).unwrap().unwrap();
        for number in 0..200 {
            socket.create_bridge(&format!("br{number}"), MAC, 1500).unwrap();
        }
        assert_eq!(socket.links().unwrap().iter().filter(|link| link.kind == "bridge").count(), 200);
    }
}

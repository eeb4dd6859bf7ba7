//! Containers on a network: addresses, names, published ports, and that nothing of it stays.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Stdio;

use crate::contexts::cat;
use crate::machine::{Machine, can_run};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server that answers every connection, by busybox.
const SERVER: &str = "while :; do echo served | nc -l -p 80; done";

fn until_served(machine: &Machine, ip: IpAddr, port: u16) {
    let served = || {
        machine.read_from(ip, port).is_ok_and(|text| {
            text == "served
"
        })
    };
    machine.until("the server answers", served);
}

#[test]
fn a_container_has_an_address_a_name_and_a_way_to_others() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.background(&["--name", "server"], SERVER);
    let settings = machine.inspect("server")["NetworkSettings"].clone();
    let address = settings["IPAddress"].as_str().unwrap();
    assert!(address.starts_with("10."), "{settings}");
    assert_eq!(settings["Networks"]["bridge"]["IPAddress"], address);
    let script = format!(
        "until nc {address} 80; do :; done; ip -4 addr show eth0 | grep -o 'inet [0-9.]*'; hostname; cat /etc/hosts"
    );
    let seen = machine.script(&["--hostname", "client"], &script);
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("served"));
    let own = lines.next().unwrap().strip_prefix("inet ").unwrap().to_owned();
    assert_ne!(own, address);
    assert_eq!(lines.next(), Some("client"));
    assert!(seen.contains(&format!("{own}\tclient\n")), "{seen}");
    machine.ok(&["rm", "-f", "server"]);
    machine.assert_nothing_is_left();
}

#[test]
fn a_step_that_may_change_its_network_has_one_of_its_own() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let (plain, insecure) = ("RUN", "RUN --security=insecure");
    let see = "readlink /proc/self/ns/net; ip -4 addr show lo | grep -c 10.99.99.99 || true";
    machine.dockerfile(&format!(
        "FROM box\n{plain} ({see}) > /1\n{insecure} ip addr add 10.99.99.99/32 dev lo && ({see}) > /2\n\
         {insecure} ({see}) > /3\n{plain} ({see}) > /4\n"
    ));
    let build = ["build", "--progress", "plain", "--allow", "security.insecure", "-t", "networks", "."];
    let (_, said) = machine.ok(&build);
    if said.contains("share this host's network") {
        return;
    }
    let (seen, _) = machine.ok(&["run", "--rm", "--network", "none", "networks", "cat /1 /2 /3 /4"]);
    let seen: Vec<&str> = seen.lines().collect();
    let [one, none, two, some, three, none_either, four, nor_here] = seen[..] else { panic!("{seen:?}") };
    assert!(one == four && two != one && three != one, "{seen:?}");
    assert_eq!([none, some, none_either, nor_here], ["0", "1", "0", "0"]);
    machine.assert_nothing_is_left();
}

#[test]
fn published_ports_lead_to_the_container_and_are_shown() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.background(&["--name", "server", "-p", "8080:80", "-p", "127.0.0.1:8081:80"], SERVER);
    until_served(&machine, LOCAL, 8080);
    until_served(&machine, LOCAL, 8081);
    until_served(&machine, Ipv6Addr::LOCALHOST.into(), 8080);
    let (listed, _) = machine.ok(&["ps"]);
    let ports = "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 127.0.0.1:8081->80/tcp";
    assert!(listed.contains("PORTS") && listed.contains(ports), "{listed}");
    let document = machine.inspect("server");
    assert_eq!(document["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080");
    assert_eq!(
        (&document["State"]["Running"], &document["State"]["Status"]),
        (&true.into(), &"running".into())
    );
    machine.ok(&["stop", "-t", "0", "server"]);
    assert!(machine.read_from(LOCAL, 8080).is_err(), "the port is free again");
    assert_eq!(machine.count("state/network/netns"), 0, "a stopped container has no network");
    let (listed, _) = machine.ok(&["ps", "-a"]);
    assert!(!listed.contains("8080"), "{listed}");
    machine.ok(&["rm", "server"]);
    machine.assert_nothing_is_left();
}

#[test]
fn a_free_port_is_chosen_where_none_is_named() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let (id, notes) = machine.ok(&["run", "-d", "-P", "box", SERVER]);
    assert!(notes.contains("53/udp is not published"), "{notes}");
    let ports = machine.inspect(id.trim())["NetworkSettings"]["Ports"].clone();
    let port: u16 = ports["80/tcp"][0]["HostPort"].as_str().unwrap().parse().unwrap();
    until_served(&machine, LOCAL, port);
    assert_eq!(ports["80/tcp"][1]["HostPort"], port.to_string(), "the same in both families");
    let other = machine.background(&["-p", "127.0.0.1::80"], SERVER);
    let found = machine.inspect(&other)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].clone();
    until_served(&machine, LOCAL, found.as_str().unwrap().parse().unwrap());
}

#[test]
fn a_port_in_use_or_of_another_protocol_is_refused_and_leaves_nothing_behind() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let server = machine.background(&["-p", "8080:80"], SERVER);
    let refused = machine.refused(&["run", "-d", "--name", "second", "-p", "8080:80", "box", "true"], 125);
    assert!(refused.contains("could not publish port `0.0.0.0:8080`: address already in use"), "{refused}");
    assert!(refused.contains("hint: stop what listens there, or publish another port: -p"), "{refused}");
    let refused = machine.refused(&["run", "-p", "53:53/udp", "box", "true"], 125);
    assert!(refused.contains("udp is not there yet"), "{refused}");
    assert!(machine.refused(&["run", "--network", "macvlan", "box", "true"], 125).contains("macvlan"));
    machine.ok(&["rm", "-f", &server]);
    machine.assert_nothing_is_left();
}

#[test]
fn names_and_servers_can_be_added_and_other_networks_chosen() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let flags = ["--add-host", "db:192.0.2.7", "--add-host", "up:host-gateway", "--dns", "192.0.2.53"];
    let seen = machine.script(&flags, "cat /etc/hosts /etc/resolv.conf; ip route | head -n 1");
    assert!(seen.contains("192.0.2.7\tdb\n") && seen.contains("nameserver 192.0.2.53\n"), "{seen}");
    let gateway = seen.lines().last().unwrap().split(' ').nth(2).unwrap().to_owned();
    assert!(seen.contains(&format!("{gateway}\tup\n")), "{seen}");
    // A step reaches this machine where a container does, and not at a loopback device of its own.
    machine.dockerfile("FROM box\nRUN cat /etc/hosts > /seen; ip route | head -n 1 >> /seen\n");
    let build = |more: &[&str]| {
        let build = ["build", "-t", "gated", "--add-host", "up:host-gateway"];
        machine.ok(&[&build[..], more, &["."]].concat());
        cat(&machine, "gated", "/seen")
    };
    let seen = build(&[]);
    let gateway = seen.lines().last().unwrap().split(' ').nth(2).unwrap();
    assert!(seen.contains(&format!("{gateway}\tup\n")), "{seen}");
    assert!(build(&["--network", "host"]).contains("127.0.0.1\tup\n"));
    assert_eq!(machine.script(&["--network", "none"], "ip link | grep -c mtu"), "1\n");
    let of_host = machine.script(&["--network", "host"], "ip -o link | cut -d: -f2");
    assert!(of_host.contains(&format!("sw-{}", machine.root_id())), "{of_host}");
    let (_, note) = machine.ok(&["run", "--rm", "--network", "host", "-p", "80:80", "box", "true"]);
    assert!(note.contains("published ports mean nothing"), "{note}");
    machine.assert_nothing_is_left();
}

#[test]
fn a_container_that_ends_by_itself_takes_its_network_along() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let kept = machine.background(&[], "true");
    let removed = machine.background(&["--rm", "--name", "gone"], "true");
    machine.until("the sandboxes are gone", || machine.count("state/network/netns") == 0);
    machine.until("one container is gone", || machine.ok(&["ps", "-aq", "--no-trunc"]).0.trim() == kept);
    assert!(machine.refused(&["logs", &removed], 1).contains("no such container"));
    machine.ok(&["rm", &kept]);
    machine.assert_nothing_is_left();
}

#[test]
fn what_a_killed_command_leaves_is_taken_away_by_the_next_one() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let script = "mkfifo /wait; echo started; read line < /wait";
    let mut run = machine.command(&["run", "--rm", "--name", "orphan", "box", script]);
    let mut run = machine.spawn(run.stdout(Stdio::piped()));
    let mut said = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "started\n");
    run.kill().unwrap();
    run.wait().unwrap();
    assert_ne!(machine.ok(&["ps", "-q"]).0, "", "it runs on");
    assert_eq!(machine.count("state/network/netns"), 1);
    machine.tell("orphan", "echo > /wait");
    machine.until("a later command cleans up", || {
        machine.ok(&["ps"]);
        machine.count("state/network/netns") == 0
    });
    machine.assert_nothing_is_left();
}

#[test]
fn a_step_ends_with_its_builder_and_its_sandbox_goes_with_the_next_build() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nRUN echo it runs; exec sleep 611\n");
    let mut build = machine.command(&["build", "--progress", "plain", "."]);
    let mut build = machine.spawn(build.stderr(Stdio::piped()));
    let lines = BufReader::new(build.stderr.take().unwrap()).lines();
    lines.map(Result::unwrap).find(|line| line.ends_with(" it runs")).unwrap();
    build.kill().unwrap();
    build.wait().unwrap();
    let group = format!("/shipway-{}/step-", machine.root_id());
    let is_of_the_step = |process: fs_err::DirEntry| {
        fs_err::read_to_string(process.path().join("cgroup")).is_ok_and(|groups| groups.contains(&group))
    };
    machine.until("the step has ended", || {
        !fs_err::read_dir("/proc").unwrap().any(|process| is_of_the_step(process.unwrap()))
    });
    // Nobody else is told of it: what is left of it goes when something is built again.
    assert_eq!(machine.count("state/network/netns"), 1);
    machine.dockerfile("FROM box\nCOPY passwd /passwd\n");
    machine.ok(&["build", "-q", "."]);
    for place in ["state/containers", "state/steps", "state/claims", "state/network/netns"] {
        assert_eq!(machine.count(place), 0, "{place}");
    }
    machine.ok(&["system", "prune", "-f"]);
    machine.assert_nothing_is_left();
}

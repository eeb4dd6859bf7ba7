//! The examples, as a newcomer runs them: from the distribution's archive and the language's index to a page.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use shipway_testkit::{Need, require};

use crate::machine::{Machine, can_run};
use crate::running::{Up, get};

/// Downloads from mirrors take their time.
const PATIENCE: Duration = Duration::from_secs(600);

struct Host {
    machine: Machine,
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.machine.shipway(&["cluster", "reset"]));
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn flask_and_express_become_pages() {
    if !can_run() || !require(&[Need::Registries]) {
        return;
    }
    let host = Host { machine: Machine::on_host() };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for (name, steps) in [("flask", 6), ("express", 6)] {
        let dir = examples.join(name).display().to_string();
        let port = free_port();
        let up = Up::start(&host.machine, &["up", &dir, "--port", &port.to_string()], PATIENCE);
        let page = get(&host.machine, SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        assert!(page.to_lowercase().contains(&format!("hello from {name}")), "{page}");
        drop(up.interrupt());
        let (_, again) = host.machine.ok(&["up", "-d", &dir]);
        assert!(again.contains(&format!("{steps} of {steps} steps from the cache")), "{again}");
        host.machine.ok(&["down", &dir]);
    }
    host.machine.ok(&["cluster", "reset"]);
    host.machine.assert_nothing_is_left();
}

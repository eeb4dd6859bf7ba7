//! How long things take. Figures are printed, not judged: the machine has other work to do.

use std::time::{Duration, Instant};

use shipway_network::{Bridge, SandboxNetwork as _};
use shipway_testkit::{Need, require};

use crate::world::World;

#[test]
fn making_finding_and_removing_sandboxes() {
    const ROUNDS: usize = 50;
    if !require(&[Need::Root]) {
        return;
    }
    let world = World::new();
    let start = Instant::now();
    let bridge = world.bridge();
    eprintln!("first open: {:?}", start.elapsed());
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let timed = |work: &dyn Fn(usize)| {
        let one = |round| {
            let start = Instant::now();
            work(round);
            start.elapsed()
        };
        median((0..ROUNDS).map(one).collect())
    };
    world
        .host
        .run(|| {
            eprintln!("create: {:?}", timed(&|round| drop(bridge.create(&format!("s{round}")).unwrap())));
            eprintln!(
                "create again: {:?}",
                timed(&|round| drop(bridge.create(&format!("s{round}")).unwrap()))
            );
            eprintln!("open, 50 sandboxes: {:?}", timed(&|_| drop(Bridge::open(world.config()).unwrap())));
            eprintln!("remove: {:?}", timed(&|round| bridge.remove(&format!("s{round}")).unwrap()));
        })
        .unwrap();
}

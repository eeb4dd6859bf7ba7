//! A registry whose disk loses its power while somebody pushes to it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use shipway_linux::cut_power;
use shipway_testkit::{Dice, rounds};

use super::power_cut::restart;
use super::{Place, can_have_disks};

#[test]
fn a_power_cut_takes_nothing_of_what_a_registry_has_acknowledged() {
    if !can_have_disks() {
        return;
    }
    let place = Place::new(None);
    let (elsewhere, context) = (place.file("elsewhere"), place.machine.context());
    let mut dice = Dice::new(0x5e12);
    let (mut whole, mut cut, rounds) = (Duration::MAX, 0, rounds(4));
    // The first one is not cut off: it says how long it takes.
    for round in 0..=rounds {
        let served = place.machine.serve(&["registry", "serve", "-q", "--listen", "127.0.0.1:0"]);
        let name = format!("{}/box:{round}", served.address());
        fs_err::write(context.join("passwd"), format!("{round}:x:0:0::/root:/bin/sh\n")).unwrap();
        place.machine.ok(&["build", "-q", "--network", "none", "--root", &elsewhere, "-t", &name, "."]);
        let mut command = place.machine.command(&["push", "-q", "--root", &elsewhere, &name]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = place.machine.spawn(&mut command);
        let begun = Instant::now();
        let time = whole.saturating_mul(u32::try_from(dice.roll(1200)).unwrap()) / 1000;
        let mut ended = None;
        while ended.is_none() && begun.elapsed() < time {
            ended = child.try_wait().unwrap();
            std::thread::yield_now();
        }
        if round == 0 {
            whole = begun.elapsed();
        }
        cut_power(&place.disk().path()).unwrap();
        // Who pushes would ask the registry again and again.
        child.kill().unwrap();
        child.wait().unwrap();
        drop(served);
        let case = format!("round {round}, after {time:?}, done: {}", ended.is_some());
        assert!(ended.is_none_or(|status| status.success()), "{case}: it failed by itself");
        cut += usize::from(ended.is_none());
        restart(&place);
        place.assert_whole(&case);
        if ended.is_some() {
            let served = place.machine.serve(&["registry", "serve", "-q", "--listen", "127.0.0.1:0"]);
            let (name, fresh) =
                (format!("{}/box:{round}", served.address()), place.file(&format!("fresh{round}")));
            place.machine.ok(&["pull", "-q", "--root", &fresh, &name]);
        }
    }
    assert!(cut > 0, "the power never went while somebody pushed");
}

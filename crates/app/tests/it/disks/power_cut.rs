//! A disk that loses its power while something works on it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use shipway_linux::cut_power;
use shipway_testkit::{Dice, rounds};

use super::{Place, Work, can_have_disks};

/// Does some work until the power goes, and returns whether it had said by then that it was done.
fn cut_after(place: &Place, work: &Work, time: Duration) -> bool {
    let mut command = place.machine.command(&work.args());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = place.machine.spawn(&mut command);
    let begun = Instant::now();
    let mut ended = None;
    while ended.is_none() && begun.elapsed() < time {
        ended = child.try_wait().unwrap();
        std::thread::yield_now();
    }
    cut_power(&place.disk().path()).unwrap();
    // Nothing happens to one that has ended.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ended.is_none_or(|status| status.success()), "{}: it failed by itself", work.verb);
    ended.is_some()
}

/// Gives the power back, as a machine that starts finds it.
pub(super) fn restart(place: &Place) {
    place.disk().restart();
    let tables = rusqlite::Connection::open(place.root().join("store.db")).unwrap();
    tables.execute("UPDATE layers SET boot = 'the one before'", []).unwrap();
    drop(tables);
    // What need not survive a reboot has not.
    drop(fs_err::remove_dir_all(place.machine.dir.path().join("state/steps")));
}

fn cut(place: &Place, work: &Work) {
    let begun = Instant::now();
    place.machine.ok(&work.args());
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    place.undo(work);
    let mut dice = Dice::new(0xcc17);
    let (mut cut, rounds) = (0, rounds(3));
    for round in 0..rounds {
        let time = Duration::from_micros(whole * dice.roll(1200) as u64 / 1000);
        let done = cut_after(place, work, time);
        cut += usize::from(!done);
        let case = format!("{}, round {round}, after {time:?}, done: {done}", work.verb);
        restart(place);
        place.assert_whole(&case);
        let name =
            if work.makes.contains(':') { work.makes.clone() } else { format!("{}:latest", work.makes) };
        let there = place.images().contains(&name);
        assert!(there || !done, "{case}: it was acknowledged and is lost");
        if there {
            place.assert_runs(&work.makes, &case);
            place.undo(work);
        }
        place.machine.ok(&work.args());
        place.assert_runs(&work.makes, &case);
        place.undo(work);
        place.assert_tidy(&case);
    }
    assert!(cut > 0, "{}: the power never went while it worked", work.verb);
    place.assert_runs("kept", work.verb);
}

#[test]
fn a_power_cut_at_any_moment_of_any_work_loses_nothing_that_was_acknowledged() {
    if !can_have_disks() {
        return;
    }
    let place = Place::new(None);
    for work in place.works() {
        cut(&place, &work);
    }
}

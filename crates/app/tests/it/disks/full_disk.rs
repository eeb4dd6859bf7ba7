//! A disk without bytes or without files left.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use shipway_linux::{free_bytes, free_files};
use shipway_testkit::{Dice, rounds};

use super::{Place, Work, can_have_disks, errors};

/// What a disk runs out of.
#[derive(Clone, Copy, Debug)]
enum Of {
    Bytes,
    Files,
}

impl Of {
    fn free(self, place: &Place) -> u64 {
        match self {
            Self::Bytes => free_bytes(&place.disk().path()),
            Self::Files => free_files(&place.disk().path()),
        }
        .unwrap()
    }

    fn filler(self, place: &Place) -> PathBuf {
        match self {
            Self::Bytes => place.disk().path().join("filler"),
            Self::Files => place.disk().path().join("fillers"),
        }
    }

    /// Leaves only so many.
    fn fill(self, place: &Place, left: u64) {
        let filler = self.filler(place);
        match self {
            Self::Bytes => {
                let mut file = File::create(filler).unwrap();
                while self.free(place) > left {
                    let piece = vec![b'x'; usize::try_from(self.free(place) - left).unwrap().min(1 << 20)];
                    if file.write_all(&piece).and_then(|()| file.sync_data()).is_err() {
                        break;
                    }
                }
            }
            Self::Files => {
                fs_err::create_dir(&filler).unwrap();
                let mut number = 0;
                while self.free(place) > left && File::create(filler.join(number.to_string())).is_ok() {
                    number += 1;
                }
            }
        }
    }

    fn empty(self, place: &Place) {
        match self {
            Self::Bytes => fs_err::remove_file(self.filler(place)).unwrap(),
            Self::Files => fs_err::remove_dir_all(self.filler(place)).unwrap(),
        }
    }
}

fn try_with_little(place: &Place, of: Of, work: &Work) {
    // The first time takes what stays, as the database's files do.
    place.machine.ok(&work.args());
    place.undo(work);
    let free = of.free(place);
    place.machine.ok(&work.args());
    let need = free.saturating_sub(of.free(place)).max(1);
    place.undo(work);
    let mut dice = Dice::new(0xf011);
    let (mut failed, rounds) = (0, rounds(3));
    for round in 0..rounds {
        let left = need * dice.roll(1000) as u64 / 1000;
        let case = format!("{}, round {round}, {left} of {need} {of:?}", work.verb);
        place.keep("spare");
        let before = place.images();
        of.fill(place, left);
        let output = place.machine.shipway(&work.args());
        let done = output.status.success();
        let text = errors(&output);
        if !done {
            failed += 1;
            assert_eq!(output.status.code(), Some(1), "{case}: {text}");
            assert!(text.to_lowercase().contains("no space left"), "{case}: {text}");
            assert!(text.contains("hint: ") && text.contains("` is full"), "{case}: {text}");
            assert_eq!(place.images(), before, "{case}: a name for something half done");
        }
        place.assert_whole(&case);
        // The last that is free goes too; what is in the way can still be removed.
        of.empty(place);
        of.fill(place, 0);
        place.machine.ok(&["rmi", "spare"]);
        place.machine.ok(&["system", "prune", "-f"]);
        assert!(of.free(place) > 0, "{case}: nothing became free");
        of.empty(place);
        if !done {
            place.machine.ok(&work.args());
        }
        place.assert_runs(&work.makes, &case);
        place.undo(work);
        place.assert_tidy(&case);
    }
    assert!(failed * 2 >= rounds, "{}: only {failed} of {rounds} had too little {of:?}", work.verb);
    place.assert_runs("kept", work.verb);
}

#[test]
fn a_disk_without_bytes_is_named_whatever_is_done_and_nothing_is_lost() {
    if !can_have_disks() {
        return;
    }
    let place = Place::new(None);
    for work in place.works() {
        try_with_little(&place, Of::Bytes, &work);
    }
}

#[test]
fn a_disk_without_files_is_named_whatever_is_done_and_nothing_is_lost() {
    if !can_have_disks() {
        return;
    }
    let place = Place::new(Some(4000));
    for work in place.works() {
        try_with_little(&place, Of::Files, &work);
    }
}

#[test]
fn what_was_kept_back_for_removals_is_there_again_for_the_next() {
    if !can_have_disks() {
        return;
    }
    let place = Place::new(None);
    let images = ["one", "two", "three", "four"];
    for image in images {
        place.keep(image);
    }
    for image in images {
        // Each time somebody else takes all that there is at once.
        Of::Bytes.fill(&place, 0);
        assert!(free_bytes(&place.disk().path()).unwrap() < 1 << 16, "{image}");
        place.machine.ok(&["rmi", image]);
        place.machine.ok(&["system", "prune", "-f"]);
        fs_err::rename(Of::Bytes.filler(&place), Of::Bytes.filler(&place).with_extension(image)).unwrap();
    }
    Of::Bytes.fill(&place, 0);
    place.machine.ok(&["system", "prune", "-af"]);
}

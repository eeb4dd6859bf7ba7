//! What `builder prune` removes. Nothing is removed here.

use super::filter::Filters;
use super::record::{Record, What};

/// What was asked for; sizes in bytes, 0 where none was.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// Also what images have, and what is not of builds.
    pub(super) all: bool,
    pub(super) filters: Filters,
    pub(super) reserved: u64,
    pub(super) most: u64,
    pub(super) free: u64,
}

/// Returns what is to go, in the order of `records` or, where something is to be kept, that of their last use. `free` is what the disk
/// has.
pub(super) fn plan(records: &[Record], wish: &Wish, free: u64, now: i64) -> Vec<Record> {
    let may_go = |record: &&Record| {
        let is_for_all = record.is_shared || matches!(record.what, What::Packages(_));
        !record.is_used && (wish.all || !is_for_all) && wish.filters.accept(record, now)
    };
    let mut going: Vec<Record> = records.iter().filter(may_go).cloned().collect();
    // What an image has stays on the disk, whatever becomes of its record.
    let own = |record: &Record| if record.is_shared { 0 } else { record.bytes };
    let mut total: u64 = records.iter().map(own).sum();
    let Some(kept) = kept(total, wish, free) else { return going };
    // Of those that one build used, what was made last first: it is of no use without the others.
    going.sort_by(|one, other| (one.used, &other.id).cmp(&(other.used, &one.id)));
    let mut over = 0;
    for record in &going {
        if total <= kept {
            break;
        }
        total -= own(record);
        over += 1;
    }
    going.truncate(over);
    going
}

/// Returns how many bytes of the cache stay; `None` where none has to. Compat: BuildKit.
fn kept(total: u64, wish: &Wish, free: u64) -> Option<u64> {
    if wish.reserved == 0 && wish.most == 0 && wish.free == 0 {
        return None;
    }
    let by_size = (wish.most > 0).then_some(wish.most);
    let missing = wish.free.saturating_sub(free);
    let by_disk = (missing > 0).then(|| total.saturating_sub(missing));
    let enough = by_size.into_iter().chain(by_disk).min();
    // Only a disk that is to be freer, and is so already: all stays.
    let enough = enough.unwrap_or(if wish.free > 0 { total } else { 0 });
    Some(enough.max(wish.reserved))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use shipway_store::LayerId;

    /// A layer of so many bytes that was used at some time.
    pub(in super::super) fn layer(id: &str, bytes: u64, used: i64) -> Record {
        Record {
            id: id.to_owned(),
            what: What::Layer(LayerId::unique(1)),
            bytes,
            used,
            created: None,
            description: String::new(),
            is_shared: false,
            is_used: false,
        }
    }

    /// A cache mount.
    pub(in super::super) fn mount(id: &str, bytes: u64, used: i64) -> Record {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("build/caches/x")).unwrap();
        let mount = shipway_build::Caches::below(dir.path()).list().unwrap().remove(0);
        Record { what: What::Mount(mount), ..layer(id, bytes, used) }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_needed_stays() {
        let shared = Record { is_shared: true, ..layer("shared", 1000, 1) };
        let held = Record { is_used: true, ..mount("held", 10, 2) };
        let packages = Record { what: What::Packages("/x".into()), ..layer("packages", 40, 3) };
        let records =
            [layer("new", 20, 90), layer("old", 30, 10), mount("mount", 5, 50), shared, held, packages];
        let unused = |text: &str| Filters::parse(&[text.to_owned()]).unwrap();
        for (name, wish, want) in [
            ("plain", Wish::default(), &["new", "old", "mount"][..]),
            ("all", Wish { all: true, ..Wish::default() }, &["new", "old", "mount", "shared", "packages"]),
            ("until", Wish { filters: unused("until=20s"), ..Wish::default() }, &["old", "mount"]),
            ("all fits", Wish { most: 105, ..Wish::default() }, &[]),
            ("a little too much", Wish { most: 104, ..Wish::default() }, &["old"]),
            ("much too much", Wish { most: 74, ..Wish::default() }, &["old", "mount"]),
            ("reserved", Wish { reserved: 80, ..Wish::default() }, &["old"]),
            ("reserved more", Wish { reserved: 100, most: 1, ..Wish::default() }, &["old"]),
            ("the disk is free", Wish { free: 500, ..Wish::default() }, &[]),
            ("the disk is not", Wish { free: 531, ..Wish::default() }, &["old", "mount"]),
            ("all and size", Wish { all: true, most: 70, ..Wish::default() }, &["shared", "packages"]),
        ] {
            let gone: Vec<String> = plan(&records, &wish, 500, 100).into_iter().map(|gone| gone.id).collect();
            assert_eq!(gone, want, "case {name}");
        }
    }
}

//! What rpm has installed. Specs: rpm, docs/manual/hregions.md and format_header.md; the database is SQLite since rpm 4.16.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use shipway_linux::Root;

use crate::files;
use crate::listing::Listing;
use crate::package::{Ecosystem, Package};

/// Where the database is; the older place is often a link to the newer one.
const PLACES: [&str; 2] = ["usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite"];
/// Databases of older kinds, which are not read.
const OLDER: [&str; 4] = [
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "usr/lib/sysimage/rpm/Packages",
    "usr/lib/sysimage/rpm/Packages.db",
];
/// Larger databases are refused, in bytes. What counts among what is read are the headers: rows may share the pages that they stand in.
const LIMIT: usize = 256 << 20;
/// Largest header, and largest text in one, in bytes.
const HEADER: i32 = 16 << 20;
const TEXT: usize = 64 << 10;
/// Where a database says that a log is beside it, and what it says without one. Spec: SQLite, Database File Format, 1.3.
const JOURNAL: std::ops::Range<usize> = 18..20;
const NO_LOG: u8 = 1;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const VENDOR: u32 = 1011;
const LICENCE: u32 = 1014;
const URL: u32 = 1020;
const ARCHITECTURE: u32 = 1022;
const SOURCE: u32 = 1044;

/// Types of values in headers: a number of 32 bits, and texts.
const INT32: u32 = 4;
const TEXTS: [u32; 3] = [6, 8, 9];

/// Reads the database of an image.
pub(crate) fn packages(root: &Root, listing: &mut Listing<'_>) {
    if listing.is_over() {
        return;
    }
    for place in PLACES {
        match read(root, place, listing) {
            Ok(false) => {}
            Ok(true) => {
                let log = format!("{place}-wal");
                if root.metadata(&log).is_ok_and(|found| found.is_some_and(|found| found.size > 0)) {
                    listing.note(format!("/{log} was not read: what was installed last may be missing"));
                }
                return;
            }
            Err(error) => return listing.unread(Path::new(place), &error),
        }
    }
    let older = OLDER.iter().find(|path| root.metadata(path).is_ok_and(|found| found.is_some()));
    if let Some(path) = older {
        listing.note(format!("/{path} is of an older rpm: its packages are not listed"));
    }
}

/// Reads a database; `false` if there is none.
fn read(root: &Root, place: &str, listing: &mut Listing<'_>) -> io::Result<bool> {
    let Some(file) = files::open(root, Path::new(place))? else { return Ok(false) };
    let damage = headers(file, |header| {
        listing.charge(header.len());
        package(header, &format!("/{place}")).map(|package| listing.add(package));
        !listing.is_over()
    });
    if let Some(damage) = damage? {
        listing.note(format!("/{place} was not read to its end: {damage}"));
    }
    Ok(true)
}

/// Shows the headers in a database, of which nothing is believed, one by one: it is read in memory, and nothing of it is run. `visit`
/// returns whether it wants more. Returns why the rest could not be shown.
fn headers(mut file: File, mut visit: impl FnMut(&[u8]) -> bool) -> io::Result<Option<String>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {LIMIT} bytes")));
    }
    let mut head = Vec::new();
    (&mut file).take(JOURNAL.end as u64).read_to_end(&mut head)?;
    if let Some(journal) = head.get_mut(JOURNAL) {
        journal.fill(NO_LOG);
    }
    rows(head.chain(file), length, &mut visit).map_err(io::Error::other)
}

fn rows(
    bytes: impl io::Read,
    length: usize,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> rusqlite::Result<Option<String>> {
    let mut database = Connection::open_in_memory()?;
    database.deserialize_read_exact("main", bytes, length, true)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    database.set_limit(Limit::SQLITE_LIMIT_LENGTH, HEADER)?;
    database.pragma_update(None, "cell_size_check", true)?;
    // A view or a virtual table of that name would be a program.
    let sql = "SELECT count(*) FROM sqlite_schema
               WHERE name = 'Packages' AND type = 'table' AND rootpage > 0";
    if database.query_row(sql, [], |row| row.get::<_, i64>(0))? != 1 {
        return Ok(None);
    }
    // In no order that could be asked for: of a table without an index SQLite would sort all of it first.
    let mut statement = database.prepare("SELECT blob FROM main.Packages NOT INDEXED")?;
    let mut rows = statement.query([])?;
    loop {
        match rows.next() {
            Ok(None) => return Ok(None),
            Ok(Some(row)) => {
                let Ok(header) = row.get_ref(0)?.as_blob() else { continue };
                if !visit(header) {
                    return Ok(None);
                }
            }
            // Of a database that is damaged the beginning counts.
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
}

/// A header: an index of tags, then their values.
struct Header<'a> {
    index: &'a [u8],
    values: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (count, length) = (number(bytes, 0)?, number(bytes, 4)?);
        let index = usize::try_from(count).ok()?.checked_mul(16)?;
        let (index, values) = bytes.get(8..)?.split_at_checked(index)?;
        Some(Self { index, values: values.get(..usize::try_from(length).ok()?)? })
    }

    /// Returns what stands under a tag: its type, and the values from there on.
    fn value(&self, wanted: u32) -> Option<(u32, &'a [u8])> {
        let entry = self.index.chunks_exact(16).find(|entry| number(entry, 0) == Some(wanted))?;
        let offset = usize::try_from(number(entry, 8)?).ok()?;
        Some((number(entry, 4)?, self.values.get(offset..)?))
    }

    fn text(&self, wanted: u32) -> Option<String> {
        let (_, rest) = self.value(wanted).filter(|(kind, _)| TEXTS.contains(kind))?;
        let end = rest.iter().take(TEXT).position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(&rest[..end]).trim().to_owned();
        (!text.is_empty() && text != "(none)").then_some(text)
    }

    fn number(&self, wanted: u32) -> Option<u32> {
        let (_, rest) = self.value(wanted).filter(|(kind, _)| *kind == INT32)?;
        number(rest, 0)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn package(bytes: &[u8], place: &str) -> Option<Package> {
    let header = Header::parse(bytes)?;
    let name = header.text(NAME)?;
    // Keys that are trusted stand among the packages.
    if name == "gpg-pubkey" {
        return None;
    }
    let version = format!("{}-{}", header.text(VERSION)?, header.text(RELEASE)?);
    let epoch = header.number(EPOCH).filter(|epoch| *epoch > 0);
    let version = epoch.map_or_else(|| version.clone(), |epoch| format!("{epoch}:{version}"));
    let mut package = Package::new(Ecosystem::Rpm, &name, &version, place);
    package.architecture = header.text(ARCHITECTURE);
    package.licence = header.text(LICENCE);
    package.maintainer = header.text(VENDOR);
    package.homepage = header.text(URL);
    // bash-5.1.8-6.el9.src.rpm
    package.source = header.text(SOURCE).and_then(|source| {
        let mut parts = source.strip_suffix(".src.rpm")?.rsplitn(3, '-');
        let (release, version, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some((name.to_owned(), format!("{version}-{release}")))
    });
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a header of texts, and of an epoch.
    fn header(texts: &[(u32, &str)], epoch: Option<u32>) -> Vec<u8> {
        let (mut index, mut values) = (Vec::new(), Vec::new());
        let mut add = |tag: u32, kind: u32, value: &[u8]| {
            let offset = u32::try_from(values.len()).unwrap();
            index.extend([tag, kind, offset, 1].iter().flat_map(|number| number.to_be_bytes()));
            values.extend(value);
        };
        if let Some(epoch) = epoch {
            add(EPOCH, INT32, &epoch.to_be_bytes());
        }
        for (tag, text) in texts {
            add(*tag, TEXTS[0], &[text.as_bytes(), &[0]].concat());
        }
        let lengths =
            [index.len() / 16, values.len()].map(|length| u32::try_from(length).unwrap().to_be_bytes());
        [lengths.concat(), index, values].concat()
    }

    const BASH: &[(u32, &str)] = &[
        (NAME, "bash"),
        (VERSION, "5.1.8"),
        (RELEASE, "6.el9"),
        (ARCHITECTURE, "x86_64"),
        (LICENCE, "GPLv3+"),
        (VENDOR, "Red Hat, Inc."),
        (SOURCE, "bash-5.1.8-6.el9.src.rpm"),
    ];

    /// Makes an image with a database as rpm makes it.
    fn image(sql: &str, headers: &[Vec<u8>]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PLACES[1]);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        let database = Connection::open(&path).unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.execute_batch(sql).unwrap();
        for header in headers {
            database.execute("INSERT INTO Packages (blob) VALUES (?1)", [header]).unwrap();
        }
        drop(database);
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    const TABLE: &str =
        "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);";

    #[test]
    fn packages_are_read_out_of_the_database() {
        let key = [(NAME, "gpg-pubkey"), (VERSION, "1"), (RELEASE, "2")];
        let tool = [(NAME, "tool"), (VERSION, "1.0"), (RELEASE, "1"), (SOURCE, "(none)")];
        let all = [header(BASH, None), header(&key, None), b"broken".to_vec(), header(&tool, Some(2))];
        let (_dir, root) = image(TABLE, &all);
        let (found, notes) = Listing::of(|listing| packages(&root, listing));
        assert_eq!((found.len(), notes.len()), (2, 0), "{notes:?}");
        let release =
            crate::Release { id: "rhel".to_owned(), version: "9.4".to_owned(), name: String::new() };
        let purls: Vec<String> = found.iter().map(|package| package.purl(Some(&release))).collect();
        assert_eq!(
            purls,
            [
                "pkg:rpm/rhel/bash@5.1.8-6.el9?arch=x86_64&distro=rhel-9.4",
                "pkg:rpm/rhel/tool@1.0-1?distro=rhel-9.4&epoch=2"
            ]
        );
        assert_eq!(found[0].source, Some(("bash".to_owned(), "5.1.8-6.el9".to_owned())));
        assert_eq!((found[0].licence.as_deref(), found[1].version.as_str()), (Some("GPLv3+"), "2:1.0-1"));
    }

    #[test]
    fn a_database_is_not_run() {
        let endless = "CREATE VIEW Packages (hnum, blob) AS
                       WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more) SELECT n, x'00' FROM more;";
        let (_dir, root) = image(endless, &[]);
        assert_eq!(Listing::of(|listing| packages(&root, listing)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn rows_that_share_their_pages_are_not_read_for_ever() {
        // Without order: a table whose rows SQLite would have to sort.
        let table = "CREATE TABLE 'Packages' (hnum INTEGER, blob BLOB NOT NULL);";
        let mut large = header(BASH, None);
        large.resize(1 << 20, 0);
        let (dir, root) = image(table, std::slice::from_ref(&large));
        share_pages(&dir.path().join(PLACES[1]), 400);
        let (found, notes) = Listing::of(|listing| packages(&root, listing));
        assert_eq!((found.len(), notes.len()), (255, 1), "{notes:?}");
        assert!(notes[0].starts_with("more than 268435456 bytes were to be read"), "{notes:?}");

        large.resize(HEADER as usize + 1, 0);
        let (_dir, root) = image(TABLE, &[header(BASH, None), large, header(BASH, None)]);
        let (found, notes) = Listing::of(|listing| packages(&root, listing));
        assert_eq!((found.len(), notes.len()), (1, 1), "{notes:?}");
        assert!(notes[0].ends_with("was not read to its end: string or blob too big"), "{notes:?}");
    }

    /// Makes a table of one large row one of `count` that are all that one. Spec: SQLite, Database File Format, 1.6.
    fn share_pages(path: &Path, count: u16) {
        const PAGE: usize = 4096;
        let mut bytes = fs_err::read(path).unwrap();
        // The first page holds the schema, the second one the table: a leaf with one cell.
        let leaf = &mut bytes[PAGE..2 * PAGE];
        assert_eq!((leaf[0], &leaf[3..5]), (13, &[0, 1][..]));
        leaf[3..5].copy_from_slice(&count.to_be_bytes());
        let cell = [leaf[8], leaf[9]];
        let places = 8..8 + 2 * usize::from(count);
        assert!(places.end < usize::from(u16::from_be_bytes(cell)));
        leaf[places].copy_from_slice(&cell.repeat(usize::from(count)));
        fs_err::write(path, bytes).unwrap();
    }

    #[test]
    fn damage_is_told_and_older_databases_too() {
        let all: Vec<Vec<u8>> = (0..40).map(|_| header(BASH, None)).collect();
        let (dir, root) = image(TABLE, &all);
        let path = dir.path().join(PLACES[1]);
        let whole = fs_err::read(&path).unwrap();
        let mut dice = shipway_testkit::Dice::new(0x42);
        let words: [&[u8]; 2] = [&[0xff; 16], &[0; 64]];
        for _ in 0..shipway_testkit::rounds(200) {
            fs_err::write(&path, dice.mutate(&whole, &words)).unwrap();
            assert!(Listing::of(|listing| packages(&root, listing)).0.len() <= 200);
        }
        fs_err::write(&path, &whole).unwrap();
        let log = path.with_extension("sqlite-wal");
        fs_err::write(&log, "x").unwrap();
        let (found, notes) = Listing::of(|listing| packages(&root, listing));
        assert_eq!(found.len(), 40);
        assert!(notes[0].contains("rpmdb.sqlite-wal was not read"), "{notes:?}");
        fs_err::remove_file(&log).unwrap();
        fs_err::write(&path, "no database").unwrap();
        let (found, notes) = Listing::of(|listing| packages(&root, listing));
        assert_eq!(found, []);
        assert!(notes[0].starts_with("/var/lib/rpm/rpmdb.sqlite could not be read: "), "{notes:?}");
        fs_err::rename(&path, dir.path().join(OLDER[0])).unwrap();
        let (found, notes) = Listing::of(|listing| packages(&root, listing));
        assert_eq!(found, []);
        assert!(notes[0].contains("is of an older rpm"), "{notes:?}");
        for _ in 0..shipway_testkit::rounds(2000) {
            drop(package(&dice.mutate(&header(BASH, Some(1)), &words), "/x"));
        }
    }
}

//! A part of this machine's `/usr` as an archive: real files, of the sizes and kinds that images have.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::bench::program;

const USR: &str = "/usr";
/// Bytes that the archive may have, about: directories are not counted.
const LIMIT: u64 = 1_400_000_000;
/// What shares of all files and links are parts of.
const WHOLE: usize = 1000;
/// Bytes of an archive's blocks.
const BLOCK: u64 = 512;
/// Longest name, in bytes, that needs no blocks of its own.
const NAME: usize = 100;

/// What an archive holds.
#[derive(Debug)]
pub(super) struct Packed {
    /// So many of each thousand files and links.
    share: usize,
    /// Bytes of the archive.
    bytes: u64,
    files: usize,
    links: usize,
    directories: usize,
}

impl fmt::Display for Packed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, files, links, directories, .. } = self;
        let (whole, hundredths) = (self.bytes / 1_000_000_000, self.bytes / 10_000_000 % 100);
        write!(
            out,
            "{share} of each {WHOLE} files and links, in the order of their names: {whole}.{hundredths:02} GB as a tar, {files} files, \
             {links} symbolic links, {directories} directories"
        )
    }
}

/// Packs as much of `/usr` as may be; the same part of the same `/usr` each time.
pub(super) fn pack(archive: &Path) -> anyhow::Result<Packed> {
    let mut entries = Vec::new();
    walk(Path::new(USR), &mut HashSet::new(), &mut entries)?;
    let (share, chosen) = choose(&entries, LIMIT);
    let above = |entry: &&Entry| entry.path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
    let directories: BTreeSet<PathBuf> =
        chosen.iter().flat_map(above).filter(|dir| dir.starts_with(USR)).collect();
    // In this order each directory comes before what is in it.
    let mut paths: Vec<&Path> = directories.iter().map(PathBuf::as_path).collect();
    paths.extend(chosen.iter().map(|entry| entry.path.as_path()));
    paths.sort();
    pack_paths(&paths, archive)?;
    let links = chosen.iter().filter(|entry| entry.is_link).count();
    Ok(Packed {
        share,
        bytes: fs_err::metadata(archive)?.len(),
        files: chosen.len() - links,
        links,
        directories: directories.len(),
    })
}

fn pack_paths(paths: &[&Path], archive: &Path) -> anyhow::Result<()> {
    let list = archive.with_extension("list");
    let mut names = Vec::new();
    for path in paths {
        names.extend_from_slice(path.strip_prefix("/")?.as_os_str().as_bytes());
        names.push(0);
    }
    fs_err::write(&list, names)?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--directory", "/", "--null", "--no-recursion", "--files-from"]).arg(&list);
    program::output(tar.arg("--file").arg(archive)).context("could not pack a part of /usr")?;
    Ok(fs_err::remove_file(list)?)
}

/// A file or a link.
#[derive(Debug)]
struct Entry {
    path: PathBuf,
    /// Bytes of an archive that it needs.
    bytes: u64,
    is_link: bool,
}

/// Finds the files and links below a directory, in the order of their names; of several names of one file (`seen`), the first.
fn walk(dir: &Path, seen: &mut HashSet<(u64, u64)>, entries: &mut Vec<Entry>) -> anyhow::Result<()> {
    let paths = fs_err::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let metadata = fs_err::symlink_metadata(&path)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            walk(&path, seen, entries)?;
        } else if (kind.is_file() || kind.is_symlink()) && seen.insert((metadata.dev(), metadata.ino())) {
            let name = if path.as_os_str().len() > NAME { 2 * BLOCK } else { 0 };
            let content = if kind.is_file() { metadata.len().next_multiple_of(BLOCK) } else { 0 };
            entries.push(Entry { path, bytes: BLOCK + name + content, is_link: kind.is_symlink() });
        }
    }
    Ok(())
}

/// Returns the part, spread evenly, that needs the most bytes below `limit`: how many of each thousand, and which.
fn choose(entries: &[Entry], limit: u64) -> (usize, Vec<&Entry>) {
    let part = |share: usize| {
        let chosen = entries.iter().enumerate().filter(move |(at, _)| at * share % WHOLE < share);
        chosen.map(|(_, entry)| entry)
    };
    let bytes = |share: usize| part(share).map(|entry| entry.bytes).sum::<u64>();
    let fitting = (1..=WHOLE).map(|share| (bytes(share), share)).filter(|(bytes, _)| *bytes <= limit);
    let share = fitting.max().map_or(0, |(_bytes, share)| share);
    (share, part(share).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_links_are_found_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("a/b")).unwrap();
        fs_err::write(dir.path().join("a/b/file"), [0; 513]).unwrap();
        fs_err::write(dir.path().join("z"), "").unwrap();
        fs_err::hard_link(dir.path().join("z"), dir.path().join("zz")).unwrap();
        fs_err::os::unix::fs::symlink("z", dir.path().join("a/link")).unwrap();
        let mut entries = Vec::new();
        walk(dir.path(), &mut HashSet::new(), &mut entries).unwrap();
        let below = |entry: &Entry| entry.path.strip_prefix(dir.path()).unwrap().display().to_string();
        assert_eq!(entries.iter().map(below).collect::<Vec<_>>(), ["a/b/file", "a/link", "z"]);
        assert!(entries[1].is_link && entries[0].bytes == 1536);
    }

    #[test]
    fn a_part_is_spread_evenly_and_fits() {
        let entry = |at: usize| Entry { path: at.to_string().into(), bytes: 10, is_link: false };
        let entries: Vec<Entry> = (0..200).map(entry).collect();
        let (_share, chosen) = choose(&entries, 509);
        let place = |entry: &&Entry| entry.path.display().to_string().parse::<usize>().unwrap();
        let places: Vec<usize> = chosen.iter().map(place).collect();
        assert_eq!(places.len(), 50);
        assert!(places.windows(2).all(|two| (3..=5).contains(&(two[1] - two[0]))), "{places:?}");
        assert_eq!(choose(&entries, 2000).0, WHOLE);
        assert!(choose(&entries, 3).1.is_empty());
    }

    #[test]
    fn what_was_packed_is_told_in_gigabytes() {
        let packed = Packed { share: 7, bytes: 1_039_999_999, files: 3, links: 2, directories: 1 };
        assert!(packed.to_string().ends_with("1.03 GB as a tar, 3 files, 2 symbolic links, 1 directories"));
    }
}

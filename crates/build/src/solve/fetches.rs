//! What ADD names by an address, fetched into a place of its own.

use std::fs::FileTimes;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, UNIX_EPOCH};

use shipway_layers::Snapshot;
use shipway_linux::Root;
use shipway_oci::Digest;

use super::Solver;
use crate::Problem;
use crate::copy::Tree;
use crate::plan::{CopyAction, SourceWord};
use crate::seams::RepositoryFlags;

/// What a file is called whose address ends with no name. Compat: BuildKit.
const UNNAMED: &str = "__unnamed__";
/// Digits of a commit that is named whole: SHA-1, SHA-256.
const COMMITS: [usize; 2] = [40, 64];

/// Something that was fetched; it goes with this value.
pub(super) struct Fetch {
    root: Root,
    /// What of it is copied.
    pub(super) word: String,
    /// Of which commit it is, where it is a repository.
    pub(super) commit: Option<String>,
    place: String,
    _files: Snapshot,
}

impl Fetch {
    pub(super) fn tree(&self) -> Tree<'_> {
        Tree { root: &self.root, ignore: None, stats: None, keep_owner: false, place: self.place.clone() }
    }
}

impl Solver<'_> {
    /// Fetches the sources that are addresses; the others have none.
    pub(super) fn fetch_sources(&self, copy: &CopyAction) -> Result<Vec<Option<Fetch>>, Problem> {
        copy.sources
            .iter()
            .map(|source| match source {
                SourceWord::Remote { address, is_git: true, checksum, keep_git_dir } => {
                    self.fetch_repository(address, (*keep_git_dir, checksum.as_deref())).map(Some)
                }
                SourceWord::Remote { address, checksum, .. } => {
                    self.fetch_file(address, checksum.as_deref()).map(Some)
                }
                SourceWord::Path { .. } | SourceWord::Inline { .. } => Ok(None),
            })
            .collect()
    }

    fn place_to_fetch_into(&self) -> Result<Snapshot, Problem> {
        let prepared = self.builder.layers.prepare(&[]);
        prepared.map_err(|source| Problem::Layers { action: "prepare a place to fetch into", source })
    }

    fn fetch_file(&self, url: &str, checksum: Option<&str>) -> Result<Fetch, Problem> {
        let files = self.place_to_fetch_into()?;
        let arrived = files.work.join("download");
        let fetched = self.builder.remotes.http(url, &arrived);
        let fetched = fetched.map_err(|source| Problem::Fetch { address: url.to_owned(), source })?;
        self.materials.file(url, &fetched.digest);
        let name = name_of(url).unwrap_or_else(|| UNNAMED.to_owned());
        let file = files.upper.join(&name);
        let failed = || Problem::io("keep", url);
        fs_err::rename(&arrived, &file).map_err(failed())?;
        if let Some(wanted) = checksum {
            check(url, fetched.digest, wanted)?;
        }
        // Compat: BuildKit, what is downloaded is its owner's alone, and as old as its server says.
        let opened = std::fs::File::options().write(true).open(&file).map_err(failed())?;
        opened.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
        let modified = UNIX_EPOCH + Duration::from_secs(fetched.modified.unwrap_or_default());
        opened.set_times(FileTimes::new().set_modified(modified)).map_err(failed())?;
        let root = Root::open(&files.upper).map_err(failed())?;
        let (word, place) = (format!("/{}", quoted(&name)), format!("`{url}`"));
        Ok(Fetch { root, word, commit: None, place, _files: files })
    }

    fn fetch_repository(&self, address: &str, flags: RepositoryFlags<'_>) -> Result<Fetch, Problem> {
        let files = self.place_to_fetch_into()?;
        let fetched = self.builder.remotes.git(address, &files.upper, flags, &self.stop);
        let (top, commit) = fetched.map_err(|source| {
            if self.stop.is_set() {
                return Problem::Cancelled;
            }
            Problem::Fetch { address: address.to_owned(), source }
        })?;
        self.materials.commit(address, &commit);
        let root = Root::open(&top).map_err(Problem::io("open", address))?;
        let (word, place) = ("/".to_owned(), format!("`{address}`"));
        Ok(Fetch { root, word, commit: Some(commit), place, _files: files })
    }
}

/// Returns whether the addresses alone say what will come.
pub(super) fn is_pinned(copy: &CopyAction) -> bool {
    let is_commit = |address: &str| {
        let reference =
            address.split_once('#').map_or("", |(_, rest)| rest.split(':').next().unwrap_or_default());
        COMMITS.contains(&reference.len()) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    !copy.sources.is_empty()
        && copy.sources.iter().all(|source| match source {
            SourceWord::Remote { checksum: Some(_), is_git: false, .. } => true,
            SourceWord::Remote { checksum: Some(checksum), is_git: true, .. }
                if COMMITS.contains(&checksum.len()) =>
            {
                true
            }
            SourceWord::Remote { address, is_git: true, .. } => is_commit(address),
            _ => false,
        })
}

fn check(url: &str, found: Digest, wanted: &str) -> Result<(), Problem> {
    let wanted: Digest = wanted
        .parse()
        .map_err(|error| Problem::invalid(format!("--checksum: `{wanted}` is no digest: {error}")))?;
    if found == wanted {
        return Ok(());
    }
    Err(Problem::invalid(format!("digest mismatch for {url}: it is {found}, and --checksum says {wanted}")))
}

/// Returns the file name in an address, if there is one that a file can have. Compat: BuildKit, it is the last part after the path was
/// decoded, and what the server says of a name is not asked for.
fn name_of(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?.split_once("://")?.1.split_once('/')?.1;
    let path = decoded(path)?;
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    (!matches!(name, "" | "." | "..") && !name.contains('\0')).then(|| name.to_owned())
}

/// Returns a path of an address with its `%20` and the like as what they stand for.
fn decoded(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Returns a name as a word that stands for it alone.
fn quoted(name: &str) -> String {
    name.chars().flat_map(|c| if "*?[\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_address_ends() {
        for (url, want) in [
            ("http://a.test/x/y.tar.gz", Some("y.tar.gz")),
            ("https://a.test/y?z=/w#v", Some("y")),
            ("http://a.test/x//", Some("x")),
            ("http://a.test/a%20b?c#d", Some("a b")),
            ("http://a.test/web%2frobots.txt", Some("robots.txt")),
            ("http://a.test/web%2F", Some("web")),
            ("http://a.test/%c3%a4", Some("\u{e4}")),
            ("http://a.test/%2e%2e%2fx%2f..", None),
            ("http://a.test", None),
            ("http://a.test/", None),
            ("http://a.test/?x", None),
            ("http://a.test/..", None),
            ("http://a.test/a%00b", None),
            ("http://a.test/%ff", None),
            ("http://a.test/a%+1", None),
            ("http://a.test/a%2", None),
        ] {
            assert_eq!(name_of(url).as_deref(), want, "case {url}");
        }
        assert_eq!(quoted("a*b[c]\\"), "a\\*b\\[c]\\\\");
    }
}

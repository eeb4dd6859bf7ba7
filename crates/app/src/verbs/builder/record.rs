//! What the build cache holds: layers of steps, directories of `RUN --mount=type=cache`, packages of `bootstrap`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use shipway_build::{CacheMount, Caches};
use shipway_store::LayerId;

use crate::budget;
use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::units;

/// Letters of a cache mount's name that are shown. Compat: BuildKit's IDs have as many.
const NAME: usize = 25;

/// Something in the build cache.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) what: What,
    pub(super) bytes: u64,
    /// Seconds since the epoch.
    pub(super) used: i64,
    /// RFC 3339, or nothing where it is not known.
    pub(super) created: Option<String>,
    pub(super) description: String,
    /// An image has it, too.
    pub(super) is_shared: bool,
    /// A command uses it now.
    pub(super) is_used: bool,
}

/// What it is, and how it is named to whoever removes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Layer(LayerId),
    Mount(CacheMount),
    Packages(PathBuf),
}

impl Record {
    /// Compat: BuildKit, `UsageRecordType`.
    pub(super) fn kind(&self) -> &'static str {
        match self.what {
            What::Layer(_) => "regular",
            What::Mount(_) => "exec.cachemount",
            What::Packages(_) => "internal",
        }
    }

    /// Whether its content may change without its getting another ID.
    pub(super) fn is_mutable(&self) -> bool {
        !matches!(self.what, What::Layer(_))
    }

    /// Returns what templates see. In tables stars stand for what has no column.
    pub(super) fn value(&self, now: i64, in_table: bool) -> Value {
        let star = |is_starred: bool| if in_table && is_starred { "*" } else { "" };
        json!({
            "ID": format!("{}{}", self.id, star(self.is_mutable())),
            "CreatedAt": self.created.clone().unwrap_or_default(),
            "Mutable": self.is_mutable(),
            "Reclaimable": !self.is_used,
            "Shared": self.is_shared,
            "Size": format!("{}{}", clock::precise_size(self.bytes), star(self.is_shared)),
            "Description": self.description,
            "LastUsedAt": format!("{} ago", clock::ago(now - self.used)),
            "Type": self.kind(),
        })
    }
}

/// Returns all that the build cache holds, the largest first. Compat: BuildKit.
pub(super) fn list(engine: &Engine) -> Result<Vec<Record>, Failure> {
    let mut records = layers(engine)?;
    records.extend(mounts(engine)?);
    records.extend(packages(engine));
    records.sort_by(|one, other| (other.bytes, &other.id).cmp(&(one.bytes, &one.id)));
    Ok(records)
}

fn layers(engine: &Engine) -> Result<Vec<Record>, Failure> {
    let cached = engine.store.cache_list()?;
    let rows = cached.iter().map(|cached| cached.row.clone()).collect();
    let private: HashSet<LayerId> =
        engine.store.outside_images(rows)?.into_iter().map(|row| row.id).collect();
    let record = |cached: shipway_store::CachedLayer| {
        let summary = shipway_build::summarize(&cached.step);
        Record {
            id: cached.row.id.to_string(),
            bytes: budget::size(engine, &cached.row),
            used: cached.used,
            created: summary.created,
            description: summary.text,
            is_shared: !private.contains(&cached.row.id),
            is_used: false,
            what: What::Layer(cached.row.id),
        }
    };
    Ok(cached.into_iter().map(record).collect())
}

fn mounts(engine: &Engine) -> Result<Vec<Record>, Failure> {
    let caches = Caches::below(engine.store.root());
    let listed = caches.list().map_err(|error| {
        Failure::new(format!("could not list the cache mounts: {error}"), "see who else changes the store")
    })?;
    let record = |mount: CacheMount| {
        let (name, own) = mount.name().split_once('.').unwrap_or((mount.name(), ""));
        let own = if own.is_empty() { String::new() } else { format!(".{own}") };
        Record {
            id: format!("{}{own}", &name[..name.len().min(NAME)]),
            bytes: tree(&mount.directory).1,
            used: seconds(mount.used),
            created: made(&mount.directory),
            description: format!("cached mount with id {:?}", mount.id),
            is_shared: false,
            is_used: caches.is_used(&mount),
            what: What::Mount(mount),
        }
    };
    Ok(listed.into_iter().map(record).collect())
}

/// What `bootstrap` has downloaded, as one.
fn packages(engine: &Engine) -> Option<Record> {
    let directory = engine.roots.downloads();
    let bytes = tree(&directory).1;
    let used = fs_err::metadata(&directory).and_then(|found| found.modified()).ok()?;
    (bytes > 0).then(|| Record {
        id: "packages".to_owned(),
        bytes,
        used: seconds(used),
        created: made(&directory),
        description: "packages that bootstrap has downloaded".to_owned(),
        is_shared: false,
        is_used: false,
        what: What::Packages(directory),
    })
}

/// Returns when a directory was made, where the file system knows.
fn made(directory: &Path) -> Option<String> {
    let made = fs_err::metadata(directory).and_then(|found| found.created()).ok()?;
    Some(clock::date(i128::from(seconds(made)) * units::SECOND))
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

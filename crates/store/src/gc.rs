//! Removing what nothing uses.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::Transaction;

use crate::database::Durable;
use crate::error::io_error;
use crate::{LayerId, Store, StoreError, owner};

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs.
    pub blobs: usize,
    /// Layers.
    pub layers: usize,
    /// Snapshots of processes that died.
    pub snapshots: usize,
    /// Unfinished files and trees of processes that died.
    pub unfinished: usize,
    /// Bytes of the blobs, and of the tars of the layers.
    pub bytes: u64,
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images.
    pub images: u64,
    /// Bytes of all images' layers, shared ones once.
    pub image_bytes: u64,
    /// Layers.
    pub layers: u64,
    /// Bytes of all layers' tars.
    pub layer_bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of all blobs.
    pub blob_bytes: u64,
    /// Steps in the build cache.
    pub cached_steps: u64,
    /// Containers.
    pub containers: u64,
}

/// What a transaction decided to remove.
#[derive(Debug, Default)]
struct Plan {
    blobs: Vec<String>,
    layers: Vec<String>,
    snapshots: Vec<String>,
    bytes: u64,
}

impl Store {
    /// Removes blobs, layers, snapshots and unfinished work that no image, cached step, container, lease or running
    /// process needs.
    ///
    /// Records go first, in one transaction; files follow while a lock keeps others from naming new ones. After a crash
    /// in between the next collection finds the files without a record.
    pub fn gc(&self) -> Result<Freed, StoreError> {
        let lock = self.collector_lock(true)?;
        let plan = self.write("collect garbage", Durable::Later, plan_in)?;
        let mut freed = Freed { bytes: plan.bytes, ..Freed::default() };
        let known: HashSet<String> = self.read("list the blobs", |connection| {
            let names: rusqlite::Result<_> = connection
                .prepare("SELECT substr(digest, 8) FROM blobs")?
                .query_map([], |row| row.get(0))?
                .collect();
            names
        })?;
        freed.blobs = self.sweep("blobs/sha256", |name| !known.contains(name))?;
        let known: HashSet<String> = self.layers()?.into_iter().map(|row| row.id.to_string()).collect();
        freed.layers = self.sweep("layers", |name| !known.contains(name))?;
        let known: HashSet<String> = self.snapshots()?.into_iter().map(|row| row.id).collect();
        freed.snapshots = self.sweep("active", |name| !known.contains(name))?;
        freed.unfinished =
            self.sweep("tmp", |name| name.rsplit_once('.').is_none_or(|(owner, _)| !owner::is_alive(owner)))?;
        tracing::debug!(
            blobs = plan.blobs.len(),
            layers = plan.layers.len(),
            snapshots = plan.snapshots.len(),
            "collected garbage"
        );
        drop(lock);
        Ok(freed)
    }

    /// Removes the entries of a directory whose names `is_garbage` says so of.
    fn sweep(&self, directory: &str, is_garbage: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
        let path = self.root().join(directory);
        let mut removed = 0;
        for entry in fs_err::read_dir(&path).map_err(io_error("list", &path))? {
            let entry = entry.map_err(io_error("list", &path))?;
            if is_garbage(&entry.file_name().to_string_lossy()) {
                remove_tree(&entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Returns what the store holds.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.read("sum the usage up", |connection| {
            let pair = |query: &str| {
                connection.query_row(query, [], |row| {
                    Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
                })
            };
            let (layers, layer_bytes) = pair("SELECT count(*), coalesce(sum(size), 0) FROM layers")?;
            let (blobs, blob_bytes) = pair("SELECT count(*), coalesce(sum(size), 0) FROM blobs")?;
            let (images, image_bytes) = pair(
                "SELECT (SELECT count(*) FROM images), coalesce(sum(size), 0) FROM
                 (SELECT max(size) AS size FROM layers WHERE diff_id IN (SELECT diff_id FROM image_layers)
                  GROUP BY diff_id)",
            )?;
            let (cached_steps, containers) =
                pair("SELECT (SELECT count(*) FROM cache), (SELECT count(*) FROM containers)")?;
            Ok(Usage {
                images,
                image_bytes,
                layers,
                layer_bytes,
                blobs,
                blob_bytes,
                cached_steps,
                containers,
            })
        })
    }
}

fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let metadata = fs_err::symlink_metadata(path).map_err(io_error("examine", path))?;
    let removed = if metadata.is_dir() { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) };
    removed.map_err(io_error("remove", path))
}

fn plan_in(transaction: &Transaction<'_>) -> rusqlite::Result<Plan> {
    let mut plan = Plan::default();
    let oldest_lease = oldest_lease(transaction)?;
    let mut used_layers: HashSet<String> = HashSet::new();
    let rows: Vec<(String, String, bool, String)> = transaction
        .prepare("SELECT id, parents, kept, owner FROM snapshots")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, parents, kept, process) in rows {
        if kept || owner::is_alive(&process) {
            let parents: Vec<LayerId> = serde_json::from_str(&parents).unwrap_or_default();
            used_layers.extend(parents.iter().map(ToString::to_string));
        } else {
            transaction.execute("DELETE FROM snapshots WHERE id = ?1", [&id])?;
            plan.snapshots.push(id);
        }
    }
    plan_layers(transaction, oldest_lease, &used_layers, &mut plan)?;
    let blobs: Vec<(String, i64)> = transaction
        .prepare(
            "SELECT digest, size FROM blobs WHERE seq < ?1 AND digest NOT IN (SELECT digest FROM image_blobs)
             AND digest NOT IN (SELECT image FROM containers)",
        )?
        .query_map([oldest_lease], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (digest, size) in blobs {
        transaction.execute("DELETE FROM blobs WHERE digest = ?1", [&digest])?;
        plan.bytes += size.cast_unsigned();
        plan.blobs.push(digest);
    }
    Ok(plan)
}

/// Removes the records of dead leases; returns the logical time of the oldest living one.
fn oldest_lease(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let leases: Vec<(i64, String, i64)> = transaction
        .prepare("SELECT id, owner, seq FROM leases")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut oldest = i64::MAX;
    for (id, process, seq) in leases {
        if owner::is_alive(&process) {
            oldest = oldest.min(seq);
        } else {
            transaction.execute("DELETE FROM leases WHERE id = ?1", [id])?;
        }
    }
    Ok(oldest)
}

fn plan_layers(
    transaction: &Transaction<'_>,
    oldest_lease: i64,
    used: &HashSet<String>,
    plan: &mut Plan,
) -> rusqlite::Result<()> {
    let fixups: Vec<(String, String, Option<String>)> = transaction
        .prepare("SELECT chain, members, layer FROM fixups")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let is_fixup: HashSet<&str> = fixups.iter().filter_map(|(_, _, layer)| layer.as_deref()).collect();
    let rows: Vec<(String, i64)> = transaction
        .prepare(
            "SELECT id, size FROM layers WHERE
             (synced = 0 AND boot <> ?2) OR (seq < ?1
             AND coalesce(diff_id, '') NOT IN (SELECT diff_id FROM image_layers)
             AND id NOT IN (SELECT layer FROM cache WHERE layer IS NOT NULL))",
        )?
        .query_map((oldest_lease, owner::boot()), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut doomed: HashSet<String> = HashSet::new();
    for (id, size) in rows {
        if used.contains(&id) || is_fixup.contains(id.as_str()) {
            continue;
        }
        transaction.execute("DELETE FROM layers WHERE id = ?1", [&id])?;
        plan.bytes += size.cast_unsigned();
        doomed.insert(id);
    }
    for (chain, members, layer) in &fixups {
        let members: Vec<LayerId> = serde_json::from_str(members).unwrap_or_default();
        if members.iter().any(|member| doomed.contains(member.as_str())) {
            transaction.execute("DELETE FROM fixups WHERE chain = ?1", [chain])?;
            if let Some(layer) = layer {
                transaction.execute("DELETE FROM layers WHERE id = ?1", [layer])?;
                doomed.insert(layer.clone());
            }
        }
    }
    plan.layers = doomed.into_iter().collect();
    Ok(())
}

//! What this store's own registry serves: which repository has which blobs, manifests and tags. Nothing of it is guessed from the
//! images here; a repository has what was pushed to it.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use shipway_oci::Digest;

use crate::{Store, StoreError};

/// Blobs that no manifest of their repository names stay so long, in seconds: a push may be on its way.
const GRACE: i64 = 24 * 60 * 60;

/// What was cached of other registries stays so long after somebody has asked for it, in seconds.
const CACHED: i64 = 7 * 24 * 60 * 60;
/// So exactly it is known when that was.
const EXACTLY: i64 = 60 * 60;

/// A manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedManifest {
    /// The digest that it was pushed under, of any algorithm.
    pub digest: String,
    /// Where its bytes are.
    pub blob: Digest,
    /// Bytes.
    pub size: u64,
    /// What it was pushed as.
    pub media_type: String,
    /// What it is about: a manifest that need not exist.
    pub subject: Option<String>,
    /// What kind of artifact it is; empty if it says nothing.
    pub artifact_type: String,
    /// Its annotations, a JSON object.
    pub annotations: String,
    /// Digests of the blobs that it names, of any algorithm.
    pub blobs: Vec<String>,
}

const COLUMNS: &str = "digest, blob, size, media_type, subject, artifact_type, annotations, blobs";

impl Store {
    /// Gives a repository a blob that is here. `now` is seconds since the epoch.
    pub fn host_blob(
        &self,
        repository: &str,
        digest: &str,
        blob: Digest,
        now: i64,
    ) -> Result<(), StoreError> {
        self.write("give a repository a blob", |transaction| {
            put_blob(transaction, repository, digest, blob, now)
        })
    }

    /// Gives a repository blobs that the store has anyway, so that nothing is lost if a power cut undoes it before the next synced
    /// change: the manifest that names them.
    pub fn lend_blobs(&self, repository: &str, blobs: &[Digest], now: i64) -> Result<(), StoreError> {
        self.write_lazily("give a repository blobs", |transaction| {
            blobs.iter().try_for_each(|blob| put_blob(transaction, repository, &blob.to_string(), *blob, now))
        })
    }

    /// Returns where the bytes of a repository's blob are.
    pub fn hosted_blob(&self, repository: &str, digest: &str) -> Result<Option<Digest>, StoreError> {
        self.read("look for a blob of a repository", |connection| {
            let sql = "SELECT blob FROM hosted_blobs WHERE repository = ?1 AND digest = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let found: Option<String> =
                statement.query_row([repository, digest], |row| row.get(0)).optional()?;
            Ok(found.and_then(|text| text.parse().ok()))
        })
    }

    /// Returns where the bytes of a repository's blob are, for somebody who relies on it: a manifest that names it may come within a
    /// day. `now` is seconds since the epoch.
    pub fn rely_on_hosted_blob(
        &self,
        repository: &str,
        digest: &str,
        now: i64,
    ) -> Result<Option<Digest>, StoreError> {
        let found: Option<(String, i64)> = self.read("look for a blob of a repository", |connection| {
            let sql = "SELECT blob, since FROM hosted_blobs WHERE repository = ?1 AND digest = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row([repository, digest], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })?;
        let Some((blob, since)) = found else { return Ok(None) };
        let blob: Option<Digest> = blob.parse().ok();
        // One from the future may be as old as any.
        if since >= now.saturating_sub(GRACE / 2) && since <= now.saturating_add(EXACTLY) {
            return Ok(blob);
        }
        // A collection may have come in between.
        let changed = self.write_lazily("renew a blob of a repository", |transaction| {
            let sql = "UPDATE hosted_blobs SET since = ?3 WHERE repository = ?1 AND digest = ?2";
            transaction.execute(sql, params![repository, digest, now])
        })?;
        Ok(blob.filter(|_| changed > 0))
    }

    /// Returns where the bytes of a blob are that any repository has; what is only cached of other registries does not count.
    pub fn hosted_anywhere(&self, digest: &str) -> Result<Option<Digest>, StoreError> {
        self.read("look for a blob", |connection| {
            let sql =
                "SELECT blob FROM hosted_blobs WHERE digest = ?1 AND instr(repository, ':') = 0 LIMIT 1";
            let found: Option<String> = connection.query_row(sql, [digest], |row| row.get(0)).optional()?;
            Ok(found.and_then(|text| text.parse().ok()))
        })
    }

    /// Takes a blob from a repository; returns whether it had it.
    pub fn drop_hosted_blob(&self, repository: &str, digest: &str) -> Result<bool, StoreError> {
        self.free("take a blob from a repository", |transaction| {
            let sql = "DELETE FROM hosted_blobs WHERE repository = ?1 AND digest = ?2";
            Ok(transaction.execute(sql, [repository, digest])? > 0)
        })
    }

    /// Gives a repository a manifest, and the manifest some tags, all at once.
    pub fn host_manifest(
        &self,
        repository: &str,
        manifest: &HostedManifest,
        tags: &[String],
    ) -> Result<(), StoreError> {
        self.write("give a repository a manifest", |transaction| {
            put_manifest(transaction, repository, manifest, (tags, 0))
        })
    }

    /// Gives a repository a manifest as [`Store::host_manifest`] does, unless `check` objects to the digest that is there under a name or
    /// digest of its. Nobody else comes in between.
    pub fn host_manifest_if<E>(
        &self,
        repository: &str,
        manifest: &HostedManifest,
        tags: &[String],
        (reference, check): (&str, impl FnOnce(Option<&str>) -> Result<(), E>),
    ) -> Result<Result<(), E>, StoreError> {
        self.write("give a repository a manifest", |transaction| {
            let sql = "SELECT digest FROM hosted_tags WHERE repository = ?1 AND tag = ?2 UNION
                       SELECT digest FROM hosted_manifests WHERE repository = ?1 AND digest = ?2";
            let there: Option<String> =
                transaction.query_row(sql, [repository, reference], |row| row.get(0)).optional()?;
            match check(there.as_deref()) {
                Ok(()) => put_manifest(transaction, repository, manifest, (tags, 0)).map(Ok),
                refused => Ok(refused),
            }
        })
    }

    /// Keeps a manifest of another registry's in a [`Store::cached_repository`], for as long as somebody asks for it now and then.
    /// `now` is seconds since the epoch.
    pub fn cache_manifest(
        &self,
        repository: &str,
        manifest: &HostedManifest,
        tags: &[String],
        now: i64,
    ) -> Result<(), StoreError> {
        self.write("keep a manifest of a repository", |transaction| {
            put_manifest(transaction, repository, manifest, (tags, now))
        })
    }

    /// Returns a manifest by its digest.
    pub fn hosted_manifest(
        &self,
        repository: &str,
        digest: &str,
    ) -> Result<Option<HostedManifest>, StoreError> {
        self.read("look for a manifest of a repository", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM hosted_manifests WHERE repository = ?1 AND digest = ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_row([repository, digest], manifest_in).optional()?;
            Ok(found.flatten())
        })
    }

    /// Returns the name of the repository that caches one of another registry. Nobody can push to a repository of such a name.
    pub fn cached_repository(registry: &str, repository: &str) -> String {
        format!("{registry}:{repository}")
    }

    /// Notes that somebody asked for a manifest that is cached. `now` is seconds since the epoch.
    pub fn use_hosted_manifest(&self, repository: &str, digest: &str, now: i64) -> Result<(), StoreError> {
        let long_ago = now.saturating_sub(EXACTLY);
        let known: Option<i64> = self.read("look for a manifest of a repository", |connection| {
            let sql = "SELECT used FROM hosted_manifests WHERE repository = ?1 AND digest = ?2";
            connection.query_row(sql, [repository, digest], |row| row.get(0)).optional()
        })?;
        if known.is_none_or(|used| used > long_ago) {
            return Ok(());
        }
        self.write("note the use of a manifest", |transaction| {
            let sql = "UPDATE hosted_manifests SET used = ?3 WHERE repository = ?1 AND digest = ?2";
            transaction.execute(sql, params![repository, digest, now]).map(drop)
        })
    }

    /// Returns the digest that a tag stands for.
    pub fn hosted_tag(&self, repository: &str, tag: &str) -> Result<Option<String>, StoreError> {
        self.read("look for a tag", |connection| {
            let sql = "SELECT digest FROM hosted_tags WHERE repository = ?1 AND tag = ?2";
            connection.query_row(sql, [repository, tag], |row| row.get(0)).optional()
        })
    }

    /// Removes a manifest with its tags; returns whether there was one.
    pub fn drop_hosted_manifest(&self, repository: &str, digest: &str) -> Result<bool, StoreError> {
        self.free("remove a manifest", |transaction| {
            let sql = "DELETE FROM hosted_tags WHERE repository = ?1 AND digest = ?2";
            transaction.execute(sql, [repository, digest])?;
            let sql = "DELETE FROM hosted_manifests WHERE repository = ?1 AND digest = ?2";
            Ok(transaction.execute(sql, [repository, digest])? > 0)
        })
    }

    /// Removes a tag and not what it stands for; returns whether there was one.
    pub fn drop_hosted_tag(&self, repository: &str, tag: &str) -> Result<bool, StoreError> {
        self.drop_hosted_tag_if::<std::convert::Infallible>(repository, tag, |_| Ok(())).map(|Ok(had)| had)
    }

    /// Removes a tag as [`Store::drop_hosted_tag`] does, unless `check` objects to the digest that it stands for. Nobody else comes in
    /// between.
    pub fn drop_hosted_tag_if<E>(
        &self,
        repository: &str,
        tag: &str,
        check: impl Fn(&str) -> Result<(), E>,
    ) -> Result<Result<bool, E>, StoreError> {
        self.free("remove a tag", |transaction| {
            let sql = "SELECT digest FROM hosted_tags WHERE repository = ?1 AND tag = ?2";
            let there: Option<String> =
                transaction.query_row(sql, [repository, tag], |row| row.get(0)).optional()?;
            if let Some(Err(refused)) = there.as_deref().map(&check) {
                return Ok(Err(refused));
            }
            let sql = "DELETE FROM hosted_tags WHERE repository = ?1 AND tag = ?2";
            Ok(Ok(transaction.execute(sql, [repository, tag])? > 0))
        })
    }

    /// Returns at most `limit` tags that come after `last`, in the order of their bytes; `None` if there is no such repository.
    pub fn hosted_tags(
        &self,
        repository: &str,
        last: &str,
        limit: usize,
    ) -> Result<Option<Vec<String>>, StoreError> {
        self.read("list tags", |connection| {
            let sql = "SELECT 1 FROM hosted_manifests WHERE repository = ?1 LIMIT 1";
            if connection.query_row(sql, [repository], |_| Ok(())).optional()?.is_none() {
                return Ok(None);
            }
            let sql = "SELECT tag FROM hosted_tags WHERE repository = ?1 AND tag > ?2 ORDER BY tag LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let tags = statement.query_map(params![repository, last, limit], |row| row.get(0))?;
            tags.collect::<Result<_, _>>().map(Some)
        })
    }

    /// Returns at most `limit` repositories that come after `last`, in the order of their bytes.
    pub fn hosted_repositories(&self, last: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read("list repositories", |connection| {
            let sql = "SELECT DISTINCT repository FROM hosted_manifests WHERE repository > ?1
                       AND instr(repository, ':') = 0 ORDER BY repository LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement.query_map(params![last, limit], |row| row.get(0))?.collect()
        })
    }

    /// Returns the manifests of a repository whose subject has this digest, in the order of their digests.
    pub fn hosted_referrers(
        &self,
        repository: &str,
        subject: &str,
    ) -> Result<Vec<HostedManifest>, StoreError> {
        self.read("list referrers", |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM hosted_manifests WHERE repository = ?1 AND subject = ?2 ORDER BY digest"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map([repository, subject], manifest_in)?;
            found.filter_map(Result::transpose).collect()
        })
    }

    /// Returns the digests of the bytes that are blobs of repositories.
    pub(crate) fn hosted_bytes(&self) -> Result<HashSet<String>, StoreError> {
        self.read("see what repositories have", |connection| {
            let mut statement = connection.prepare_cached("SELECT DISTINCT blob FROM hosted_blobs")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Forgets blobs that no manifest of their repository has come to name, and returns the hex digests of the bytes that the
    /// others need.
    pub(crate) fn hosted_needs(&self, now: i64) -> Result<HashSet<String>, StoreError> {
        self.free("see what repositories need", |transaction| {
            // What was noted while the clock was wrong would stay until then.
            let future = now.saturating_add(EXACTLY);
            transaction.execute("UPDATE hosted_blobs SET since = ?1 WHERE since > ?2", [now, future])?;
            transaction.execute("UPDATE hosted_manifests SET used = ?1 WHERE used > ?2", [now, future])?;
            let unused = now.saturating_sub(CACHED);
            let sql = "DELETE FROM hosted_manifests WHERE instr(repository, ':') > 0 AND used < ?1";
            transaction.execute(sql, [unused])?;
            let sql = "DELETE FROM hosted_tags WHERE instr(repository, ':') > 0 AND NOT EXISTS
                       (SELECT 1 FROM hosted_manifests AS one
                        WHERE one.repository = hosted_tags.repository AND one.digest = hosted_tags.digest)";
            transaction.execute(sql, [])?;
            let found = needs(transaction, now)?;
            for (repository, digest) in found.surplus {
                let sql = "DELETE FROM hosted_blobs WHERE repository = ?1 AND digest = ?2";
                transaction.execute(sql, [repository, digest])?;
            }
            Ok(found.needed)
        })
    }

    /// Returns what [`Store::hosted_needs`] would, and forgets nothing.
    pub(crate) fn hosted_now(&self, now: i64) -> Result<HashSet<String>, StoreError> {
        self.read("see what repositories need", |connection| Ok(needs(connection, now)?.needed))
    }
}

/// What repositories need, and what no longer.
struct Needs {
    /// Hex digests of bytes.
    needed: HashSet<String>,
    /// Blobs that no manifest has come to name, by repository and digest.
    surplus: Vec<(String, String)>,
}

fn needs(connection: &Connection, now: i64) -> rusqlite::Result<Needs> {
    let sql = "SELECT repository, blob, blobs FROM hosted_manifests
               WHERE instr(repository, ':') = 0 OR used >= ?1";
    let manifests: Vec<(String, String, String)> = connection
        .prepare(sql)?
        .query_map([now.saturating_sub(CACHED)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let blobs: Vec<(String, String, String, i64)> = connection
        .prepare("SELECT repository, digest, blob, since FROM hosted_blobs")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    let named: HashSet<(&str, &str)> = manifests
        .iter()
        .flat_map(|(repository, _, blobs)| blobs.split(' ').map(move |blob| (repository.as_str(), blob)))
        .collect();
    let hex = |blob: &str| blob.strip_prefix("sha256:").unwrap_or(blob).to_owned();
    let mut needed: HashSet<String> = manifests.iter().map(|(_, blob, _)| hex(blob)).collect();
    let mut surplus = Vec::new();
    for (repository, digest, blob, since) in &blobs {
        if named.contains(&(repository.as_str(), digest.as_str())) || since.saturating_add(GRACE) > now {
            needed.insert(hex(blob));
        } else {
            surplus.push((repository.clone(), digest.clone()));
        }
    }
    Ok(Needs { needed, surplus })
}

fn put_blob(
    transaction: &Transaction<'_>,
    repository: &str,
    digest: &str,
    blob: Digest,
    now: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO hosted_blobs (repository, digest, blob, since) VALUES (?1, ?2, ?3, ?4)";
    transaction.execute(sql, params![repository, digest, blob.to_string(), now]).map(drop)
}

fn put_manifest(
    transaction: &Transaction<'_>,
    repository: &str,
    manifest: &HostedManifest,
    (tags, used): (&[String], i64),
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO hosted_manifests
               (repository, digest, blob, size, media_type, subject, artifact_type, annotations, blobs, used)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let size = i64::try_from(manifest.size).unwrap_or(i64::MAX);
    transaction.execute(
        sql,
        params![
            repository,
            manifest.digest,
            manifest.blob.to_string(),
            size,
            manifest.media_type,
            manifest.subject,
            manifest.artifact_type,
            manifest.annotations,
            manifest.blobs.join(" "),
            used
        ],
    )?;
    let sql = "INSERT OR REPLACE INTO hosted_tags (repository, tag, digest) VALUES (?1, ?2, ?3)";
    for tag in tags {
        transaction.execute(sql, [repository, tag, &manifest.digest])?;
    }
    Ok(())
}

/// Returns the manifest in a row; `None` if the row is damaged.
fn manifest_in(row: &Row<'_>) -> rusqlite::Result<Option<HostedManifest>> {
    let (blob, size, blobs): (String, i64, String) = (row.get(1)?, row.get(2)?, row.get(7)?);
    let Ok(blob) = blob.parse() else { return Ok(None) };
    Ok(Some(HostedManifest {
        digest: row.get(0)?,
        blob,
        size: size.unsigned_abs(),
        media_type: row.get(3)?,
        subject: row.get(4)?,
        artifact_type: row.get(5)?,
        annotations: row.get(6)?,
        blobs: blobs.split(' ').filter(|blob| !blob.is_empty()).map(str::to_owned).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str, blob: Digest, names: &[String]) -> HostedManifest {
        HostedManifest {
            digest: format!("sha512:{text}"),
            blob,
            size: 4,
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            subject: Some("sha256:subject".to_owned()),
            artifact_type: String::new(),
            annotations: "{}".to_owned(),
            blobs: names.to_vec(),
        }
    }

    #[test]
    fn a_repository_has_what_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let blob = store.put_blob(b"text").unwrap();
        let one = manifest("one", blob, &[]);
        store.host_manifest("web", &one, &["b".to_owned(), "a".to_owned()]).unwrap();
        assert_eq!(store.hosted_manifest("web", "sha512:one").unwrap(), Some(one.clone()));
        assert_eq!(store.hosted_manifest("other", "sha512:one").unwrap(), None);
        assert_eq!(store.hosted_tags("web", "", 9).unwrap().unwrap(), ["a", "b"]);
        assert_eq!(store.hosted_tags("web", "a", 9).unwrap().unwrap(), ["b"]);
        assert_eq!(store.hosted_tags("other", "", 9).unwrap(), None);
        assert_eq!(store.hosted_repositories("", 9).unwrap(), ["web"]);
        let held: Vec<(u64, bool)> = store
            .ledger(&HashSet::new(), 0)
            .unwrap()
            .blobs
            .iter()
            .map(|(_, size, holders)| (*size, holders.registry))
            .collect();
        assert_eq!(held, [(4, true)]);
        assert_eq!(store.hosted_referrers("web", "sha256:subject").unwrap(), [one]);
        assert!(store.drop_hosted_tag("web", "a").unwrap() && !store.drop_hosted_tag("web", "a").unwrap());
        assert_eq!(store.hosted_tag("web", "b").unwrap().as_deref(), Some("sha512:one"));
        assert!(store.drop_hosted_manifest("web", "sha512:one").unwrap());
        assert_eq!(store.hosted_tag("web", "b").unwrap(), None, "a tag goes with what it stands for");
    }

    #[test]
    fn what_is_cached_stays_while_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let blob = store.put_blob(b"text").unwrap();
        let cached = Store::cached_repository("docker.io", "library/web");
        let now = 100 * GRACE;
        let (one, tags) = (manifest("one", blob, &[]), ["1".to_owned()]);
        store.host_manifest("web", &one, &tags).unwrap();
        store.cache_manifest(&cached, &one, &tags, now - CACHED).unwrap();
        store.hosted_needs(now).unwrap();
        store.use_hosted_manifest(&cached, "sha512:one", now).unwrap();
        // Not worth writing down.
        store.use_hosted_manifest(&cached, "sha512:one", now + EXACTLY - 1).unwrap();
        store.hosted_needs(now + CACHED).unwrap();
        assert!(store.hosted_manifest(&cached, "sha512:one").unwrap().is_some());
        store.host_blob(&cached, "sha256:cached", blob, now).unwrap();
        assert_eq!(store.hosted_blob(&cached, "sha256:cached").unwrap(), Some(blob));
        assert_eq!(store.hosted_anywhere("sha256:cached").unwrap(), None, "it may be private there");
        assert_eq!(store.hosted_repositories("", 9).unwrap(), ["web"]);
        store.hosted_needs(now + CACHED + 1).unwrap();
        assert_eq!(store.hosted_manifest(&cached, "sha512:one").unwrap(), None);
        assert_eq!(store.hosted_tag(&cached, "1").unwrap(), None);
        assert!(store.hosted_manifest("web", "sha512:one").unwrap().is_some(), "what was pushed stays");
    }

    #[test]
    fn blobs_stay_while_a_manifest_names_them_or_may_come_to() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [named, young, old] = ["named", "young", "old"].map(|text| {
            let blob = store.put_blob(text.as_bytes()).unwrap();
            (blob.to_string(), blob)
        });
        let now = 10 * GRACE;
        for ((digest, blob), since) in [(&named, 0), (&young, now - 1), (&old, 0)] {
            store.host_blob("web", digest, *blob, since).unwrap();
        }
        let document = store.put_blob(b"manifest").unwrap();
        store.host_manifest("web", &manifest("one", document, std::slice::from_ref(&named.0)), &[]).unwrap();
        let needed = store.hosted_needs(now).unwrap();
        let want: HashSet<String> = [named.1, young.1, document].iter().map(Digest::hex).collect();
        assert_eq!(needed, want);
        assert_eq!(store.hosted_blob("web", &old.0).unwrap(), None);
        assert_eq!(store.hosted_anywhere(&named.0).unwrap(), Some(named.1));
        // Whoever is told that it is there may send no more than a manifest.
        let relied = |now| store.rely_on_hosted_blob("web", &young.0, now).unwrap();
        assert_eq!(relied(now + GRACE / 2), Some(young.1));
        assert!(store.hosted_needs(now + GRACE + 1).unwrap().contains(&young.1.hex()));
        assert_eq!(store.rely_on_hosted_blob("web", &old.0, now).unwrap(), None);
        assert!(store.drop_hosted_blob("web", &named.0).unwrap());
        store.drop_hosted_manifest("web", "sha512:one").unwrap();
        assert_eq!(store.hosted_needs(now).unwrap(), HashSet::from([young.1.hex()]));
    }
    #[test]
    fn what_was_noted_while_the_clock_was_wrong_grows_old_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let blob = store.put_blob(b"text").unwrap();
        let is_needed = |now| store.hosted_needs(now).unwrap().contains(&blob.hex());
        store.host_blob("web", &blob.to_string(), blob, 1000 * GRACE).unwrap();
        assert!(is_needed(10 * GRACE) && is_needed(11 * GRACE - 1) && !is_needed(11 * GRACE));
        // Whoever relies on one has it for half a day at least, whenever that was.
        store.host_blob("web", &blob.to_string(), blob, 10 * GRACE).unwrap();
        let relied = store.rely_on_hosted_blob("web", &blob.to_string(), 9 * GRACE + 1).unwrap();
        assert_eq!(relied, Some(blob));
        assert!(is_needed(9 * GRACE + 2) && is_needed(10 * GRACE) && !is_needed(10 * GRACE + 1));
    }
}

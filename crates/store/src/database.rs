//! The store itself: its directories and its database.

mod reading;

use std::fmt;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::atomic::atomic_write;
use crate::disk::Disk;
use crate::{StoreError, chains, reserve};

/// Version of the tables: each step of [`STEPS`] makes the next one.
const SCHEMA: i64 = 8;

/// The write-ahead log is written back into the tables at this length: one megabyte.
const LOG_PAGES: i64 = 256;

const STEPS: [&str; 8] = [TABLES, CONTAINERS, REGISTRIES, HOSTED, CACHED, INDEXES, chains::TABLE, RESULTS];

/// Version 8: several results of a step under one key.
const RESULTS: &str = "
ALTER TABLE steps RENAME TO steps_of_one_result;
CREATE TABLE steps (
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    position TEXT NOT NULL,
    inputs TEXT NOT NULL,
    result TEXT NOT NULL,
    layer TEXT,
    used INTEGER NOT NULL,
    PRIMARY KEY (key, state)
) STRICT;
INSERT INTO steps SELECT key, CASE json_valid(result) WHEN 1 THEN coalesce(result ->> 'state', '') ELSE '' END,
    position, inputs, result, layer, used FROM steps_of_one_result ORDER BY rowid;
DROP TABLE steps_of_one_result;
CREATE INDEX steps_by_position ON steps (position, used);
";

/// Version 6: names of indexes that hold what is attested of an image.
const INDEXES: &str = "ALTER TABLE images ADD COLUMN index_digest TEXT;";

/// Version 5: when a manifest of another registry was asked for last; what only readers of the store know.
const CACHED: &str = "
ALTER TABLE hosted_manifests ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
INSERT INTO secrets (name, value) VALUES ('proof', hex(randomblob(32)));
";

/// Version 4: what our own registry serves.
const HOSTED: &str = "
CREATE TABLE hosted_blobs (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    blob TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT;
CREATE INDEX hosted_blobs_by_digest ON hosted_blobs (digest);
CREATE TABLE hosted_manifests (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    subject TEXT,
    artifact_type TEXT NOT NULL,
    annotations TEXT NOT NULL,
    blobs TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT;
CREATE INDEX hosted_manifests_by_subject ON hosted_manifests (repository, subject);
CREATE TABLE hosted_tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT;
";

/// Version 3: what registries call images, and layers that are compressed.
const REGISTRIES: &str = "
CREATE TABLE digests (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    image_id TEXT NOT NULL,
    manifest TEXT NOT NULL,
    PRIMARY KEY (repository, digest, image_id)
) STRICT;
CREATE TABLE packed (
    diff_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    packer TEXT NOT NULL,
    PRIMARY KEY (diff_id, digest)
) STRICT;
";

/// Version 2: containers, and what chains and power cuts need to know about layers.
const CONTAINERS: &str = "
ALTER TABLE layers ADD COLUMN notes TEXT NOT NULL DEFAULT '{}';
ALTER TABLE layers ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE layers ADD COLUMN synced INTEGER NOT NULL DEFAULT 1;
CREATE TABLE fixups (
    chain TEXT PRIMARY KEY,
    layer TEXT
) STRICT;
CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image_id TEXT NOT NULL,
    image TEXT NOT NULL,
    created INTEGER NOT NULL,
    snapshot TEXT,
    document TEXT NOT NULL
) STRICT;
";

const TABLES: &str = "
CREATE TABLE images (
    name TEXT PRIMARY KEY,
    image_id TEXT NOT NULL,
    manifest TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX images_by_id ON images (image_id);
CREATE TABLE layers (
    id TEXT PRIMARY KEY,
    diff_id TEXT UNIQUE,
    size INTEGER NOT NULL
) STRICT;
CREATE TABLE steps (
    key TEXT PRIMARY KEY,
    position TEXT NOT NULL,
    inputs TEXT NOT NULL,
    result TEXT NOT NULL,
    layer TEXT,
    used INTEGER NOT NULL
) STRICT;
CREATE INDEX steps_by_position ON steps (position, used);
";

/// What a power cut may do to a change that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it is on the disk when the call returns.
    Synced,
    /// Undo it, with those that were made after it in this way. For what means nothing after a restart; costs no wait for the disk.
    Lazy,
}

impl Durability {
    /// Spec: <https://sqlite.org/pragma.html#pragma_synchronous>, of a write-ahead log.
    fn apply(self, connection: &Connection) -> rusqlite::Result<()> {
        let level = match self {
            Self::Synced => "FULL",
            Self::Lazy => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", level)
    }
}

/// One store: a directory that several processes share.
#[derive(Clone)]
pub struct Store {
    root: Arc<PathBuf>,
    connection: Arc<Mutex<Connection>>,
    pub(crate) disk: Arc<Disk>,
    is_read_only: bool,
    /// When the machine started, by the store's own time.
    pub(crate) begun: Arc<OnceLock<i64>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store below `root` and makes what is missing of it.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let make = |path: &Path| {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(StoreError::io("make the directory", path))
        };
        if reading::is_to_be_read(root) {
            refuse_network(root)?;
            return Self::open_to_read(root);
        }
        make(root)?;
        refuse_network(root)?;
        for dir in ["blobs/sha256", "layers", "active", "containers", "tmp", "empty"] {
            make(&root.join(dir))?;
        }
        // Many files come at once below each directory of this; where the file system does not know of that, nothing is lost.
        let active = root.join("active");
        let opened = std::fs::File::open(&active).map_err(StoreError::io("open", &active))?;
        if let Err(error) = shipway_linux::spread_directories(opened) {
            tracing::debug!(%error, "states are not spread over the disk");
        }
        let disk = Arc::new(Disk::open(&root.join("layers"))?);
        let layout = root.join("oci-layout");
        if !layout.exists() {
            atomic_write(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#, 0o600)
                .map_err(StoreError::io("write", &layout))?;
        }
        let path = root.join("store.db");
        refuse_lost(root, &path)?;
        let connection = match open_tables(&path) {
            Err(StoreError::NoSpace { .. }) if reserve::spend(root) => {
                let opened = open_tables(&path);
                reserve::regain(root);
                opened?
            }
            other => other?,
        };
        let connection = Arc::new(Mutex::new(connection));
        let begun = Arc::default();
        let store = Self { root: Arc::new(root.to_owned()), connection, disk, is_read_only: false, begun };
        store.forget_unsynced()?;
        reserve::keep(root);
        Ok(store)
    }

    /// Opens a store of which nothing can be changed.
    fn open_to_read(root: &Path) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(&root.join("layers"))?);
        let connection = Arc::new(Mutex::new(reading::open_tables(root, SCHEMA)?));
        let begun = Arc::default();
        Ok(Self { root: Arc::new(root.to_owned()), connection, disk, is_read_only: true, begun })
    }

    /// Returns whether nothing in the store can be changed, because it is mounted so.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Returns the directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder for unfinished work; anything in it may be deleted when nobody works.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Runs `work` in a transaction that nobody else's writes come between.
    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.try_write(operation, Durability::Synced, |transaction| work(transaction).map(Ok))
    }

    /// Runs `work` in a transaction whose change need not outlast a power cut before the next synced one: what is recorded of work
    /// that is under way.
    pub(crate) fn write_lazily<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.try_write(operation, Durability::Lazy, |transaction| work(transaction).map(Ok))
    }

    /// Runs `work` in a transaction as [`Store::write`] does; nothing changes if it refuses.
    pub(crate) fn try_write<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let in_transaction = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            if value.is_ok() {
                transaction.commit()?;
            }
            Ok(value)
        };
        let done = match durability {
            Durability::Synced => in_transaction(&mut connection),
            Durability::Lazy => durability.apply(&connection).and_then(|()| {
                let done = in_transaction(&mut connection);
                Durability::Synced.apply(&connection)?;
                done
            }),
        };
        done.map_err(self.database_error(operation))?
    }

    /// Runs `work` on what is recorded now.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.lock()).map_err(self.database_error(operation))
    }

    fn database_error(&self, operation: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        full_or_broken(operation, self.root.join("store.db"))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SQLite's shared memory and our renames need one kernel that sees all users of the directory.
fn refuse_network(root: &Path) -> Result<(), StoreError> {
    let found = shipway_linux::filesystem_magic(root).map_err(StoreError::io("examine", root))?;
    let kind = match found {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "a Windows share",
        0x0102_1997 => "9p (a directory of the host of a virtual machine)",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0xf15f => "eCryptfs",
        _ => return Ok(()),
    };
    Err(StoreError::FileSystem { path: root.to_owned(), kind })
}

/// A new database beside layers and blobs would know nothing of them, and the next collection would remove them all. SQLite would also
/// remove the log of one that is empty.
fn refuse_lost(root: &Path, database: &Path) -> Result<(), StoreError> {
    let is_empty = || match fs_err::metadata(database) {
        Ok(found) => Ok(found.len() == 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(StoreError::io("examine", database)(error)),
    };
    // Once more at the end: whoever makes the first layer meanwhile has made the database before.
    if is_empty()? && is_used(root) && is_empty()? {
        return Err(StoreError::Lost { path: database.to_owned() });
    }
    Ok(())
}

/// Whether there are layers or blobs.
fn is_used(root: &Path) -> bool {
    ["layers", "blobs/sha256"].iter().any(|name| {
        let entries = fs_err::read_dir(root.join(name));
        entries.is_ok_and(|mut entries| entries.next().is_some())
    })
}

/// Tells a full disk from other troubles of the database at `path`.
fn full_or_broken(operation: &'static str, path: PathBuf) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| {
        if reserve::is_full(&source, path.parent().unwrap_or(&path)) {
            StoreError::io(operation, &path)(io::Error::new(io::ErrorKind::StorageFull, source))
        } else {
            StoreError::database(operation, path)(source)
        }
    }
}

fn open_tables(path: &Path) -> Result<Connection, StoreError> {
    make_private(path);
    let mut connection =
        Connection::open(path).map_err(full_or_broken("open the tables", path.to_owned()))?;
    prepare(&mut connection, path)?;
    Ok(connection)
}

/// What stands in the database is nobody else's business, wherever the root is; files beside it get its permissions. Where that
/// fails, so does what comes next, which says more.
fn make_private(path: &Path) {
    let made = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let Ok(found) = made.and_then(|file| file.metadata()) else { return };
    if found.permissions().mode() & 0o077 == 0 {
        return;
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // The files beside it come and go.
        drop(std::fs::set_permissions(name, std::fs::Permissions::from_mode(0o600)));
    }
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let known =
        |connection: &Connection| connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let settings = |connection: &mut Connection| -> rusqlite::Result<Option<i64>> {
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        Durability::Synced.apply(connection)?;
        // A checkpoint at the end of each command would cost more than all else that most of them do. The log stays short instead, for
        // the next one reads it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        if known(connection)? < SCHEMA {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been first.
            let done = usize::try_from(known(&transaction)?).unwrap_or(STEPS.len());
            if done == 0 && path.parent().is_some_and(is_used) {
                return Ok(None);
            }
            for step in STEPS.iter().skip(done) {
                transaction.execute_batch(step)?;
            }
            if done < STEPS.len() {
                transaction.pragma_update(None, "user_version", SCHEMA)?;
            }
            transaction.commit()?;
        }
        known(connection).map(Some)
    };
    let found = settings(connection).map_err(full_or_broken("prepare the tables", path.to_owned()))?;
    // Its log had all that there was, and is damaged.
    let found = found.ok_or_else(|| StoreError::Lost { path: path.to_owned() })?;
    if found > SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shipway_oci::Digest;

    use super::*;

    #[test]
    fn what_is_no_database_is_said_to_be_damaged_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        fs_err::write(&path, "garbage".repeat(2000)).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert_eq!(fs_err::read(&path).unwrap().len(), 14_000);
    }

    #[test]
    fn a_database_that_is_gone_is_not_made_anew_beside_what_it_knew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let remove = || {
            for suffix in ["", "-wal", "-shm"] {
                fs_err::remove_file(dir.path().join(format!("store.db{suffix}"))).unwrap();
            }
        };
        let store = Store::open(dir.path()).unwrap();
        drop(store);
        remove();
        // There was nothing to know.
        let store = Store::open(dir.path()).unwrap();
        let blob = store.put_blob(b"kept").unwrap();
        drop(store);
        remove();
        for _ in 0..2 {
            let error = Store::open(dir.path()).unwrap_err();
            assert!(matches!(error, StoreError::Lost { .. }), "{error}");
        }
        fs_err::write(&path, "").unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Lost { .. })));
        // One that says nothing is as good as none.
        Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
        assert!(path.metadata().unwrap().len() > 0);
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Lost { .. })));
        assert!(dir.path().join("blobs/sha256").join(blob.hex()).exists());
    }

    #[test]
    fn the_database_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let modes = || {
            let mode = |name: &str| dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
            ["store.db", "store.db-wal", "store.db-shm"].map(mode)
        };
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(modes(), [0o600; 3]);
        drop(store);
        // One of before.
        let database = dir.path().join("store.db");
        std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
        let _store = Store::open(dir.path()).unwrap();
        assert_eq!(modes(), [0o600; 3]);
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let connection = Connection::open(dir.path().join("store.db")).unwrap();
        connection.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        assert!(
            matches!(Store::open(dir.path()), Err(StoreError::Newer { found, .. }) if found == SCHEMA + 1)
        );
    }

    #[test]
    fn tables_of_the_first_version_are_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let connection = Connection::open(dir.path().join("store.db")).unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection.execute("INSERT INTO layers VALUES ('old', NULL, 7)", []).unwrap();
        let key = Digest::of(b"key");
        let step = "INSERT INTO steps VALUES (?1, 'here', '[]', '{\"state\":\"left\"}', 'old', 8)";
        connection.execute(step, [key.to_string()]).unwrap();
        drop(connection);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.layers().unwrap()[0].size, 7);
        let [step] = store.cache_get(&key).unwrap().try_into().unwrap();
        assert_eq!((&*step.state, &*step.position, step.layer.unwrap().as_str()), ("left", "here", "old"));
        assert_eq!(store.containers().unwrap(), []);
    }

    #[test]
    fn a_root_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs_err::write(&file, "").unwrap();
        let error = Store::open(&file).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}

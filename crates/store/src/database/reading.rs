//! Stores that cannot be written: what is in them can be listed, looked at and saved all the same.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;
use crate::layer_rows::boot;

/// Returns whether there is a store on a file system where nothing can be changed.
pub(super) fn is_to_be_read(root: &Path) -> bool {
    shipway_linux::is_read_only(root).unwrap_or(false) && root.join("store.db").exists()
}

/// Opens the tables of a store as they are.
pub(super) fn open_tables(root: &Path, schema: i64) -> Result<Connection, StoreError> {
    let path = root.join("store.db");
    let failed = |source| StoreError::database("read the tables", path.clone())(source);
    let lacks = |lack: &str| StoreError::ReadOnly { path: root.to_owned(), lack: lack.to_owned() };
    let connection = match (length(&path, "-wal")?, length(&path, "-shm")?) {
        // Others may be able to write it.
        (Some(_), Some(_)) => Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY),
        // Nothing is in the log that is not in the tables.
        (None | Some(0), _) => open_alone(&path),
        (Some(_), None) => {
            return Err(lacks("its database has a log that can be read only with a file beside it"));
        }
    };
    let connection = connection.map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > schema {
        return Err(StoreError::Newer { path, found, known: schema });
    }
    if found < schema {
        let lack = format!("an older version has written it (schema {found}, this one reads {schema})");
        return Err(lacks(&lack));
    }
    let sql = "SELECT count(*) FROM layers WHERE synced = 0 AND boot <> ?1";
    let damaged: i64 = connection.query_row(sql, [boot()], |row| row.get(0)).map_err(failed)?;
    if damaged > 0 {
        tracing::warn!(
            layers = damaged,
            "layers that were not on the disk at the last shutdown may be damaged"
        );
    }
    Ok(connection)
}

/// Opens a database that nobody changes, without the files beside it.
fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    let name = path.as_os_str().as_encoded_bytes().iter().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    });
    let uri = format!("file:{}?immutable=1", name.collect::<String>());
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// Returns the length of a file beside the database, if it is there.
fn length(path: &Path, suffix: &str) -> Result<Option<u64>, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    match fs_err::metadata(&name) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("examine", Path::new(&name))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::database::SCHEMA;

    #[test]
    fn tables_are_read_without_the_files_beside_them_if_all_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        // A name that means something in an address.
        let root = dir.path().join("50% ?a=b#c");
        let count = || {
            let tables = open_tables(&root, SCHEMA)?;
            let sql = "SELECT count(*) FROM images";
            Ok::<i64, StoreError>(tables.query_row(sql, [], |row| row.get(0)).unwrap())
        };
        let store = Store::open(&root).unwrap();
        let id = store.put_blob(b"x").unwrap();
        store.tag(&"web:1".parse().unwrap(), id, id, 1).unwrap();
        drop(store);
        assert_eq!(count().unwrap(), 1);
        let beside = |suffix: &str| root.join(format!("store.db{suffix}"));
        fs_err::remove_file(beside("-shm")).unwrap();
        let error = count().unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
        let written = Connection::open(beside("")).unwrap();
        written.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(written);
        for suffix in ["-shm", "-wal"] {
            // Whoever closes a database last removes them.
            drop(fs_err::remove_file(beside(suffix)));
        }
        assert_eq!(count().unwrap(), 1);
        assert!(!beside("-wal").exists() && !beside("-shm").exists());
        for (schema, want) in [(SCHEMA - 1, "newer version"), (SCHEMA + 1, "an older version has written it")]
        {
            let error = open_tables(&root, schema).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}

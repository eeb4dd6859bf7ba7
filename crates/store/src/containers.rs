//! Which containers `run` and `create` made.

use rusqlite::{OptionalExtension as _, Row, params};
use shipway_oci::Digest;

use crate::{Durability, Store, StoreError};

/// What is recorded of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image it runs.
    pub image_id: Digest,
    /// How the user named the image.
    pub image: String,
    /// When it was made, seconds since the epoch.
    pub created: i64,
    /// Its writable snapshot.
    pub snapshot: Option<String>,
    /// How it was made: command and options, as JSON.
    pub document: String,
}

const COLUMNS: &str = "id, name, image_id, image, created, snapshot, document";

impl Store {
    /// Records a container; its name must be free.
    pub fn add_container(&self, row: &ContainerRow, durability: Durability) -> Result<(), StoreError> {
        self.try_write("record a container", durability, |transaction| {
            let sql = "SELECT id FROM containers WHERE name = ?1";
            let holder: Option<String> =
                transaction.query_row(sql, [&row.name], |found| found.get(0)).optional()?;
            if let Some(id) = holder {
                return Ok(Err(StoreError::ContainerName { name: row.name.clone(), id }));
            }
            let sql = format!("INSERT INTO containers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
            let image_id = row.image_id.to_string();
            let values =
                params![row.id, row.name, image_id, row.image, row.created, row.snapshot, row.document];
            transaction.execute(&sql, values)?;
            Ok(Ok(()))
        })
    }

    /// Returns all containers, newest first.
    pub fn containers(&self) -> Result<Vec<ContainerRow>, StoreError> {
        self.read("list the containers", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM containers ORDER BY created DESC, rowid DESC");
            connection.prepare_cached(&sql)?.query_map([], row_of)?.filter_map(Result::transpose).collect()
        })
    }

    /// Finds a container by name, id or the beginning of its id.
    pub fn container(&self, text: &str) -> Result<ContainerRow, StoreError> {
        let all = self.containers()?;
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Some(row) = all.iter().find(|row| row.name == name || row.id == text) {
            return Ok(row.clone());
        }
        let fitting: Vec<&ContainerRow> =
            all.iter().filter(|row| !text.is_empty() && row.id.starts_with(text)).collect();
        match fitting.as_slice() {
            [] => Err(StoreError::NoContainer(text.to_owned())),
            [row] => Ok((*row).clone()),
            several => Err(StoreError::Ambiguous {
                prefix: text.to_owned(),
                candidates: several.iter().map(|row| row.id.chars().take(12).collect()).collect(),
            }),
        }
    }

    /// Replaces the document of a container.
    pub fn update_container(&self, id: &str, document: &str) -> Result<(), StoreError> {
        self.write("change a container", |transaction| {
            let sql = "UPDATE containers SET document = ?2 WHERE id = ?1";
            transaction.execute(sql, [id, document]).map(drop)
        })
    }

    /// Forgets a container; one that is gone is no error.
    pub fn remove_container(&self, id: &str, durability: Durability) -> Result<(), StoreError> {
        self.free_as("forget a container", durability, |transaction| {
            transaction.execute("DELETE FROM containers WHERE id = ?1", [id]).map(drop)
        })
    }

    /// Refuses if a container uses the image. Compat: `docker rmi` asks this before the last name goes.
    pub fn refuse_image_in_use(&self, image_id: &Digest) -> Result<(), StoreError> {
        let user = self.containers()?.into_iter().find(|row| row.image_id == *image_id);
        match user {
            Some(row) => Err(StoreError::ImageInUse {
                image: image_id.short(),
                container: row.id.chars().take(12).collect(),
            }),
            None => Ok(()),
        }
    }
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<Option<ContainerRow>> {
    let Ok(image_id) = row.get::<_, String>(2)?.parse() else { return Ok(None) };
    Ok(Some(ContainerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        image_id,
        image: row.get(3)?,
        created: row.get(4)?,
        snapshot: row.get(5)?,
        document: row.get(6)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_by_name_and_id_and_names_are_unique() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let row = |id: &str, name: &str| ContainerRow {
            id: id.repeat(32),
            name: name.to_owned(),
            image_id: Digest::of(b"image"),
            image: "web".to_owned(),
            created: 7,
            snapshot: None,
            document: "{}".to_owned(),
        };
        store.add_container(&row("ab", "one"), Durability::Synced).unwrap();
        store.add_container(&row("ac", "two"), Durability::Lazy).unwrap();
        let taken = store.add_container(&row("ad", "one"), Durability::Lazy);
        assert!(matches!(taken, Err(StoreError::ContainerName { id, .. }) if id.starts_with("abab")));
        for text in ["one", "/one", "ab"] {
            assert_eq!(store.container(text).unwrap().name, "one", "{text}");
        }
        assert!(matches!(store.container("a"), Err(StoreError::Ambiguous { .. })));
        assert!(matches!(store.container(""), Err(StoreError::NoContainer(_))));
        assert!(store.refuse_image_in_use(&Digest::of(b"image")).is_err());
        store.remove_container(&"ab".repeat(32), Durability::Synced).unwrap();
        store.remove_container(&"ac".repeat(32), Durability::Lazy).unwrap();
        store.refuse_image_in_use(&Digest::of(b"image")).unwrap();
    }
}

//! Records of containers.

use rusqlite::{OptionalExtension as _, Row, Transaction};
use serde_json::Value;
use shipway_oci::Digest;

use crate::database::Durable;
use crate::error::database_error;
use crate::{Store, StoreError};

/// The record of a container that `run` or `create` made.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRow {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image it runs.
    pub image_id: Digest,
    /// How the user named the image.
    pub image: String,
    /// When it was made: seconds since 1970. Set by [`Store::add_container`].
    pub created_at: i64,
    /// Its writable snapshot.
    pub snapshot: Option<String>,
    /// How it was made: command and options.
    pub document: Value,
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<Option<ContainerRow>> {
    let (image, document) = (row.get::<_, String>(2)?, row.get::<_, String>(6)?);
    let Ok(image_id) = image.parse() else { return Ok(None) };
    Ok(Some(ContainerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        image_id,
        image: row.get(3)?,
        created_at: row.get(4)?,
        snapshot: row.get(5)?,
        document: serde_json::from_str(&document).unwrap_or_default(),
    }))
}

const SELECT: &str = "SELECT id, name, image, image_name, created, snapshot, document FROM containers";

impl Store {
    /// Records a container; a name in use is a conflict. Returns the record with its time.
    pub fn add_container(&self, row: &ContainerRow) -> Result<ContainerRow, StoreError> {
        let action = "record a container";
        let created_at = self.try_write(action, Durable::Yes, |transaction| {
            if let Some(id) = id_of_name(transaction, &row.name).map_err(database_error(action))? {
                // Compat: docker names the holder and both ways out.
                return Err(StoreError::Conflict {
                    reason: format!("the container name `/{}` is already in use by container {id}", row.name),
                    hint: format!("remove it (`shipway rm {}`) or choose another name", row.name),
                });
            }
            transaction
                .query_row(
                    "INSERT INTO containers VALUES (?1, ?2, ?3, ?4, unixepoch(), ?5, ?6) RETURNING created",
                    (
                        &row.id,
                        &row.name,
                        row.image_id.to_string(),
                        &row.image,
                        &row.snapshot,
                        row.document.to_string(),
                    ),
                    |row| row.get(0),
                )
                .map_err(database_error(action))
        })?;
        Ok(ContainerRow { created_at, ..row.clone() })
    }

    /// Returns all containers, the newest first.
    pub fn containers(&self) -> Result<Vec<ContainerRow>, StoreError> {
        let rows: Vec<Option<ContainerRow>> = self.read("list the containers", |connection| {
            connection
                .prepare_cached(&format!("{SELECT} ORDER BY created DESC, id"))?
                .query_map([], row_of)?
                .collect()
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Returns the container with this name, ID or start of an ID.
    pub fn container(&self, text: &str) -> Result<ContainerRow, StoreError> {
        let all = self.containers()?;
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Some(row) = all.iter().find(|row| row.name == name || row.id == text) {
            return Ok(row.clone());
        }
        let fitting: Vec<&ContainerRow> =
            all.iter().filter(|row| !text.is_empty() && row.id.starts_with(text)).collect();
        match fitting.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(StoreError::NotFound { kind: "container", name: text.to_owned() }),
            several => Err(StoreError::Ambiguous {
                text: text.to_owned(),
                candidates: several.iter().map(|row| row.id.chars().take(20).collect()).collect(),
            }),
        }
    }

    /// Replaces the document of a container.
    pub fn update_container(&self, id: &str, document: &Value) -> Result<(), StoreError> {
        self.write("change a container", Durable::Later, |transaction| {
            transaction
                .execute("UPDATE containers SET document = ?2 WHERE id = ?1", (id, document.to_string()))
        })?;
        Ok(())
    }

    /// Forgets a container; returns whether there was one.
    pub fn remove_container(&self, id: &str) -> Result<bool, StoreError> {
        let changed = self.write("forget a container", Durable::Yes, |transaction| {
            transaction.execute("DELETE FROM containers WHERE id = ?1", [id])
        })?;
        Ok(changed > 0)
    }
}

fn id_of_name(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<String>> {
    transaction.query_row("SELECT id FROM containers WHERE name = ?1", [name], |row| row.get(0)).optional()
}

//! Is the tree of a layer still what its diff ID says, and making it so again.

use std::io::Read;
use std::path::Path;

use shipway_oci::DiffId;
use shipway_store::{LayerId, LayerRow, is_of_the_moment};

use crate::whole::{measure, unpack_whole};
use crate::{LayerError, LayerStore as _, Unpacked, decompress};

/// What is known of the files of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing is wrong with them, or nothing can be known.
    Sound,
    /// Something is, as the rest of a sentence.
    Faulty(String),
    /// Its archive would have to be unpacked once more, and nothing can be written.
    NotCompared,
}

impl Checked {
    fn of(fault: Option<String>) -> Self {
        fault.map_or(Self::Sound, Self::Faulty)
    }
}

impl Unpacked {
    /// Reads all files of a layer and returns what is wrong with them.
    ///
    /// A layer that was made here has the digest of its tree. The tree of one that came from elsewhere is compared with what its
    /// archive, which must be sound, gives once more.
    pub fn check(&self, row: &LayerRow) -> Result<Checked, LayerError> {
        let Some(diff_id) = row.diff_id else { return Ok(Checked::Sound) };
        if row.id.is_indexed() {
            return self.check_indexed(row, diff_id).map(Checked::of);
        }
        let path = self.path(&row.id);
        let found = match measure(&path, &row.notes) {
            Ok((found, _)) if found == diff_id => return Ok(Checked::Sound),
            Ok((found, _)) => found,
            Err(error) if !path.is_dir() => {
                tracing::debug!(layer = %row.id, %error, "a layer is gone");
                return Ok(Checked::Sound);
            }
            Err(error) if is_of_the_moment(&error) => return Err(error),
            Err(error) => return Ok(Checked::Faulty(format!("cannot be read: {}", with_cause(&error)))),
        };
        let Some(mut archive) = self.archive(diff_id)? else {
            return Ok(Checked::Faulty(format!("has other files: their digest is {found}")));
        };
        if self.store.is_read_only() {
            return Ok(Checked::NotCompared);
        }
        let again = self.prepare(&[])?;
        if let Err(error) = unpack_whole(&again.upper, &mut *archive, Some(diff_id), None) {
            if is_of_the_moment(&error) {
                return Err(error);
            }
            tracing::debug!(layer = %row.id, %error, "a layer cannot be compared with its archive");
            return Ok(Checked::Sound);
        }
        let (wanted, _) = measure(&again.upper, &row.notes)?;
        Ok(Checked::of((wanted != found).then(|| "has other files than its archive".to_owned())))
    }

    /// Makes the tree of a layer again of the archive that it came from; `false` if that is not here. Nothing may be mounted on it.
    pub fn restore(&self, id: &LayerId, diff_id: DiffId) -> Result<bool, LayerError> {
        if id.is_indexed() {
            return self.restore_indexed(id, diff_id);
        }
        let Some(mut archive) = self.archive(diff_id)? else { return Ok(false) };
        let again = self.prepare(&[])?;
        unpack_whole(&again.upper, &mut *archive, Some(diff_id), None)?;
        self.replace(&self.path(id), &again.upper)?;
        Ok(true)
    }

    /// Puts a directory in the place of that of a layer, or where it should be.
    pub(crate) fn replace(&self, path: &Path, by: &Path) -> Result<(), LayerError> {
        if path.exists() {
            shipway_linux::exchange(by, path).map_err(LayerError::io("replace", path))?;
        } else {
            fs_err::rename(by, path).map_err(LayerError::io("name", path))?;
        }
        self.store.flush().map_err(|source| LayerError::Sync { source })
    }

    /// Opens the archive that a layer came from, decompressed.
    pub(crate) fn archive(&self, diff_id: DiffId) -> Result<Option<Box<dyn Read + Send>>, LayerError> {
        let forms = self.store.packed(diff_id).map_err(|source| LayerError::LookUp { source })?;
        for packed in forms {
            match self.store.open_blob(&packed.digest) {
                Ok(file) => return decompress(Box::new(file)).map(Some),
                Err(source) if is_of_the_moment(&source) => return Err(LayerError::LookUp { source }),
                Err(_gone) => {}
            }
        }
        Ok(None)
    }
}

fn with_cause(error: &LayerError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

//! Keeping the collector away from what an operation uses.

use crate::database::Durable;
use crate::{Store, StoreError, owner};

/// While it lives, nothing that was made or looked up since is removed. Void when its process has died.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    id: i64,
}

impl Store {
    /// Takes a lease; each operation that looks things up and relies on them needs one.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let id = self.write("take a lease", Durable::Later, |transaction| {
            transaction.execute("UPDATE clock SET seq = seq + 1", [])?;
            transaction.execute(
                "INSERT INTO leases (owner, seq) SELECT ?1, seq FROM clock",
                [owner::this_process()],
            )?;
            Ok(transaction.last_insert_rowid())
        })?;
        Ok(Lease { store: self.clone(), id })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let done = self.store.write("end a lease", Durable::Later, |transaction| {
            transaction.execute("DELETE FROM leases WHERE id = ?1", [self.id])
        });
        if let Err(error) = done {
            tracing::warn!(%error, "a lease stays until this process ends");
        }
    }
}

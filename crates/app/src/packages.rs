//! The packages in what a build makes.

use serde_json::Value;
use shipway_build::{BuildError, Event, Inventory, InventoryQuestion, Progress as _, SeamError};
use shipway_linux::Root;
use shipway_scan::{Described, spdx};

use crate::progress::Show;

/// So many notes are told one by one; all are in the document.
const TOLD: usize = 5;

/// Lists packages, and tells where that is not all there is.
#[derive(Debug)]
pub(crate) struct Packages(pub(crate) Show);

impl Inventory for Packages {
    fn spdx(&self, files: &Root, question: &InventoryQuestion<'_>) -> Result<Value, SeamError> {
        let found = shipway_scan::Inventory::read(files, &|| question.stop.is_set());
        let found = found.ok_or_else(|| SeamError::new(BuildError::Cancelled))?;
        let more = found.notes.len().saturating_sub(TOLD);
        let rest = (more > 0).then(|| format!("{more} more of that kind are told in the document"));
        for note in found.notes.iter().take(TOLD).chain(&rest) {
            let message = format!("the list of packages is not complete: {note}");
            self.0.event(&Event::Warning { message: &message, span: None, rule: None });
        }
        let described = Described {
            names: question.names,
            platform: question.platform,
            image_id: question.image_id,
            created: question.created,
            tool: concat!("shipway-", env!("CARGO_PKG_VERSION")),
        };
        Ok(spdx(&found, &described))
    }
}

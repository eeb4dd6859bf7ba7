//! Which image is meant by a name that stands for several, also where indexes list indexes.

use shipway_oci::{Index, Manifest, Platform};

use super::One;
use crate::RegistryError;
use crate::documents::{Content, Document, Wanted};
use crate::select::{platforms, select_fitting, select_indexes, select_only};

/// So deep may indexes lie within each other, and so many are asked for in all.
const DEPTH: usize = 4;
const INDEXES: usize = 32;

/// A search for an image.
struct Search<'a> {
    wanted: &'a Platform,
    /// The indexes on the way to where it is now.
    way: Vec<Document>,
    /// How many more may be asked for.
    budget: usize,
    /// What else there is.
    available: Vec<String>,
}

impl One<'_> {
    /// Returns the manifest that a document is, or the one for the platform that it lists, and itself if it lists that.
    pub(super) fn choose(
        &self,
        named: Document,
    ) -> Result<(Document, Manifest, Option<Document>), RegistryError> {
        if let Content::Manifest(manifest) = &named.content {
            let manifest = Manifest::clone(manifest);
            return Ok((named, manifest, None));
        }
        let host = Platform::host();
        let wanted = self.choice.platform().unwrap_or(&host);
        let mut search = Search { wanted, way: Vec::new(), budget: INDEXES, available: Vec::new() };
        let Some(document) = self.search(named, &mut search)? else {
            return Err(RegistryError::Platform {
                what: self.reference.familiar(),
                wanted: wanted.clone(),
                available: search.available,
            });
        };
        let Content::Manifest(manifest) = &document.content else {
            return Err(self.sources.origin().wrong("index", "it lists an index as an image".to_owned()));
        };
        let manifest = Manifest::clone(manifest);
        for index in &search.way {
            self.put(&index.bytes)?;
        }
        let direct = search.way.pop().filter(|_| search.way.is_empty());
        Ok((document, manifest, direct))
    }

    /// Looks for the image in an index and those that it lists; the way that leads there stays in the search.
    fn search(&self, index: Document, search: &mut Search<'_>) -> Result<Option<Document>, RegistryError> {
        let Content::Index(listed) = &index.content else {
            return Err(self.sources.origin().wrong("index", "it lists an image as an index".to_owned()));
        };
        let listed = Index::clone(listed);
        search.available.extend(platforms(&listed));
        search.way.push(index);
        let chosen = select_fitting(&listed, search.wanted);
        if let Some(chosen) = chosen {
            return self.sources.fetch_document(Wanted::Described(chosen)).map(Some);
        }
        for within in select_indexes(&listed, search.wanted) {
            let Some(left) = search.budget.checked_sub(1).filter(|_| search.way.len() < DEPTH) else {
                let reason =
                    format!("indexes lie within each other deeper than {DEPTH}, or are more than {INDEXES}");
                return Err(self.sources.origin().wrong("index", reason));
            };
            search.budget = left;
            let document = self.sources.fetch_document(Wanted::Described(within))?;
            if let Some(found) = self.search(document, search)? {
                return Ok(Some(found));
            }
        }
        if let Some(only) = select_only(&listed) {
            return self.sources.fetch_document(Wanted::Described(only)).map(Some);
        }
        search.way.pop();
        Ok(None)
    }
}

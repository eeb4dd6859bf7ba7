//! Tags, which a request with a condition changes only where they still stand for what it wants.

use object_store::{Error, ObjectStoreExt as _, PutMode, PutPayload};

use super::record::{CROWD, TRIES};
use super::{Bucket, folded, part_of};
use crate::conditions::Condition;
use crate::path::Target;
use crate::refusal::Refusal;

impl Bucket {
    /// Returns the digest that a tag stands for.
    pub(super) async fn tag(&self, name: &str, tag: &str) -> Result<Option<String>, Error> {
        let found = self.read(&self.at(["tags", &folded(name), tag])).await?;
        Ok(found.filter(|digest| !digest.is_empty()).map(|digest| text(&digest)))
    }

    /// Refuses a change where something else is there than it wants.
    pub(super) async fn check(
        &self,
        name: &str,
        (reference, condition): (&Target, &Condition),
    ) -> Result<(), Refusal> {
        if condition.is_none() {
            return Ok(());
        }
        let there = match reference {
            Target::Tag(tag) => self.tag(name, tag).await?,
            Target::Digest(digest) => {
                let path = self.at(["manifests", &folded(name), &part_of(digest)]);
                self.length(&path).await?.map(|_bytes| digest.to_string())
            }
        };
        condition.check(there.as_deref())
    }

    /// Lets a tag stand for a manifest, if it stands for what the condition wants.
    pub(super) async fn put_tag(
        &self,
        name: &str,
        (tag, digest): (&str, &str),
        condition: &Condition,
    ) -> Result<(), Refusal> {
        let path = self.at(["tags", &folded(name), tag]);
        if condition.is_none() {
            self.objects.put(&path, PutPayload::from(digest.to_owned())).await?;
            return Ok(());
        }
        for _ in 0..TRIES {
            let slot = self.slot(&path, 0).await?;
            let there = slot.as_ref().filter(|slot| !slot.bytes.is_empty()).map(|slot| text(&slot.bytes));
            condition.check(there.as_deref())?;
            let mode = slot.map_or(PutMode::Create, |slot| PutMode::Update(slot.version));
            if self.write_if(&path, digest.as_bytes().to_vec(), mode).await?.is_some() {
                return Ok(());
            }
            // Where the answer was lost the write is repeated, and finds what it has done itself.
            if self.tag(name, tag).await?.as_deref() == Some(digest) {
                return Ok(());
            }
        }
        Err(Refusal::busy(CROWD))
    }

    /// Removes a tag, if it stands for what the condition wants; returns whether there was one. Where there is a condition an empty object
    /// stays, as storage does not remove on conditions.
    pub(super) async fn drop_tag(
        &self,
        name: &str,
        tag: &str,
        condition: &Condition,
    ) -> Result<bool, Refusal> {
        let path = self.at(["tags", &folded(name), tag]);
        if condition.is_none() {
            let had = self.tag(name, tag).await?.is_some();
            self.clear(&path).await?;
            return Ok(had);
        }
        for _ in 0..TRIES {
            let Some(slot) = self.slot(&path, 0).await?.filter(|slot| !slot.bytes.is_empty()) else {
                return Ok(false);
            };
            condition.check(Some(&text(&slot.bytes)))?;
            if self.replace(&path, Vec::new(), slot.version).await? {
                return Ok(true);
            }
        }
        Err(Refusal::busy(CROWD))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! A push by somebody who uses the same store: its blobs are not sent, but lent to the repository.

use http::HeaderMap;
use shipway_oci::Digest;
use shipway_store::{HostedManifest, MOUNT_PROOF};

use crate::answer::text;
use crate::keep::Keep;
use crate::refusal::Refusal;
use crate::server::Registry;

/// Gives a repository those blobs of a manifest that are in the store, if whoever sends it proves that the store is open to them
/// anyway; returns what proves to them that this is the store. What is not here is missed when the manifest is taken in.
pub(crate) async fn lend(
    registry: &Registry,
    name: &str,
    manifest: &HostedManifest,
    headers: &HeaderMap,
) -> Result<Option<String>, Refusal> {
    let (Some(proof), Keep::Store(_)) = (text(headers, MOUNT_PROOF), &registry.inner.keep) else {
        return Ok(None);
    };
    let [name, host, proof] = [name, text(headers, "host").unwrap_or_default(), proof].map(str::to_owned);
    let named: Vec<Digest> = manifest.blobs.iter().filter_map(|blob| blob.parse().ok()).collect();
    let (digest, now, has_archives) =
        (manifest.blob, registry.now(), registry.inner.config.archives.is_some());
    registry
        .block(move |store| {
            // Digests are compared: how long that takes tells nothing of the proof itself.
            let right = store.mount_proof(&host, &name, &digest)?;
            if Digest::of(right.as_bytes()) != Digest::of(proof.as_bytes()) {
                return Ok(None);
            }
            let _lease = store.lease()?;
            let mut here = Vec::new();
            for blob in named {
                if store.has_blob(&blob) || (has_archives && store.holds(&blob)?) {
                    here.push(blob);
                }
            }
            store.lend_blobs(&name, &here, now)?;
            Ok(Some(store.mount_answer(&host, &name, &digest)?))
        })
        .await
}

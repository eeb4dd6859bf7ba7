//! From a tree to an image in the store.

use serde::{Deserialize, Serialize};
use shipway_layers::{Layer, Snapshot};
use shipway_oci::{
    ContainerConfig, Descriptor, Digest, HistoryEntry, ImageConfig, Manifest, MediaType, Platform, Reference,
    RootFs,
};
use shipway_store::{LayerId, Store, StoreError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::configure::PATH;
use crate::error::BootstrapError;
use crate::request::{Bootstrapped, Deps};

/// What a bootstrap made, as it is remembered for the next time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Remembered {
    image_id: Digest,
    manifest: Digest,
    packages: Vec<(String, String)>,
}

/// What an image is of.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// `debian:bookworm` and what else it is to be called.
    pub(crate) names: Vec<Reference>,
    pub(crate) codename: String,
    pub(crate) created: OffsetDateTime,
    pub(crate) packages: Vec<(String, String)>,
}

/// Makes a layer and an image of the tree and gives it its names.
pub(crate) fn commit(
    deps: &Deps<'_>,
    snapshot: Snapshot,
    subject: Subject,
    now: i64,
) -> Result<Bootstrapped, BootstrapError> {
    let of_layers = |source| BootstrapError::Layer { source };
    let of_store = |source| BootstrapError::Store { source };
    let id = deps.layers.commit(snapshot).map_err(of_layers)?;
    let layer = deps.layers.diff_id(&id).map_err(of_layers)?;
    deps.layers.sync().map_err(of_layers)?;
    let (image_id, manifest) = write_documents(deps.store, &layer, &subject).map_err(of_store)?;
    for name in &subject.names {
        deps.store.tag(name, manifest, image_id, now).map_err(of_store)?;
    }
    Ok(Bootstrapped {
        image_id,
        manifest,
        layer: layer.id,
        names: subject.names,
        codename: subject.codename,
        packages: subject.packages,
        cached: false,
    })
}

fn write_documents(store: &Store, layer: &Layer, subject: &Subject) -> Result<(Digest, Digest), StoreError> {
    let created = subject.created.format(&Rfc3339).ok();
    let name = subject.names.first().map(Reference::familiar).unwrap_or_default();
    let platform = Platform::host();
    let config = ImageConfig {
        created: created.clone(),
        architecture: platform.architecture,
        os: platform.os,
        config: ContainerConfig {
            env: vec![PATH.to_owned()],
            cmd: Some(vec!["bash".to_owned()]),
            ..ContainerConfig::default()
        },
        rootfs: RootFs::of_layers(vec![layer.diff_id]),
        history: vec![HistoryEntry {
            created,
            created_by: Some(format!("shipway bootstrap {name}")),
            ..HistoryEntry::default()
        }],
        ..ImageConfig::default()
    };
    let config = serde_json::to_vec(&config).expect("an image config is always JSON");
    let image_id = store.put_blob(&config)?;
    let length = u64::try_from(config.len()).unwrap_or(u64::MAX);
    let manifest = Manifest::new(
        Descriptor::new(MediaType::OCI_CONFIG, image_id, length),
        vec![Descriptor::new(MediaType::OCI_LAYER, layer.diff_id.0, layer.size)],
    );
    let manifest = serde_json::to_vec(&manifest).expect("a manifest is always JSON");
    Ok((image_id, store.put_blob(&manifest)?))
}

impl Remembered {
    pub(crate) fn of(made: &Bootstrapped) -> Self {
        Self { image_id: made.image_id, manifest: made.manifest, packages: made.packages.clone() }
    }

    /// Returns the image if all of it is still there, under the names it should have.
    pub(crate) fn find(
        self,
        deps: &Deps<'_>,
        names: &[Reference],
        codename: &str,
        now: i64,
    ) -> Option<Bootstrapped> {
        let config = deps.store.config(&self.image_id).ok()?;
        let manifest_is_there = deps.store.has_blob(&self.manifest);
        let layers: Vec<LayerId> = deps.layers.resolve(&config.rootfs.diff_ids).ok()?;
        let layer = layers.into_iter().next().filter(|_| manifest_is_there)?;
        for name in names {
            deps.store.tag(name, self.manifest, self.image_id, now).ok()?;
        }
        Some(Bootstrapped {
            image_id: self.image_id,
            manifest: self.manifest,
            layer,
            names: names.to_vec(),
            codename: codename.to_owned(),
            packages: self.packages,
            cached: true,
        })
    }
}

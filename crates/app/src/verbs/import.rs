//! `shipway import`: a root file system becomes an image of one layer.

use std::io::Read;

use shipway_layers::LayerStore as _;
use shipway_oci::{
    ContainerConfig, Descriptor, HistoryEntry, ImageConfig, Manifest, MediaType, Platform, RootFs,
};
use shipway_store::Found;

use crate::archive::take_in;
use crate::cli::ImportArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::local_names;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &ImportArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let name = args.name.as_deref().map(local_names::parse_new).transpose()?;
    let mut archive: Box<dyn Read + Send> = match args.file.as_str() {
        "-" => Box::new(std::io::stdin()),
        file => Box::new(fs_err::File::open(file).map_err(|error| {
            Failure::new(
                format!("could not open the archive: {error}"),
                "name a tar archive, or `-` for the standard input",
            )
        })?),
    };
    // What is taken in must not be collected before it has a name.
    let _lease = engine.store.lease()?;
    let (layer, described) = take_in(engine, &mut *archive, None)?;
    // What only a chain shows to be wrong is refused before the image has a name.
    engine.layers.resolve(&[layer.diff_id])?;
    let created = now_rfc3339();
    let platform = Platform::host();
    let config = ImageConfig {
        created: Some(created.clone()),
        architecture: platform.architecture,
        os: platform.os,
        config: ContainerConfig::default(),
        rootfs: RootFs::of_layers(vec![layer.diff_id]),
        history: vec![HistoryEntry {
            created: Some(created),
            comment: Some(format!("Imported from {}", args.file)),
            ..HistoryEntry::default()
        }],
        ..ImageConfig::default()
    };
    let json =
        |error: serde_json::Error| Failure::new(format!("could not write the image: {error}"), "report this");
    let config = serde_json::to_vec(&config).map_err(json)?;
    let image_id = engine.store.put_blob(&config)?;
    let config = Descriptor::new(MediaType::OCI_CONFIG, image_id, config.len() as u64);
    let manifest = Manifest::new(config, vec![described]);
    let manifest = engine.store.put_blob(&serde_json::to_vec(&manifest).map_err(json)?)?;
    engine.layers.sync()?;
    match &name {
        Some(name) => engine.store.tag(name, manifest, image_id, clock::now())?,
        None => engine.store.keep_unnamed(&Found::new(image_id, manifest), clock::now())?,
    }
    ui.line(image_id);
    Ok(0)
}

fn now_rfc3339() -> String {
    let now =
        time::OffsetDateTime::from_unix_timestamp(clock::now()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

//! `shipway inspect`

mod container;

use serde_json::{Value, json};
use shipway_layers::LayerStore as _;
use shipway_oci::Reference;

use crate::cli::NamesArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &NamesArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let mut found = Vec::new();
    let mut missing = false;
    for name in &args.names {
        match one(engine, name) {
            Ok(document) => found.push(document),
            Err(failure) => {
                ui.note(failure.text());
                missing = true;
            }
        }
    }
    ui.line(indented(&Value::Array(found)));
    Ok(u8::from(missing))
}

/// Compat: docker, containers win over images.
fn one(engine: &Engine, name: &str) -> Result<Value, Failure> {
    if let Ok(row) = engine.store.container(name) {
        return container::document(engine, &row);
    }
    let found = engine.store.resolve(name)?;
    let config = engine.store.config(&found.image_id)?;
    let names: Vec<Reference> = engine
        .store
        .images()?
        .into_iter()
        .filter(|image| image.image_id == found.image_id)
        .filter_map(|image| image.name)
        .collect();
    let layers = engine.layers.resolve(&config.rootfs.diff_ids)?;
    let lowers = engine.layers.view(&layers);
    let lowers: Vec<String> = lowers.iter().map(|path| path.display().to_string()).collect();
    Ok(json!({
        "Id": found.image_id,
        "RepoTags": names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": names.iter().map(|name| format!("{}@{}", name.familiar_name(), found.manifest)).collect::<Vec<_>>(),
        "Parent": "",
        "Comment": config.history.last().and_then(|entry| entry.comment.clone()).unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author.clone().unwrap_or_default(),
        "Config": config.config,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": engine.store.image_size(&found.image_id)?,
        "GraphDriver": { "Name": "overlay2", "Data": { "LowerDir": lowers.join(":") } },
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "Metadata": {},
    }))
}

/// Compat: docker indents by four.
fn indented(value: &Value) -> String {
    let two = serde_json::to_string_pretty(value).unwrap_or_default();
    let line = |line: &str| {
        let text = line.trim_start();
        format!("{}{text}", " ".repeat((line.len() - text.len()) * 2))
    };
    two.lines().map(line).collect::<Vec<_>>().join("\n")
}

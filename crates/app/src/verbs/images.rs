//! `shipway images`

use shipway_oci::Reference;
use shipway_store::ImageRecord;

use crate::cli::{ImagesArgs, ListFormat};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::table;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &ImagesArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let wanted: Option<Reference> = args.name.as_deref().map(str::parse).transpose()?;
    let with_tag =
        args.name.as_deref().is_some_and(|name| name.rsplit('/').next().is_some_and(|end| end.contains(':')));
    let fits = |image: &&ImageRecord| match (&wanted, &image.name) {
        (None, _) => true,
        (Some(wanted), Some(name)) => {
            name.name() == wanted.name() && (!with_tag || name.tag() == wanted.tag())
        }
        (Some(_), None) => false,
    };
    let images = engine.store.images()?;
    let mut rows = vec![["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned).to_vec()];
    for image in images.iter().filter(fits) {
        let id = if args.no_trunc { image.image_id.to_string() } else { image.image_id.short() };
        if args.quiet {
            ui.line(&id);
            continue;
        }
        let repository = image.name.as_ref().map_or("<none>".to_owned(), Reference::familiar_name);
        let tag = image.name.as_ref().and_then(Reference::tag).unwrap_or("<none>").to_owned();
        let size = clock::size(engine.store.image_size(&image.image_id)?);
        let created = format!("{} ago", clock::ago(clock::now() - image.named));
        match args.format {
            ListFormat::Table => rows.push(vec![repository, tag, id, created, size]),
            ListFormat::Json => ui.line(serde_json::json!({
                "Repository": repository, "Tag": tag, "ID": id, "CreatedSince": created, "Size": size,
            })),
        }
    }
    if !args.quiet && args.format == ListFormat::Table {
        for line in table::render(&rows) {
            ui.line(line);
        }
    }
    Ok(0)
}

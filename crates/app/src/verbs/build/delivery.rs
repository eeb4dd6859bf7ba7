//! What becomes of a result: it is written where outputs want it, pushed, and written down.

use std::path::Path;

use serde_json::{Value, json};
use shipway_build::{BuildRequest, Built};
use shipway_distribution::{Departure, Progress, Pushed};
use shipway_oci::{Digest, MediaType, Reference};
use shipway_store::Found;

use super::output::Output;
use crate::cli::BuildArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::Show;
use crate::pulls::Silent;
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;
use crate::verbs::registry::push;

/// Returns what is to be pushed, and how; adds to the names what outputs name.
pub(super) fn departures(
    tags: &mut Vec<Reference>,
    push: bool,
    outputs: &[Output],
) -> Result<Vec<(Reference, Departure)>, Failure> {
    let typed = tags.clone();
    // The flag is for all names; what `-t` names also goes with an output that names nothing.
    let flag = push.then(Departure::default);
    let mut of_typed = flag;
    let mut all = Vec::new();
    for output in outputs {
        let Output::Image { names, push } = output else { continue };
        if !push.is_some_and(|how| how.by_digest) {
            tags.extend(names.iter().cloned());
        }
        match push.or(flag) {
            Some(how) if names.is_empty() => of_typed = Some(how),
            Some(how) => all.extend(names.iter().map(|name| (name.clone(), how))),
            None => {}
        }
    }
    if let Some(how) = of_typed {
        if typed.is_empty() && all.is_empty() {
            return Err(Failure::new("there is no name to push", "give it one: -t REGISTRY/NAME"));
        }
        all.extend(typed.into_iter().map(|name| (name, how)));
    }
    Ok(all)
}

pub(super) fn push_one(
    engine: &Engine,
    (name, found): (&Reference, &Found),
    how: Departure,
    (show, quiet): (&Show, bool),
    ui: &mut Ui,
) -> Result<Pushed, Failure> {
    if let Some(shown) = show.departures(&name.familiar()) {
        let pushed = push::send(engine, (name, found), how, &shown);
        shown.end_raw(pushed.as_ref().err().map(Failure::text));
        return pushed;
    }
    let shown = (!quiet).then(|| Transfers::on_stderr(Direction::Push, None));
    let progress: &dyn Progress = shown.as_ref().map_or(&Silent, |shown| shown);
    let pushed = push::send(engine, (name, found), how, progress)?;
    if !quiet {
        ui.note(format!("pushed {}@{}", name.familiar(), pushed.digest));
    }
    Ok(pushed)
}

/// Writes down what was built and pushed, and forgets what is only wanted elsewhere.
pub(super) fn write_down(
    engine: &Engine,
    request: &BuildRequest,
    (built, pushed): (&Built, Option<Pushed>),
    (outputs, args): (&[Output], &BuildArgs),
) -> Result<(), Failure> {
    let to_file = |file: &Path, text: String, flag: &str| {
        shipway_store::atomic_write(file, text.as_bytes(), 0o644).map_err(|error| {
            let hint = format!("name another file: {flag} FILE");
            Failure::new(format!("could not write `{}`: {error}", file.display()), hint)
        })
    };
    if let Some(file) = &args.iidfile {
        to_file(file, id_of(built).to_string(), "--iidfile")?;
    }
    if let Some(file) = &args.metadata_file {
        to_file(file, metadata(request, built, pushed).to_string(), "--metadata-file")?;
    }
    // Compat: buildx, what only goes elsewhere is no image of this machine's.
    if request.tags.is_empty() && !outputs.is_empty() && !outputs.iter().any(Output::is_image) {
        forget(engine, built)?;
    }
    Ok(())
}

/// Forgets an image that has no name; its steps stay cached.
fn forget(engine: &Engine, built: &Built) -> Result<(), Failure> {
    let images = engine.store.images()?;
    let mut same = images.iter().filter(|image| image.image_id == built.image_id);
    let used = engine.store.containers()?.iter().any(|row| row.image_id == built.image_id);
    if !used && same.all(|image| image.name.is_none()) {
        engine.store.remove_image(built.image_id)?;
    }
    Ok(())
}

/// Returns what `--metadata-file` says: of what was pushed as it is there, where layers are compressed. Compat: buildx, these names.
fn metadata(request: &BuildRequest, built: &Built, pushed: Option<Pushed>) -> Value {
    let names: Vec<String> = request.tags.iter().map(ToString::to_string).collect();
    let image = (MediaType::OCI_MANIFEST, built.manifest, built.manifest_size);
    let index = built.index.map(|(digest, size)| (MediaType::OCI_INDEX, digest, size));
    let (kind, digest, size) = match &pushed {
        Some(pushed) => (pushed.media_type.as_str(), pushed.digest, pushed.size),
        None => index.unwrap_or(image),
    };
    let mut said = json!({
        "buildx.build.ref": format!("shipway/{}", built.image_id.short()),
        "containerimage.config.digest": built.image_id.to_string(),
        "containerimage.digest": digest.to_string(),
        "containerimage.descriptor": { "mediaType": kind, "digest": digest.to_string(), "size": size },
    });
    if !names.is_empty() {
        said["image.name"] = json!(names.join(","));
    }
    said
}

/// Returns what a build is called: its image, or the index of those for several platforms. Compat: buildx.
pub(super) fn id_of(built: &Built) -> Digest {
    match built.index {
        Some((index, _)) if !built.parts.is_empty() => index,
        _ => built.image_id,
    }
}

#[cfg(test)]
mod tests {
    use super::super::output;
    use super::*;

    #[test]
    fn each_output_is_pushed_as_it_says_and_the_flag_is_for_all() {
        let of = |typed: &[&str], push: bool, outputs: &[&str]| {
            let name = |text: &&str| text.parse::<Reference>().unwrap();
            let mut tags: Vec<Reference> = typed.iter().map(name).collect();
            let outputs: Vec<String> = outputs.iter().map(|text| (*text).to_owned()).collect();
            let all = departures(&mut tags, push, &output::parse(&outputs).unwrap().all);
            let said = |(name, how): &(Reference, Departure)| {
                format!("{}{}", name.familiar_name(), if how.packing.is_some() { " packed" } else { "" })
            };
            let names: Vec<String> = tags.iter().map(Reference::familiar_name).collect();
            all.map(|all| (names.join(" "), all.iter().map(said).collect::<Vec<_>>().join(", "))).ok()
        };
        let zstd = "compression=zstd";
        for (name, typed, push, outputs, want) in [
            ("the flag", &["a"][..], true, &[][..], Some(("a", "a"))),
            ("nothing to push", &[], true, &[], None),
            (
                "an output without a name",
                &["a"],
                false,
                &[&*format!("type=registry,{zstd}")],
                Some(("a", "a packed")),
            ),
            (
                "one pushed, one kept",
                &[],
                false,
                &["type=image,name=a", &format!("type=registry,name=b,{zstd}")],
                Some(("a b", "b packed")),
            ),
            ("the flag for an output's name", &["a"], true, &["type=image,name=b"], Some(("a b", "b, a"))),
            ("by digest", &[], false, &["type=image,name=a,push-by-digest=true,push=true"], Some(("", "a"))),
        ] {
            let want = want.map(|(tags, pushed)| (tags.to_owned(), pushed.to_owned()));
            assert_eq!(of(typed, push, outputs), want, "case {name}");
        }
    }
}

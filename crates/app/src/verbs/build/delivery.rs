//! What becomes of a result: it is written where outputs want it, pushed, and written down.

use shipway_build::{BuildRequest, Built};
use shipway_distribution::{Departure, Progress, Pushed};
use shipway_oci::{Descriptor, Digest, MediaType, Reference};
use shipway_store::Found;

use super::metadata;
use super::output::{self, Form, Output};
use crate::cli::BuildArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::Show;
use crate::pulls::Silent;
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;
use crate::verbs::registry::push;

/// An image that is to be pushed under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    name: Reference,
    how: Departure,
    form: Form,
}

/// Where a result goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// What was typed as names of it.
    typed: Vec<Reference>,
    outputs: Vec<Output>,
    leaving: Vec<Leaving>,
    /// What is wanted of documents beside files.
    pub(super) documents: output::Wish,
    /// What an archive or a layout says of the result where it lists it.
    pub(super) said: Vec<(String, String)>,
}

/// What became of a result.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    /// What the build is called: as it is in the store, or where it went last if it does not stay there. Compat: buildx, by its config, or
    /// by the index of those for several platforms.
    pub(super) id: Digest,
    /// Digest of the image's config.
    pub(super) image_id: Digest,
    /// What it is where it went last: in a registry, an archive, or the store.
    pub(super) there: Descriptor,
}

impl Arrived {
    /// Returns what an image is in the store.
    pub(super) fn in_store(built: &Built, docker_types: bool) -> Self {
        let kind = match (built.index.is_some(), docker_types) {
            (true, true) => MediaType::DOCKER_INDEX,
            (true, false) => MediaType::OCI_INDEX,
            (false, true) => MediaType::DOCKER_MANIFEST,
            (false, false) => MediaType::OCI_MANIFEST,
        };
        let (digest, size) = built.index.unwrap_or((built.manifest, built.manifest_size));
        let image_id = built.image_id;
        let id = if built.parts.is_empty() { image_id } else { digest };
        Self { id, image_id, there: Descriptor::new(kind, digest, size) }
    }

    /// Returns the same after the image went elsewhere in another form. What the store has keeps its name.
    fn moved(self, image: &Built, there: Descriptor, is_kept: bool) -> Self {
        let image_id = image.image_id;
        let id = match is_kept {
            true => self.id,
            false if image.parts.is_empty() => image_id,
            false => there.digest,
        };
        Self { id, image_id, there }
    }
}

impl Wishes {
    /// Finds out what is to be pushed, and how; adds to the names what outputs name.
    pub(super) fn plan(
        tags: &mut Vec<Reference>,
        push: bool,
        mut outputs: Vec<Output>,
    ) -> Result<Self, Failure> {
        let typed = tags.clone();
        // Compat: buildx, `-t` is for archives, too, whatever they say.
        if !typed.is_empty() {
            outputs.iter_mut().for_each(Output::forget_names);
        }
        // The flag is for all names; what `-t` names also goes with an output that names nothing.
        let flag = push.then(Departure::default);
        let mut of_typed = flag.map(|how| (how, Form::default()));
        let mut leaving = Vec::new();
        for output in &outputs {
            let Output::Image { names, push, form } = output else { continue };
            if !push.is_some_and(|how| how.by_digest) {
                tags.extend(names.iter().cloned());
            }
            let sent = |how| move |name: &Reference| Leaving { name: name.clone(), how, form: *form };
            match push.or(flag) {
                Some(how) if names.is_empty() => of_typed = Some((how, *form)),
                Some(how) => leaving.extend(names.iter().map(sent(how))),
                None => {}
            }
        }
        if let Some((how, form)) = of_typed {
            if typed.is_empty() && leaving.is_empty() {
                return Err(Failure::new("there is no name to push", "give it one: -t REGISTRY/NAME"));
            }
            leaving.extend(typed.iter().map(|name| Leaving { name: name.clone(), how, form }));
        }
        Ok(Self { typed, outputs, leaving, ..Self::default() })
    }

    /// Returns whether something is written to the standard output.
    pub(super) fn uses_stdout(&self) -> bool {
        self.outputs.iter().any(Output::uses_stdout)
    }

    /// Returns whether the image itself stays in the store.
    fn is_kept(&self) -> bool {
        !self.typed.is_empty() || self.outputs.is_empty() || self.outputs.iter().any(Output::is_image)
    }

    /// Writes and pushes a result. The caller holds a lease.
    pub(super) fn deliver(
        &self,
        engine: &Engine,
        built: &Built,
        (show, quiet): (&Show, bool),
        ui: &mut Ui,
    ) -> Result<Arrived, Failure> {
        let mut arrived = Arrived::in_store(built, false);
        let mut shapes = Shapes { engine, built, known: Vec::new() };
        for output in &self.outputs {
            let form = output.form();
            let shaped = shapes.of(form)?;
            match output {
                Output::Image { names, .. } if form.docker_types && output.is_image() => {
                    name(engine, &shaped, if names.is_empty() { &self.typed } else { names })?;
                    arrived = Arrived::in_store(&shaped, true);
                }
                _ => {
                    if let Some(there) =
                        output::write(engine, &shaped, (output, self.documents, &self.said), ui)?
                    {
                        arrived = arrived.moved(&shaped, there, self.is_kept());
                    }
                }
            }
        }
        for Leaving { name, how, form } in &self.leaving {
            let shaped = shapes.of(*form)?;
            let pushed = push_one(engine, (name, &output::found(&shaped)), *how, (show, quiet), ui)?;
            let there = Descriptor::new(pushed.media_type, pushed.digest, pushed.size);
            arrived = arrived.moved(&shaped, there, self.is_kept());
        }
        Ok(arrived)
    }

    /// Writes down what became of a build, and forgets what is only wanted elsewhere.
    pub(super) fn write_down(
        &self,
        engine: &Engine,
        request: &BuildRequest,
        (built, arrived): (&Built, &Arrived),
        args: &BuildArgs,
    ) -> Result<(), Failure> {
        if let Some(file) = &args.iidfile {
            metadata::to_file(file, &arrived.id.to_string(), "--iidfile")?;
        }
        if let Some(file) = &args.metadata_file {
            let of_archives = self.outputs.iter().flat_map(Output::archive_names);
            let names: Vec<Reference> = request.tags.iter().chain(of_archives).cloned().collect();
            metadata::write(file, &metadata::of_build(engine, request, (built, arrived), (args, &names)))?;
        }
        // Compat: buildx, what only goes elsewhere is no image of this machine's.
        if !self.is_kept() {
            forget(engine, built)?;
        }
        Ok(())
    }
}

/// A result in the forms that were wanted so far.
struct Shapes<'a> {
    engine: &'a Engine,
    built: &'a Built,
    known: Vec<(Form, Built)>,
}

impl Shapes<'_> {
    fn of(&mut self, form: Form) -> Result<Built, Failure> {
        if let Some((_, shaped)) = self.known.iter().find(|(known, _)| *known == form) {
            return Ok(shaped.clone());
        }
        let shaped = output::shape(self.engine, self.built, form)?;
        self.known.push((form, shaped.clone()));
        Ok(shaped)
    }
}

/// Lets names stand for an image in another form than the one in which it was built.
fn name(engine: &Engine, shaped: &Built, names: &[Reference]) -> Result<(), Failure> {
    let (found, now) = (output::found(shaped), clock::now());
    if names.is_empty() {
        engine.store.keep_unnamed(&found, now)?;
    }
    for name in names {
        engine.store.tag_found(name, &found, now)?;
    }
    Ok(())
}

fn push_one(
    engine: &Engine,
    (name, found): (&Reference, &Found),
    how: Departure,
    (show, quiet): (&Show, bool),
    ui: &mut Ui,
) -> Result<Pushed, Failure> {
    if let Some(shown) = show.departures(&name.familiar()) {
        let pushed = push::send(engine, (name, found), how, &shown);
        shown.end_raw(pushed.as_ref().err().map(Failure::text).as_deref());
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

/// Forgets an image that has no name; its steps stay cached.
fn forget(engine: &Engine, built: &Built) -> Result<(), Failure> {
    let images = engine.store.images_of(&built.image_id)?;
    let used = engine.store.containers()?.iter().any(|row| row.image_id == built.image_id);
    if !used && images.iter().all(|image| image.name.is_none()) {
        engine.store.remove_unnamed(built.image_id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_is_pushed_as_it_says_and_the_flag_is_for_all() {
        let of = |typed: &[&str], push: bool, outputs: &[&str]| {
            let name = |text: &&str| text.parse::<Reference>().unwrap();
            let mut tags: Vec<Reference> = typed.iter().map(name).collect();
            let outputs: Vec<String> = outputs.iter().map(|text| (*text).to_owned()).collect();
            let wishes = Wishes::plan(&mut tags, push, output::parse(&outputs, false).unwrap().all);
            let said = |Leaving { name, how, form }: &Leaving| {
                let packed = if how.packing.is_some() { " packed" } else { "" };
                let docker = if form.docker_types { " for docker" } else { "" };
                format!("{}{packed}{docker}", name.familiar_name())
            };
            let names: Vec<String> = tags.iter().map(Reference::familiar_name).collect();
            let all = |wishes: Wishes| wishes.leaving.iter().map(said).collect::<Vec<_>>().join(", ");
            wishes.map(|wishes| (names.join(" "), all(wishes))).ok()
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
            (
                "the flag for what an output says of all names",
                &["a"],
                true,
                &["type=image,oci-mediatypes=false"],
                Some(("a", "a for docker")),
            ),
            ("by digest", &[], false, &["type=image,name=a,push-by-digest=true,push=true"], Some(("", "a"))),
        ] {
            let want = want.map(|(tags, pushed)| (tags.to_owned(), pushed.to_owned()));
            assert_eq!(of(typed, push, outputs), want, "case {name}");
        }
    }
}

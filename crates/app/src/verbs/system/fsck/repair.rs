//! Mending, the cheapest way first: out of what is here, from the registry that it came from, by doing without.

use std::collections::BTreeSet;

use shipway_kubelet::pod_of_image;
use shipway_oci::{DiffId, Digest, Reference};
use shipway_runtime::Status;
use shipway_store::{Fault, LayerId, Removal, Subject, is_of_the_moment};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::{self, heading};
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;

/// Mends what can be, and returns a line for each thing that was done.
pub(super) fn repair(engine: &Engine, faults: &[Fault], ui: &mut Ui) -> Result<Vec<String>, Failure> {
    if let Some(fault) = faults.iter().find(|fault| fault.subject == Subject::Tables) {
        return Err(Failure::new(
            fault.to_string(),
            "nothing was changed; stop what uses it (`shipway cluster stop`), keep a copy of the directory, then begin anew: --root DIR",
        ));
    }
    let mut mending = Mending { engine, done: Vec::new() };
    // Whatever else happens, bytes that are wrong are not used again.
    let mut incomplete = BTreeSet::new();
    for fault in faults {
        match &fault.subject {
            Subject::Blob(digest) => mending.drop_blob(digest)?,
            Subject::Image(image_id) => drop(incomplete.insert(*image_id)),
            _ => {}
        }
    }
    for fault in faults {
        if let Subject::Layer(id) = &fault.subject
            && !mending.layer(id, ui)?
        {
            incomplete.extend(mending.images_of(id)?);
            mending.retire(id)?;
        }
    }
    for image_id in incomplete {
        mending.image(&image_id, ui)?;
    }
    for fault in faults {
        match &fault.subject {
            Subject::Hosted { repository, digest } => mending.manifest(repository, digest)?,
            Subject::Container(id) => {
                ui.note(format!("container {id} cannot be mended: `shipway rm {id}` removes it"));
            }
            _ => {}
        }
    }
    Ok(mending.done)
}

struct Mending<'a> {
    engine: &'a Engine,
    done: Vec<String>,
}

impl Mending<'_> {
    fn drop_blob(&mut self, digest: &Digest) -> Result<(), Failure> {
        self.drop_hosted(digest)?;
        self.done.push(format!("removed: blob {digest}"));
        Ok(())
    }

    /// Takes bytes from the repositories that have them, with the manifests that cannot be without.
    fn drop_hosted(&mut self, digest: &Digest) -> Result<(), Failure> {
        for lost in self.engine.store.drop_blob(digest)? {
            self.done.push(format!("removed: {} {lost}: push it again", lost.kind()));
        }
        Ok(())
    }

    fn manifest(&mut self, repository: &str, digest: &str) -> Result<(), Failure> {
        // It may be gone with what it lacked, or have it again.
        let store = &self.engine.store;
        let Some(manifest) = store.hosted_manifest(repository, digest)? else { return Ok(()) };
        let mut is_whole = store.holds(&manifest.blob)?;
        for name in &manifest.blobs {
            if let Some(blob) = store.hosted_blob(repository, name)? {
                is_whole &= store.holds(&blob)?;
            }
        }
        if !is_whole && store.drop_hosted_manifest(repository, digest)? {
            self.done.push(format!("removed: manifest {repository}@{digest}: push it again"));
        }
        Ok(())
    }

    /// Makes a layer's tree again of its archive; `false` if that cannot be.
    fn layer(&mut self, id: &LayerId, ui: &mut Ui) -> Result<bool, Failure> {
        let Some(row) = self.engine.store.layer(id)? else { return Ok(true) };
        let Some(diff_id) = row.diff_id else { return Ok(false) };
        if let Some(user) = self.user(id)? {
            ui.note(format!("layer {id} is left as it is: container {user} runs on it"));
            return Ok(true);
        }
        match self.engine.layers.restore(id, diff_id) {
            Ok(true) => {
                self.done.push(format!("made again: layer {id}"));
                Ok(true)
            }
            Ok(false) => Ok(false),
            // Nothing is given up that only wants room, or what else this process lacks.
            Err(error) if is_of_the_moment(&error) => Err(error.into()),
            Err(error) => {
                ui.note(format!("layer {id} could not be made again: {error}"));
                Ok(false)
            }
        }
    }

    /// Returns the container that runs on a layer, or may: one of another state directory cannot be asked.
    fn user(&self, id: &LayerId) -> Result<Option<String>, Failure> {
        let engine = self.engine;
        let tree = self.engine.store.root().join("layers").join(id.as_str());
        for container in engine.containers.list()? {
            let runs = container.state().is_ok_and(|state| state.status != Status::Exited);
            if runs
                && container
                    .spec()
                    .is_ok_and(|spec| spec.rootfs.lowers.iter().any(|lower| lower.starts_with(&tree)))
            {
                return Ok(Some(container.id().to_owned()));
            }
        }
        for row in engine.store.containers()? {
            let Some(snapshot) = &row.snapshot else { continue };
            let stands = engine.store.snapshot_parents(snapshot)?.unwrap_or_default().contains(id);
            if stands && engine.containers.get(&row.id).is_err() {
                return Ok(Some(row.id));
            }
        }
        Ok(None)
    }

    fn images_of(&self, id: &LayerId) -> Result<Vec<Digest>, Failure> {
        let Some(DiffId(wanted)) = self.engine.store.layer(id)?.and_then(|row| row.diff_id) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for image in self.engine.store.images()? {
            let config = self.engine.store.config(&image.image_id);
            if config.is_ok_and(|config| config.rootfs.diff_ids.contains(&DiffId(wanted))) {
                found.push(image.image_id);
            }
        }
        Ok(found)
    }

    fn retire(&mut self, id: &LayerId) -> Result<(), Failure> {
        let diff_id = self.engine.store.layer(id)?.and_then(|row| row.diff_id);
        self.engine.store.retire_layer(id)?;
        // Repositories may have the layer as its files.
        if let Some(DiffId(digest)) = diff_id.filter(|diff_id| !self.engine.store.has_blob(&diff_id.0)) {
            self.drop_hosted(&digest)?;
        }
        self.done.push(format!("no longer used: layer {id}"));
        Ok(())
    }

    /// Pulls an image again from where it is known to be, or removes it.
    fn image(&mut self, image_id: &Digest, ui: &mut Ui) -> Result<(), Failure> {
        self.forget_layers_without_archive(image_id)?;
        for known in self.engine.store.digests(image_id)? {
            let text = format!("{}@{}", known.repository, known.manifest);
            let Ok(reference) = text.parse::<Reference>() else { continue };
            ui.note(format!("pulling {text} again"));
            let progress = Transfers::on_stderr(Direction::Pull, Some(heading(&reference)));
            match pulls::fetch(self.engine, &reference, &progress) {
                Ok(pulled) if pulled.image_id == *image_id => {
                    self.done.push(format!("pulled again: image {image_id}"));
                    return Ok(());
                }
                Ok(_) => {}
                Err(failure) => ui.note(Failure::from(failure).text()),
            }
        }
        let engine = self.engine;
        if let Err(used) = engine.store.refuse_image_in_use(image_id) {
            ui.note(Failure::from(used).text());
            return Ok(());
        }
        if let Some(pod) = pod_of_image(&engine.containers, image_id) {
            ui.note(format!("image {image_id} is used by pod {pod}: delete that first"));
            return Ok(());
        }
        for removal in engine.store.remove_image(*image_id)? {
            self.done.push(match removal {
                Removal::Untagged(name) => {
                    format!("removed: image {}: build or pull it again", name.familiar())
                }
                Removal::Deleted(id) => format!("removed: image {id}"),
            });
        }
        Ok(())
    }

    /// A pull brings only layers that are not here: those whose archive is lost must not count as such.
    fn forget_layers_without_archive(&mut self, image_id: &Digest) -> Result<(), Failure> {
        let store = &self.engine.store;
        let Ok(config) = store.config(image_id) else { return Ok(()) };
        let mut lost = BTreeSet::new();
        for diff_id in config.rootfs.diff_ids {
            let foreign = store.packed(diff_id)?.into_iter().filter(|packed| packed.packer.is_empty());
            let mut digests = foreign.map(|packed| packed.digest).peekable();
            if digests.peek().is_some()
                && !digests.any(|digest| store.has_blob(&digest))
                && let Some(row) = store.layer_of(diff_id)?
            {
                lost.insert(row.id);
            }
        }
        for id in lost {
            self.retire(&id)?;
        }
        Ok(())
    }
}

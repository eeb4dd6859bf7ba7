//! Layers that are packed for the first time: large ones are sent meanwhile, and lie nowhere in between.

use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, ScopedJoinHandle};

use shipway_fetch::FetchError;
use shipway_oci::{Descriptor, DiffId};

use super::layers::Layers;
use crate::pipe::{Inlet, Piece, Pipe};
use crate::upload::{Bytes, ONE_PIECE, may_hold};
use crate::{LayerState, RegistryError};

/// What became of a layer that was packed for a registry.
enum Outcome {
    /// The registry has it, in this form.
    There(Box<Descriptor>),
    /// The sending broke off; what was sent of it is kept where an upload had begun.
    Broken(Option<String>),
}

/// A layer that another thread packs.
struct Packing<'scope, 'a> {
    thread: ScopedJoinHandle<'scope, Result<Descriptor, RegistryError>>,
    is_closed: &'a AtomicBool,
    /// Gives what is packed.
    pipe: Pipe<'a>,
}

impl Packing<'_, '_> {
    /// Reads no more, and waits for the end; `None` if there was more to read.
    fn end(self) -> Result<Option<Descriptor>, RegistryError> {
        drop(self.pipe);
        match self.thread.join() {
            Ok(Err(_)) if self.is_closed.load(Ordering::Relaxed) => Ok(None),
            Ok(packed) => packed.map(Some),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Layers<'_> {
    /// Packs a layer that is nowhere in a form that is known, and sends it.
    pub(super) fn pack_and_send(
        &self,
        known: &[Descriptor],
        layer: &Descriptor,
        diff_id: DiffId,
    ) -> Result<Descriptor, RegistryError> {
        let begun = match self.send_packing(known, layer, diff_id)? {
            Outcome::There(form) => return Ok(*form),
            Outcome::Broken(begun) => begun,
        };
        // Packed once more it is the same bytes, now with a digest that is known, and lasting: the rest can be sent, or all again.
        let form = self.forms.open(known, layer, diff_id)?;
        if begun.is_some() || !self.is_there(&form.descriptor, diff_id)? {
            self.upload(diff_id, &form.descriptor, Bytes::File(&form.file), begun)?;
        }
        Ok(form.descriptor)
    }

    fn send_packing(
        &self,
        known: &[Descriptor],
        layer: &Descriptor,
        diff_id: DiffId,
    ) -> Result<Outcome, RegistryError> {
        let mut held = self.buffers.long();
        let sent = self.hold_or_send(&mut held, (known, layer), diff_id);
        self.buffers.take_back_long(held);
        sent
    }

    /// What is short, packed, is sent when its digest is known: the registry may have it.
    fn hold_or_send(
        &self,
        held: &mut Vec<u8>,
        (known, layer): (&[Descriptor], &Descriptor),
        diff_id: DiffId,
    ) -> Result<Outcome, RegistryError> {
        let (is_closed, is_moving) = (AtomicBool::new(false), AtomicBool::new(false));
        let taken = |done| {
            if layer.media_type.is_plain_layer() && is_moving.load(Ordering::Relaxed) {
                self.say(diff_id, LayerState::Moving { done, total: layer.size });
            }
        };
        self.say(diff_id, LayerState::Preparing);
        thread::scope(|scope| {
            let (sender, pipe) = Pipe::new(&self.buffers);
            let inlet = Inlet::new(sender.clone(), &self.buffers, &is_closed);
            let (inlet, taken) = ((inlet, sender), &taken);
            let thread = scope.spawn(move || self.pack_into(inlet, layer, diff_id, taken));
            let mut packing = Packing { thread, is_closed: &is_closed, pipe };
            while let Ok(true) = packing.pipe.append_to(held) {
                if held.len() as u64 > ONE_PIECE {
                    is_moving.store(true, Ordering::Relaxed);
                    return self.stream(held, packing, diff_id);
                }
            }
            let Some(form) = packing.end()? else { return Ok(Outcome::Broken(None)) };
            if known.contains(&form) || !self.is_there(&form, diff_id)? {
                self.upload(diff_id, &form, Bytes::Memory(held), None)?;
            }
            Ok(Outcome::There(Box::new(form)))
        })
    }

    fn pack_into(
        &self,
        (inlet, sender): (Inlet<'_>, SyncSender<io::Result<Piece>>),
        layer: &Descriptor,
        diff_id: DiffId,
        taken: &dyn Fn(u64),
    ) -> Result<Descriptor, RegistryError> {
        let packed = self.forms.pack(layer, diff_id, inlet, taken);
        if packed.is_err() {
            // Nobody takes what came so far for all of it. One who does not read any more does not miss it.
            drop(sender.send(Err(io::Error::other("the layer could not be packed"))));
        }
        packed
    }

    /// Sends a layer while it is packed: `held`, then what comes.
    fn stream(
        &self,
        held: &[u8],
        mut packing: Packing<'_, '_>,
        diff_id: DiffId,
    ) -> Result<Outcome, RegistryError> {
        let location = match self.repository.begin_empty(self.scope) {
            Ok(location) => location,
            Err(error) if may_hold(&error) => return Ok(Outcome::Broken(None)),
            Err(error) => return Err(error),
        };
        let mut body = held.chain(&mut packing.pipe);
        let appended = self.repository.append(&location, self.scope, &mut body);
        let packed = packing.end()?;
        let error = match (appended, packed) {
            (Ok(end), Some(form)) => match self.close(&form, &end) {
                Ok(()) => {
                    self.say(diff_id, LayerState::Done);
                    return Ok(Outcome::There(Box::new(form)));
                }
                Err(error) => error,
            },
            (Ok(_), None) => return Ok(Outcome::Broken(None)),
            (Err(error), _) => error,
        };
        if matches!(&error, RegistryError::Unreachable { source: FetchError::Stopped { .. }, .. }) {
            return Err(error);
        }
        tracing::debug!(layer = %diff_id.0, %error, "sending the layer as a file");
        Ok(Outcome::Broken(may_hold(&error).then_some(location)))
    }
}

//! What a person who waits is told.

use std::fmt::Debug;

use shipway_oci::Digest;

/// Hears what happens to layers; called from several threads.
pub trait Progress: Debug + Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The registry has the image.
    Found,
    /// The layers are known; they come in this order in listings. Base first.
    Layers(&'a [Digest]),
    /// A layer came further.
    Layer {
        /// Its digest: the compressed one when pulling, the diff ID when pushing.
        digest: &'a Digest,
        /// How far.
        state: LayerState<'a>,
    },
    /// Something that a person should know.
    Note(&'a str),
}

/// How far a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState<'a> {
    /// Nobody works at it yet.
    Waiting,
    /// It is here, or there, already.
    Exists,
    /// It is there because another repository has it.
    Mounted {
        /// That repository.
        from: &'a str,
    },
    /// It is being made ready to be sent.
    Preparing,
    /// Bytes are on the way.
    Moving {
        /// So many were.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// All bytes have arrived, and are what they should be.
    Arrived,
    /// Done.
    Done,
}

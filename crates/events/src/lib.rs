//! Events as users see them in `kubectl describe`: recording, counting, writing.
//!
//! Recording never waits and never fails the caller: events go through a bounded channel to one task, which counts
//! repetitions instead of writing them again. When the channel is full the event is dropped. Controllers and the kubelet
//! have a recorder each; the API server keeps events as it keeps any object.
#![forbid(unsafe_code)]

mod happening;
mod recorder;
mod writer;

pub use happening::Happening;
pub use recorder::Recorder;
pub use writer::Writer;

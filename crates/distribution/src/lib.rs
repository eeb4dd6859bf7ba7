//! The registry protocol, seen from the client: pulling, pushing, logging in.
//!
//! A [`Registry`] is one registry as this machine's settings describe it. [`pull`] brings an image into the store, all layers at the
//! same time, each verified and handed to a [`LayerSink`] while it arrives; [`push`] sends what the registry does not have. What
//! arrives is believed only as far as digests reach: size, digest and media type must be those that the document above says.
//!
//! Credentials belong to a registry's scheme, host and port. They are sent there and to a token service that may have them
//! ([`RegistryError::Realm`]), never along a redirect, and are not shown by anything here.
//!
//! What is not here: how a layer becomes a tree (the program gives the sink), names of images in the store, the serving end.
//!
//! Specs: distribution-spec v1.1 (pull, push, mount, chunked upload), Docker's token authentication, image-spec.
#![forbid(unsafe_code)]

mod aside;
mod auth;
mod blob;
mod challenge;
mod credentials;
mod documents;
mod endpoint;
mod error;
mod forms;
mod gzip;
mod helper;
mod hosts;
mod passing;
mod pipe;
mod progress;
mod pull;
mod push;
mod realm;
mod refusal;
mod registry;
mod seams;
mod select;
mod settings;
mod sources;
mod tags;
mod upload;

pub use credentials::{
    CredentialStore, Credentials, CredentialsError, Kept, Keyring, Secret, credentials_in,
};
pub use documents::{Content, Document, read_document};
pub use error::{PullError, PushError, RegistryError};
pub use forms::{Compression, PackedLayer, Packing, known_forms, layer_type, pack_layer};
pub use gzip::{GzipWriter, PACKER, compress};
pub use helper::Spawn;
pub use passing::{RawManifest, blob_size, fetch_blob, fetch_manifest, look_up};
pub use progress::{Event, LayerState, Progress};
pub use pull::{Choice, Pull, Pulled, pull, pull_layers};
pub use push::{Artifact, Departure, Push, Pushed, push, push_artifact};
pub use registry::{Registries, Registry};
pub use seams::{LayerSink, LayerSource, SeamError};
pub use select::select;
pub use settings::{RegistrySettings, Settings, SettingsError};
pub use tags::{ListPage, Listed, list_page, list_tags};

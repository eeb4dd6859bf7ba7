//! What a bootstrap is asked for, what it works with, and what it tells.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use miette::Diagnostic;
use shipway_layers::LayerStore;
use shipway_oci::{Digest, Reference};
use shipway_store::{LayerId, Store};

use crate::suite::Suite;

/// What to make.
#[derive(Clone, Debug)]
pub struct Request {
    /// Of what; without it the host's own suite.
    pub suite: Option<Suite>,
    /// A further name for the image, beside `debian:CODENAME`.
    pub name: Option<Reference>,
    /// An archive to use instead of those that the host's apt is told of.
    pub mirror: Option<String>,
    /// A keyring to trust instead of those that the host's apt trusts.
    pub keyring: Option<PathBuf>,
    /// Packages beside the minimal set.
    pub include: Vec<String>,
    /// Take a `Release` file whose `Valid-Until` has passed.
    pub accept_expired: bool,
    /// Make the image again, although an equal one is there.
    pub again: bool,
    /// The time, for everything that expires.
    pub now: SystemTime,
    /// Where the host's configuration is; `/` but in tests.
    pub host: PathBuf,
}

impl Request {
    /// Asks for the host's own suite as it is now.
    pub fn new(now: SystemTime) -> Self {
        Self {
            suite: None,
            name: None,
            mirror: None,
            keyring: None,
            include: Vec::new(),
            accept_expired: false,
            again: false,
            now,
            host: PathBuf::from("/"),
        }
    }

    /// Asks for the base image that an image name means; nothing if the name means none.
    pub fn for_reference(reference: &Reference, now: SystemTime) -> Option<Self> {
        let suite = crate::suite::suite_of(reference)?;
        Some(Self { suite: Some(suite), name: Some(reference.clone()), ..Self::new(now) })
    }
}

/// What a bootstrap works with.
#[derive(Clone, Copy, Debug)]
pub struct Deps<'a> {
    /// Where the image is recorded; packages are kept below `cache/` of its root.
    pub store: &'a Store,
    /// Where the tree is made.
    pub layers: &'a dyn LayerStore,
    /// Runs the packages' own scripts.
    pub runner: &'a dyn StepRunner,
    /// How to download. Proxies that the host's apt is told of are added.
    pub fetch: &'a shipway_fetch::Config,
    /// Whom to tell how far it is.
    pub progress: &'a dyn Progress,
}

/// Runs a program in a container.
///
/// Promises of an implementation: the program sees the step's tree as `/`, writable, with `/proc`, `/sys` and `/dev`, as RUN
/// steps do; it runs as root without network; its output, both streams, goes to `output`; everything it started has
/// ended when `run` returns, and nothing of it stays mounted.
pub trait StepRunner: std::fmt::Debug + Send + Sync {
    /// Runs the step and returns its exit status; 128 and the signal's number if a signal ended it.
    fn run(
        &self,
        step: &Step<'_>,
        output: &mut dyn io::Write,
    ) -> Result<i32, Box<dyn Diagnostic + Send + Sync>>;
}

/// A program to run in the tree that is being made.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The overlay's lower directories; nothing is in them.
    pub lowers: &'a [PathBuf],
    /// The tree: the overlay's upper directory, whole by itself.
    pub upper: &'a Path,
    /// The overlay's work directory.
    pub work: &'a Path,
    /// The program and its arguments.
    pub args: &'a [String],
    /// The environment, `NAME=value`, nothing else.
    pub env: &'a [String],
}

/// Is told how far a bootstrap is. Called from several threads.
pub trait Progress: std::fmt::Debug + Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// How far a bootstrap is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part of the work begins.
    Phase(Phase),
    /// Packages are on the way: of how many, how many have been unpacked, and of how many bytes, how many are here.
    Packages {
        /// Unpacked.
        done: usize,
        /// In all.
        total: usize,
        /// Bytes here, downloaded or kept from an earlier time.
        bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// A line of the packages' scripts.
    Output(&'a str),
    /// Something the user should know.
    Note(&'a str),
}

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What the archive has.
    Index,
    /// Downloading and unpacking.
    Unpack,
    /// Running the packages' scripts.
    Configure,
    /// Making a layer and an image.
    Commit,
}

impl Phase {
    /// Returns what to show for it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Index => "read the package index",
            Self::Unpack => "download and unpack packages",
            Self::Configure => "configure packages",
            Self::Commit => "make the image",
        }
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _event: &Event<'_>) {}
}

/// What a bootstrap made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrapped {
    /// The image.
    pub image_id: Digest,
    /// Its manifest.
    pub manifest: Digest,
    /// Its only layer.
    pub layer: LayerId,
    /// Its names, the canonical one (`debian:bookworm`) first.
    pub names: Vec<Reference>,
    /// The codename of the suite.
    pub codename: String,
    /// Packages in it: name and version.
    pub packages: Vec<(String, String)>,
    /// The image was there already.
    pub cached: bool,
}

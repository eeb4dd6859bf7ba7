//! What a build is asked for and what it gives.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shipway_oci::{Digest, Platform, Reference};

use crate::{Attest, Material, SshAgent};

/// What to build.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// The directory that COPY and ADD read; it is read in place.
    pub context: PathBuf,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// Its text, if it is in no file; [`BuildRequest::dockerfile`] is only what messages call it then.
    pub dockerfile_text: Option<Vec<u8>>,
    /// `--build-context`: what FROM and `--from` find before stages and images.
    pub contexts: Vec<NamedContext>,
    /// Names of the result.
    pub tags: Vec<Reference>,
    /// `--build-arg`
    pub build_args: Vec<(String, String)>,
    /// `--target`: the stage to build; the last one by default.
    pub target: Option<String>,
    /// No step is taken from the cache.
    pub no_cache: bool,
    /// `--no-cache-filter`: stages of which no step is taken from the cache.
    pub no_cache_stages: Vec<String>,
    /// `--annotation`: of the manifest.
    pub annotations: Vec<(String, String)>,
    /// `--annotation index:…`: of the index, if there is one.
    pub index_annotations: Vec<(String, String)>,
    /// `--annotation manifest-descriptor:…`: of what the index says of the manifest.
    pub descriptor_annotations: Vec<(String, String)>,
    /// `--annotation manifest[PLATFORM]:…`: those that are for one of several platforms.
    pub platform_annotations: Vec<PlatformAnnotation>,
    /// `--attest`: what is attested of the result. With something it is in an index.
    pub attest: Attest,
    /// Where the context was fetched from, if not from this machine.
    pub origin: Option<Material>,
    /// Where other contexts were fetched from.
    pub fetched: Vec<Material>,
    /// What is told of the repository that the context is of: `source`, `revision`, `localdir:…`. Compat: BuildKit's names.
    pub vcs: Vec<(String, String)>,
    /// `--add-host`: names that RUN steps know.
    pub hosts: Vec<(String, HostAddress)>,
    /// `--ulimit`: limits of the processes of RUN steps.
    pub limits: Vec<ProcessLimit>,
    /// `--shm-size`: bytes of `/dev/shm` in RUN steps.
    pub shm_size: Option<u64>,
    /// `--cgroup-parent`: a control group that bounds RUN steps. Changes no key.
    pub cgroup_parent: Option<String>,
    /// `--label`
    pub labels: Vec<(String, String)>,
    /// `--allow security.insecure`: RUN steps that ask for it are not confined.
    pub allow_insecure: bool,
    /// Network of RUN steps that do not choose.
    pub network: BuildNetwork,
    /// RUN steps trust the certificate authorities that the host trusts. Changes no key and leaves nothing in the image.
    pub host_ca: bool,
    /// What to build for; this machine by default. For several the result is an index.
    pub platforms: Vec<Platform>,
    /// `--cache-to type=inline`: the image says under which keys its layers are found.
    pub inline_cache: bool,
    /// One platform is treated as several are: an index lists its image.
    pub as_several: bool,
    /// `--ssh`: agents, and their ids.
    pub agents: Vec<(String, Arc<dyn SshAgent>)>,
    /// `--secret`
    pub secrets: Vec<Secret>,
    /// Stops the build when it is set.
    pub stop: Stop,
}

/// What a name stands for beside stages and images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedContext {
    /// The name.
    pub name: String,
    /// What it is.
    pub source: ContextSource,
}

impl BuildRequest {
    /// Returns what to build for, or for which first.
    pub fn platform(&self) -> Platform {
        self.platforms.first().cloned().unwrap_or_else(Platform::host)
    }

    /// Returns the last value of a build argument, unless that is empty.
    pub(crate) fn build_arg(&self, name: &str) -> Option<&str> {
        let mut given = self.build_args.iter().rev();
        given
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|text| !text.is_empty())
    }

    /// Returns the annotations of the manifest for a platform.
    pub(crate) fn annotations_for(&self, platform: &Platform) -> Vec<(String, String)> {
        let own = self.platform_annotations.iter().filter(|own| !own.of_descriptor);
        Self::with(&self.annotations, own, platform)
    }

    /// Returns the annotations of what the index says of the manifest for a platform.
    pub(crate) fn descriptor_annotations_for(&self, platform: &Platform) -> Vec<(String, String)> {
        let own = self.platform_annotations.iter().filter(|own| own.of_descriptor);
        Self::with(&self.descriptor_annotations, own, platform)
    }

    fn with<'a>(
        all: &[(String, String)],
        own: impl Iterator<Item = &'a PlatformAnnotation>,
        platform: &Platform,
    ) -> Vec<(String, String)> {
        let own = own.filter(|own| own.platform == *platform);
        all.iter().cloned().chain(own.map(|own| (own.name.clone(), own.value.clone()))).collect()
    }
}

/// An annotation that is for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformAnnotation {
    /// The platform.
    pub platform: Platform,
    /// It is of what the index says of the manifest, and not of the manifest.
    pub of_descriptor: bool,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a named context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory; its `.dockerignore` holds.
    Directory(PathBuf),
    /// Another image than the one of that name.
    Image(Reference),
    /// Nothing, as with `FROM scratch`.
    Scratch,
    /// The image of an OCI layout for the platform that is wanted: what is behind `oci-layout://`.
    Layout(String),
}

/// Where a name of `--add-host` leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// To an address.
    At(IpAddr),
    /// To this machine, at whatever address a step reaches it: `host-gateway`.
    Gateway,
}

impl fmt::Display for HostAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(formatter),
            Self::Gateway => formatter.write_str("host-gateway"),
        }
    }
}

/// A limit of each process of a RUN step. Spec: setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLimit {
    /// What is limited: `nofile` and so on.
    pub name: String,
    /// What a process begins with; `None` is no limit.
    pub soft: Option<u64>,
    /// What it may raise that to; `None` is no limit.
    pub hard: Option<u64>,
}

/// Network of RUN steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BuildNetwork {
    /// A network of its own with a way out.
    #[default]
    Default,
    /// Only the loopback device.
    None,
    /// The host's.
    Host,
}

impl BuildNetwork {
    /// Returns the name that `--network` has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// A secret for `RUN --mount=type=secret`. It reaches no layer, key, history or log.
#[derive(Clone)]
pub struct Secret {
    /// Its name.
    pub id: String,
    /// Its content.
    pub content: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, ****)", self.id)
    }
}

/// A shared flag that stops a build. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    flags: Vec<Arc<AtomicBool>>,
}

impl Stop {
    /// Makes a flag that is not set.
    pub fn new() -> Self {
        Self { flags: vec![Arc::default()] }
    }

    /// Stops everything that watches this flag.
    pub fn set(&self) {
        if let Some(own) = self.flags.first() {
            own.store(true, Ordering::Release);
        }
    }

    /// Returns whether it was set.
    pub fn is_set(&self) -> bool {
        self.flags.iter().any(|flag| flag.load(Ordering::Acquire))
    }

    /// Returns a flag of its own that is set with this one too.
    pub(crate) fn child(&self) -> Self {
        Self { flags: std::iter::once(Arc::default()).chain(self.flags.iter().cloned()).collect() }
    }
}

/// What a build made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Digest of the image's config.
    pub image_id: Digest,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Bytes of that.
    pub manifest_size: u64,
    /// Digest of the index that lists it with what is attested of it and with those for other platforms, and bytes of that.
    pub index: Option<(Digest, u64)>,
    /// The names it got.
    pub tags: Vec<Reference>,
    /// How many steps made or would make a layer, base images included.
    pub steps: usize,
    /// How many of them came from the cache.
    pub cached_steps: usize,
    /// What was made for each of several platforms; empty where one was wanted.
    pub parts: Vec<(Platform, Self)>,
}

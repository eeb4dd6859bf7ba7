//! Dockerfile build graph, cache keys, solve, export.
//!
//! A build goes: read and parse the Dockerfile, plan (needed stages, base images, every instruction expanded and
//! checked), solve (each stage in a thread; each step from the cache or anew), hash what is new, sync once, write config and
//! manifest, name. The context is read in place and never copied as a whole.
//!
//! What is not here: how commands run ([`StepRunner`]), where base images come from ([`BaseImages`]) and how caches of other
//! machines are reached ([`CacheSource`], [`CacheTarget`]); the program injects them. Nothing is printed: [`Progress`] hears of it.
//!
//! Promises: an image gets its names only when all of its layers have diff IDs and are on disk. A build that fails, is
//! stopped or is killed leaves no half-made layer and no name; steps that were finished stay in the cache. The key of a
//! step covers everything that can change its result, but no times, no secrets and no confinement options that do not
//! show in the result. Builds in several threads and processes may share a store.
//!
//! Compat: configs and histories are those of BuildKit. Where BuildKit loses or falsifies files, we do not.
#![forbid(unsafe_code)]

mod attest;
mod builder;
mod caches;
mod context;
mod copy;
mod error;
mod export;
mod frontend;
mod go_text;
mod key;
mod lint;
mod metadata;
mod plan;
mod ports;
mod progress;
mod records;
mod remote_cache;
mod request;
mod seams;
mod several;
mod signals;
mod solve;
mod state;
mod summary;
mod time;
mod variables;

pub use attest::{Attest, Material, Provenance, SlsaVersion};
pub use builder::{Builder, MAX_DOCKERFILE, check, parse, read, read_until_mistake};
pub use caches::{CacheMount, Caches};
pub use copy::is_tar_header;
pub use error::{BuildError, Problem, SeamError, StepError};
pub use lint::{Examined, examine};
pub use plan::{Mistake, Outline, OutlinedArg, Outlook, Wanted, described, outline};
pub use progress::{CACHE_NOT_USED, Event, NOT_BUILT_BEFORE, Progress, Silent, StepInfo, StepKind};
pub use records::{CACHE_CONFIG, INLINE_CACHE, StepRecord};
pub use remote_cache::{CacheContent, CacheExport, CacheMode, CacheSource, CacheTarget};
pub use request::{
    BuildNetwork, BuildRequest, Built, ContextSource, HostAddress, NamedContext, PlatformAnnotation,
    ProcessLimit, Secret, Stop,
};
pub use seams::{
    BaseImage, BaseImages, Debugger, Fetched, HOST_CA_STUBS, Inventory, InventoryQuestion, LookAtRepository,
    MOUNT_STUBS, MountSource, Remotes, RepositoryFlags, RunStep, SshAgent, StepMount, StepRunner, StubKind,
};
pub use shipway_dockerfile::{
    Dockerfile, InstructionKind, KnownImage, Mount, MountKind, Rule, Source, Span, Stage, Warning,
};
pub use summary::{StepSummary, summarize};

//! What a build tells while it goes on.

use std::fmt;
use std::time::Duration;

use shipway_dockerfile::{Rule, Source, Span};
use shipway_oci::{Digest, Reference};

/// Hears of everything that happens. Called from several threads at once.
pub trait Progress: fmt::Debug + Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event<'_>);
}

/// Throws events away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &Event<'_>) {}
}

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Work that no instruction asks for: reading the Dockerfile, finding images, naming the result.
    Internal,
    /// FROM an image.
    Base,
    /// RUN, COPY, ADD, WORKDIR.
    Layer,
    /// An instruction that changes the config only. BuildKit's forms do not show it, the legacy form does.
    Metadata,
}

/// A step as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Unique in the build; `#5` of the plain form for steps that it shows, in the order of the plan.
    pub id: usize,
    /// What it is.
    pub kind: StepKind,
    /// `[2/4] RUN apt-get update`, `[internal] load build definition from Dockerfile`.
    pub name: String,
    /// The instruction alone, as written: what the legacy form shows.
    pub instruction: String,
    /// Number among all instructions of the needed stages, from 1, and how many there are; for `Step 1/9 :`.
    pub legacy: Option<(usize, usize)>,
    /// Where the instruction stands.
    pub span: Option<Span>,
    /// Ids of the steps that are shown whose files this one starts from or reads.
    pub inputs: Vec<usize>,
}

/// Why a step was not in the cache if there is nothing to compare it to.
pub const NOT_BUILT_BEFORE: &str = "it was not built before";

/// Why a step was not in the cache if nobody looked.
pub const CACHE_NOT_USED: &str = "the cache is not used";

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The Dockerfile is read.
    Loaded {
        /// Its text.
        source: &'a Source,
    },
    /// The plan is known.
    Planned {
        /// All steps that will be shown.
        steps: &'a [StepInfo],
    },
    /// A step begins.
    Started {
        /// The step.
        step: &'a StepInfo,
    },
    /// A step's result was in the cache.
    Cached {
        /// The step.
        step: &'a StepInfo,
        /// Identifies the state after it.
        key: Digest,
    },
    /// A step's result was not in the cache, and what changed since the last build, if there was one.
    Missed {
        /// The step.
        step: &'a StepInfo,
        /// Such as `package.json changed`.
        why: &'a str,
    },
    /// A step printed something.
    Output {
        /// The step.
        step: &'a StepInfo,
        /// Whole or partial lines.
        bytes: &'a [u8],
    },
    /// A step ended well.
    Done {
        /// The step.
        step: &'a StepInfo,
        /// How long it took.
        elapsed: Duration,
        /// Identifies the state after it.
        key: Option<Digest>,
    },
    /// A step failed.
    Failed {
        /// The step.
        step: &'a StepInfo,
        /// How long it took.
        elapsed: Duration,
        /// Why.
        error: &'a str,
        /// It would have gone on, but the build ends: somebody stopped it, or another step failed.
        cancelled: bool,
    },
    /// A layer is being hashed.
    Hashing {
        /// The layer's step.
        step: &'a StepInfo,
    },
    /// The image has its config and manifest.
    Written {
        /// Digest of the config.
        image_id: Digest,
        /// Digest of the manifest.
        manifest: Digest,
    },
    /// What was made for several platforms is in an index.
    Listed {
        /// Its digest.
        index: Digest,
    },
    /// The image got a name.
    Named {
        /// The name.
        name: &'a Reference,
    },
    /// Something is odd but not wrong.
    Warning {
        /// A sentence.
        message: &'a str,
        /// Where.
        span: Option<Span>,
        /// The rule that says so, if it is one.
        rule: Option<Rule>,
    },
}

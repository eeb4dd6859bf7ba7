//! From a Dockerfile to the steps that have to be done: which stages, from what, in which order, with what words.
//!
//! Nothing is read or written here but the configs of base images. Every instruction is expanded and checked, so a
//! mistake in the last line is found before the first command runs.

mod evaluate;
mod images;
mod mistakes;
mod needed;
mod outline;
mod stages;

use std::path::PathBuf;

use shipway_dockerfile::{Mount, Source, Span};
use shipway_oci::{Digest, Platform};

use crate::copy::ModeChange;
use crate::progress::StepInfo;
use crate::state::StageState;
use crate::{BaseImage, BuildNetwork};

pub(crate) use mistakes::look_ahead;
pub use mistakes::{Mistake, Outlook};
pub use outline::{Outline, OutlinedArg, Wanted, described, outline};
pub(crate) use stages::{internal, layout_name, plan, tell_loaded};

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    /// Needed stages; each uses only ones before it.
    pub(crate) stages: Vec<PlannedStage>,
    /// Images that stages start from or copy from.
    pub(crate) images: Vec<PlannedImage>,
    /// Directories that `--build-context` names, as the request lists them.
    pub(crate) contexts: Vec<PlannedContext>,
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub(crate) epoch: Option<i64>,
    /// Everything that will be shown, in order.
    pub(crate) steps: Vec<StepInfo>,
    /// Build arguments that no ARG takes.
    pub(crate) unused_args: Vec<String>,
    /// Which stages of the file are needed.
    pub(crate) needed: Vec<bool>,
}

/// An image that is needed.
#[derive(Debug)]
pub(crate) struct PlannedImage {
    pub(crate) name: String,
    pub(crate) image: BaseImage,
    /// Digest of what its name stands for, if that is to be told; else that of its config.
    pub(crate) digest: Digest,
    /// Identifies its file system.
    pub(crate) key: Digest,
}

/// A named directory.
#[derive(Clone, Debug)]
pub(crate) struct PlannedContext {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

/// A stage that is needed.
#[derive(Debug)]
pub(crate) struct PlannedStage {
    /// For messages.
    pub(crate) name: String,
    pub(crate) base: Origin,
    pub(crate) platform: Platform,
    /// The step of FROM; it is shown if that is an image.
    pub(crate) base_step: StepInfo,
    pub(crate) steps: Vec<Step>,
    /// The id of the last step that is shown, its own or of a stage that it starts from.
    pub(crate) last_step: Option<usize>,
    /// The image after the last instruction.
    pub(crate) state: StageState,
}

/// Where a file system comes from; numbers are places in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Scratch,
    Stage(usize),
    Image(usize),
    /// A named directory; only what copies and mounts reads it.
    Context(usize),
}

/// One instruction of a stage.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) info: StepInfo,
    pub(crate) span: Span,
    pub(crate) action: Action,
}

/// What a step does to files.
#[derive(Debug)]
pub(crate) enum Action {
    /// Nothing: the config is in the stage's state already.
    Metadata,
    Run(RunAction, HistoryAt),
    Copy(CopyAction, HistoryAt),
    Workdir(WorkdirAction, HistoryAt),
}

impl Action {
    /// Returns the stages whose files it reads, beside what its own stage has.
    pub(crate) fn stages(&self) -> impl Iterator<Item = usize> {
        let (copied, mounted) = match self {
            Self::Copy(copy, _) => (copy.from, &[][..]),
            Self::Run(run, _) => (None, run.mounts.as_slice()),
            Self::Metadata | Self::Workdir(..) => (None, &[][..]),
        };
        let origins = copied.into_iter().chain(mounted.iter().filter_map(|(_, origin)| *origin));
        origins.filter_map(|origin| match origin {
            Origin::Stage(stage) => Some(stage),
            _ => None,
        })
    }
}

/// Place of a step's entry in the history.
pub(crate) type HistoryAt = usize;

/// RUN, expanded.
#[derive(Debug)]
pub(crate) struct RunAction {
    pub(crate) args: Vec<String>,
    /// The program of SHELL, whatever form the command has.
    pub(crate) shell: String,
    /// A heredoc that starts with `#!`: its name and text.
    pub(crate) script: Option<(String, String)>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) user: String,
    pub(crate) network: BuildNetwork,
    /// `--security=insecure`
    pub(crate) insecure: bool,
    pub(crate) platform: Platform,
    pub(crate) mounts: Vec<(Mount, Option<Origin>)>,
}

/// COPY or ADD, expanded.
#[derive(Clone, Debug)]
pub(crate) struct CopyAction {
    pub(crate) is_add: bool,
    pub(crate) sources: Vec<SourceWord>,
    pub(crate) destination: String,
    /// A stage or image; the context if none.
    pub(crate) from: Option<Origin>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<(String, ModeChange)>,
    pub(crate) exclude: Vec<String>,
    pub(crate) parents: bool,
    pub(crate) unpack: bool,
    /// What is fetched is unpacked too.
    pub(crate) unpack_remote: bool,
    /// The layer knows nothing of those below it.
    pub(crate) link: bool,
    /// With `link`: what was found below, once somebody has looked.
    pub(crate) below: Option<Below>,
}

/// What a linked copy has to know of what lies below.
#[derive(Clone, Debug)]
pub(crate) struct Below {
    /// The first directory on the way to the destination that is not there. It and those in it are the copy's own, and are in its layer;
    /// others stay as they are.
    pub(crate) missing: Option<PathBuf>,
}

/// A source of COPY, expanded.
#[derive(Clone, Debug)]
pub(crate) enum SourceWord {
    Path {
        path: String,
        span: Span,
    },
    Inline {
        name: String,
        content: String,
    },
    /// ADD of a file over HTTP, or of a repository.
    Remote {
        address: String,
        is_git: bool,
        checksum: Option<String>,
        keep_git_dir: Option<bool>,
    },
}

/// WORKDIR, expanded.
#[derive(Debug)]
pub(crate) struct WorkdirAction {
    pub(crate) path: String,
    pub(crate) user: String,
}

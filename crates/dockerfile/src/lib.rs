//! Text to spanned Dockerfile instructions.
//!
//! [`parse`] turns bytes into a [`Dockerfile`]: directives, the ARGs before the first FROM, and stages of typed
//! [`Instruction`]s. Each instruction knows where it stands in its [`Source`], so that an error found later
//! can still point at the line. Variables are *not* expanded here, because their values depend on the
//! build; [`Lexer`] does it when asked, and [`Mount::parse`] reads a `RUN --mount` after it.
//!
//! No I/O, no panic on any input: nesting and the size of expanded words are limited.
//!
//! Compat: BuildKit's Dockerfile frontend, including its rules for continuation lines, comments, escapes,
//! heredocs and the legacy `ENV name value` form.
#![forbid(unsafe_code)]

mod directive;
mod duration;
mod error;
mod expand;
mod flags;
mod glob;
mod heredoc;
mod instruction;
mod lines;
mod lint;
mod mount;
mod parse;
mod source;
mod stages;
mod suggest;
mod words;

pub use directive::Directives;
pub use error::{ParseDockerfileError, Problem};
pub use expand::{ExpandError, Expanded, Lexer};
pub use heredoc::Heredoc;
pub use instruction::{
    AddOptions, ArgDeclaration, CommandLine, Copy, CopySource, Instruction, InstructionKind, KeyValue, Run,
    RunNetwork, Word,
};
pub use lint::{
    Checks, Extent, Facts, KnownImage, ParseChecksError, RULES, Rule, UNSEEN_ARGS, Warning, lint,
};
pub use mount::{Mount, MountKind, ParseMountError, Sharing};
pub use source::{Position, Source, Span, excerpt, marked};
pub use stages::{Dockerfile, GlobalArg, Replaced, Stage, Unread, parse, parse_trigger, parse_until_mistake};
pub use suggest::suggest;

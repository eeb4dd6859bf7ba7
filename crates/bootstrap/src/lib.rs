//! A base image straight from a distribution's signed package archive.
//!
//! [`run`] reads which archive the host's apt uses, verifies its signed description with the host's keyring, resolves the
//! smallest set of packages that makes a system with apt, downloads and unpacks them at the same time, lets dpkg configure
//! them in a container, and records the result as an image with one layer, such as `debian:bookworm`. A second run with the
//! same archive finds that image again.
//!
//! Every byte is covered by a signature before it is used: `InRelease` by a key of the keyring, the package index by
//! its digest in it, each package by its digest in the index. There is no way to switch that off; only the *age* of a
//! description may be accepted ([`Request::accept_expired`]).
//!
//! Not here: running containers ([`StepRunner`] is given), recommendations, foreign architectures, and anything but
//! Debian's way of doing it (Ubuntu falls out of it).
#![forbid(unsafe_code)]

mod apt;
mod archive;
mod configure;
mod database;
mod deb;
mod error;
mod fill;
mod image;
mod index;
mod lock;
mod plan;
mod relation;
mod release;
mod request;
mod resolve;
mod run;
mod signature;
mod suite;
mod tree;
mod version;

pub use error::{BootstrapError, RunnerError};
pub use request::{Bootstrapped, Deps, Event, Phase, Progress, Quiet, Request, Step, StepRunner};
pub use run::run;
pub use signature::{Refusal, SignatureError};
pub use suite::{Distribution, Suite, suite_of, supports};

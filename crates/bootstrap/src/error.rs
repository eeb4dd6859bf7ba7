//! Why a base image could not be made.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use shipway_fetch::FetchError;
use shipway_layers::LayerError;
use shipway_oci::Digest;
use shipway_store::StoreError;

use crate::signature::SignatureError;

/// Why a base image could not be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum BootstrapError {
    /// The host does not say where packages come from.
    #[error("this host's apt knows no archive of {distribution} (looked at {})", paths(.looked_at))]
    #[diagnostic(
        code(bootstrap::no_sources),
        help("name an archive and the keys that sign it: --mirror URL --keyring FILE")
    )]
    NoSources {
        /// What was asked for.
        distribution: String,
        /// Files and folders.
        looked_at: Vec<PathBuf>,
    },
    /// Nothing was asked for, and the host is no help.
    #[error("this host does not say which suite it is")]
    #[diagnostic(code(bootstrap::no_suite), help("name one, such as `shipway bootstrap debian:bookworm`"))]
    NoSuite,
    /// The archive answers, but has no such suite.
    #[error("{mirror} has no suite `{suite}`")]
    #[diagnostic(
        code(bootstrap::unknown_suite),
        help(
            "check the spelling; releases that are no longer maintained are on other mirrors: `shipway bootstrap --mirror URL`"
        )
    )]
    UnknownSuite {
        /// The archive.
        mirror: String,
        /// The suite.
        suite: String,
        /// The archive's answer.
        #[source]
        source: FetchError,
    },
    /// The archive does not answer.
    #[error("could not fetch {what} of {mirror}")]
    #[diagnostic(code(bootstrap::fetch))]
    Fetch {
        /// What was to be fetched.
        what: String,
        /// From which archive.
        mirror: String,
        /// What went wrong.
        #[source]
        #[diagnostic_source]
        source: FetchError,
    },
    /// The suite's description is not signed by anybody who counts.
    #[error("{url} is not trusted")]
    #[diagnostic(code(bootstrap::signature))]
    Signature {
        /// The `InRelease` file.
        url: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: SignatureError,
    },
    /// The suite's description is older than it says it may be.
    #[error("{url} expired on {until}")]
    #[diagnostic(
        code(bootstrap::expired),
        help(
            "the mirror is out of date, or somebody holds back updates; check the clock, use another mirror, or accept it: --accept-expired-release"
        )
    )]
    Expired {
        /// The `InRelease` file.
        url: String,
        /// When.
        until: String,
    },
    /// The suite's description does not say what is needed.
    #[error("{url} cannot be used: {reason}")]
    #[diagnostic(code(bootstrap::release), help("check that the mirror and the suite belong together"))]
    Release {
        /// The `InRelease` file or an index.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not the ones that the signed description names.
    #[error("{url} is not what the signed index says: {found} instead of {expected}")]
    #[diagnostic(
        code(bootstrap::mismatch),
        help("the mirror may be in the middle of an update: try again later, or use another mirror")
    )]
    Mismatch {
        /// The file.
        url: String,
        /// What was signed.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The archive lacks something that is needed.
    #[error("the archive has no `{what}`, which {needed_by} needs")]
    #[diagnostic(
        code(bootstrap::unresolvable),
        help("check the names of included packages, and whether the mirror is complete")
    )]
    Unresolvable {
        /// A package or a relation.
        what: String,
        /// Who needs it.
        needed_by: String,
    },
    /// A package cannot be unpacked.
    #[error("could not unpack package {package}")]
    #[diagnostic(
        code(bootstrap::unpack),
        help("look for free space with `df -h`; making a base image needs root")
    )]
    Unpack {
        /// Name and version.
        package: String,
        /// Why.
        source: io::Error,
    },
    /// A file of ours cannot be read or written.
    #[error("could not {operation} `{path}`")]
    #[diagnostic(
        code(bootstrap::io),
        help("look for free space with `df -h`; making a base image needs root")
    )]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The packages' scripts failed.
    #[error("configuring the packages failed with exit code {status}:\n{output}")]
    #[diagnostic(code(bootstrap::configure), help("see the output above; nothing was kept"))]
    Configure {
        /// Exit status.
        status: i32,
        /// The last lines of output.
        output: String,
    },
    /// The container for the packages' scripts could not be run.
    #[error("could not run the packages' scripts in a container")]
    #[diagnostic(code(bootstrap::container))]
    Container {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: RunnerError,
    },
    /// The proxy that the host's apt is told of cannot be used.
    #[error("could not use apt's proxy")]
    #[diagnostic(code(bootstrap::proxy))]
    Proxy {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: shipway_fetch::InvalidProxyError,
    },
    /// The tree could not become a layer.
    #[error("could not make a layer of the tree")]
    #[diagnostic(code(bootstrap::layer))]
    Layer {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: LayerError,
    },
    /// The image could not be recorded.
    #[error("could not record the image")]
    #[diagnostic(code(bootstrap::store))]
    Store {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
}

/// What a [`crate::StepRunner`] could not do, with its hint.
#[derive(Debug)]
pub struct RunnerError(pub(crate) Box<dyn Diagnostic + Send + Sync>);

impl std::fmt::Display for RunnerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for RunnerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Diagnostic for RunnerError {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.help()
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.0.diagnostic_source()
    }
}

impl BootstrapError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

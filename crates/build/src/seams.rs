//! What the program injects: something that runs commands, and something that finds base images.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use shipway_layers::LayerId;
use shipway_linux::Root;
use shipway_oci::{Digest, ImageConfig, Platform, Reference};

use crate::{BuildError, BuildNetwork, HostAddress, ProcessLimit, SeamError, Stop};

/// Runs the command of a RUN step.
///
/// Promises: the command sees the snapshot's lower directories with its changes in the upper one, and the
/// mounts; when [`Stop::is_set`] becomes true the command and its children are killed; nothing of it runs any more
/// when the call returns, and no mount of it is left. What the runner adds for its own needs (`/etc/resolv.conf`,
/// the host's CA bundle, …) it mounts; [`MOUNT_STUBS`] exist already, and the builder removes afterwards what is not to stay.
pub trait StepRunner: fmt::Debug + Send + Sync {
    /// Runs the command, writes its standard output and error to `output` as it comes, and returns its exit code
    /// (128 + n after signal n, 126 and 127 as a shell does).
    fn run(&self, step: &RunStep, output: &mut dyn Write) -> Result<i32, SeamError>;
}

/// Paths that a runner may mount over; the builder makes what is missing before a step. Compat: BuildKit, `/etc/hostname` is the image's.
pub const MOUNT_STUBS: [(&str, StubKind); 5] = [
    ("dev", StubKind::Lasting),
    ("proc", StubKind::Lasting),
    ("sys", StubKind::Lasting),
    ("etc/hosts", StubKind::File),
    ("etc/resolv.conf", StubKind::File),
];

/// The same for steps with [`RunStep::host_ca`].
pub const HOST_CA_STUBS: [(&str, StubKind); 2] =
    [("run/shipway/host-ca.crt", StubKind::File), ("run/shipway/apt.conf", StubKind::File)];

/// What a mount goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StubKind {
    /// An empty directory.
    Directory,
    /// An empty file.
    File,
    /// An empty directory that everybody may write to: one in memory that goes over it is as it is.
    Open,
    /// An empty directory that stays in the layer. Compat: BuildKit, what its runtime needs in every image.
    Lasting,
}

/// One command to run.
#[derive(Debug)]
pub struct RunStep {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Variables as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User as an image config writes it; empty is root.
    pub user: String,
    /// Read-only directories of the root file system, top first.
    pub lowers: Vec<PathBuf>,
    /// Where its changes go.
    pub upper: PathBuf,
    /// Overlay's own directory.
    pub work: PathBuf,
    /// What `--mount` asks for; the targets exist.
    pub mounts: Vec<StepMount>,
    /// Its network.
    pub network: BuildNetwork,
    /// It may do what the host's root user may: `--security=insecure`.
    pub insecure: bool,
    /// It trusts what the host trusts.
    pub host_ca: bool,
    /// Its own name; what is usual if not said.
    pub hostname: Option<String>,
    /// Names that it knows beside its own, and their addresses.
    pub hosts: Vec<(String, HostAddress)>,
    /// Limits of its processes.
    pub limits: Vec<ProcessLimit>,
    /// Bytes of `/dev/shm`; what is usual if not said.
    pub shm_size: Option<u64>,
    /// What its programs are made for.
    pub platform: Platform,
    /// Name of somebody's control group that bounds it.
    pub cgroup_parent: Option<String>,
    /// Becomes set when the step is to end.
    pub stop: Stop,
}

/// One mount of a RUN step.
#[derive(Clone, Debug)]
pub struct StepMount {
    /// Absolute path inside the root file system.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
}

/// What a step's mount shows.
#[derive(Clone)]
pub enum MountSource {
    /// A file or directory. No symlink can redirect it: it is a mount of its own that has no place yet.
    Bind {
        /// The mount, to be moved to its place.
        fd: Arc<OwnedFd>,
        /// What of it is shown, without links on the way; all of it if empty.
        sub: PathBuf,
        /// It is a directory, else a file.
        is_directory: bool,
    },
    /// A directory that outlives the build, writable unless said.
    Cache {
        /// The directory on the host.
        directory: PathBuf,
        /// Not writable.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Limit in bytes.
        size: Option<u64>,
        /// Not writable.
        read_only: bool,
    },
    /// A socket that leads to an ssh agent.
    Agent {
        /// The agent.
        agent: Arc<dyn SshAgent>,
        /// Permissions of the socket.
        mode: u32,
        /// Owner of that.
        uid: u32,
        /// Group of that.
        gid: u32,
    },
    /// A file that lives in memory only: a secret or an inline script.
    File {
        /// Its bytes.
        content: Vec<u8>,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl fmt::Debug for MountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { fd, sub, .. } => write!(f, "Bind({fd:?}, {})", sub.display()),
            Self::Cache { directory, read_only } => {
                write!(f, "Cache({}, read_only: {read_only})", directory.display())
            }
            Self::Tmpfs { size, read_only } => write!(f, "Tmpfs({size:?}, read_only: {read_only})"),
            Self::Agent { agent, .. } => write!(f, "Agent({agent:?})"),
            Self::File { mode, uid, gid, .. } => write!(f, "File(****, {mode:o}, {uid}:{gid})"),
        }
    }
}

/// An ssh agent, of this user or of our own.
pub trait SshAgent: fmt::Debug + Send + Sync {
    /// Returns a connection on which it answers.
    fn connect(&self) -> io::Result<UnixStream>;
}

/// Lets a person look around where a command has failed.
///
/// Called once in a build, when none of its other steps works any more; the build fails when the call returns.
pub trait Debugger: fmt::Debug + Send + Sync {
    /// Shows why the step failed, and its files as the command left them. `step` has the command's mounts, variables, user and
    /// directory; its program is the shell of the stage.
    fn look(&self, error: &BuildError, step: &RunStep);
}

/// What flags of ADD say of a repository: whether its history comes too, and with what the name of its commit begins.
pub type RepositoryFlags<'a> = (Option<bool>, Option<&'a str>);

/// Looks whether a source of ADD is a repository; see [`Remotes::repository`].
pub type LookAtRepository<'a> =
    &'a (dyn Fn(&str, RepositoryFlags<'_>) -> Option<Result<(), SeamError>> + Sync);

/// Fetches what ADD names by an address.
pub trait Remotes: fmt::Debug + Send + Sync {
    /// Returns whether a source that is a repository makes sense, without asking for it; `None` if it is none. Compat: BuildKit,
    /// `….git`, `git@host:path` and the like.
    fn repository(&self, source: &str, flags: RepositoryFlags<'_>) -> Option<Result<(), SeamError>>;

    /// Fetches a file over HTTP into `into`.
    fn http(&self, url: &str, into: &Path) -> Result<Fetched, SeamError>;

    /// Fetches the files of a repository into `into`, an empty directory, and returns where the wanted ones are, there or below, and
    /// the commit that they are of. What the address says must be what the flags say.
    fn git(
        &self,
        source: &str,
        into: &Path,
        flags: RepositoryFlags<'_>,
        stop: &Stop,
    ) -> Result<(PathBuf, String), SeamError>;
}

/// What a server says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// When it was changed last, in seconds since 1970.
    pub modified: Option<u64>,
    /// The digest of what came.
    pub digest: Digest,
}

/// Nobody fetches anything, but it is known what a repository is.
pub(crate) struct Unreachable<'a> {
    pub(crate) repository: LookAtRepository<'a>,
}

impl fmt::Debug for Unreachable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unreachable").finish_non_exhaustive()
    }
}

impl Remotes for Unreachable<'_> {
    fn repository(&self, source: &str, flags: RepositoryFlags<'_>) -> Option<Result<(), SeamError>> {
        (self.repository)(source, flags)
    }

    fn http(&self, _url: &str, _into: &Path) -> Result<Fetched, SeamError> {
        Err(SeamError::new(NothingFetched))
    }

    fn git(
        &self,
        _source: &str,
        _into: &Path,
        _flags: RepositoryFlags<'_>,
        _stop: &Stop,
    ) -> Result<(PathBuf, String), SeamError> {
        Err(SeamError::new(NothingFetched))
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("nothing is fetched here")]
#[diagnostic(code(build::remote), help("fetch it before the build into the context"))]
struct NothingFetched;

/// Lists what an image is made of.
pub trait Inventory: fmt::Debug + Send + Sync {
    /// Returns the packages in the files of an image, as a document of SPDX 2.3; an error soon after [`InventoryQuestion::stop`] is set.
    fn spdx(&self, files: &Root, question: &InventoryQuestion<'_>) -> Result<Value, SeamError>;
}

/// Which image is asked about.
#[derive(Clone, Copy, Debug)]
pub struct InventoryQuestion<'a> {
    /// Its names.
    pub names: &'a [Reference],
    /// What it is for.
    pub platform: &'a Platform,
    /// Digest of its config.
    pub image_id: Digest,
    /// When the answer is made, RFC 3339 in seconds; `SOURCE_DATE_EPOCH` if that is set.
    pub created: &'a str,
    /// Becomes set when nobody wants the answer any more.
    pub stop: &'a Stop,
}

/// Nobody lists anything.
#[derive(Debug)]
pub(crate) struct NoInventory;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("packages are not listed here")]
#[diagnostic(code(build::inventory), help("leave the bill of materials out"))]
struct NothingListed;

impl Inventory for NoInventory {
    fn spdx(&self, _files: &Root, _question: &InventoryQuestion<'_>) -> Result<Value, SeamError> {
        Err(SeamError::new(NothingListed))
    }
}

/// Finds the images that FROM and `--from` name, pulling or making them if need be.
pub trait BaseImages: fmt::Debug + Send + Sync {
    /// Returns the image for a platform.
    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<BaseImage, SeamError>;

    /// Returns the digest of what a name stands for: the manifest of the image that was found by it, or the index that lists it.
    fn digest(&self, reference: &Reference, image_id: &Digest) -> Result<Digest, SeamError>;

    /// Returns the image of an OCI layout for a platform, and the digest of what the layout lists. It has no name, and is to be here while
    /// the build goes on.
    fn in_layout(&self, layout: &str, platform: &Platform) -> Result<(BaseImage, Digest), SeamError>;
}

/// An image to build on.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// Digest of its config.
    pub image_id: Digest,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers, base first, one for each diff ID.
    pub layers: Vec<LayerId>,
}

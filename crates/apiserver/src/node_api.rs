//! What the API server asks of the node: logs, processes in containers, connections to ports.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// A stream of bytes that may fail.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A connection to a port of a pod.
pub trait Dialled: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Dialled for T {}

/// Which log lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// Container; already resolved, never empty.
    pub container: String,
    /// Keep going until the container ends.
    pub follow: bool,
    /// The previous instance of the container.
    pub previous: bool,
    /// Prefix each line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines of the last seconds.
    pub since_seconds: Option<u64>,
    /// Only lines at or after this RFC 3339 time.
    pub since_time: Option<String>,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// A process to start in a container, or (without a command) to attach to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// Container; already resolved, never empty.
    pub container: String,
    /// Program and arguments; empty when attaching.
    pub command: Vec<String>,
    /// Connect standard input.
    pub stdin: bool,
    /// Connect standard output.
    pub stdout: bool,
    /// Connect standard error; never with a terminal.
    pub stderr: bool,
    /// Give it a terminal.
    pub tty: bool,
}

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A running process. Dropping it hangs up: an exec'd process is killed, an attached one goes on.
pub struct ExecSession {
    /// Its standard input; dropping the writer is end of file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its standard error.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Sends sizes of the client's terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Its exit status, as a shell would report it.
    pub exit: oneshot::Receiver<i32>,
}

impl Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").finish_non_exhaustive()
    }
}

/// Why the node could not do it.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no such pod or container on the node, or it does not run.
    #[error("{what} is not running")]
    NotRunning {
        /// Pod or container.
        what: String,
    },
    /// The caller asked for something that makes no sense.
    #[error("{why}")]
    Invalid {
        /// What is wrong.
        why: String,
    },
    /// The node failed.
    #[error("could not {what}")]
    Failed {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The node, as the API server sees it.
///
/// Promises: a future that is dropped leaves nothing behind; only containers of the named pod are touched; `dial`
/// connects to the pod's own address and to nothing else.
pub trait NodeApi: Debug + Send + Sync {
    /// Returns the log of a container.
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>>;
    /// Starts a process in a container.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>>;
    /// Connects to a container's main process.
    fn attach(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>>;
    /// Connects to a TCP port of a pod.
    fn dial<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Dialled>, NodeError>>;
}

/// A cluster without a node: everything is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNode;

impl NoNode {
    fn refuse<T: Send + 'static>(what: &str) -> BoxFuture<'static, Result<T, NodeError>> {
        let what = what.to_owned();
        Box::pin(async move { Err(NodeError::NotRunning { what }) })
    }
}

impl NodeApi for NoNode {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        Self::refuse(&request.pod)
    }
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Self::refuse(&request.pod)
    }
    fn attach(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Self::refuse(&request.pod)
    }
    fn dial<'a>(
        &'a self,
        _namespace: &'a str,
        pod: &'a str,
        _port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Dialled>, NodeError>> {
        Self::refuse(pod)
    }
}

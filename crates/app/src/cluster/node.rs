//! What the API server asks of the node, answered by the kubelet.

use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use shipway_apiserver::{
    ByteStream, Dialled, ExecRequest, ExecSession, LogRequest, NodeApi, NodeError, TerminalSize,
};
use shipway_kubelet::{
    DialError, ExecError, ExecOptions, Kubelet, LogError, LogOptions, StreamError, Terminal,
};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// The kubelet, which comes a little later than the server that asks for it.
#[derive(Debug, Default)]
pub(crate) struct KubeletNode {
    kubelet: OnceLock<Kubelet>,
    tasks: TaskTracker,
}

impl KubeletNode {
    /// Says who answers from now on.
    pub(crate) fn set(&self, kubelet: Kubelet) {
        if self.kubelet.set(kubelet).is_err() {
            tracing::error!("the node has a kubelet already");
        }
    }

    fn kubelet(&self) -> Result<&Kubelet, NodeError> {
        self.kubelet.get().ok_or_else(|| NodeError::NotRunning { what: "the node".to_owned() })
    }

    async fn open_log(&self, request: LogRequest) -> Result<ByteStream, NodeError> {
        let options = LogOptions {
            container: Some(request.container.clone()),
            follow: request.follow,
            previous: request.previous,
            tail: request.tail_lines,
            since: since(&request)?,
            timestamps: request.timestamps,
            limit_bytes: request.limit_bytes,
        };
        let opened = self.kubelet()?.logs(&request.namespace, &request.pod, options).await;
        Ok(opened.map_err(of_log)?.boxed())
    }

    async fn start(&self, request: ExecRequest) -> Result<ExecSession, NodeError> {
        let options = ExecOptions {
            container: Some(request.container),
            command: request.command,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            tty: request.tty,
        };
        let session = self.kubelet()?.exec(&request.namespace, &request.pod, options).await;
        let session = session.map_err(of_exec)?;
        let resize = session.terminal.map(|terminal| self.resizes(terminal));
        let (mut told, exit) = oneshot::channel();
        let ended = session.exit;
        self.tasks.spawn(async move {
            tokio::select! {
                code = ended => drop(told.send(code)),
                // Nobody waits any more: dropping the other future ends the program.
                () = told.closed() => {}
            }
        });
        Ok(ExecSession { stdin: session.stdin, stdout: session.stdout, stderr: session.stderr, resize, exit })
    }

    /// Gives a terminal every size that is sent.
    fn resizes(&self, terminal: Terminal) -> mpsc::Sender<TerminalSize> {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(1);
        self.tasks.spawn(async move {
            while let Some(size) = sizes.recv().await {
                if let Err(error) = terminal.resize(size.height, size.width) {
                    tracing::debug!(%error, "a terminal has gone");
                }
            }
        });
        sender
    }

    /// Compat: what a container prints from now on; its input is not connected, which upstream does only for `stdin: true`.
    async fn join(&self, request: ExecRequest) -> Result<ExecSession, NodeError> {
        let kubelet = self.kubelet()?;
        let attached = kubelet.attach(&request.namespace, &request.pod, Some(request.container)).await;
        let output = tokio_util::io::StreamReader::new(attached.map_err(of_log)?.boxed());
        let (told, exit) = oneshot::channel();
        let output = Ending { output, told: Some(told) };
        let stdin: Option<Box<dyn AsyncWrite + Send + Unpin>> =
            if request.stdin { Some(Box::new(tokio::io::sink())) } else { None };
        Ok(ExecSession { stdin, stdout: Some(Box::new(output)), stderr: None, resize: None, exit })
    }
}

impl NodeApi for KubeletNode {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        self.open_log(request).boxed()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        self.start(request).boxed()
    }

    fn attach(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        self.join(request).boxed()
    }

    fn dial<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Dialled>, NodeError>> {
        let dial = async move {
            let connection = self.kubelet()?.dial(namespace, pod, port).await.map_err(of_dial)?;
            Ok(Box::new(connection) as Box<dyn Dialled>)
        };
        dial.boxed()
    }
}

/// Says that the session is over when the output is.
struct Ending<R> {
    output: R,
    told: Option<oneshot::Sender<i32>>,
}

impl<R: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Ending<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.output).poll_read(context, buffer);
        let over = matches!(&polled, Poll::Ready(Ok(())) if buffer.filled().len() == before);
        if over && let Some(told) = self.told.take() {
            // Nobody may be left to hear it.
            told.send(0).unwrap_or_default();
        }
        polled
    }
}

fn since(request: &LogRequest) -> Result<Option<Timestamp>, NodeError> {
    if let Some(text) = &request.since_time {
        let invalid = |error| NodeError::Invalid { why: format!("invalid sinceTime `{text}`: {error}") };
        return text.parse().map(Some).map_err(invalid);
    }
    let ago = |seconds: u64| {
        let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        // So long ago that there is no such time: everything.
        Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN)
    };
    Ok(request.since_seconds.map(ago))
}

fn of_stream(error: &StreamError) -> NodeError {
    match error {
        StreamError::NoPod(pod) => NodeError::NotRunning { what: format!("pod {pod}") },
        StreamError::NoContainer { .. } | StreamError::WhichContainer { .. } => {
            NodeError::Invalid { why: error.to_string() }
        }
    }
}

fn of_log(error: LogError) -> NodeError {
    match error {
        LogError::Stream(error) => of_stream(&error),
        LogError::Waiting { .. } | LogError::NoPrevious { .. } => {
            NodeError::Invalid { why: error.to_string() }
        }
        LogError::Read { container, source } => {
            NodeError::Failed { what: format!("read the log of container \"{container}\""), source }
        }
    }
}

fn of_exec(error: ExecError) -> NodeError {
    match error {
        ExecError::Stream(error) => of_stream(&error),
        ExecError::NotRunning(container) => NodeError::NotRunning { what: format!("container {container}") },
        ExecError::Unavailable(_) => NodeError::Invalid { why: error.to_string() },
        ExecError::Start { container, source } => NodeError::Failed {
            what: format!("run a program in container \"{container}\""),
            source: io::Error::other(source),
        },
    }
}

fn of_dial(error: DialError) -> NodeError {
    match error {
        DialError::Stream(error) => of_stream(&error),
        DialError::NoAddress(pod) => NodeError::NotRunning { what: format!("pod {pod}") },
        DialError::Refused { pod, address, port, source } => NodeError::Failed {
            what: format!("connect to port {port} of pod {pod} at {address}, nor on its loopback device"),
            source,
        },
    }
}

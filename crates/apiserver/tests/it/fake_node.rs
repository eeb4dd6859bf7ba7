//! A node without containers: every pod is this process, with a few built-in programs.
//!
//! The streams' own tests and the example `fake_node` share it.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use shipway_apiserver::{
    ByteStream, Dialled, ExecRequest, ExecSession, LogRequest, NodeApi, NodeError, TerminalSize,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Runs `cat`, `echo`, `exit`, `yes`, `size` and `both`; dials ports of the loopback device.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeNode {
    /// Ends of programs, for leak checks.
    pub(crate) tasks: TaskTracker,
    /// Pods that answer a dial, if not all.
    pub(crate) alive: Option<std::sync::Arc<std::sync::Mutex<Vec<String>>>>,
}

/// The inner ends of a program's streams.
struct Inner {
    stdin: DuplexStream,
    stdout: DuplexStream,
    stderr: DuplexStream,
    sizes: mpsc::Receiver<TerminalSize>,
}

async fn program(command: &[String], mut inner: Inner) -> io::Result<i32> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cat"] | [] => {
            tokio::io::copy(&mut inner.stdin, &mut inner.stdout).await?;
            Ok(0)
        }
        ["echo", rest @ ..] => {
            inner.stdout.write_all(format!("{}\n", rest.join(" ")).as_bytes()).await?;
            Ok(0)
        }
        ["exit", code] => Ok(code.parse().unwrap_or(255)),
        ["both"] => {
            inner.stdout.write_all(b"out\n").await?;
            inner.stderr.write_all(b"err\n").await?;
            Ok(0)
        }
        ["yes", count] => {
            for _ in 0..count.parse().unwrap_or(0) {
                inner
                    .stdout
                    .write_all(b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n")
                    .await?;
            }
            Ok(0)
        }
        ["size"] => {
            let size = inner.sizes.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            inner.stdout.write_all(format!("{}x{}\r\n", size.width, size.height).as_bytes()).await?;
            Ok(0)
        }
        ["sleep"] => {
            // Until its input is closed by a hang-up.
            let mut all = Vec::new();
            inner.stdin.read_to_end(&mut all).await?;
            Ok(0)
        }
        _ => Ok(127),
    }
}

impl NodeApi for FakeNode {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        async move {
            if request.previous {
                return Err(NodeError::NotRunning { what: request.container });
            }
            let lines = ["one\n", "two\n", "three\n"];
            let skip = request
                .tail_lines
                .map_or(0, |tail| lines.len().saturating_sub(usize::try_from(tail).unwrap()));
            let lines = lines.into_iter().skip(skip).map(|line| Ok(Bytes::from_static(line.as_bytes())));
            let written = futures::stream::iter(lines);
            let stream: ByteStream = if request.follow {
                written.chain(futures::stream::pending()).boxed()
            } else {
                written.boxed()
            };
            Ok(stream)
        }
        .boxed()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        async move {
            if request.command.first().is_some_and(|program| program == "missing") {
                let source = io::ErrorKind::NotFound.into();
                return Err(NodeError::Failed { what: "start `missing`".to_owned(), source });
            }
            let (stdin, inner_stdin) = tokio::io::duplex(4096);
            let (stdout, inner_stdout) = tokio::io::duplex(4096);
            let (stderr, inner_stderr) = tokio::io::duplex(4096);
            let (resize, sizes) = mpsc::channel(4);
            let (mut ended, exit) = oneshot::channel();
            let inner = Inner { stdin: inner_stdin, stdout: inner_stdout, stderr: inner_stderr, sizes };
            self.tasks.spawn(async move {
                let code = tokio::select! {
                    code = program(&request.command, inner) => code.unwrap_or(1),
                    () = ended.closed() => return,
                };
                ended.send(code).unwrap_or_default();
            });
            Ok(ExecSession {
                stdin: request.stdin.then(|| Box::new(stdin) as _),
                stdout: request.stdout.then(|| Box::new(stdout) as _),
                stderr: request.stderr.then(|| Box::new(stderr) as _),
                resize: request.tty.then_some(resize),
                exit,
            })
        }
        .boxed()
    }

    fn attach(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        self.exec(request)
    }

    fn dial<'a>(
        &'a self,
        _namespace: &'a str,
        pod: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Dialled>, NodeError>> {
        async move {
            let alive =
                self.alive.as_ref().is_none_or(|alive| alive.lock().unwrap().iter().any(|one| one == pod));
            if !alive {
                return Err(NodeError::NotRunning { what: format!("pod {pod}") });
            }
            match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Dialled>),
                Err(source) => Err(NodeError::Failed { what: format!("connect to port {port}"), source }),
            }
        }
        .boxed()
    }
}

//! Why something did not work.

use std::io;

/// Why the machine did not do what the kubelet asked of it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("could not {operation} `{subject}`")]
pub struct MachineError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub subject: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl MachineError {
    /// Returns what makes an error of a cause.
    pub(crate) fn of<E>(operation: &'static str, subject: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let subject = subject.into();
        move |source| Self { operation, subject, source: source.into() }
    }
}

/// Returns an error and its causes on one line, for events and statuses.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Why there is nobody to talk to in a pod.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StreamError {
    /// No such pod runs here.
    #[error("pod {0} is not on this node")]
    #[diagnostic(code(kubelet::no_pod))]
    NoPod(String),
    /// The pod has no such container.
    #[error("container {container} is not valid for pod {pod}")]
    #[diagnostic(code(kubelet::no_container))]
    NoContainer {
        /// The pod.
        pod: String,
        /// What was asked for.
        container: String,
    },
    /// The pod has several containers and none was named.
    #[error("a container name must be specified for pod {pod}, choose one of: [{names}]")]
    #[diagnostic(code(kubelet::which_container))]
    WhichContainer {
        /// The pod.
        pod: String,
        /// Its containers.
        names: String,
    },
}

/// Why there is no log.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LogError {
    /// There is nobody to ask.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stream(#[from] StreamError),
    /// The container has not been started.
    #[error("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")]
    #[diagnostic(code(kubelet::waiting))]
    Waiting {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// Why it waits.
        reason: String,
    },
    /// It has run only once.
    #[error("previous terminated container \"{container}\" in pod \"{pod}\" not found")]
    #[diagnostic(code(kubelet::no_previous))]
    NoPrevious {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// The file could not be read.
    #[error("could not read the log of container \"{container}\"")]
    #[diagnostic(code(kubelet::log))]
    Read {
        /// The container.
        container: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a program did not run in a container.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExecError {
    /// There is nobody to ask.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stream(#[from] StreamError),
    /// The container does not run.
    #[error("container not found (\"{0}\")")]
    #[diagnostic(code(kubelet::not_running))]
    NotRunning(String),
    /// It could not be started.
    #[error("could not run a program in container \"{container}\"")]
    #[diagnostic(code(kubelet::exec))]
    Start {
        /// The container.
        container: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be done yet.
    #[error("{0} is not available yet")]
    #[diagnostic(code(kubelet::unavailable))]
    Unavailable(&'static str),
}

/// Why a port of a pod could not be reached.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DialError {
    /// There is nobody to ask.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stream(#[from] StreamError),
    /// The pod has no network yet, or no longer.
    #[error("pod {0} has no address")]
    #[diagnostic(code(kubelet::no_address))]
    NoAddress(String),
    /// Nobody listens, neither on the pod's address nor on its loopback device.
    #[error("could not connect to port {port} of pod {pod} at {address}, nor on its loopback device")]
    #[diagnostic(code(kubelet::refused), help("see that the program listens on that port"))]
    Refused {
        /// The pod.
        pod: String,
        /// Its address.
        address: String,
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

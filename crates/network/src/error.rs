//! Why a network could not be set up.

use std::io;
use std::path::PathBuf;

use shipway_linux::NetlinkError;

/// Why an operation on a network failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NetworkError {
    /// An id that cannot be a file name.
    #[error("`{id}` is no id of a sandbox")]
    #[diagnostic(
        code(network::invalid_id),
        help("use 1 to 128 letters, digits, `-`, `_` and `.`, the first of them a letter or digit")
    )]
    InvalidId {
        /// The id.
        id: String,
    },
    /// The kernel refused a device, an address, a route or a rule.
    #[error("could not set up the network of containers")]
    #[diagnostic(
        code(network::kernel),
        help(
            "run as root, on a kernel with bridge, veth and nf_tables; or use the host's network: --network host"
        )
    )]
    Kernel {
        /// What it refused.
        source: NetlinkError,
    },
    /// A file or a namespace could not be used.
    #[error("could not {operation} `{}`", path.display())]
    #[diagnostic(
        code(network::io),
        help("run as root and see that the state folder is writable, or choose another one: --state DIR")
    )]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What is kept about addresses cannot be understood.
    #[error("`{}` is damaged", path.display())]
    #[diagnostic(
        code(network::damaged),
        help("stop all containers, then remove the file; it will be made anew")
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// The host uses every range we could.
    #[error("no address range is free for containers")]
    #[diagnostic(
        code(network::no_subnet),
        help(
            "see which routes cover the private ranges (`ip route show table all`) and remove those you do not need"
        )
    )]
    NoSubnet,
    /// All addresses are given out.
    #[error("no address is free in {subnet}")]
    #[diagnostic(code(network::full), help("remove containers that you do not need"))]
    Full {
        /// The range of the network.
        subnet: String,
    },
}

impl NetworkError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }

    pub(crate) fn kernel(source: NetlinkError) -> Self {
        Self::Kernel { source }
    }
}

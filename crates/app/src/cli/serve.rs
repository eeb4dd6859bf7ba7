//! The command line of `registry`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Serve a registry on the local store until Ctrl-C
    #[command(after_help = "Examples:
  shipway registry serve
  shipway registry serve --listen 127.0.0.1:5001 --quiet
  shipway tag web 127.0.0.1:5000/web && shipway push 127.0.0.1:5000/web

What is pushed lies in the store that builds and containers use; `shipway images` does not list it.")]
    Serve(ServeArgs),
    /// Names that are part of the design and not there yet, and typing errors.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port; only one of this machine's own yet: there are no passwords and no TLS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    pub(crate) listen: SocketAddr,
    /// Do not print requests
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

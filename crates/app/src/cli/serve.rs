//! The command line of `registry`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Serve a registry on the local store until Ctrl-C
    #[command(after_help = "Examples:
  shipway registry serve
  shipway registry serve --listen 127.0.0.1:5001 --quiet
  shipway tag web 127.0.0.1:5000/web && shipway push 127.0.0.1:5000/web
  shipway registry serve --pull-through docker.io
  shipway registry serve --listen 0.0.0.0:5000 --htpasswd users --anonymous-pull --tls-cert crt.pem --tls-key key.pem
  AWS_REGION=eu-central-1 shipway registry serve --bucket s3://images/registry

What is pushed lies in the store that builds and containers use; `shipway images` does not list it.
`/metrics` has numbers for Prometheus. Users and certificates that change are read again.
With --bucket nothing lies on this machine; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION say how to reach it.")]
    Serve(Box<ServeArgs>),
    /// Names that are part of the design and not there yet, and typing errors.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port; one that others reach needs users or tokens, and TLS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    pub(crate) listen: SocketAddr,
    /// Another name by which it is asked, beside addresses, localhost and this machine's name; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Only the users of this file may use it: lines `NAME:HASH` as `htpasswd -B` writes them
    #[arg(long, value_name = "FILE")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// Everybody may pull; only pushing and deleting need a name or a token
    #[arg(long)]
    pub(crate) anonymous_pull: bool,
    /// The certificates to show, in PEM, the server's own first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// A service whose tokens are taken: the URL where clients get them
    #[arg(long, value_name = "URL", requires_all = ["token_service", "token_issuer", "token_keys"])]
    pub(crate) token_realm: Option<String>,
    /// What the token service calls this registry
    #[arg(long, value_name = "NAME", requires = "token_realm")]
    pub(crate) token_service: Option<String>,
    /// What the token service calls itself
    #[arg(long, value_name = "NAME", requires = "token_realm")]
    pub(crate) token_issuer: Option<String>,
    /// The keys of the token service: a JSON web key set
    #[arg(long, value_name = "FILE", requires = "token_realm")]
    pub(crate) token_keys: Option<PathBuf>,
    /// Be a cache of this registry, and take no pushes; may be given several times
    #[arg(long, value_name = "REGISTRY")]
    pub(crate) pull_through: Vec<String>,
    /// Keep everything in object storage: `s3://NAME/PREFIX`, which several registries may share
    #[arg(long, value_name = "URL", conflicts_with = "pull_through")]
    pub(crate) bucket: Option<String>,
    /// Where the bucket is, if not at Amazon's
    #[arg(long, value_name = "URL", requires = "bucket")]
    pub(crate) bucket_endpoint: Option<String>,
    /// Do not print requests
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

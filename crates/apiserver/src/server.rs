//! The server: opened once, then asked over TLS or in-process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use axum::Router;
use ring::hmac;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::ClientService;
use crate::pki::{Pki, PkiError};
use crate::storage::{Storage, StorageError};
use crate::{Identity, NoNode, NodeApi, bootstrap, dispatch};

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of database and keys; made if missing, mode 0700.
    pub dir: PathBuf,
    /// The node: logs, exec, attach, port-forward.
    pub node: Arc<dyn NodeApi>,
    /// Where services get their addresses; the first one is the `kubernetes` service.
    pub service_network: (Ipv4Addr, u8),
    /// More addresses on which the server is reached (the node's gateway address): in its certificate, and as
    /// endpoint of the `kubernetes` service if there is one.
    pub addresses: Vec<IpAddr>,
    /// Port to listen on; 0 takes the one used last time, or a free one.
    pub port: u16,
}

impl Config {
    /// Returns a configuration without a node.
    pub fn new(dir: PathBuf) -> Self {
        let service_network = (Ipv4Addr::new(10, 96, 0, 0), 16);
        Self { dir, node: Arc::new(NoNode), service_network, addresses: Vec::new(), port: 0 }
    }

    /// Returns the address of the `kubernetes` service.
    pub fn service_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.service_network.0.to_bits() + 1)
    }
}

/// Why a server could not be opened.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OpenError {
    /// The folder could not be made.
    #[error("could not make `{}`", path.display())]
    #[diagnostic(code(apiserver::dir))]
    Dir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("could not open the cluster's database below `{}`", path.display())]
    #[diagnostic(
        code(apiserver::database),
        help("another Shipway daemon may be using this root: `shipway system info` names it")
    )]
    Storage {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: StorageError,
    },
    /// The keys could not be set up.
    #[error("could not set up the cluster's keys")]
    #[diagnostic(code(apiserver::keys))]
    Pki {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: PkiError,
    },
    /// The first objects could not be stored.
    #[error("could not store the cluster's first objects: {message}")]
    #[diagnostic(code(apiserver::bootstrap))]
    Bootstrap {
        /// What the server answered itself.
        message: String,
    },
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) store: Storage,
    pub(crate) node: Arc<dyn NodeApi>,
    pub(crate) token_key: hmac::Key,
    pub(crate) service_network: (Ipv4Addr, u8),
    /// Position from which the next service address is looked for.
    pub(crate) next_address: AtomicU32,
    /// Ends watches and streams.
    pub(crate) stop: CancellationToken,
    /// Runs what outlives its request.
    pub(crate) tasks: TaskTracker,
}

/// An API server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiServer {
    pub(crate) api: Arc<Api>,
    pub(crate) pki: Arc<Pki>,
    pub(crate) config: Arc<Config>,
    pub(crate) tasks: TaskTracker,
    router: Router,
}

impl ApiServer {
    /// Opens the database, makes what is missing (keys, namespaces, the `kubernetes` service), and answers from then
    /// on. Nothing listens yet: see [`Self::listen`] and [`Self::serve`].
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let dir = |source| OpenError::Dir { path: config.dir.clone(), source };
        fs_err::create_dir_all(&config.dir).map_err(dir)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs_err::set_permissions(&config.dir, mode).map_err(dir)?;
        let store = Storage::open(&config.dir.join("api.db"))
            .map_err(|source| OpenError::Storage { path: config.dir.clone(), source })?;
        let mut addresses = vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(config.service_address()),
        ];
        addresses.extend(&config.addresses);
        let pki =
            Pki::open(&config.dir.join("pki"), &addresses).map_err(|source| OpenError::Pki { source })?;
        let mut seed = [0_u8; 2];
        crate::object::random(&mut seed);
        let api = Arc::new(Api {
            store,
            node: Arc::clone(&config.node),
            token_key: pki.token_key.clone(),
            service_network: config.service_network,
            next_address: AtomicU32::new(u32::from(u16::from_le_bytes(seed))),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let router = dispatch::router(Arc::clone(&api));
        let tasks = api.tasks.clone();
        let server = Self { api, pki: Arc::new(pki), config: Arc::new(config), tasks, router };
        bootstrap::run(&server)
            .await
            .map_err(|status| OpenError::Bootstrap { message: status.message.clone() })?;
        Ok(server)
    }

    /// Returns the routes. Requests carry who makes them as an [`Identity`] extension; without one they are
    /// anonymous, or what their bearer token says.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns a service for an in-process client, such as `kube::Client::new(service, "default")`.
    pub fn client_service(&self, identity: Identity) -> ClientService {
        ClientService::new(self.router(), identity, self.tasks.clone())
    }

    /// Returns a kubeconfig for the administrator, everything embedded.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        self.pki.kubeconfig(server_url)
    }

    /// Returns the certificate of the cluster's authority, as PEM.
    pub fn ca_certificate(&self) -> &str {
        self.pki.ca_pem()
    }
}

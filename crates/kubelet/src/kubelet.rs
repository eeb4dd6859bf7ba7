//! The kubelet: one worker per pod of this node, and what others ask of them.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, Stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use shipway_events::Writer;
use shipway_runtime::ExecSpec;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::error::{DialError, ExecError, LogError, StreamError};
use crate::events::PodEvents;
use crate::exec::{ExecOptions, Streams, start, start_on_terminal};
use crate::leftover::owner;
use crate::logs::{LogOptions, never, stream};
use crate::machine::{Adopted, Machine};
use crate::node::Capacity;
use crate::pod::{Command, Context, State, View, Worker, files::RESOLV_CONF};
use crate::watch::Change;
use crate::{ExecSession, KubeletConfig};

/// Changes of pods that may wait for the kubelet.
const CHANGES: usize = 64;

/// Runs the pods of one node. Clones are the same kubelet.
#[derive(Clone, Debug)]
pub struct Kubelet {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Arc<Context>,
    writer: Mutex<Option<Writer>>,
    workers: Mutex<HashMap<String, Handle>>,
}

/// What is kept of a worker.
#[derive(Debug)]
struct Handle {
    commands: watch::Sender<Command>,
    view: Arc<Mutex<View>>,
}

impl Kubelet {
    /// Returns a kubelet that does nothing before [`Kubelet::run`].
    pub fn new(config: KubeletConfig, client: Client, machine: Arc<dyn Machine>) -> Self {
        let (recorder, writer) = PodEvents::new(client.clone(), &config.node_name);
        let host = RESOLV_CONF.iter().find_map(|path| fs_err::read_to_string(path).ok());
        let resolv_conf = config.resolv_conf.clone().or(host).unwrap_or_default();
        let capacity = Capacity::load(&config);
        let context = Context { config: Arc::new(config), client, machine, recorder, capacity, resolv_conf };
        let inner =
            Inner { context: Arc::new(context), writer: Mutex::new(Some(writer)), workers: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Registers the node and runs its pods until `stop`; they go on running afterwards.
    ///
    /// Containers that an earlier kubelet left running are taken over without a restart; those of pods that are gone from the
    /// API are removed.
    pub async fn run(&self, stop: CancellationToken) {
        let context = &self.inner.context;
        let mut tasks = JoinSet::new();
        tasks.spawn(crate::node::run(Arc::clone(&context.config), context.client.clone(), stop.clone()));
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            tasks.spawn(writer.run(stop.clone()));
        }
        let (sender, mut changes) = mpsc::channel(CHANGES);
        let node = context.config.node_name.clone();
        tasks.spawn(crate::watch::run(context.client.clone(), node, sender, stop.clone()));
        let mut workers: JoinSet<String> = JoinSet::new();
        let mut first = true;
        loop {
            let change = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                ended = workers.join_next(), if !workers.is_empty() => {
                    self.on_worker_end(ended);
                    continue;
                }
                change = changes.recv() => change,
            };
            match change {
                None => break,
                Some(Change::Put(pod)) => self.put(*pod, Vec::new(), (&mut workers, &stop)),
                Some(Change::Gone(pod)) => self.tell(pod.metadata.uid.as_deref(), Command::Gone),
                Some(Change::All(pods)) => {
                    let found = if std::mem::take(&mut first) {
                        self.found(&pods, &mut tasks).await
                    } else {
                        Vec::new()
                    };
                    self.put_all(pods, found, (&mut workers, &stop));
                }
            }
        }
        while workers.join_next().await.is_some() {}
        self.workers().clear();
        while tasks.join_next().await.is_some() {}
    }

    fn workers(&self) -> MutexGuard<'_, HashMap<String, Handle>> {
        self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_worker_end(&self, ended: Option<Result<String, tokio::task::JoinError>>) {
        match ended {
            Some(Ok(uid)) => drop(self.workers().remove(&uid)),
            Some(Err(error)) => tracing::error!(%error, "the worker of a pod ended unexpectedly"),
            None => {}
        }
    }

    fn tell(&self, uid: Option<&str>, command: Command) {
        if let Some(handle) = self.workers().get(uid.unwrap_or_default()) {
            handle.commands.send_replace(command);
        }
    }

    fn put(
        &self,
        pod: Pod,
        adopted: Vec<Adopted>,
        (tasks, stop): (&mut JoinSet<String>, &CancellationToken),
    ) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let pod = Arc::new(pod);
        let mut workers = self.workers();
        if let Some(handle) = workers.get(&uid) {
            handle.commands.send_replace(Command::Be(pod));
            return;
        }
        let (commands, receiver) = watch::channel(Command::Be(Arc::clone(&pod)));
        let (worker, view) = Worker::new(Arc::clone(&self.inner.context), pod, receiver, adopted);
        workers.insert(uid.clone(), Handle { commands, view });
        let stop = stop.clone();
        tasks.spawn(async move {
            worker.run(stop).await;
            uid
        });
    }

    fn put_all(
        &self,
        pods: Vec<Pod>,
        found: Vec<Adopted>,
        (tasks, stop): (&mut JoinSet<String>, &CancellationToken),
    ) {
        let here: BTreeSet<String> = pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        let gone: Vec<String> = self.workers().keys().filter(|uid| !here.contains(*uid)).cloned().collect();
        for uid in gone {
            self.tell(Some(&uid), Command::Gone);
        }
        for pod in pods {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let ours = found.iter().filter(|one| owner(&one.id) == uid).cloned().collect();
            self.put(pod, ours, (tasks, stop));
        }
    }

    /// Returns what an earlier kubelet left of these pods, and begins to remove what it left of others.
    async fn found(&self, pods: &[Pod], tasks: &mut JoinSet<()>) -> Vec<Adopted> {
        let ground = self.inner.context.ground();
        let look = ground.clone();
        let left = spawn_blocking(move || look.left_over()).await;
        let Ok((containers, uids)) = left else { return Vec::new() };
        let here: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        let containers = Arc::new(containers);
        for uid in uids.into_iter().filter(|uid| !here.contains(uid.as_str())) {
            tracing::info!(uid, "removing what is left of a pod that is gone");
            let (ground, containers) = (ground.clone(), Arc::clone(&containers));
            tasks.spawn(async move { ground.end(&uid, &containers, Duration::ZERO).await });
        }
        containers.to_vec()
    }

    /// Streams a container's log.
    pub async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, LogError> {
        let view = self.view(namespace, pod)?;
        let name = container_name(&view.pod, options.container.as_deref())?;
        let record = view.record.containers.get(&name).cloned().unwrap_or_default();
        let id = if options.previous {
            let previous = record.last.as_ref().filter(|last| !last.id.is_empty());
            let missing = || LogError::NoPrevious { pod: pod.to_owned(), container: name.clone() };
            previous.ok_or_else(missing)?.id.clone()
        } else {
            let now = record.id().map(ToOwned::to_owned);
            let ended = || record.last_end().map(|ended| ended.id.clone()).filter(|id| !id.is_empty());
            now.or_else(ended).ok_or_else(|| LogError::Waiting {
                pod: pod.to_owned(),
                container: name.clone(),
                reason: waiting_reason(&record.state),
            })?
        };
        let machine = &self.inner.context.machine;
        let follows = options.follow && !options.previous;
        let end = if follows { machine.wait(&id).map(drop).boxed().shared() } else { never() };
        let options = LogOptions { follow: follows, ..options };
        stream(machine.log_path(&id), &options, end)
            .map_err(|source| LogError::Read { container: name, source })
    }

    /// Streams what a container says from now on. There is no way to its standard input.
    pub async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<String>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, LogError> {
        let options = LogOptions { container, follow: true, tail: Some(0), ..LogOptions::default() };
        self.logs(namespace, pod, options).await
    }

    /// Runs a program in a container.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        options: ExecOptions,
    ) -> Result<ExecSession, ExecError> {
        let view = self.view(namespace, pod)?;
        let name = container_name(&view.pod, options.container.as_deref())?;
        let id = view.record.containers.get(&name).and_then(|record| record.id()).map(ToOwned::to_owned);
        let id = id.ok_or_else(|| ExecError::NotRunning(name.clone()))?;
        let spec = ExecSpec { args: options.command, env: Vec::new(), cwd: None, user: None };
        let machine = &self.inner.context.machine;
        let failed = |error| ExecError::Start { container: name.clone(), source: Box::new(error) };
        let streams = Streams { stdin: options.stdin, stdout: options.stdout, stderr: options.stderr };
        if options.tty {
            let (command, socket) = machine.exec_terminal(&id, &spec).map_err(failed)?;
            return start_on_terminal(command, socket, &name, streams).await;
        }
        let command = machine.exec(&id, &spec).map_err(failed)?;
        start(command, &name, streams)
    }

    /// Connects to a port of a pod: to its address, or to its loopback device where only that listens.
    pub async fn dial(&self, namespace: &str, pod: &str, port: u16) -> Result<TcpStream, DialError> {
        let view = self.view(namespace, pod)?;
        let sandbox = view.record.sandbox.as_ref().ok_or_else(|| DialError::NoAddress(pod.to_owned()))?;
        let running = view.record.containers.values().find_map(|container| container.id());
        let inside = running.map(ToOwned::to_owned);
        crate::dial::dial(&self.inner.context.machine, pod, (sandbox.address, port), inside).await
    }

    /// Returns what is known of a pod, the youngest of that name.
    fn view(&self, namespace: &str, name: &str) -> Result<View, StreamError> {
        let workers = self.workers();
        let views =
            workers.values().map(|handle| handle.view.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let named = |view: &View| {
            let meta = &view.pod.metadata;
            meta.name.as_deref() == Some(name) && meta.namespace.as_deref() == Some(namespace)
        };
        let youngest = views.filter(named).max_by_key(|view| view.pod.metadata.creation_timestamp.clone());
        youngest.ok_or_else(|| StreamError::NoPod(name.to_owned()))
    }
}

/// Returns the container that is meant.
fn container_name(pod: &Pod, wanted: Option<&str>) -> Result<String, StreamError> {
    let spec = pod.spec.clone().unwrap_or_default();
    let name = || pod.metadata.name.clone().unwrap_or_default();
    let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    match (wanted.filter(|wanted| !wanted.is_empty()), spec.containers.as_slice()) {
        (Some(wanted), _) if all.any(|container| container.name == wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => Err(StreamError::NoContainer { pod: name(), container: wanted.to_owned() }),
        (None, [only]) => Ok(only.name.clone()),
        (None, several) => {
            let names: Vec<_> = several.iter().map(|container| container.name.as_str()).collect();
            Err(StreamError::WhichContainer { pod: name(), names: names.join(" ") })
        }
    }
}

fn waiting_reason(state: &State) -> String {
    match state {
        State::Waiting { reason, message: Some(message) } => format!("{reason}: {message}"),
        State::Waiting { reason, message: None } => (*reason).to_owned(),
        State::Running { .. } => "Running".to_owned(),
        State::Ended(ended) => ended.reason.clone(),
    }
}

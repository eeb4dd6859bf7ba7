//! Beginnings: network and volumes, then containers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, PostParams};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stop::{handle, not_started};
use super::{Context, PATIENCE, REFRESH, Report, Worker};
use crate::error::chain;
use crate::machine::{Order, Sandbox, StartProblem};
use crate::pod::environment::{self, Facts, Sources, environment};
use crate::pod::order::{Parts, bind, container_id, container_spec};
use crate::pod::record::State;
use crate::pod::{files, image};
use crate::probe::{self, Purpose};
use crate::volumes::{self, Places};

/// What became of a start.
enum Started {
    Running {
        id: String,
        since: Timestamp,
        image_id: String,
    },
    /// No image: reason, reason while waiting, message.
    NoImage(image::Trouble),
    /// What the pod asks for cannot be had.
    Config(String),
    /// The machine failed.
    Problem {
        problem: StartProblem,
        image_id: String,
    },
}

/// Everything that starting a container needs.
struct Job {
    context: Arc<Context>,
    pod: Arc<Pod>,
    container: Arc<Container>,
    attempt: u32,
    sandbox: Sandbox,
    places: Places,
    sources: Arc<Sources>,
    facts: Facts,
}

impl Worker {
    fn facts(&self) -> Facts {
        let config = &self.context.config;
        Facts {
            pod_ip: self
                .record
                .sandbox
                .as_ref()
                .map(|sandbox| sandbox.address.to_string())
                .unwrap_or_default(),
            host_ip: config.node_ip.to_string(),
            node_name: config.node_name.clone(),
            node_cpu: self.context.capacity.cpus * 1000,
            node_memory: self.context.capacity.memory_kib * 1024,
            api_service: config.api_service.clone(),
        }
    }

    /// Makes the network and the volumes; both at once if the volumes do not tell the pod's address.
    pub(super) async fn set_up(&mut self) {
        if self.record.sandbox.is_none()
            && let Err(why) = self.make_sandbox().await
        {
            let message = format!("Failed to create pod sandbox: {why}");
            self.setup_failed("FailedCreatePodSandBox", message);
            return;
        }
        match self.prepare_volumes().await {
            Ok(()) => {
                self.record.volumes_ready = true;
                self.record.setup_problem = None;
                self.record.setup_again = None;
                self.record.setup_back_off.reset();
                // What was taken over is watched from here on: its probes need an address.
                self.watch_running();
            }
            Err(message) => self.setup_failed("FailedMount", message),
        }
    }

    fn setup_failed(&mut self, reason: &'static str, message: String) {
        self.context.recorder.warning(&self.pod, None, reason, message.clone());
        self.record.setup_problem = Some(message);
        let wait = self.record.setup_back_off.setup();
        self.record.setup_again = Some(Instant::now() + wait);
    }

    async fn make_sandbox(&mut self) -> Result<(), String> {
        if self.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
            self.record.sandbox = Some(Sandbox { netns: None, address: self.context.config.node_ip });
            return Ok(());
        }
        let (machine, uid) = (Arc::clone(&self.context.machine), self.uid().to_owned());
        let made = spawn_blocking(move || machine.make_sandbox(&uid)).await;
        match made {
            Ok(Ok(sandbox)) => {
                self.record.sandbox = Some(sandbox);
                Ok(())
            }
            Ok(Err(error)) => Err(chain(&error)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Makes or renews the volumes and plans the next look at them.
    async fn prepare_volumes(&mut self) -> Result<(), String> {
        let has_volumes =
            self.pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).is_some_and(|v| !v.is_empty());
        if !has_volumes {
            return Ok(());
        }
        let (maps, secrets, tokens) = volumes::referenced(&self.pod);
        let names = (maps.into_iter().collect(), secrets.into_iter().collect());
        let mut sources = fetch_objects(&self.context, &self.pod, names).await?;
        let mut soonest: Option<Duration> = volumes::may_change(&self.pod).then_some(REFRESH);
        for wish in tokens {
            let token = request_token(&self.context, &self.pod, &wish).await?;
            sources.tokens.insert(wish.key, token);
            let lasts = Duration::from_secs(u64::try_from(wish.seconds).unwrap_or(3600)) / 5 * 4;
            soonest = Some(soonest.map_or(lasts, |soonest| soonest.min(lasts)));
        }
        let (pod, places, facts) = (Arc::clone(&self.pod), self.places.clone(), self.facts());
        let done = spawn_blocking(move || volumes::prepare(&pod, &places, &sources, &facts)).await;
        done.map_err(|error| error.to_string())??;
        self.refresh = soonest.map(|soonest| Instant::now() + soonest);
        Ok(())
    }

    /// Brings the volumes of a running pod up to date.
    pub(super) async fn refresh_volumes(&mut self) {
        self.refresh = Some(Instant::now() + REFRESH);
        if let Err(why) = self.prepare_volumes().await {
            // What is mounted stays as it is.
            self.context.recorder.warning(&self.pod, None, "FailedMount", why);
        }
    }

    /// Starts containers, at the same time; the status goes out meanwhile if that takes long.
    pub(super) async fn start(&mut self, names: Vec<String>) {
        let Some(sandbox) = self.record.sandbox.clone() else { return };
        let sources = match self.environment_sources().await {
            Ok(sources) => Arc::new(sources),
            Err(why) => {
                names.iter().for_each(|name| self.on_started(name, Started::Config(why.clone())));
                return;
            }
        };
        let mut jobs = Vec::new();
        for name in names {
            let Some(container) = self.container(&name) else { continue };
            let record = self.record.container(&name);
            if let State::Ended(ended) = &record.state {
                record.last = Some(ended.clone());
                record.state = State::Waiting { reason: "ContainerCreating", message: None };
            }
            let attempt = record.next_attempt;
            let job = Job {
                context: Arc::clone(&self.context),
                pod: Arc::clone(&self.pod),
                container,
                attempt,
                sandbox: sandbox.clone(),
                places: self.places.clone(),
                sources: Arc::clone(&sources),
                facts: self.facts(),
            };
            jobs.push(async move {
                let outcome = spawn_blocking(move || start_one(&job)).await;
                let lost = |error: tokio::task::JoinError| Started::Config(error.to_string());
                (name, outcome.unwrap_or_else(lost))
            });
        }
        let mut all = std::pin::pin!(join_all(jobs));
        let outcomes = tokio::select! {
            biased;
            outcomes = &mut all => outcomes,
            () = tokio::time::sleep(PATIENCE) => {
                self.publish();
                self.send_status().await;
                all.await
            }
        };
        for (name, outcome) in outcomes {
            self.on_started(&name, outcome);
        }
    }

    async fn environment_sources(&self) -> Result<Sources, String> {
        let (maps, mut secrets) = environment::referenced(&self.pod);
        secrets.extend(pull_secret_names(&self.pod).map(str::to_owned));
        let mut sources = fetch_objects(&self.context, &self.pod, (maps, secrets)).await?;
        if self.pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false) {
            let api = Api::<Service>::namespaced(self.context.client.clone(), self.namespace());
            let list = api.list(&ListParams::default()).await;
            sources.services = list.map_err(|error| format!("could not list services: {error}"))?.items;
        }
        Ok(sources)
    }

    fn on_started(&mut self, name: &str, outcome: Started) {
        let recorder = self.context.recorder.clone();
        let pod = Arc::clone(&self.pod);
        let Some(container) = self.container(name) else { return };
        let image = container.image.as_deref().unwrap_or_default();
        match outcome {
            Started::Running { id, since, image_id } => {
                let message = format!("Container image \"{image}\" already present on machine");
                recorder.normal(&pod, Some(name), "Pulled", message);
                recorder.normal(&pod, Some(name), "Created", format!("Created container: {name}"));
                recorder.normal(&pod, Some(name), "Started", format!("Started container {name}"));
                self.on_running(name, id, since, image_id);
            }
            Started::NoImage(trouble) => {
                let record = self.record.container(name);
                let first = !matches!(&record.state, State::Waiting { reason, .. } if *reason == trouble.waiting || *reason == trouble.reason);
                let reason = if first { trouble.reason } else { trouble.waiting };
                record.again = Some(Instant::now() + record.back_off.image());
                if first {
                    recorder.warning(
                        &pod,
                        Some(name),
                        "Failed",
                        format!("Failed to pull image \"{image}\": {}", trouble.message),
                    );
                    recorder.warning(&pod, Some(name), "Failed", format!("Error: {}", trouble.reason));
                } else if !matches!(&record.state, State::Waiting { reason: known, .. } if *known == reason) {
                    recorder.normal(
                        &pod,
                        Some(name),
                        "BackOff",
                        format!("Back-off pulling image \"{image}\""),
                    );
                }
                record.state = State::Waiting { reason, message: Some(trouble.message) };
            }
            Started::Config(message) => {
                recorder.warning(&pod, Some(name), "Failed", format!("Error: {message}"));
                let record = self.record.container(name);
                record.again = Some(Instant::now() + record.back_off.setup());
                record.state =
                    State::Waiting { reason: "CreateContainerConfigError", message: Some(message) };
            }
            Started::Problem { problem, image_id } => self.on_problem(name, problem, image_id),
        }
    }

    fn on_problem(&mut self, name: &str, problem: StartProblem, image_id: String) {
        let message = format!("Error: {}", problem.message);
        self.context.recorder.warning(&self.pod, Some(name), "Failed", message);
        let record = self.record.container(name);
        record.image_id = image_id;
        if problem.program {
            // The container itself is wrong: that counts as a run.
            record.restarts = record.next_attempt;
            record.next_attempt += 1;
            record.state = State::Ended(not_started(problem.code, "StartError", problem.message));
            let wait = record.back_off.restart(Duration::ZERO).max(Duration::from_secs(1));
            record.again = Some(Instant::now() + wait);
        } else {
            record.again = Some(Instant::now() + record.back_off.setup());
            record.state = State::Waiting { reason: "CreateContainerError", message: Some(problem.message) };
        }
    }

    fn on_running(&mut self, name: &str, id: String, since: Timestamp, image_id: String) {
        let record = self.record.container(name);
        let waited = record.last.is_none() && record.next_attempt == 0;
        if waited {
            // It waited for its image or its configuration, not after a crash.
            record.back_off.reset();
        }
        record.restarts = record.next_attempt;
        record.next_attempt += 1;
        record.image_id = image_id;
        record.stopping = false;
        record.again = None;
        record.state = State::Running { id: id.clone(), since };
        let attempt = record.restarts;
        self.wait_for(name, &id);
        self.forget_older(name, attempt);
        self.watch_container(name);
    }

    /// Removes all runs but this one and the one before, whose log may be asked for.
    fn forget_older(&mut self, name: &str, attempt: u32) {
        let Some(older) = attempt.checked_sub(2) else { return };
        let (machine, id) = (Arc::clone(&self.context.machine), container_id(&self.pod, name, older));
        self.tasks.spawn(async move {
            if let Ok(Err(error)) = spawn_blocking(move || machine.remove(&id)).await {
                tracing::warn!(error = chain(&error), "could not remove an old container");
            }
        });
    }

    /// Goes on with probes and hooks of what was taken over.
    fn watch_running(&mut self) {
        let running: Vec<String> = self
            .record
            .containers
            .iter()
            .filter(|(name, container)| container.id().is_some() && !self.watching.contains_key(*name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in running {
            if self.record.container(&name).started {
                self.probe(&name, &[Purpose::Readiness, Purpose::Liveness]);
            } else {
                self.watch_container(&name);
            }
        }
    }

    /// Begins with what a container's probes and hook decide.
    fn watch_container(&mut self, name: &str) {
        let Some(container) = self.container(name) else { return };
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
        if let Some(hook) = hook {
            let Some(id) = self.record.container(name).id().map(ToOwned::to_owned) else { return };
            let target = self.target(&id, Arc::clone(&container));
            let (reports, name) = (self.reports.0.clone(), name.to_owned());
            self.tasks.spawn(async move {
                let outcome = handle(&target, &hook).await;
                drop(reports.send(Report::Hooked { name, id, outcome }));
            });
        }
        if container.startup_probe.is_some() {
            self.probe(name, &[Purpose::Startup]);
        } else if container.lifecycle.as_ref().is_none_or(|lifecycle| lifecycle.post_start.is_none()) {
            self.set_started(name);
        }
    }

    /// Notes that a container has started; from here on it is probed for readiness and liveness.
    pub(super) fn set_started(&mut self, name: &str) {
        let Some(container) = self.container(name) else { return };
        let record = self.record.container(name);
        record.started = true;
        record.ready = container.readiness_probe.is_none();
        self.probe(name, &[Purpose::Readiness, Purpose::Liveness]);
    }

    /// Probes a container until it ends, instead of what it was probed for before.
    fn probe(&mut self, name: &str, purposes: &[Purpose]) {
        if let Some(before) = self.watching.remove(name) {
            before.cancel();
        }
        let Some(container) = self.container(name) else { return };
        let Some(id) = self.record.container(name).id().map(ToOwned::to_owned) else { return };
        let stop = CancellationToken::new();
        for purpose in purposes {
            let Some(probe) = purpose.of(&container).cloned() else { continue };
            let target = self.target(&id, Arc::clone(&container));
            let (reports, name, id, purpose) =
                (self.reports.0.clone(), name.to_owned(), id.clone(), *purpose);
            let report = move |finding| {
                drop(reports.send(Report::Probed { name: name.clone(), id: id.clone(), purpose, finding }));
            };
            let stop = stop.clone();
            self.tasks.spawn(async move {
                stop.run_until_cancelled(probe::watch(target, purpose, probe, report)).await;
            });
        }
        self.watching.insert(name.to_owned(), stop);
    }
}

/// Does everything between the decision and the running program. Blocks.
fn start_one(job: &Job) -> Started {
    let Job { context, pod, container, attempt, sandbox, places, sources, facts } = job;
    let name = container.image.as_deref().unwrap_or_default();
    let secrets = pull_secrets(pod, sources);
    let policy = container.image_pull_policy.as_deref();
    let found = match image::find(&*context.machine, name, policy, &secrets) {
        Ok(found) => found,
        Err(trouble) => return Started::NoImage(trouble),
    };
    let image_id = found.id.to_string();
    let env = match environment(pod, container, &found.config.config.env, sources, facts) {
        Ok(env) => env,
        Err(why) => return Started::Config(why),
    };
    let mut mounts = match volumes::mounts(pod, container, places, &env) {
        Ok(mounts) => mounts,
        Err(why) => return Started::Config(why),
    };
    let words = places.last_words(&container.name);
    let words_at = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    match volumes::make_last_words(&words) {
        Ok(()) => mounts.push(bind(words, words_at, false)),
        Err(error) => {
            return Started::Config(format!("could not make the termination message file: {error}"));
        }
    }
    let address = sandbox.address.to_string();
    let parts = Parts {
        root_id: &context.config.root_id,
        attempt: *attempt,
        sandbox,
        image: &found.config.config,
        image_id: image_id.clone(),
        env,
        mounts: mounts.list.clone(),
        files: (files::resolv_conf(pod, &context.resolv_conf), files::hosts(pod, &address)),
    };
    let spec = match container_spec(pod, container, parts) {
        Ok(spec) => spec,
        Err(why) => return Started::Config(why),
    };
    let id = spec.id.clone();
    let started = context.machine.start(&Order { spec, layers: found.layers });
    // Until here the descriptors of subPaths had to stay open.
    drop(mounts);
    match started {
        Ok(since) => Started::Running { id, since, image_id },
        Err(problem) => Started::Problem { problem, image_id },
    }
}

/// Returns the names of the Secrets that say who the pod is to registries.
fn pull_secret_names(pod: &Pod) -> impl Iterator<Item = &str> {
    let spec = pod.spec.iter();
    let named = spec.flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    named.map(|secret| secret.name.as_str()).filter(|name| !name.is_empty())
}

/// Returns what those of them say that are there. Compat: kubelet, of both types of Secrets.
fn pull_secrets(pod: &Pod, sources: &Sources) -> Vec<Vec<u8>> {
    const KEYS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];
    let found = pull_secret_names(pod).filter_map(|name| sources.secrets.get(name)?.data.as_ref());
    found.filter_map(|data| KEYS.iter().find_map(|key| data.get(*key)).map(|value| value.0.clone())).collect()
}

/// Fetches ConfigMaps and Secrets; those that are not there are left out.
async fn fetch_objects(
    context: &Context,
    pod: &Pod,
    (maps, secrets): (BTreeSet<String>, BTreeSet<String>),
) -> Result<Sources, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut sources = Sources::default();
    let api = Api::<ConfigMap>::namespaced(context.client.clone(), namespace);
    for name in maps {
        let found = api
            .get_opt(&name)
            .await
            .map_err(|error| format!("could not read configmap \"{name}\": {error}"))?;
        sources.config_maps.extend(found.map(|found| (name, found)));
    }
    let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
    for name in secrets {
        let found =
            api.get_opt(&name).await.map_err(|error| format!("could not read secret \"{name}\": {error}"))?;
        sources.secrets.extend(found.map(|found| (name, found)));
    }
    Ok(sources)
}

/// Asks for a service account token that is bound to the pod.
async fn request_token(context: &Context, pod: &Pod, wish: &volumes::TokenWish) -> Result<String, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    let account = account.filter(|account| !account.is_empty()).unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(wish.audience.clone().into_iter().collect()),
            expiration_seconds: Some(wish.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let api = Api::<ServiceAccount>::namespaced(context.client.clone(), namespace);
    let answer: Result<TokenRequest, _> =
        api.create_subresource("token", account, &PostParams::default(), &request).await;
    let answer =
        answer.map_err(|error| format!("failed to fetch token of service account \"{account}\": {error}"))?;
    answer.status.and_then(|status| status.token).ok_or_else(|| "the server sent no token".to_owned())
}

//! `shipway registry serve`

mod bucket;
mod config;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use shipway_registry::{Config, Keep, Registry};
use tokio_util::sync::CancellationToken;

use crate::cli::{RegistryCommand, ServeArgs};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::Trees;
use crate::tasks::{self, Stopping, forget_code};
use crate::ui::Ui;

/// So often what nothing needs any more is taken away.
const COLLECTION: Duration = Duration::from_secs(600);
/// After so long without a connection nobody is there.
const QUIET: Duration = Duration::from_millis(200);
/// While somebody is there, what was needed so long ago may not be needed now.
const BUSY: Duration = Duration::from_millis(100);
/// Files and connections that may be open.
const FILES: u64 = 16_384;

pub(crate) fn run(engine: &Engine, command: &RegistryCommand, ui: &mut Ui) -> Result<u8, Failure> {
    match command {
        RegistryCommand::Serve(args) => serve(engine, args, ui),
        RegistryCommand::Other(words) => {
            let word = words.first().map_or("", String::as_str);
            Err(Failure::new(
                format!("`{word}` is not a command of `shipway registry`"),
                "there is `shipway registry serve`",
            ))
        }
    }
}

fn serve(engine: &Engine, args: &ServeArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let mut config = Config { archives: Some(Arc::new(Trees::of(engine))), ..config::config(args)? };
    let stopping = Stopping::hold()?;
    // Each connection is one; where the kernel allows fewer it is those.
    drop(shipway_linux::limit_open_files(FILES, FILES));
    let (scheme, guarded) = (if config.tls.is_some() { "https" } else { "http" }, !config.guard.is_open());
    tasks::serving_runtime()?.block_on(async {
        let keep: Keep = match &args.bucket {
            None => engine.store.clone().into(),
            Some(url) => {
                let bucket = bucket::open(args, url)?;
                config.guard.share(bucket::secret(&bucket, url).await?);
                bucket.into()
            }
        };
        let registry = Registry::new(keep.clone(), config);
        let listener = Registry::listen(args.listen).await?;
        let address = listener.local_addr().unwrap_or(args.listen);
        ui.line(format!("registry: {scheme}://{address}"));
        let login = if guarded { format!("`shipway login {address}`, ") } else { String::new() };
        let use_it = if args.pull_through.is_empty() {
            format!("push to it: {login}`shipway tag NAME {address}/NAME`, `shipway push {address}/NAME`")
        } else {
            format!("a cache of {}: name it as a mirror in registries.toml", args.pull_through.join(", "))
        };
        ui.note(format!("{use_it}; Ctrl-C ends it"));
        forget_code();
        tokio::join!(
            registry.serve(listener, stopping.token.clone()),
            rest(&registry, stopping.token.clone()),
            collect(keep, stopping.token.clone())
        );
        Ok(0)
    })
}

/// Needs little memory while nobody asks, and while somebody does only what that takes.
async fn rest(registry: &Registry, stop: CancellationToken) {
    while stop.run_until_cancelled(registry.quiet(QUIET, BUSY)).await.is_some() {
        forget_code();
    }
}

async fn collect(keep: Keep, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(COLLECTION) => {}
        }
        // That somebody is at work is no error, and a panic has been reported by its thread.
        let done = match &keep {
            Keep::Store(store) => {
                let store = store.clone();
                let done = tokio::task::spawn_blocking(move || store.gc(store.steady(clock::now()))).await;
                done.map_or(Ok(()), |done| done.map(drop).map_err(|error| error.to_string()))
            }
            Keep::Bucket(bucket) => {
                let collected = tokio::select! {
                    () = stop.cancelled() => return,
                    collected = async { bucket.collect(bucket.time().await?).await } => collected,
                };
                collected.map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = done {
            tracing::warn!(error, "could not take away what nothing needs");
        }
    }
}

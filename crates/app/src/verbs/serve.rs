//! `shipway registry serve`

use std::io::Write as _;
use std::time::Duration;

use shipway_registry::{AccessLog, Config, Registry};
use shipway_store::Store;
use tokio_util::sync::CancellationToken;

use crate::cli::{RegistryCommand, ServeArgs};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::tasks::{self, Stopping};
use crate::ui::Ui;

/// So often what nothing needs any more is taken away.
const COLLECTION: Duration = Duration::from_secs(600);

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
    if !args.listen.ip().is_loopback() {
        return Err(Failure::new(
            format!(
                "a registry on {} would let everybody who reaches it push: passwords and TLS are not there yet",
                args.listen
            ),
            "listen on 127.0.0.1 or [::1]",
        ));
    }
    let stopping = Stopping::hold()?;
    let log = (!args.quiet).then(|| {
        AccessLog::new(|access| {
            let length = access.length.map_or_else(|| "-".to_owned(), |length| length.to_string());
            let line = format!("{} {} {} {length}\n", access.method, access.path, access.status);
            // A reader that went away does not stop the registry.
            drop(std::io::stderr().lock().write_all(line.as_bytes()));
        })
    });
    let registry = Registry::new(engine.store.clone(), Config { log, ..Config::new(clock::now) });
    tasks::serving_runtime()?.block_on(async {
        let listener = Registry::listen(args.listen).await?;
        let address = listener.local_addr().unwrap_or(args.listen);
        ui.line(format!("registry: http://{address}"));
        ui.note(format!(
            "push to it: `shipway tag NAME {address}/NAME`, `shipway push {address}/NAME`; Ctrl-C ends it"
        ));
        tokio::join!(
            registry.serve(listener, stopping.token.clone()),
            collect(engine.store.clone(), stopping.token.clone())
        );
        Ok(0)
    })
}

async fn collect(store: Store, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(COLLECTION) => {}
        }
        let store = store.clone();
        // That somebody is at work is no error, and a panic has been reported by its thread.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.gc(clock::now())).await {
            tracing::warn!(%error, "could not take away what nothing needs");
        }
    }
}

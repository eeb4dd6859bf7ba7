//! `shipway build`

use std::path::PathBuf;

use shipway_build::{BuildNetwork, BuildRequest};

use crate::bases::AcceptExpired;
use crate::cli::{BuildArgs, BuildNetworkKind, ProgressStyle};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::image_build;
use crate::tasks::Stopping;
use crate::ui::Ui;

/// Compat: docker's words.
const USAGE: &str = "\"shipway build\" requires exactly 1 argument.\nSee 'shipway build --help'.\n\n\
                     Usage:  shipway build [OPTIONS] PATH\n\nBuild an image from a Dockerfile";

pub(crate) fn run(engine: &Engine, args: &BuildArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let [context] = args.context.as_slice() else { return Err(Failure::plain(USAGE)) };
    let style = if args.quiet { ProgressStyle::Quiet } else { args.progress };
    let dockerfile = args.file.clone().unwrap_or_else(|| context.join("Dockerfile"));
    let stopping = Stopping::hold()?;
    let request =
        BuildRequest { stop: stopping.build.clone(), ..request(context.clone(), dockerfile, args)? };
    let bootstrap = args.bootstrap_base.then_some(AcceptExpired(args.accept_expired_release));
    let built =
        image_build::build(engine, &request, bootstrap, style).map_err(|failure| stopping.failed(failure))?;
    if let Some(file) = &args.iidfile {
        let text = built.image_id.to_string();
        shipway_store::atomic_write(file, text.as_bytes(), 0o644).map_err(|error| {
            Failure::new(
                format!("could not write `{}`: {error}", file.display()),
                "name another file: --iidfile FILE",
            )
        })?;
    }
    if args.quiet {
        ui.line(built.image_id);
    } else {
        ui.note(format!("{} of {} steps from the cache", built.cached_steps, built.steps));
    }
    Ok(0)
}

fn request(context: PathBuf, dockerfile: PathBuf, args: &BuildArgs) -> Result<BuildRequest, Failure> {
    Ok(BuildRequest {
        context,
        dockerfile,
        tags: args.tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?,
        build_args: args.build_args.iter().map(|text| pair(text)).collect(),
        labels: args.labels.iter().map(|text| pair(text)).collect(),
        target: args.target.clone(),
        no_cache: args.no_cache,
        network: match args.network {
            BuildNetworkKind::Default => BuildNetwork::Default,
            BuildNetworkKind::None => BuildNetwork::None,
            BuildNetworkKind::Host => BuildNetwork::Host,
        },
        host_ca: args.host_ca,
        ..BuildRequest::default()
    })
}

/// `NAME=value`; a name alone takes the value that this process has. Compat: docker.
fn pair(text: &str) -> (String, String) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text.to_owned(), std::env::var(text).unwrap_or_default()),
    }
}

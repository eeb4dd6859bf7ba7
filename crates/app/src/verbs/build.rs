//! `shipway build`

mod secret;

use std::path::{Path, PathBuf};

use shipway_build::{BuildNetwork, BuildRequest};
use shipway_distribution::Progress;
use shipway_oci::Platform;

use crate::bases::{AcceptExpired, BaseWishes};
use crate::cli::{BuildArgs, BuildNetworkKind, ProgressStyle};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::image_build;
use crate::progress::{End, Show};
use crate::pulls::Silent;
use crate::tasks::Stopping;
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;
use crate::verbs::registry::push;

/// Compat: docker's words.
const USAGE: &str = "\"shipway build\" requires exactly 1 argument.\nSee 'shipway build --help'.\n\n\
                     Usage:  shipway build [OPTIONS] PATH\n\nBuild an image from a Dockerfile";

pub(crate) fn run(engine: &Engine, args: &BuildArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let [context] = args.context.as_slice() else { return Err(Failure::plain(USAGE)) };
    let style = style(args)?;
    check_context(context)?;
    let dockerfile = args.file.clone().unwrap_or_else(|| context.join("Dockerfile"));
    if args.check {
        return check(&dockerfile, ui);
    }
    let platform = platform(args)?;
    let stopping = Stopping::hold()?;
    let request = BuildRequest {
        stop: stopping.build.clone(),
        platform,
        ..request(context.clone(), dockerfile, args)?
    };
    let bootstrap = args.bootstrap_base.then_some(AcceptExpired(args.accept_expired_release));
    let wishes = BaseWishes { bootstrap, newer: args.pull };
    let show = Show::open(style, "Building")?;
    let built = image_build::build(engine, &request, wishes, &show);
    show.close(End::from(&built));
    let built = built.map_err(|failure| stopping.failed(failure))?;
    if let Some(file) = &args.iidfile {
        let text = built.image_id.to_string();
        shipway_store::atomic_write(file, text.as_bytes(), 0o644).map_err(|error| {
            Failure::new(
                format!("could not write `{}`: {error}", file.display()),
                "name another file: --iidfile FILE",
            )
        })?;
    }
    if args.push {
        for name in &request.tags {
            let quiet = matches!(style, ProgressStyle::Quiet | ProgressStyle::None);
            let shown = (!quiet).then(|| Transfers::on_stderr(Direction::Push, None));
            let progress: &dyn Progress = shown.as_ref().map_or(&Silent, |shown| shown);
            let pushed = push::push(engine, name, progress)?;
            if !quiet {
                ui.note(format!("pushed {}@{}", name.familiar(), pushed.digest));
            }
        }
    }
    match style {
        ProgressStyle::Quiet => ui.line(built.image_id),
        ProgressStyle::None => {}
        _ => ui.note(format!("{} of {} steps from the cache", built.cached_steps, built.steps)),
    }
    Ok(0)
}

/// Reads the Dockerfile only. Compat: buildx, a warning is enough to fail.
fn check(dockerfile: &Path, ui: &mut Ui) -> Result<u8, Failure> {
    let file = shipway_build::check(dockerfile)?;
    for warning in &file.warnings {
        ui.line(format!("{}: {}", file.source.locate(warning.span), warning.message));
    }
    let found = match file.warnings.len() {
        0 => "no warnings found.".to_owned(),
        1 => "1 warning has been found!".to_owned(),
        count => format!("{count} warnings have been found!"),
    };
    ui.line(format!("Check complete, {found}"));
    Ok(u8::from(!file.warnings.is_empty()))
}

fn platform(args: &BuildArgs) -> Result<Option<Platform>, Failure> {
    let Some(text) = &args.platform else { return Ok(None) };
    let instead = format!("leave it out, or name this machine's own: --platform {}", Platform::host());
    let platform: Platform = text.parse().map_err(|error| Failure::new(error, &instead))?;
    if (&platform.os, &platform.architecture) != (&Platform::host().os, &Platform::host().architecture) {
        return Err(Failure::new(
            format!("building for another platform (`{platform}`) is not there yet"),
            instead,
        ));
    }
    Ok(Some(platform))
}

/// Compat: docker, `-q` is `--progress quiet`, and goes with no other one.
fn style(args: &BuildArgs) -> Result<ProgressStyle, Failure> {
    match (args.quiet, args.progress) {
        (false, style) => Ok(style),
        (true, ProgressStyle::Auto | ProgressStyle::Quiet) => Ok(ProgressStyle::Quiet),
        (true, _) => Err(Failure::new("-q and --progress exclude each other", "leave one of them out")),
    }
}

/// Refuses what is not there yet, or at all, as the place that COPY reads from.
fn check_context(context: &Path) -> Result<(), Failure> {
    let text = context.to_string_lossy();
    let instead = "name a directory of this machine, often `.`";
    if text == "-" {
        return Err(Failure::new("a build context on the standard input is not there yet", instead));
    }
    if text.contains("://") || text.starts_with("git@") {
        return Err(Failure::new(
            format!("a build context at an address (`{text}`) is not there yet"),
            instead,
        ));
    }
    if !context.is_dir() {
        return Err(Failure::new(format!("the build context `{text}` is no directory"), instead));
    }
    Ok(())
}

fn request(context: PathBuf, dockerfile: PathBuf, args: &BuildArgs) -> Result<BuildRequest, Failure> {
    Ok(BuildRequest {
        context,
        dockerfile,
        tags: args.tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?,
        build_args: args.build_args.iter().filter_map(|text| build_arg(text)).collect(),
        labels: args.labels.iter().map(|text| label(text)).collect(),
        secrets: args.secrets.iter().map(|text| secret::load(text)).collect::<Result<_, _>>()?,
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

/// `NAME=value`; a name alone takes the value that this process has, and is left out where it has none. Compat: docker.
fn build_arg(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => std::env::var(text).ok().map(|value| (text.to_owned(), value)),
    }
}

/// `NAME=value`; a name alone is an empty label. Compat: docker.
fn label(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alone_are_read_as_docker_reads_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(build_arg("A=b=c"), Some(pair("A", "b=c")));
        assert_eq!(build_arg("NO_SUCH_VARIABLE_IS_SET"), None);
        assert_eq!(build_arg("CARGO_PKG_NAME"), Some(pair("CARGO_PKG_NAME", "shipway-app")));
        assert_eq!((label("CARGO_PKG_NAME"), label("a=b")), (pair("CARGO_PKG_NAME", ""), pair("a", "b")));
    }
}

//! `shipway build`

mod allow;
mod annotations;
mod attest;
mod caches;
mod call;
mod check;
mod debug;
mod delivery;
mod fields;
mod metadata;
mod output;
mod packing;
mod pairs;
mod platforms;
mod secret;
mod ssh;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_build::{
    Attest, BuildNetwork, BuildRequest, ContextSource, Debugger, HostAddress, NamedContext, ProcessLimit,
};
use shipway_linux::Cgroup;
use shipway_store::Lease;

use crate::archive::LayoutImage;
use crate::bases::{AcceptExpired, BaseWishes};
use crate::cli::{BuildArgs, BuildNetworkKind, ProgressStyle};
use crate::contexts::{self, Fetching, Prepared};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::image_build::{self, Beside};
use crate::local_names;
use crate::progress::{End, Show};
use crate::remotes::Logins;
use crate::tasks::Stopping;
use crate::ui::Ui;
use crate::vcs;
use crate::verbs::build::annotations::Annotations;
use crate::verbs::build::call::{How, Question, What};
use crate::verbs::build::debug::Shell;
use crate::verbs::build::delivery::{Arrived, Wishes};
use crate::verbs::build::output::{Output, Outputs};
use crate::verbs::run::{extra_host, limits};

/// Begins a named context that is an image of an OCI layout.
const LAYOUT: &str = "oci-layout://";

/// Compat: docker's words.
const USAGE: &str = "\"shipway build\" requires exactly 1 argument.\nSee 'shipway build --help'.\n\n\
                     Usage:  shipway build [OPTIONS] PATH\n\nBuild an image from a Dockerfile";

/// Returns whether something is only asked about the Dockerfile.
pub(crate) fn asks(args: &BuildArgs) -> bool {
    args.check || !matches!(call::parse(&args.call), Ok(None))
}

/// Answers what is asked about the Dockerfile. Without a store nothing is known of base images.
pub(crate) fn ask(engine: Option<&Engine>, args: &BuildArgs, ui: &mut Ui) -> Result<u8, Failure> {
    style(args)?;
    let question = if args.check { Some(Question::default()) } else { call::parse(&args.call)? };
    let stopping = Stopping::hold()?;
    let typed = typed(engine, args, &stopping, ui)?;
    answer(engine, question.unwrap_or_default(), (&typed.request, args.metadata_file.as_deref()), ui)
}

/// What was typed. What was fetched for it goes with this value.
struct Typed {
    request: BuildRequest,
    outputs: Vec<Output>,
    /// What archives and layouts say of the result.
    said: Vec<(String, String)>,
    caches: caches::Typed,
    is_inline_only: bool,
    _context: Prepared,
    _contexts: Vec<Option<Prepared>>,
    /// What comes from layouts has no name, and is to be here until the build has its own hold on it.
    _lease: Option<Lease>,
}

fn typed(
    engine: Option<&Engine>,
    args: &BuildArgs,
    stopping: &Stopping,
    ui: &mut Ui,
) -> Result<Typed, Failure> {
    // Compat: docker, what flags cannot have is told before all else.
    limits(args).and_then(|_limits| limits::shm_size(args.shm_size.as_deref()))?;
    let [context] = args.context.as_slice() else { return Err(Failure::plain(USAGE)) };
    let Outputs { all: outputs, annotations } = output::parse(&args.outputs, args.load)?;
    let caches = caches::parse(&args.cache_from, &args.cache_to)?;
    caches.warnings.iter().for_each(|warning| ui.note(warning));
    let platforms = platforms::parse(args)?;
    let attest::Typed { attest, is_inline_only } = attest::parse(args)?;
    forget_id(args.iidfile.as_deref())?;
    let stop = stopping.build.clone();
    let build_args = pairs::build_args(&args.build_args)?;
    let mut annotations = Annotations::parse(&[args.annotations.as_slice(), &annotations].concat())?;
    let has_index = attest != Attest::default() || args.platforms.len() > 1 || as_several(&build_args);
    let said = annotations.take_said(has_index, outputs.iter().any(Output::lists_image))?;
    let keeps_git = pairs::is_set(&build_args, "BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let secrets = args.secrets.iter().map(|text| secret::load(text, &mut |warning| ui.note(warning)));
    let secrets = last_of(secrets, |secret| &secret.id)?;
    let logins = Logins::new(&secrets);
    let how = Fetching { keep_git_dir: keeps_git, logins: &logins, stop: &stop };
    let prepared = contexts::prepare(engine, context, args.file.as_deref(), how);
    let prepared = prepared.map_err(|failure| stopping.failed(failure))?;
    if let Some(file) = &prepared.unread {
        ui.note(format!("warning: `{context}` is a Dockerfile: --file {} is not read", file.display()));
    }
    let layouts = args.build_contexts.iter().any(|context| context.contains(LAYOUT));
    let lease = engine.filter(|_| layouts).map(|engine| engine.store.lease()).transpose()?;
    let named = named_contexts(engine, args, how).map_err(|failure| stopping.failed(failure))?;
    let mut request = BuildRequest {
        stop,
        secrets,
        platforms,
        dockerfile_text: prepared.text.clone(),
        contexts: named.iter().map(|(context, _files)| context.clone()).collect(),
        origin: prepared.origin.clone(),
        fetched: named.iter().filter_map(|(_, files)| files.as_ref()?.origin.clone()).collect(),
        ..request(
            (prepared.context.clone(), prepared.dockerfile.clone()),
            (args, build_args),
            (annotations, attest),
        )?
    };
    request.inline_cache = caches.inline() || pairs::is_set(&request.build_args, "BUILDKIT_INLINE_CACHE");
    if request.attest.provenance.is_some() && request.origin.is_none() && context != "-" {
        request.vcs = vcs::of(&request.context, &request.dockerfile);
    }
    let contexts = named.into_iter().map(|(_, files)| files).collect();
    let (_context, _contexts, _lease) = (prepared, contexts, lease);
    Ok(Typed { request, outputs, said, caches, is_inline_only, _context, _contexts, _lease })
}

pub(crate) fn run(engine: &Engine, args: &BuildArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let style = style(args)?;
    let stopping = Stopping::hold()?;
    // All of it stays until the end.
    let mut typed = typed(Some(engine), args, &stopping, ui)?;
    let (request, outputs) = (&mut typed.request, typed.outputs);
    output::fit(&outputs, request)?;
    output::check_places(&outputs)?;
    let dockerfile = request.context.join(&request.dockerfile);
    let named = request.contexts.iter().filter_map(|context| match &context.source {
        ContextSource::Directory(directory) => Some(directory.as_path()),
        _ => None,
    });
    let read = [request.context.as_path(), &dockerfile].into_iter().chain(named);
    output::check_others(&outputs, &read.chain(typed.caches.directories()).collect::<Vec<_>>())?;
    let mut wanted = Wishes::plan(&mut request.tags, args.push, outputs)?;
    wanted.documents =
        output::Wish { is_inline_only: typed.is_inline_only, epoch: pairs::epoch(&request.build_args) };
    wanted.said = std::mem::take(&mut typed.said);
    let bootstrap = args.bootstrap_base.then_some(AcceptExpired(args.accept_expired_release));
    let wishes = BaseWishes { bootstrap, newer: args.pull };
    let caches = typed.caches.open(engine)?;
    let show = Show::open(style, "Building")?;
    let shell = args.debug.then(|| Shell::new(engine, &show, ui)).flatten().map(Arc::new);
    let debugger = shell.clone().map(|shell| -> Arc<dyn Debugger> { shell });
    let built = image_build::build(engine, request, wishes, Beside { caches, debugger }, &show);
    show.close(End::from(&built));
    let built = built.map_err(|failure| {
        stopping.failed(match &shell {
            Some(shell) => shell.rest_of(failure),
            None => failure,
        })
    })?;
    // From here on names may move: what they stood for stays until it is where it is wanted.
    let _built = engine.store.lease()?;
    let quiet = matches!(style, ProgressStyle::Quiet | ProgressStyle::None);
    let delivered = wanted.deliver(engine, &built, (&show, quiet), ui);
    let delivered = delivered.map_err(|failure| stopping.failed(failure));
    let in_store = Arrived::in_store(&built, false);
    let arrived = delivered.as_ref().unwrap_or(&in_store);
    wanted.write_down(engine, request, (&built, arrived), args)?;
    let arrived = delivered?;
    match style {
        // An archive there is not to be mixed with anything.
        ProgressStyle::Quiet if wanted.uses_stdout() => {}
        ProgressStyle::Quiet => ui.line(arrived.id),
        ProgressStyle::None | ProgressStyle::RawJson => {}
        _ => ui.note(format!("{} of {} steps from the cache", built.cached_steps, built.steps)),
    }
    Ok(0)
}

/// Says what a Dockerfile offers.
fn answer(
    engine: Option<&Engine>,
    question: Question,
    (request, file): (&BuildRequest, Option<&Path>),
    ui: &mut Ui,
) -> Result<u8, Failure> {
    let how = How { json: question.json, file };
    match question.what {
        What::Check => return check::run(engine, request, (question, how), ui),
        What::Targets => call::targets(request, how, ui)?,
        What::Outline => call::outline(engine, request, how, ui)?,
        What::Describe => call::describe(how, ui)?,
    }
    Ok(0)
}

/// Compat: docker, `-q` is `--progress quiet`, and goes with no other one.
fn style(args: &BuildArgs) -> Result<ProgressStyle, Failure> {
    match (args.quiet, args.progress) {
        (false, style) => Ok(style),
        (true, ProgressStyle::Auto | ProgressStyle::Quiet) => Ok(ProgressStyle::Quiet),
        (true, _) => Err(Failure::new("-q and --progress exclude each other", "leave one of them out")),
    }
}

/// Reads `NAME=SOURCE`. What is fetched goes with the second part of each.
fn named_contexts(
    engine: Option<&Engine>,
    args: &BuildArgs,
    how: Fetching<'_>,
) -> Result<Vec<(NamedContext, Option<Prepared>)>, Failure> {
    let form = "write it as `--build-context NAME=DIRECTORY`, or with docker-image://IMAGE, oci-layout://DIRECTORY or an address";
    let mut named = Vec::new();
    for text in &args.build_contexts {
        let wrong = |why: &str| Failure::new(format!("--build-context `{text}`: {why}"), form);
        let (name, source) = text.split_once('=').ok_or_else(|| wrong("it has no source"))?;
        if name.is_empty() || source.is_empty() {
            return Err(wrong("its name or its source is empty"));
        }
        let name = name.to_owned();
        if source == "docker-image://scratch" {
            named.push((NamedContext { name, source: ContextSource::Scratch }, None));
        } else if let Some(image) = source.strip_prefix("docker-image://") {
            let image = image.parse().map_err(|error| wrong(&format!("`{image}` is no image: {error}")))?;
            named.push((NamedContext { name, source: ContextSource::Image(image) }, None));
        } else if let Some(layout) = source.strip_prefix(LAYOUT) {
            // What is no name of one is told before anything is read.
            LayoutImage::parse(layout)?;
            named.push((NamedContext { name, source: ContextSource::Layout(layout.to_owned()) }, None));
        } else if source.starts_with("target:") {
            return Err(wrong(
                "targets of other builds are there in bake files only, which are not there yet",
            ));
        } else if source == "-" {
            return Err(wrong("the standard input can only be the build context"));
        } else {
            let prepared = contexts::prepare_named(engine, source, how)?;
            let directory = ContextSource::Directory(prepared.context.clone());
            named.push((NamedContext { name, source: directory }, Some(prepared)));
        }
    }
    Ok(named)
}

/// Compat: BuildKit.
fn as_several(build_args: &[(String, String)]) -> bool {
    pairs::is_set(build_args, "BUILDKIT_MULTI_PLATFORM")
}

fn request(
    (context, dockerfile): (PathBuf, PathBuf),
    (args, build_args): (&BuildArgs, Vec<(String, String)>),
    (annotations, attest): (Annotations, Attest),
) -> Result<BuildRequest, Failure> {
    Ok(BuildRequest {
        context,
        dockerfile,
        tags: args.tags.iter().map(|tag| local_names::parse_new(tag)).collect::<Result<_, _>>()?,
        labels: args.labels.iter().map(|text| pairs::label(text)).collect::<Result<_, _>>()?,
        agents: last_of(args.ssh.iter().map(|text| ssh::agent(text)), |(id, _)| id)?,
        target: args.target.clone(),
        no_cache: args.no_cache,
        no_cache_stages: args.no_cache_filter.clone(),
        annotations: annotations.manifest,
        index_annotations: annotations.index,
        descriptor_annotations: annotations.descriptor,
        platform_annotations: annotations.platform,
        attest,
        as_several: as_several(&build_args),
        build_args,
        hosts: args.add_host.iter().map(|text| host(text)).collect::<Result<_, _>>()?,
        limits: limits(args)?,
        shm_size: limits::shm_size(args.shm_size.as_deref())?,
        cgroup_parent: args.cgroup_parent.as_deref().map(cgroup_parent).transpose()?,
        allow_insecure: allow::parse(&args.allow)?.insecure,
        network: match args.network {
            BuildNetworkKind::Default => BuildNetwork::Default,
            BuildNetworkKind::None => BuildNetwork::None,
            BuildNetworkKind::Host => BuildNetwork::Host,
        },
        host_ca: args.host_ca,
        ..BuildRequest::default()
    })
}

/// Returns those that hold: of an id that is there twice the last one. Compat: buildx.
fn last_of<T>(
    all: impl Iterator<Item = Result<T, Failure>>,
    id: impl Fn(&T) -> &String,
) -> Result<Vec<T>, Failure> {
    let mut last: Vec<T> = Vec::new();
    for one in all {
        let one = one?;
        last.retain(|before| id(before) != id(&one));
        last.push(one);
    }
    Ok(last)
}

/// Removes what an earlier build has left: whoever reads it after a failure would take it for this one's. Compat: buildx, which removes
/// devices and pipes too.
fn forget_id(file: Option<&Path>) -> Result<(), Failure> {
    let is_file = |path: &&Path| fs_err::symlink_metadata(path).is_ok_and(|found| found.is_file());
    match file.filter(is_file).map(fs_err::remove_file) {
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(error, "name another file: --iidfile FILE"))
        }
        _ => Ok(()),
    }
}

/// `NAME:ADDRESS`
fn host(text: &str) -> Result<(String, HostAddress), Failure> {
    let (name, address) = extra_host(text)?;
    Ok((name.to_owned(), address.map_or(HostAddress::Gateway, HostAddress::At)))
}

fn limits(args: &BuildArgs) -> Result<Vec<ProcessLimit>, Failure> {
    let limits = limits::of_processes(&args.ulimits)?.into_iter();
    Ok(limits.map(|limit| ProcessLimit { name: limit.name, soft: limit.soft, hard: limit.hard }).collect())
}

/// The name of a control group, from the root of the hierarchies; only one that is there bounds anything.
fn cgroup_parent(text: &str) -> Result<String, Failure> {
    let name = text.trim_matches('/');
    let wrong = |why: &str| {
        let places = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            true => "/sys/fs/cgroup/NAME",
            // Of version 1 each has a hierarchy of its own.
            false => "/sys/fs/cgroup/{memory,cpu,pids}/NAME",
        };
        let hint = format!("make it and give it limits before: `mkdir {places}`, or name another");
        Err(Failure::new(format!("--cgroup-parent `{text}`: {why}"), hint))
    };
    let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    if name.is_empty() || !Path::new(name).components().all(is_plain) {
        return wrong("that is no name of a control group");
    }
    if !Cgroup::at(name).exists() {
        return wrong("there is no such control group");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_id_the_last_one_holds() {
        let all = [("a", 1), ("b", 2), ("a", 3)].map(|(id, value)| Ok((id.to_owned(), value)));
        let last = last_of(all.into_iter(), |(id, _)| id).unwrap();
        assert_eq!(last, [("b".to_owned(), 2), ("a".to_owned(), 3)]);
        let failing = [Ok((String::new(), 1)), Err(Failure::plain("no"))];
        assert!(last_of(failing.into_iter(), |(id, _)| id).is_err());
    }

    #[test]
    fn what_an_earlier_build_has_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        fs_err::write(&file, "sha256:0").unwrap();
        for _ in 0..2 {
            forget_id(Some(&file)).unwrap();
            assert!(!file.exists());
        }
        forget_id(None).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        forget_id(Some(&link)).unwrap();
        assert!(link.is_symlink(), "what it leads to is written, and it stays");
    }
}

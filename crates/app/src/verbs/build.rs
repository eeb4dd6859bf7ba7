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
mod output;
mod packing;
mod secret;
mod ssh;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_build::{
    Attest, BuildNetwork, BuildRequest, ContextSource, Debugger, NamedContext, ProcessLimit, Stop,
};
use shipway_linux::Cgroup;
use shipway_oci::Platform;

use crate::archive::LayoutImage;
use crate::bases::{AcceptExpired, BaseWishes};
use crate::cli::{BuildArgs, BuildNetworkKind, ProgressStyle};
use crate::contexts::{self, Prepared};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::image_build::{self, Beside};
use crate::progress::{End, Show};
use crate::tasks::Stopping;
use crate::ui::Ui;
use crate::units;
use crate::verbs::build::annotations::Annotations;
use crate::verbs::build::call::{Question, What};
use crate::verbs::build::debug::Shell;
use crate::verbs::build::delivery::{Arrived, Wishes};
use crate::verbs::build::output::Outputs;
use crate::verbs::run::{extra_host, limits};

/// Spec: reproducible-builds.org, the time that files and images get at most.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Begins a named context that is an image of an OCI layout.
const LAYOUT: &str = "oci-layout://";

/// Compat: docker's words.
const USAGE: &str = "\"shipway build\" requires exactly 1 argument.\nSee 'shipway build --help'.\n\n\
                     Usage:  shipway build [OPTIONS] PATH\n\nBuild an image from a Dockerfile";

/// Compat: buildx, some flags take a value only behind a `=`.
fn usage(words: &[String]) -> Failure {
    let is_value = |word: &String| units::truth(word).is_some() || word.starts_with("mode=");
    match words.iter().find(|word| words.len() == 2 && is_value(word)) {
        Some(word) => Failure::new(
            format!("`{word}` was taken for the context, and there is another one"),
            format!("a value of --provenance or --sbom goes with a `=`: --provenance={word}"),
        ),
        None => Failure::plain(USAGE),
    }
}

pub(crate) fn run(engine: &Engine, args: &BuildArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let [context] = args.context.as_slice() else { return Err(usage(&args.context)) };
    let style = style(args)?;
    let question = if args.check { Some(Question::default()) } else { call::parse(&args.call)? };
    let Outputs { all: outputs, annotations } = output::parse(&args.outputs, args.load)?;
    let caches = caches::parse(&args.cache_from, &args.cache_to)?;
    caches.warnings.iter().for_each(|warning| ui.note(warning));
    let platforms = platforms(args)?;
    let attest::Typed { attest, is_inline_only } = attest::parse(args)?;
    let stopping = Stopping::hold()?;
    let stop = stopping.build.clone();
    let prepared = contexts::prepare(engine, context, args.file.as_deref(), &stop);
    let prepared = prepared.map_err(|failure| stopping.failed(failure))?;
    if let Some(file) = &prepared.unread {
        ui.note(format!("warning: `{context}` is a Dockerfile: --file {} is not read", file.display()));
    }
    // What comes from layouts has no name, and is to be here until the build has its own hold on it.
    let layouts = args.build_contexts.iter().any(|context| context.contains(LAYOUT));
    let _lease = layouts.then(|| engine.store.lease()).transpose()?;
    let named = named_contexts(engine, args, &stop).map_err(|failure| stopping.failed(failure))?;
    let mut request = BuildRequest {
        stop,
        platforms,
        dockerfile_text: prepared.text.clone(),
        contexts: named.iter().map(|(context, _files)| context.clone()).collect(),
        origin: prepared.origin.clone(),
        fetched: named.iter().filter_map(|(_, files)| files.as_ref()?.origin.clone()).collect(),
        ..request(
            (prepared.context.clone(), prepared.dockerfile.clone()),
            args,
            (&annotations, attest),
            &mut |warning| ui.note(warning),
        )?
    };
    request.inline_cache = caches.inline() || wants_inline_cache(&request.build_args);
    if let Some(question) = question {
        return answer(engine, question, &request, ui);
    }
    output::fit(&outputs, &request)?;
    let mut wanted = Wishes::plan(&mut request.tags, args.push, outputs)?;
    wanted.documents = output::Wish { is_inline_only, epoch: epoch(&request.build_args) };
    let bootstrap = args.bootstrap_base.then_some(AcceptExpired(args.accept_expired_release));
    let wishes = BaseWishes { bootstrap, newer: args.pull };
    let caches = caches.open(engine)?;
    let show = Show::open(style, "Building")?;
    let shell = args.debug.then(|| Shell::new(engine, &show, ui)).flatten().map(Arc::new);
    let debugger = shell.clone().map(|shell| -> Arc<dyn Debugger> { shell });
    let built = image_build::build(engine, &request, wishes, Beside { caches, debugger }, &show);
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
    wanted.write_down(engine, &request, (&built, arrived), args)?;
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
fn answer(engine: &Engine, question: Question, request: &BuildRequest, ui: &mut Ui) -> Result<u8, Failure> {
    match question.what {
        What::Check => return check::run(engine, request, question, ui),
        What::Targets => call::targets(request, question.json, ui)?,
        What::Outline => call::outline(engine, request, question.json, ui)?,
        What::Describe => call::describe(question.json, ui),
    }
    Ok(0)
}

/// Compat: docker, what a variable says holds where no flag says anything.
fn platforms(args: &BuildArgs) -> Result<Vec<Platform>, Failure> {
    let usual = std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default();
    platforms_of(if args.platforms.is_empty() && !usual.is_empty() {
        usual.split(',').collect()
    } else {
        args.platforms.iter().map(String::as_str).collect()
    })
}

fn platforms_of(texts: Vec<&str>) -> Result<Vec<Platform>, Failure> {
    let host = Platform::host();
    let instead = format!("leave it out, or name one or several: --platform {host},linux/arm64");
    let mut platforms = Vec::new();
    for text in texts {
        let platform: Platform = match text.trim() {
            // Compat: buildx.
            local if local.eq_ignore_ascii_case("local") => host.clone(),
            text => text.to_ascii_lowercase().parse().map_err(|error| Failure::new(error, &instead))?,
        };
        if platform.os != host.os {
            return Err(Failure::new(format!("images for {} are not built here", platform.os), instead));
        }
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
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
    engine: &Engine,
    args: &BuildArgs,
    stop: &Stop,
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
        if let Some(image) = source.strip_prefix("docker-image://") {
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
            let prepared = contexts::prepare_named(engine, source, stop)?;
            let directory = ContextSource::Directory(prepared.context.clone());
            named.push((NamedContext { name, source: directory }, Some(prepared)));
        }
    }
    Ok(named)
}

/// `annotations` are those that outputs ask for.
fn request(
    (context, dockerfile): (PathBuf, PathBuf),
    args: &BuildArgs,
    (annotations, attest): (&[String], Attest),
    warn: &mut dyn FnMut(String),
) -> Result<BuildRequest, Failure> {
    let annotations = [args.annotations.as_slice(), annotations].concat();
    let Annotations { manifest, index, descriptor, platform } = Annotations::parse(&annotations)?;
    if attest == Attest::default() && args.platforms.len() < 2 && !(index.is_empty() && descriptor.is_empty())
    {
        return Err(Failure::new(
            "there is no index to annotate: an image of which nothing is attested is one manifest",
            "attest something too, such as --provenance=mode=min, or build for several platforms, or annotate the manifest: --annotation NAME=VALUE",
        ));
    }
    Ok(BuildRequest {
        context,
        dockerfile,
        tags: args.tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?,
        build_args: build_args(&args.build_args)?,
        labels: args.labels.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
        secrets: args.secrets.iter().map(|text| secret::load(text, warn)).collect::<Result<_, _>>()?,
        agents: args.ssh.iter().map(|text| ssh::agent(text)).collect::<Result<_, _>>()?,
        target: args.target.clone(),
        no_cache: args.no_cache,
        no_cache_stages: args.no_cache_filter.clone(),
        annotations: manifest,
        index_annotations: index,
        descriptor_annotations: descriptor,
        platform_annotations: platform,
        attest,
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

/// Splits `NAME=value`.
fn pair<'a>(flag: &str, text: &'a str) -> Result<(&'a str, Option<&'a str>), Failure> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() {
        let hint = format!("write it as --{flag} NAME=VALUE");
        return Err(Failure::new(format!("--{flag} `{text}` has no name"), hint));
    }
    Ok((name, value))
}

/// `NAME=value`; a name alone takes the value that this process has, and is left out where it has none. Compat: docker.
fn build_arg(text: &str) -> Result<Option<(String, String)>, Failure> {
    Ok(match pair("build-arg", text)? {
        (name, Some(value)) => Some((name.to_owned(), value.to_owned())),
        (name, None) => std::env::var(name).ok().map(|value| (name.to_owned(), value)),
    })
}

/// Compat: buildx, `SOURCE_DATE_EPOCH` of this process is one too, unless it is given.
fn build_args(texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let given = texts.iter().filter_map(|text| build_arg(text).transpose());
    let mut all = given.collect::<Result<Vec<_>, _>>()?;
    if !all.iter().any(|(name, _)| name == SOURCE_DATE_EPOCH) {
        all.extend(build_arg(SOURCE_DATE_EPOCH)?.filter(|(_, value)| !value.is_empty()));
    }
    Ok(all)
}

/// Returns the time of what is written down, if one was given.
fn epoch(build_args: &[(String, String)]) -> Option<u64> {
    let last = build_args.iter().rev().find(|(name, _)| name == SOURCE_DATE_EPOCH);
    last.and_then(|(_, value)| value.parse().ok())
}

/// Compat: BuildKit, this build argument is `--cache-to type=inline`.
fn wants_inline_cache(build_args: &[(String, String)]) -> bool {
    let last = build_args.iter().rev().find(|(name, _)| name == "BUILDKIT_INLINE_CACHE");
    last.is_some_and(|(_, value)| units::truth(value) == Some(true))
}

/// `NAME:ADDRESS`
fn host(text: &str) -> Result<(String, IpAddr), Failure> {
    let (name, address) = extra_host(text, None)?;
    Ok((name.to_owned(), address))
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

/// `NAME=value`; a name alone is an empty label. Compat: docker.
fn label(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = pair("label", text)?;
    Ok((name.to_owned(), value.unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alone_are_read_as_docker_reads_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(build_arg("A=b=c").unwrap(), Some(pair("A", "b=c")));
        assert_eq!(build_arg("NO_SUCH_VARIABLE_IS_SET").unwrap(), None);
        assert_eq!(build_arg("CARGO_PKG_NAME").unwrap(), Some(pair("CARGO_PKG_NAME", "shipway-app")));
        assert_eq!(label("CARGO_PKG_NAME").unwrap(), pair("CARGO_PKG_NAME", ""));
        assert_eq!(label("a=b").unwrap(), pair("a", "b"));
        for text in ["", "=", "=b"] {
            let failures = [label(text).unwrap_err(), build_arg(text).unwrap_err()];
            assert!(
                failures.iter().all(|failure| failure.text().contains("has no name\nhint: ")),
                "case {text}"
            );
        }
    }

    #[test]
    fn platforms_are_there_once_and_local_is_this_one() {
        let host = Platform::host().to_string();
        let of = |texts: &[&str]| {
            let all = platforms_of(texts.to_vec());
            all.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(of(&["local"]).unwrap(), host);
        assert_eq!(of(&[&host, "Local", "LINUX/S390X"]).unwrap(), format!("{host} linux/s390x"));
        assert!(of(&["windows/amd64"]).unwrap_err().text().contains("windows"));
    }
}

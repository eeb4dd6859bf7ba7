//! `--cache-from` and `--cache-to`. Compat: buildx, `type=registry|local|inline`, or the name of an image alone.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_build::{CacheMode, CacheSource, CacheTarget};
use shipway_distribution::Packing;
use shipway_oci::Reference;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls;
use crate::step_caches::{
    Form, LocalSource, LocalTarget, RegistrySource, RegistryTarget, StepCaches, Style, Which,
};
use crate::units;
use crate::verbs::build::{fields, packing};

const FROM_FORM: &str =
    "write it as `--cache-from IMAGE`, `type=registry,ref=IMAGE` or `type=local,src=DIRECTORY`";
const TO_FORM: &str =
    "write it as `--cache-to type=registry,ref=IMAGE`, `type=local,dest=DIRECTORY` or `type=inline`";

/// A cache to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    Registry(Reference),
    Local(PathBuf, Which),
}

/// A cache to fill.
#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Registry(Reference, Style),
    Local(PathBuf, String, Style),
    Inline,
}

/// What was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    from: Vec<From>,
    to: Vec<To>,
    /// What was left out, and why.
    pub(super) warnings: Vec<String>,
}

/// Reads what was typed.
pub(super) fn parse<'a>(from: &'a [String], to: &'a [String]) -> Result<Typed, Failure> {
    // Compat: buildx, scripts leave variables empty.
    let mut warnings = Vec::new();
    let mut given = |flag: &str, texts: &'a [String]| -> Vec<&'a String> {
        let is_there = |text: &&String| {
            let is_out = is_of_no_workflow(text, |name| std::env::var(name).ok());
            if is_out {
                warnings.push(format!(
                    "warning: --{flag} `{text}` is left out: this is no workflow of GitHub's, or its token is not in the environment"
                ));
            }
            !is_out && !text.is_empty()
        };
        texts.iter().filter(is_there).collect()
    };
    let from = given("cache-from", from).into_iter().map(|text| one_from(text));
    let from = from.collect::<Result<Vec<_>, _>>()?.concat();
    let to = given("cache-to", to).into_iter().map(|text| one_to(text));
    let to = to.collect::<Result<Vec<_>, _>>()?.concat();
    Ok(Typed { from, to, warnings })
}

/// Returns whether a text is GitHub's cache where there is none. Compat: buildx, which does without then.
fn is_of_no_workflow(text: &str, variable: impl Fn(&str) -> Option<String>) -> bool {
    let Ok(fields) = fields::split(text) else { return false };
    if !fields.iter().any(|field| field == "type=gha") {
        return false;
    }
    let is_known = |key: &str, variables: &[&str]| {
        let typed =
            fields.iter().filter_map(|field| field.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
        typed.chain(variables.iter().filter_map(|name| variable(name))).any(|value| !value.is_empty())
    };
    let urls =
        [("url", &["ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"][..]), ("url_v2", &["ACTIONS_RESULTS_URL"])];
    let has_token = is_known("token", &["ACTIONS_RUNTIME_TOKEN"]);
    !has_token || !urls.iter().any(|(key, variables)| is_known(key, variables))
}

impl Typed {
    /// Returns whether the image is to say under which keys its layers are found.
    pub(super) fn inline(&self) -> bool {
        self.to.contains(&To::Inline)
    }

    /// Returns the directories that are to be written.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.to.iter().filter_map(|to| match to {
            To::Local(directory, ..) => Some(directory.as_path()),
            _ => None,
        })
    }

    /// Returns the caches. Nothing is asked or written yet.
    pub(super) fn open(&self, engine: &Engine) -> Result<StepCaches, Failure> {
        if self.from.is_empty() && self.to.is_empty() {
            return Ok(StepCaches::default());
        }
        let registries = pulls::registries()?;
        let place = |reference: &Reference| RegistrySource::new(engine, &registries, reference.clone());
        let source = |from: &From| -> Arc<dyn CacheSource> {
            match from {
                From::Registry(reference) => Arc::new(place(reference)),
                From::Local(directory, which) => {
                    Arc::new(LocalSource::new(engine, directory.clone(), which.clone()))
                }
            }
        };
        let target = |to: &To| -> Option<Arc<dyn CacheTarget>> {
            match to {
                To::Registry(reference, style) => {
                    Some(Arc::new(RegistryTarget::new(place(reference), *style)))
                }
                To::Local(directory, tag, style) => {
                    Some(Arc::new(LocalTarget::new(engine, directory.clone(), tag.clone(), *style)))
                }
                To::Inline => None,
            }
        };
        let sources = self.from.iter().map(source).collect();
        Ok(StepCaches { sources, targets: self.to.iter().filter_map(target).collect() })
    }
}

/// The fields of one cache.
struct Fields<'a> {
    flag: &'static str,
    form: &'static str,
    text: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    /// Reads `KEY=VALUE,…` and the kind that it names.
    fn read(
        (flag, form): (&'static str, &'static str),
        text: &'a str,
        fields: &'a [Cow<'_, str>],
    ) -> Result<(Self, &'a str), Failure> {
        let mut read = Self { flag, form, text, fields: Vec::new() };
        for field in fields {
            let pair =
                field.split_once('=').ok_or_else(|| read.refuse(&format!("`{field}` has no value")))?;
            read.fields.push(pair);
        }
        let kind = read.take("type").ok_or_else(|| read.refuse("it has no type"))?;
        Ok((read, kind))
    }

    fn refuse(&self, why: &str) -> Failure {
        Failure::new(format!("--{} `{}`: {why}", self.flag, self.text), self.form)
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.fields.iter().rposition(|(known, _)| *known == key)?;
        let value = self.fields[at].1;
        self.fields.retain(|(known, _)| *known != key);
        Some(value)
    }

    fn needed(&mut self, key: &str) -> Result<&'a str, Failure> {
        let found = self.take(key).filter(|value| !value.is_empty());
        found.ok_or_else(|| self.refuse(&format!("`{key}` is missing")))
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(text) => match units::truth(text) {
                None => Err(self.refuse(&format!("`{key}` is true or false, not `{text}`"))),
                known => Ok(known),
            },
        }
    }

    fn reference(&self, text: &str) -> Result<Reference, Failure> {
        text.parse().map_err(|error| self.refuse(&format!("`{text}` is no image: {error}")))
    }

    /// Refuses what is left.
    fn end(&self) -> Result<(), Failure> {
        match self.fields.first() {
            None => Ok(()),
            Some(("registry.insecure", _)) => Err(Failure::new(
                format!("--{} `{}`: `registry.insecure` is not there", self.flag, self.text),
                "say it in registries.toml: [registry.\"HOST\"] plain-http = true",
            )),
            Some((key, _)) => Err(self.refuse(&format!("`{key}` is unknown"))),
        }
    }

    fn no_type(&self, kind: &str) -> Failure {
        self.refuse(&packing::unknown(
            "type",
            kind,
            &["registry", "local", "inline"],
            &["gha", "s3", "azblob"],
        ))
    }
}

fn one_from(text: &str) -> Result<Vec<From>, Failure> {
    if let Some(names) = names(("cache-from", FROM_FORM), text)? {
        return Ok(names.into_iter().map(From::Registry).collect());
    }
    let fields = split(("cache-from", FROM_FORM), text)?;
    let (mut fields, kind) = Fields::read(("cache-from", FROM_FORM), text, &fields)?;
    let from = match kind {
        "registry" => {
            let name = fields.needed("ref")?;
            From::Registry(fields.reference(name)?)
        }
        "local" => {
            let directory = PathBuf::from(fields.needed("src")?);
            let (digest, tag) = (fields.take("digest"), fields.take("tag"));
            let which = match digest {
                Some(digest) => Which::Digest(
                    digest.parse().map_err(|error| fields.refuse(&format!("`{digest}`: {error}")))?,
                ),
                None => Which::Tag(tag.unwrap_or("latest").to_owned()),
            };
            From::Local(directory, which)
        }
        "inline" => return Err(fields.refuse("name the image that has the cache in it")),
        other => return Err(fields.no_type(other)),
    };
    fields.end()?;
    Ok(vec![from])
}

fn one_to(text: &str) -> Result<Vec<To>, Failure> {
    if let Some(names) = names(("cache-to", TO_FORM), text)? {
        return Ok(names.into_iter().map(|name| To::Registry(name, Style::default())).collect());
    }
    let fields = split(("cache-to", TO_FORM), text)?;
    let (mut fields, kind) = Fields::read(("cache-to", TO_FORM), text, &fields)?;
    let to = match kind {
        "registry" => {
            let name = fields.needed("ref")?;
            let reference = fields.reference(name)?;
            if reference.digest().is_some() {
                return Err(fields.refuse("it is written under a tag, not a digest"));
            }
            To::Registry(reference, style(&mut fields)?)
        }
        "local" => {
            let directory = PathBuf::from(fields.needed("dest")?);
            let tag = fields.take("tag").unwrap_or("latest").to_owned();
            let reset = fields.flag("reset")?.unwrap_or_default();
            To::Local(directory, tag, Style { reset, ..style(&mut fields)? })
        }
        // Compat: BuildKit, whatever the mode: an image has its own layers only.
        "inline" => {
            mode(&mut fields)?;
            To::Inline
        }
        other => return Err(fields.no_type(other)),
    };
    fields.end()?;
    Ok(vec![to])
}

fn split<'a>(
    (flag, form): (&'static str, &'static str),
    text: &'a str,
) -> Result<Vec<Cow<'a, str>>, Failure> {
    let refuse = |why: String| Fields { flag, form, text, fields: Vec::new() }.refuse(&why);
    fields::split(text).map_err(refuse)
}

/// Reads names alone; `None` if it is no such form.
fn names((flag, form): (&'static str, &'static str), text: &str) -> Result<Option<Vec<Reference>>, Failure> {
    if text.contains('=') {
        return Ok(None);
    }
    let fields = Fields { flag, form, text, fields: Vec::new() };
    if matches!(text, "local" | "inline" | "registry" | "gha" | "s3") || Path::new(text).is_dir() {
        return Err(fields.refuse("that is no name of an image"));
    }
    text.split(',').map(|name| fields.reference(name)).collect::<Result<_, _>>().map(Some)
}

fn mode(fields: &mut Fields<'_>) -> Result<CacheMode, Failure> {
    match fields.take("mode") {
        None | Some("min") => Ok(CacheMode::Min),
        Some("max") => Ok(CacheMode::Max),
        Some(other) => Err(fields.refuse(&format!("`mode` is min or max, not `{other}`"))),
    }
}

fn style(fields: &mut Fields<'_>) -> Result<Style, Failure> {
    let mode = mode(fields)?;
    let ignore_error = fields.flag("ignore-error")?.unwrap_or_default();
    let (is_oci, is_manifest) = (fields.flag("oci-mediatypes")?, fields.flag("image-manifest")?);
    let form = match (is_oci.unwrap_or(true), is_manifest) {
        (true, None | Some(true)) => Form::Manifest,
        (true, Some(false)) => Form::Index,
        (false, None | Some(false)) => Form::DockerIndex,
        (false, Some(true)) => {
            return Err(fields.refuse("`image-manifest` goes with `oci-mediatypes=true` only"));
        }
    };
    let force = fields.flag("force-compression")?.unwrap_or_default();
    let (compression, level) = (fields.take("compression"), fields.take("compression-level"));
    let read = packing::Typed { compression, level, force }.read();
    let (packing, stargz) = read.map_err(|why| fields.refuse(&why))?;
    let packing = packing.unwrap_or_default();
    let is_docker = form == Form::DockerIndex;
    if is_docker && stargz.is_some() {
        return Err(fields.refuse("`estargz` goes with `oci-mediatypes=true` only"));
    }
    let packing = Packing { is_docker, ..packing };
    Ok(Style { mode, form, packing, stargz, ignore_error, reset: false })
}

#[cfg(test)]
mod tests {
    use shipway_distribution::Compression;

    use super::*;
    use crate::stargz::StargzWish;

    fn typed(from: &str, to: &str) -> Result<Typed, String> {
        let list = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        parse(&list(from), &list(to)).map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn caches_to_look_into_are_read_as_buildx_reads_them() {
        let registry = |name: &str| From::Registry(name.parse().unwrap());
        let local = |tag: &str| From::Local("c".into(), Which::Tag(tag.to_owned()));
        let zero = format!("sha256:{}", "0".repeat(64));
        let of_digest = From::Local("c".into(), Which::Digest(zero.parse().unwrap()));
        for (text, want) in [
            ("web:cache", vec![registry("web:cache")]),
            ("web:cache,a.b/web", vec![registry("web:cache"), registry("a.b/web")]),
            ("type=registry,ref=a.b/web:c", vec![registry("a.b/web:c")]),
            ("ref=web,type=registry", vec![registry("web")]),
            ("type=local,src=c", vec![local("latest")]),
            ("type=local,src=c,tag=main", vec![local("main")]),
            (&format!("type=local,src=c,digest={zero}"), vec![of_digest]),
        ] {
            assert_eq!(typed(text, "").unwrap().from, want, "case {text}");
        }
    }

    #[test]
    fn caches_to_fill_are_read_as_buildx_reads_them() {
        let registry = |style| To::Registry("web".parse().unwrap(), style);
        let style = Style::default();
        let zstd = Packing { compression: Compression::Zstd, ..Packing::default() };
        let max = Style { mode: CacheMode::Max, ..style };
        let docker = Style {
            form: Form::DockerIndex,
            packing: Packing { is_docker: true, ..Packing::default() },
            ..style
        };
        for (text, want) in [
            ("web", registry(style)),
            ("type=registry,ref=web,mode=max", registry(max)),
            (
                "type=registry,ref=web,compression=gzip,image-manifest=true,oci-mediatypes=true",
                registry(style),
            ),
            ("type=registry,ref=web,image-manifest=false", registry(Style { form: Form::Index, ..style })),
            ("type=registry,ref=web,oci-mediatypes=0", registry(docker)),
            (
                "type=registry,ref=web,oci-mediatypes=0,compression=zstd",
                registry(Style { packing: Packing { is_docker: true, ..zstd }, ..docker }),
            ),
            ("type=registry,ref=web,compression=zstd", registry(Style { packing: zstd, ..style })),
            (
                "type=registry,ref=web,compression=zstd,force-compression=true",
                registry(Style { packing: Packing { force: true, ..zstd }, ..style }),
            ),
            (
                "type=registry,ref=web,compression=estargz,compression-level=9",
                registry(Style { stargz: Some(StargzWish { level: Some(9), force: false }), ..style }),
            ),
            ("type=registry,ref=web,ignore-error=true", registry(Style { ignore_error: true, ..style })),
            ("type=local,dest=c", To::Local("c".into(), "latest".to_owned(), style)),
            (
                "type=local,dest=c,reset=true",
                To::Local("c".into(), "latest".to_owned(), Style { reset: true, ..style }),
            ),
            ("type=local,dest=c,tag=main,mode=max", To::Local("c".into(), "main".to_owned(), max)),
            ("type=inline", To::Inline),
            ("type=inline,mode=max", To::Inline),
        ] {
            assert_eq!(typed("", text).unwrap().to, [want], "case {text}");
        }
        assert!(typed("", "type=inline").unwrap().inline());
    }

    #[test]
    fn the_cache_of_a_workflow_is_left_out_elsewhere() {
        let of =
            |text, set: &[&str]| is_of_no_workflow(text, |name| set.contains(&name).then(|| "x".to_owned()));
        assert!(of("type=gha", &[]) && of("type=gha,mode=max,scope=a", &["ACTIONS_CACHE_URL"]));
        assert!(of("type=gha,token=,url=x", &[]) && of("type=gha,token=x", &["ACTIONS_RUNTIME_TOKEN"]));
        assert!(!of("type=gha", &["ACTIONS_CACHE_URL", "ACTIONS_RUNTIME_TOKEN"]));
        assert!(!of("type=gha,token=x", &["ACTIONS_RESULTS_URL"]));
        assert!(!of("type=gha,token=x,url=y", &[]) && !of("type=local,src=c", &[]) && !of("web", &[]));
    }

    #[test]
    fn what_is_not_there_is_refused_by_its_name() {
        for (from, to, want) in [
            ("local", "", "that is no name of an image"),
            ("", "inline", "that is no name of an image"),
            ("type=gha,token=x,url=y", "", "type `gha` is not there yet\nhint: "),
            ("type=\"gha", "", "--cache-from `type=\"gha`: type `\"gha` is unknown"),
            ("\"type=gha", "", "a quote is not closed"),
            ("type=s3,bucket=x", "", "type `s3` is not there yet\nhint: "),
            ("", "type=azblob,name=x", "type `azblob` is not there yet\nhint: "),
            ("", "type=gha,mode=max,token=x,url_v2=y", "type `gha` is not there yet\nhint: "),
            ("src=c", "", "it has no type\nhint: "),
            ("type=local", "", "`src` is missing\nhint: "),
            ("type=local,src=", "", "`src` is missing\nhint: "),
            ("type=local,src=c,digest=md5:0", "", "`md5:0`"),
            ("type=registry", "", "`ref` is missing\nhint: "),
            ("type=registry,ref=UPPER", "", "`UPPER` is no image"),
            ("UPPER", "", "`UPPER` is no image"),
            (
                "type=registry,ref=x,registry.insecure=true",
                "",
                "`registry.insecure` is not there\nhint: say it",
            ),
            ("type=registry,ref=x,colour=red", "", "`colour` is unknown\nhint: "),
            ("type=registy,ref=x", "", "type `registy` is unknown: did you mean `registry`?\nhint: "),
            ("type=registry,ref=x,mode", "", "`mode` has no value\nhint: "),
            ("type=inline", "", "name the image that has the cache in it"),
            ("", "type=registry,ref=x,mode=most", "`mode` is min or max, not `most`"),
            ("", "type=registry,ref=x,compression=xz", "compression `xz` is unknown: there are gzip"),
            ("", "type=local,dest=x,compression=estargz,oci-mediatypes=false", "`estargz` goes with"),
            ("", "type=registry,ref=x,ignore-error=maybe", "`ignore-error` is true or false, not `maybe`"),
            (
                "",
                "type=registry,ref=x,image-manifest=true,oci-mediatypes=false",
                "goes with `oci-mediatypes=true`",
            ),
            ("", &format!("type=registry,ref=x@sha256:{}", "0".repeat(64)), "under a tag, not a digest"),
        ] {
            let said = typed(from, to).unwrap_err();
            assert!(said.contains(want) && said.contains("\nhint: "), "case {from}{to}: {said}");
        }
    }
}

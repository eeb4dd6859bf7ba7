//! What is typed as `--output`.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use shipway_distribution::Departure;
use shipway_oci::Reference;

use super::{Arrangement, FORM, Form, Output, Place, Split};
use crate::failure::Failure;
use crate::units;
use crate::verbs::build::{fields, packing};

/// All outputs, and the annotations that they ask for, as `--annotation` has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::verbs::build) struct Outputs {
    pub(in crate::verbs::build) all: Vec<Output>,
    pub(in crate::verbs::build) annotations: Vec<String>,
}

/// Reads what was typed. With `load` the image is wanted in the store too. Compat: buildx, as `type=docker` is.
pub(in crate::verbs::build) fn parse(texts: &[String], load: bool) -> Result<Outputs, Failure> {
    let mut outputs = Outputs::default();
    for text in texts {
        let output = one(text, &mut outputs.annotations);
        outputs.all.push(output.map_err(|why| Failure::new(format!("--output `{text}`: {why}"), FORM))?);
    }
    if load && !outputs.all.iter().any(Output::is_image) {
        outputs.all.push(Output::Image { names: Vec::new(), push: None, form: Form::default() });
    }
    if outputs.all.iter().filter(|output| output.uses_stdout()).count() > 1 {
        return Err(Failure::new("only one output can be the standard output", FORM));
    }
    if outputs.all.iter().any(Output::uses_stdout) && io::stdout().is_terminal() {
        return Err(Failure::new(
            "an archive is nothing for a terminal",
            "write it to a file: `-o type=tar,dest=FILE`",
        ));
    }
    Ok(outputs)
}

/// What the fields of an output say.
#[derive(Debug, Default)]
struct Fields<'a> {
    kind: &'a str,
    dest: Option<&'a str>,
    names: Vec<Reference>,
    push: bool,
    by_digest: bool,
    is_directory: bool,
    packing: packing::Typed<'a>,
    docker_types: bool,
    arrangement: Arrangement,
    annotations: Vec<String>,
}

const TYPES: [&str; 7] = ["local", "tar", "oci", "docker", "image", "registry", "cacheonly"];
const KEYS: [&str; 15] = [
    "type",
    "dest",
    "name",
    "push",
    "push-by-digest",
    "tar",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "platform-split",
    "attestation-prefix",
    "mode",
    "rewrite-timestamp",
    "annotation.NAME",
];
/// What BuildKit has beside those.
const MISSING: [&str; 6] = [
    "dangling-name-prefix",
    "oci-artifact",
    "registry.insecure",
    "prefer-nondist-layers",
    "source-date-epoch",
    "attestation-inline",
];

impl<'a> Fields<'a> {
    fn parse(texts: &'a [Cow<'_, str>]) -> Result<Self, String> {
        let mut fields = Self::default();
        // Only right behind a name a word alone is one more.
        let mut is_named = false;
        for field in texts {
            let was_named = std::mem::replace(&mut is_named, false);
            let (key, value) = field.split_once('=').unwrap_or((field, "true"));
            let lower = key.trim().to_ascii_lowercase();
            let key = lower.as_str();
            let flag =
                || units::truth(value).ok_or_else(|| format!("`{key}` is true or false, not `{value}`"));
            let is_so = || match flag()? {
                true => Ok(()),
                false => Err(format!("`{key}=false` is not there yet")),
            };
            match key {
                "type" => fields.kind = value,
                "dest" => fields.dest = Some(value),
                "name" => {
                    for name in value.split(',') {
                        fields.names.push(reference(name)?);
                    }
                    is_named = true;
                }
                "push" => fields.push = flag()?,
                "push-by-digest" => fields.by_digest = flag()?,
                "tar" => fields.is_directory = !flag()?,
                "compression" => fields.packing.compression = Some(value),
                "compression-level" => fields.packing.level = Some(value),
                "force-compression" => fields.packing.force = flag()?,
                "oci-mediatypes" => fields.docker_types = !flag()?,
                "platform-split" => {
                    fields.arrangement.split = if flag()? { Split::Always } else { Split::Never };
                }
                "attestation-prefix" if value.contains('/') => {
                    return Err(format!("`{key}` is the beginning of a name, and has no slash"));
                }
                "attestation-prefix" => value.clone_into(&mut fields.arrangement.prefix),
                "mode" => {
                    fields.arrangement.is_alone = match value {
                        "copy" => false,
                        "delete" => true,
                        _ => return Err(format!("`mode` is copy or delete, not `{value}`")),
                    };
                }
                // As it is anyway; with SOURCE_DATE_EPOCH no file is younger than that.
                "rewrite-timestamp" => is_so()?,
                "registry.insecure" if flag()? => {
                    return Err("which registries speak HTTP is said in registries.toml: [registry.\"HOST\"] plain-http = true".to_owned());
                }
                "registry.insecure" => {}
                "unpack" | "store" | "name-canonical" => drop(flag()?),
                _ if field.split_once('=').is_none() && was_named => {
                    fields.names.push(reference(field)?);
                    is_named = true;
                }
                _ => match annotation(key) {
                    Some((level, name)) => fields.annotations.push(format!("{level}:{name}={value}")),
                    None => return Err(packing::unknown("", key, &KEYS, &MISSING)),
                },
            }
        }
        Ok(fields)
    }

    fn place(&self) -> Place {
        match self.dest {
            None | Some("-" | "") => Place::Stdout,
            Some(path) => Place::File(PathBuf::from(path)),
        }
    }

    fn directory(&self) -> Result<PathBuf, String> {
        match self.dest {
            None | Some("" | "-") => Err("it names no directory: dest=DIRECTORY".to_owned()),
            Some(path) => Ok(PathBuf::from(path)),
        }
    }

    /// Returns the form of an image. Compat: BuildKit, manifests of Docker's kind have no annotations of layers.
    fn form(&self) -> Result<Form, String> {
        let (packing, stargz) = self.packing.read()?;
        if self.docker_types && stargz.is_some() {
            return Err("`compression=estargz` goes with `oci-mediatypes=true` only".to_owned());
        }
        Ok(Form { packing, stargz, docker_types: self.docker_types })
    }

    fn image(self, form: Form) -> Result<Output, String> {
        let packing = form.packing;
        let Self { names, push, by_digest, .. } = self;
        if by_digest && (names.is_empty() || !push) {
            return Err("`push-by-digest` goes with `push=true` and `name=REGISTRY/NAME`".to_owned());
        }
        if let Some(name) = names.iter().find(|name| by_digest && !name.to_string().ends_with(":latest")) {
            return Err(format!("`push-by-digest` gives no tag, and `{}` has one", name.familiar()));
        }
        if !push && packing.is_some() {
            return Err("layers that stay here are not compressed: add `push=true`".to_owned());
        }
        let push = push.then_some(Departure { packing, by_digest });
        Ok(Output::Image { names, push, form })
    }
}

/// Reads a name that the image is to get.
fn reference(text: &str) -> Result<Reference, String> {
    let name: Reference = text.parse().map_err(|error| format!("`{text}` is no name: {error}"))?;
    if name.reads_as_id() {
        return Err(format!("`{text}` looks like the id of an image"));
    }
    match name.digest() {
        None => Ok(name),
        Some(_) => Err(format!("`{text}` has a digest: give it a tag, `{}:TAG`", name.familiar_name())),
    }
}

/// Reads `annotation.NAME` and `annotation-index.NAME`. Compat: buildx.
fn annotation(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix("annotation")?;
    let (level, name) = rest.split_once('.')?;
    let level = if level.is_empty() { "manifest" } else { level.strip_prefix('-')? };
    (!name.is_empty()).then_some((level, name))
}

fn one(text: &str, annotations: &mut Vec<String>) -> Result<Output, String> {
    if text == "-" {
        return Ok(Output::Tar(Place::Stdout, Arrangement::default()));
    }
    if !text.contains('=') {
        return Ok(Output::Local(PathBuf::from(text), Arrangement::default()));
    }
    let texts = fields::split(text)?;
    let mut fields = Fields::parse(&texts)?;
    let form = fields.form()?;
    let is_of_files = ["local", "tar", "cacheonly"].contains(&fields.kind);
    let Arrangement { split, prefix, is_alone } = &fields.arrangement;
    let of_files =
        [("platform-split", *split != Split::default()), ("attestation-prefix", !prefix.is_empty())];
    if let Some((key, _)) = of_files.iter().find(|(_, is_set)| *is_set && !is_of_files) {
        return Err(format!("`{key}` is for files: `type=local` and `type=tar`"));
    }
    if *is_alone && fields.kind != "local" {
        return Err("`mode=delete` is for `type=local`".to_owned());
    }
    if is_of_files && (form != Form::default() || !fields.annotations.is_empty()) {
        return Err("compression, media types and annotations are for images".to_owned());
    }
    annotations.append(&mut fields.annotations);
    match fields.kind {
        "local" => Ok(Output::Local(fields.directory()?, fields.arrangement)),
        "tar" => Ok(Output::Tar(fields.place(), fields.arrangement)),
        "oci" | "docker" if fields.is_directory => {
            Ok(Output::Layout(fields.directory()?, form, fields.names))
        }
        // Compat: buildx, without a file the image goes to the engine, which has it.
        "docker" if fields.dest.is_none() => fields.image(form),
        "oci" | "docker" => Ok(Output::Archive(fields.place(), form, fields.names)),
        "image" => fields.image(form),
        "registry" => Fields { push: true, ..fields }.image(form),
        "cacheonly" => Ok(Output::Nothing),
        "" => Err("it has no type".to_owned()),
        other => Err(packing::unknown("type", other, &TYPES, &[])),
    }
}

#[cfg(test)]
mod tests {
    use shipway_distribution::{Compression, Packing};

    use crate::stargz::StargzWish;

    use super::*;

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        let file = |path: &str| Place::File(PathBuf::from(path));
        let image = |names: &[&str], push: Option<Departure>| Output::Image {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            push,
            form: Form { packing: push.and_then(|how| how.packing), ..Form::default() },
        };
        let as_it_is = Form::default();
        let stargz = Form {
            packing: Some(Packing::default()),
            stargz: Some(StargzWish { level: None, force: true }),
            ..as_it_is
        };
        let docker = Form { docker_types: true, ..as_it_is };
        let zstd = Some(Packing { compression: Compression::Zstd, ..Packing::default() });
        let sent = Departure::default();
        let of_files = |split: Split, prefix: &str| Arrangement {
            split,
            prefix: prefix.to_owned(),
            ..Arrangement::default()
        };
        for (text, want) in [
            ("out", Output::Local("out".into(), of_files(Split::Several, ""))),
            ("-", Output::Tar(Place::Stdout, of_files(Split::Several, ""))),
            ("type=local,dest=a/b", Output::Local("a/b".into(), of_files(Split::Several, ""))),
            (
                "type=local,dest=a/b,platform-split=false",
                Output::Local("a/b".into(), of_files(Split::Never, "")),
            ),
            ("type=tar,dest=x.tar", Output::Tar(file("x.tar"), of_files(Split::Several, ""))),
            (
                "type=tar,dest=x.tar,attestation-prefix=app-",
                Output::Tar(file("x.tar"), of_files(Split::Several, "app-")),
            ),
            ("type=tar,dest=x.tar,platform-split=1", Output::Tar(file("x.tar"), of_files(Split::Always, ""))),
            ("type=oci,dest=x", Output::Archive(file("x"), as_it_is, Vec::new())),
            (
                "type=oci,dest=x,compression=zstd",
                Output::Archive(file("x"), Form { packing: zstd, ..as_it_is }, Vec::new()),
            ),
            (
                "type=oci,dest=x,compression=estargz,force-compression=true",
                Output::Archive(file("x"), stargz, Vec::new()),
            ),
            ("type=docker,dest=-", Output::Archive(Place::Stdout, as_it_is, Vec::new())),
            ("type=docker", image(&[], None)),
            ("type=oci,tar=false,dest=x", Output::Layout("x".into(), as_it_is, Vec::new())),
            ("type=docker,tar=false,dest=x", Output::Layout("x".into(), as_it_is, Vec::new())),
            ("type=registry,name=a.test/b", image(&["a.test/b"], Some(sent))),
            ("type=image,push=false,registry.insecure=false", image(&[], None)),
            ("type=image,\"name=a.test/b,c\",Push=true", image(&["a.test/b", "c"], Some(sent))),
            ("type=image,name=a.test/b,c,push=true", image(&["a.test/b", "c"], Some(sent))),
            (
                "type=registry,compression=zstd,oci-mediatypes=true,rewrite-timestamp=true",
                image(&[], Some(Departure { packing: zstd, ..sent })),
            ),
            (
                "type=image,name=a.test/b,push-by-digest=true,name-canonical=true,push=true",
                image(&["a.test/b"], Some(Departure { by_digest: true, ..sent })),
            ),
            ("type=oci,dest=x,oci-mediatypes=false", Output::Archive(file("x"), docker, Vec::new())),
            (
                "type=oci,dest=x,oci-mediatypes=false,compression=zstd",
                Output::Archive(file("x"), Form { packing: zstd, ..docker }, Vec::new()),
            ),
            ("type=image,oci-mediatypes=0", Output::Image { names: Vec::new(), push: None, form: docker }),
            ("type=docker,dest=x,oci-mediatypes=true", Output::Archive(file("x"), as_it_is, Vec::new())),
            ("type=cacheonly", Output::Nothing),
        ] {
            let mut annotations = Vec::new();
            assert_eq!(one(text, &mut annotations).unwrap(), want, "case {text}");
            assert_eq!(annotations, Vec::<String>::new());
        }
        let mut annotations = Vec::new();
        one("type=image,annotation.a.b=c,annotation-index.d=e", &mut annotations).unwrap();
        assert_eq!(annotations, ["manifest:a.b=c", "index:d=e"]);
    }

    #[test]
    fn names_and_modes_are_read_as_buildkit_reads_them() {
        let names = vec!["a".parse().unwrap(), "b:2".parse().unwrap()];
        let alone = Arrangement { is_alone: true, ..Arrangement::default() };
        for (text, want) in [
            (
                "type=oci,dest=x,\"name=a,b:2\"",
                Output::Archive(Place::File("x".into()), Form::default(), names),
            ),
            ("type=local,dest=a,mode=delete", Output::Local("a".into(), alone)),
            ("type=local,dest=a,mode=copy", Output::Local("a".into(), Arrangement::default())),
        ] {
            assert_eq!(one(text, &mut Vec::new()).unwrap(), want, "case {text}");
        }
    }

    #[test]
    fn an_image_stays_here_too_if_it_is_to_be_loaded() {
        let image = Output::Image { names: Vec::new(), push: None, form: Form::default() };
        for (texts, want) in [
            (&[][..], vec![image.clone()]),
            (&["type=cacheonly"], vec![Output::Nothing, image.clone()]),
            (&["type=image"], vec![image.clone()]),
        ] {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(parse(&texts, true).unwrap().all, want, "case {texts:?}");
        }
    }

    #[test]
    fn what_is_no_output_is_told() {
        for (text, want) in [
            ("dest=x", "it has no type"),
            ("type=local", "names no directory"),
            ("type=docker,tar=false", "names no directory"),
            ("type=estargz", "type `estargz` is unknown: there are local, tar, oci"),
            ("type=dockr", "type `dockr` is unknown: did you mean `docker`?"),
            ("type=oci,dest=x,compression=xz", "compression `xz` is unknown"),
            ("type=oci,dest=x,compression=estargz,oci-mediatypes=0", "goes with `oci-mediatypes=true` only"),
            ("type=image,compression=estargz", "add `push=true`"),
            ("type=image,compression=zstd", "add `push=true`"),
            ("type=image,push=maybe", "is true or false"),
            ("type=image,name=sha256:e3b0c44298fc", "looks like the id of an image"),
            (
                "type=image,name=a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "has a digest: give it a tag, `a:TAG`",
            ),
            ("type=image,oci-mediatypes=maybe", "`oci-mediatypes` is true or false, not `maybe`"),
            ("type=tar,dest=x,oci-mediatypes=false", "are for images"),
            ("type=oci,dest=x,platform-split=false", "`platform-split` is for files"),
            ("type=tar,dest=x,platform-split=maybe", "is true or false"),
            ("type=oci,dest=x,attestation-prefix=a", "`attestation-prefix` is for files"),
            ("type=local,dest=x,attestation-prefix=../a", "has no slash"),
            ("type=local,dest=x,mode=max", "`mode` is copy or delete"),
            ("type=tar,dest=x,mode=delete", "is for `type=local`"),
            ("type=image,push-by-digest=true,push=true", "goes with `push=true` and `name="),
            ("type=image,name=a.test/b:1,push-by-digest=true,push=true", "gives no tag"),
            ("type=registry,name=a,push=true,forse", "`forse` is unknown: there are "),
            ("type=image,pusch=true", "`pusch` is unknown: did you mean `push`?"),
            ("type=image,dangling-name-prefix=x", "`dangling-name-prefix` is not there yet"),
            ("type=image,annotation.=x", "`annotation.` is unknown"),
            ("type=registry,registry.insecure=true", "is said in registries.toml"),
            ("type=local,dest=x,compression=gzip", "are for images"),
        ] {
            let failure = parse(&[text.to_owned()], false).unwrap_err();
            assert!(failure.text().contains(want), "{text}: {}", failure.text());
        }
        assert!(parse(&["-".to_owned(), "type=oci".to_owned()], false).is_err());
    }
}

//! `--attest`, `--provenance` and `--sbom`. Compat: buildx's spellings, and BuildKit's defaults for what they leave open.

use std::borrow::Cow;

use shipway_build::{Attest, Provenance, SlsaVersion};

use crate::cli::BuildArgs;
use crate::failure::Failure;
use crate::units;
use crate::verbs::build::fields;

/// What was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) attest: Attest,
    /// Provenance is for images, and not for files.
    pub(super) is_inline_only: bool,
}

/// Reads what the flags want to be attested.
pub(super) fn parse(args: &BuildArgs) -> Result<Typed, Failure> {
    let mut wishes: Vec<(String, Vec<String>)> = Vec::new();
    for text in &args.attests {
        let fields = owned("attest", text)?;
        let kind = fields.iter().find_map(|field| field.strip_prefix("type="));
        let kind = kind.ok_or_else(|| wrong("attest", text, "it has no type"))?.to_owned();
        let rest = fields.into_iter().filter(|field| !field.starts_with("type=")).collect();
        wishes.push((kind, rest));
    }
    for (kind, value) in [("provenance", &args.provenance), ("sbom", &args.sbom)] {
        let Some(value) = value else { continue };
        let fields = match units::truth(value) {
            Some(false) => vec!["disabled=true".to_owned()],
            None if !value.is_empty() => owned(kind, value)?,
            _ => Vec::new(),
        };
        wishes.push((kind.to_owned(), fields));
    }
    let mut attest = Attest::default();
    let mut is_inline_only = false;
    for (at, (kind, fields)) in wishes.iter().enumerate() {
        if wishes[..at].iter().any(|(before, _)| before == kind) {
            let what = format!("what is attested as {kind} is said twice");
            return Err(Failure::new(what, format!("say it once: --{kind}=true, or --attest type={kind}")));
        }
        match kind.as_str() {
            "provenance" => (attest.provenance, is_inline_only) = provenance(fields)?,
            "sbom" => attest.sbom = sbom(fields)?,
            other => {
                return Err(Failure::new(
                    format!("attestations of type `{other}` are not there"),
                    "the types are provenance and sbom",
                ));
            }
        }
    }
    Ok(Typed { attest, is_inline_only })
}

fn owned(flag: &str, text: &str) -> Result<Vec<String>, Failure> {
    let fields = fields::split(text).map_err(|why| wrong(flag, text, &why))?;
    Ok(fields.into_iter().map(Cow::into_owned).collect())
}

/// Returns also whether it is for images only.
fn provenance(fields: &[String]) -> Result<(Option<Provenance>, bool), Failure> {
    let flag = "provenance";
    let mut wanted = Provenance {
        // Compat: BuildKit, who asks for it gets all of it.
        is_full: true,
        version: SlsaVersion::V02,
        builder_id: String::new(),
        is_reproducible: false,
    };
    let mut is_wanted = true;
    let mut is_inline_only = false;
    for field in fields {
        let wrong = |why: &str| wrong(flag, field, why);
        let (key, value) = field.split_once('=').ok_or_else(|| wrong("it is no NAME=VALUE"))?;
        match key {
            "disabled" => is_wanted = !boolean(flag, field, value)?,
            "mode" => {
                wanted.is_full = match value {
                    "min" => false,
                    "max" | "full" => true,
                    _ => return Err(wrong("the modes are min and max")),
                }
            }
            "version" => {
                wanted.version = match value {
                    "v0.2" => SlsaVersion::V02,
                    "v1" => SlsaVersion::V1,
                    _ => return Err(wrong("the versions are v0.2 and v1")),
                }
            }
            "builder-id" => value.clone_into(&mut wanted.builder_id),
            "reproducible" => wanted.is_reproducible = boolean(flag, field, value)?,
            "inline-only" => is_inline_only = boolean(flag, field, value)?,
            _ => return Err(wrong(&format!("`{key}` is not there"))),
        }
    }
    Ok((is_wanted.then_some(wanted), is_inline_only))
}

fn sbom(fields: &[String]) -> Result<bool, Failure> {
    let flag = "sbom";
    let mut is_wanted = true;
    for field in fields {
        let wrong = |why: &str| wrong(flag, field, why);
        match field.split_once('=') {
            Some(("disabled", value)) => is_wanted = !boolean(flag, field, value)?,
            Some(("generator", image)) => {
                return Err(Failure::new(
                    format!(
                        "a generator of one's own (`{image}`) is not there: packages are listed by the program itself"
                    ),
                    "leave it out: --sbom=true",
                ));
            }
            Some((key, _)) => return Err(wrong(&format!("`{key}` is not there"))),
            None => return Err(wrong("it is no NAME=VALUE")),
        }
    }
    Ok(is_wanted)
}

fn boolean(flag: &str, field: &str, value: &str) -> Result<bool, Failure> {
    units::truth(value).ok_or_else(|| wrong(flag, field, "it is true or false"))
}

fn wrong(flag: &str, text: &str, why: &str) -> Failure {
    let form = match flag {
        "sbom" => "write it as --sbom=true",
        "provenance" => {
            "write it as --provenance=true, or --provenance=mode=min|max,version=v0.2|v1,builder-id=URL,reproducible=true"
        }
        _ => "write it as --attest type=provenance,mode=max, or --attest type=sbom",
    };
    Failure::new(format!("--{flag} `{text}`: {why}"), form)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: BuildArgs,
    }

    fn read(flags: &[&str]) -> Result<Typed, Failure> {
        let line = Line::try_parse_from([&["build"], flags, &["."]].concat()).unwrap();
        assert_eq!(line.args.context, ["."], "{flags:?}");
        parse(&line.args)
    }

    #[test]
    fn flags_are_read_as_buildx_reads_them() {
        let full = Provenance {
            is_full: true,
            version: SlsaVersion::V02,
            builder_id: String::new(),
            is_reproducible: false,
        };
        let small = Provenance { is_full: false, ..full.clone() };
        for (flags, provenance, sbom) in [
            (&[][..], None, false),
            (&["--provenance"], Some(full.clone()), false),
            (&["--provenance=true", "--sbom=true"], Some(full.clone()), true),
            (&["--provenance=false", "--sbom=0"], None, false),
            (&["--provenance=mode=min"], Some(small.clone()), false),
            (&["--attest", "type=provenance,mode=min", "--attest", "type=sbom"], Some(small), true),
            (&["--attest=type=provenance,disabled=true", "--sbom"], None, true),
            (
                &["--provenance=mode=max,version=v1,builder-id=https://ci.test/1,reproducible=true"],
                Some(Provenance {
                    version: SlsaVersion::V1,
                    builder_id: "https://ci.test/1".to_owned(),
                    is_reproducible: true,
                    ..full
                }),
                false,
            ),
        ] {
            assert_eq!(read(flags).unwrap().attest, Attest { provenance, sbom }, "case {flags:?}");
        }
        assert!(read(&["--provenance=inline-only=true"]).unwrap().is_inline_only);
        assert!(!read(&["--provenance=true"]).unwrap().is_inline_only);
    }

    #[test]
    fn what_cannot_be_attested_is_named() {
        for (flags, want) in [
            (&["--provenance=mode=all"][..], "the modes are min and max"),
            (&["--provenance=version=v2"], "the versions are v0.2 and v1"),
            (&["--provenance=yes"], "it is no NAME=VALUE"),
            (&["--provenance=mode=min,filename=x"], "`filename` is not there"),
            (&["--sbom=generator=docker/scout-sbom-indexer"], "`docker/scout-sbom-indexer`"),
            (&["--attest", "mode=max"], "it has no type"),
            (&["--attest", "type=vsa"], "type `vsa` are not there"),
            (&["--attest", "type=sbom", "--sbom"], "said twice"),
            (&["--attest", "type=sbom,disabled=maybe"], "it is true or false"),
        ] {
            let failure = read(flags).unwrap_err();
            let text = failure.text();
            assert!(text.contains(want) && text.contains("hint: "), "case {flags:?}: {text}");
        }
    }
}

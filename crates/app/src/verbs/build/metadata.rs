//! `--metadata-file`. Compat: buildx, its names, and the variables that say what more is told.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use shipway_build::{BuildRequest, Built};
use shipway_oci::{Descriptor, Platform, Reference, Statement};

use super::call::{lines, text, with_outlook};
use super::delivery::Arrived;
use super::output::found;
use crate::cli::BuildArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::units;

/// How much is told of provenance: nothing, all of it, or by default what was built of what.
const PROVENANCE: &str = "BUILDX_METADATA_PROVENANCE";
/// Whether warnings are told.
const WARNINGS: &str = "BUILDX_METADATA_WARNINGS";

/// Returns what is said of a build: of an image as it is where it went, with its layers compressed or not. `names` are those that it has
/// here, there and in archives.
pub(super) fn of_build(
    engine: &Engine,
    request: &BuildRequest,
    (built, arrived): (&Built, &Arrived),
    (args, names): (&BuildArgs, &[Reference]),
) -> Value {
    let names: Vec<String> = names.iter().map(|name| as_typed(name, args)).collect();
    let Descriptor { media_type, digest, size, .. } = &arrived.there;
    let mut said = json!({
        // Compat: buildx, a builder, one of its machines, and the build.
        "buildx.build.ref": format!("shipway/shipway/{}", arrived.image_id.short()),
        "containerimage.config.digest": arrived.image_id,
        "containerimage.descriptor": { "mediaType": media_type, "digest": digest, "size": size },
        "containerimage.digest": digest,
    });
    if !names.is_empty() {
        said["image.name"] = json!(names.join(","));
    }
    let wanted = |name: &str| std::env::var(name).unwrap_or_default();
    provenance(engine, built, &wanted(PROVENANCE), &mut said);
    if units::truth(&wanted(WARNINGS)) == Some(true) {
        let warnings = warnings(engine, request);
        if !warnings.is_empty() {
            said["buildx.build.warnings"] = json!(warnings);
        }
    }
    said
}

/// Adds what is attested of where each image comes from.
fn provenance(engine: &Engine, built: &Built, mode: &str, said: &mut Value) {
    if mode == "disabled" || units::truth(mode) == Some(false) {
        return;
    }
    let one = [(None, built)];
    let several = built.parts.iter().map(|(platform, part)| (Some(platform), part));
    let images: Vec<(Option<&Platform>, &Built)> =
        if built.parts.is_empty() { one.into() } else { several.collect() };
    for (platform, image) in images {
        let attested = image.index.and_then(|_| engine.store.attested(&found(image)));
        let statements = attested.map(|attested| attested.statements(&image.manifest)).unwrap_or_default();
        let predicate =
            statements.into_iter().find_map(|statement| match statement.predicate_type.as_str() {
                Statement::PROVENANCE_V02 => Some(statement.predicate),
                Statement::PROVENANCE_V1 => Some(as_v02(&statement.predicate)),
                _ => None,
            });
        let Some(mut predicate) = predicate else { continue };
        if let (true, Some(fields)) = (mode != "max", predicate.as_object_mut()) {
            fields.remove("buildConfig");
            fields.remove("metadata");
        }
        let key = "buildx.build.provenance";
        let key = platform.map_or_else(|| key.to_owned(), |platform| format!("{key}/{platform}"));
        said[key] = predicate;
    }
}

/// Returns provenance of version 1 in the words of version 0.2. Compat: buildx has it in no other form here.
fn as_v02(predicate: &Value) -> Value {
    let at = |path: &str| predicate.pointer(path).cloned().unwrap_or(Value::Null);
    let known = |fields: &[(&str, Value)]| {
        let known = fields.iter().filter(|(_, value)| !value.is_null());
        Value::Object(known.map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>())
    };
    let source = |name: &str| at(&format!("/buildDefinition/externalParameters/configSource/{name}"));
    let metadata = |name: &str| at(&format!("/runDetails/metadata/{name}"));
    let complete = |name: &str| metadata(&format!("buildkit_completeness/{name}"));
    known(&[
        ("builder", at("/runDetails/builder")),
        ("buildType", json!("https://mobyproject.org/buildkit@v1")),
        ("materials", at("/buildDefinition/resolvedDependencies")),
        (
            "invocation",
            json!({
                "configSource": known(&[
                    ("uri", source("uri")),
                    ("digest", source("digest")),
                    ("entryPoint", source("path")),
                ]),
                "parameters": at("/buildDefinition/externalParameters/request"),
                "environment": { "platform": at("/buildDefinition/internalParameters/builderPlatform") },
            }),
        ),
        ("buildConfig", at("/buildDefinition/internalParameters/buildConfig")),
        (
            "metadata",
            known(&[
                ("buildInvocationID", metadata("invocationId")),
                ("buildStartedOn", metadata("startedOn")),
                ("buildFinishedOn", metadata("finishedOn")),
                (
                    "completeness",
                    json!({
                        "parameters": complete("request"),
                        "environment": true,
                        "materials": complete("resolvedDependencies"),
                    }),
                ),
                ("reproducible", metadata("buildkit_reproducible")),
                ("https://mobyproject.org/buildkit@v1#metadata", metadata("buildkit_metadata")),
                ("https://mobyproject.org/buildkit@v1#hermetic", metadata("buildkit_hermetic")),
            ]),
        ),
    ])
}

/// Returns what the rules found in the Dockerfile.
fn warnings(engine: &Engine, request: &BuildRequest) -> Vec<Value> {
    let examined = with_outlook(Some(engine), |outlook| shipway_build::examine(request, outlook));
    let Ok(examined) = examined else { return Vec::new() };
    let source = &examined.source;
    let one = |warning: &shipway_build::Warning| {
        let lines = lines(source, warning.span);
        let short = format!("{}: {} (line {})", warning.rule.name(), warning.message, lines.start());
        json!({
            "level": 1,
            "short": STANDARD.encode(short),
            "detail": [STANDARD.encode(warning.rule.description())],
            "url": warning.rule.url(),
            "sourceInfo": { "filename": source.name(), "data": text(source), "language": "Dockerfile" },
            "range": [{ "start": { "line": lines.start() }, "end": { "line": lines.end() } }],
        })
    };
    examined.warnings.iter().map(one).collect()
}

/// Writes what is said of a build.
pub(super) fn write(file: &Path, said: &Value) -> Result<(), Failure> {
    to_file(file, &format!("{said:#}"), "--metadata-file")
}

/// Writes a text to the file that a flag names.
pub(super) fn to_file(file: &Path, text: &str, flag: &str) -> Result<(), Failure> {
    // A device or a pipe is written as it is.
    let special = fs_err::metadata(file).is_ok_and(|found| !found.is_file() && !found.is_dir());
    let written = match special {
        true => fs_err::OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|mut pipe| std::io::Write::write_all(&mut pipe, text.as_bytes())),
        false => shipway_store::atomic_write(file, text.as_bytes(), 0o644),
    };
    written.map_err(|error| {
        let hint = format!("name another file: {flag} FILE");
        Failure::new(format!("could not write `{}`: {error}", file.display()), hint)
    })
}

/// Returns a name in full, but without a tag that nobody typed. Compat: buildx.
fn as_typed(name: &Reference, args: &BuildArgs) -> String {
    let full = name.to_string();
    let Some(short) = full.strip_suffix(":latest") else { return full };
    let words = args.outputs.iter().flat_map(|text| text.split([',', '=', '"']));
    let mut words = args.tags.iter().map(String::as_str).chain(words);
    let is_typed = words.any(|word| word.ends_with(":latest") && word.parse().as_ref() == Ok(name));
    if is_typed { full } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_name_is_written_down_with_the_tag_that_was_typed() {
        for (name, flags, want) in [
            ("web", &["-t", "web"][..], "docker.io/library/web"),
            ("web", &["-t", "web:latest"], "docker.io/library/web:latest"),
            ("a.test/web:1", &["-t", "a.test/web:1"], "a.test/web:1"),
            ("web", &["-t", "other:latest", "-o", "type=image,name=web"], "docker.io/library/web"),
            ("b", &["-o", "type=image,\"name=a,b:latest\""], "docker.io/library/b:latest"),
        ] {
            let line = [&["shipway", "build"], flags, &["."]].concat();
            let crate::cli::Verb::Build(args) = crate::cli::Cli::try_parse_from(line).unwrap().verb else {
                panic!("another verb")
            };
            assert_eq!(as_typed(&name.parse().unwrap(), &args), want, "case {flags:?}");
        }
    }
}

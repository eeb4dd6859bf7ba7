//! `shipway build --call`: what a Dockerfile offers, without building. Compat: buildx, `check`, `targets`, `outline`, each with `format=json`.

use serde_json::{Value, json};
use shipway_build::{BuildRequest, Dockerfile, InstructionKind, Mount, MountKind, Stage};

use crate::failure::Failure;
use crate::table;
use crate::ui::Ui;

/// The id of a secret or an agent, and whether a command needs it.
type Wanted = (String, bool);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Check,
    Targets { json: bool },
    Outline { json: bool },
}

/// Reads what was typed; `build` asks nothing.
pub(super) fn parse(text: &str) -> Result<Option<Question>, Failure> {
    let (kind, options) = text.split_once(',').unwrap_or((text, ""));
    let json = match options {
        "" | "format=text" => false,
        "format=json" => true,
        other => {
            return Err(Failure::new(
                format!("--call `{text}`: `{other}` is not there yet"),
                "there is format=json: `--call targets,format=json`",
            ));
        }
    };
    Ok(match kind {
        "build" | "" => None,
        "check" | "lint" => Some(Question::Check),
        "targets" => Some(Question::Targets { json }),
        "outline" => Some(Question::Outline { json }),
        other => {
            return Err(Failure::new(
                format!("--call `{other}` is not there"),
                "ask for check, targets or outline",
            ));
        }
    })
}

/// Lists the stages.
pub(super) fn targets(file: &Dockerfile, json: bool, ui: &mut Ui) {
    let last = file.stages.len() - 1;
    let rows: Vec<(String, String, bool)> = file
        .stages
        .iter()
        .enumerate()
        .filter(|(number, stage)| stage.name.is_some() || *number == last)
        .map(|(number, stage)| {
            let name = stage.name.clone().unwrap_or_default();
            let described = description(&stage.comments, &name);
            (name, described, number == last)
        })
        .collect();
    if json {
        let targets: Vec<Value> = rows
            .iter()
            .map(|(name, description, is_default)| {
                json!({"name": name, "description": description, "default": is_default})
            })
            .collect();
        ui.line(json!({ "targets": targets }));
        return;
    }
    let shown = rows.into_iter().map(|(name, description, is_default)| {
        let name = match (name.as_str(), is_default) {
            ("", _) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        vec![name, description]
    });
    table(&["TARGET", "DESCRIPTION"], &shown.collect::<Vec<_>>(), ui);
}

/// Lists what a stage, and those that it starts from, takes: build arguments, secrets, agents.
pub(super) fn outline(
    file: &Dockerfile,
    request: &BuildRequest,
    json: bool,
    ui: &mut Ui,
) -> Result<(), Failure> {
    let stages = chain(file, request.target.as_deref())?;
    let mut args: Vec<(String, String, String)> = Vec::new();
    let (mut secrets, mut agents): (Vec<Wanted>, Vec<Wanted>) = (Vec::new(), Vec::new());
    let given = |name: &str| request.build_args.iter().rev().find(|(known, _)| known == name);
    let mut add = |name: &str, default: Option<&str>, comments: &[String]| {
        let value = given(name).map(|(_, value)| value.clone()).or(default.map(str::to_owned));
        if !args.iter().any(|(known, ..)| known == name) {
            args.push((name.to_owned(), value.unwrap_or_default(), description(comments, name)));
        }
    };
    for arg in &file.global_args {
        add(&arg.declaration.name, arg.declaration.default.as_deref(), &arg.comments);
    }
    for instruction in stages.iter().flat_map(|stage| &stage.instructions) {
        match &instruction.kind {
            InstructionKind::Arg(declared) => {
                declared.iter().for_each(|arg| add(&arg.name, arg.default.as_deref(), &instruction.comments));
            }
            InstructionKind::Run(run) => {
                for word in &run.mounts {
                    // What cannot be read is told of when it is built.
                    let Ok(mount) = Mount::parse(&word.text, &mut |value| Ok(value.to_owned())) else {
                        continue;
                    };
                    let id = mount.id.clone().or_else(|| mount.source.clone());
                    match mount.kind {
                        MountKind::Secret => note(&mut secrets, id.or(mount.target), mount.required),
                        MountKind::Ssh => {
                            note(&mut agents, id.or(Some("default".to_owned())), mount.required);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let target = stages.first().copied();
    let name = target.and_then(|stage| stage.name.clone()).unwrap_or_default();
    let described = target.map(|stage| description(&stage.comments, &name)).unwrap_or_default();
    if json {
        let named = |(name, required): &Wanted| json!({"name": name, "required": required});
        ui.line(json!({
            "name": name,
            "description": described,
            "args": args.iter().map(|(name, value, description)| {
                json!({"name": name, "value": value, "description": description})
            }).collect::<Vec<_>>(),
            "secrets": secrets.iter().map(named).collect::<Vec<_>>(),
            "ssh": agents.iter().map(named).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    for (title, text) in [("TARGET", name), ("DESCRIPTION", described)] {
        if !text.is_empty() {
            ui.line(format!("{:<13}{text}", format!("{title}:")));
        }
    }
    let args: Vec<Vec<String>> = args.into_iter().map(|(a, b, c)| vec![a, b, c]).collect();
    let rows = |list: Vec<Wanted>| -> Vec<Vec<String>> {
        list.into_iter()
            .map(|(name, required)| vec![name, if required { "true".to_owned() } else { String::new() }])
            .collect()
    };
    for (heads, rows) in [
        (&["BUILD ARG", "VALUE", "DESCRIPTION"][..], args),
        (&["SECRET", "REQUIRED"], rows(secrets)),
        (&["SSH", "REQUIRED"], rows(agents)),
    ] {
        if !rows.is_empty() {
            ui.line("");
            table(heads, &rows, ui);
        }
    }
    Ok(())
}

fn note(list: &mut Vec<Wanted>, id: Option<String>, required: bool) {
    let id = id.unwrap_or_default();
    match list.iter_mut().find(|(known, _)| *known == id) {
        Some((_, known)) => *known |= required,
        None => list.push((id, required)),
    }
}

/// Returns a stage and those that it starts from.
fn chain<'f>(file: &'f Dockerfile, target: Option<&str>) -> Result<Vec<&'f Stage>, Failure> {
    let named = |name: &str| {
        let lower = name.to_lowercase();
        file.stages.iter().rposition(|stage| stage.name.as_ref() == Some(&lower))
    };
    let mut at = match target {
        None => file.stages.len() - 1,
        Some(name) => named(name).ok_or_else(|| {
            Failure::new(format!("no stage is named `{name}`"), "see them: `shipway build --call targets .`")
        })?,
    };
    let mut stages = Vec::new();
    loop {
        let stage = &file.stages[at];
        stages.push(stage);
        match named(&stage.image.text).filter(|base| *base < at) {
            Some(base) => at = base,
            None => return Ok(stages),
        }
    }
}

/// Returns what a comment above says of what it names first.
fn description(comments: &[String], name: &str) -> String {
    let mut said = comments.iter().filter_map(|comment| comment.split_once(char::is_whitespace));
    said.find(|(first, _)| *first == name && !name.is_empty())
        .map_or_else(String::new, |(_, rest)| rest.trim().to_owned())
}

fn table(heads: &[&str], rows: &[Vec<String>], ui: &mut Ui) {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows.iter().cloned()).collect();
    table::render(&rows).into_iter().for_each(|line| ui.line(line));
}

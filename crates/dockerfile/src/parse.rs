//! One logical line to one typed instruction.

mod command;
mod copy;
mod pairs;

use crate::error::{Located, Problem};
use crate::flags::{Flags, Takes};
use crate::heredoc::Heredoc;
use crate::instruction::{Instruction, InstructionKind, Word};
use crate::lines::Logical;
use crate::source::Span;
use crate::suggest::suggest;
use crate::words::{Piece, split_blanks, split_first, split_flags};

const KEYWORDS: [&str; 18] = [
    "FROM",
    "RUN",
    "CMD",
    "LABEL",
    "MAINTAINER",
    "EXPOSE",
    "ENV",
    "ADD",
    "COPY",
    "ENTRYPOINT",
    "VOLUME",
    "USER",
    "WORKDIR",
    "ARG",
    "ONBUILD",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "SHELL",
];

/// FROM, or an instruction of a stage.
#[derive(Debug)]
pub(crate) enum Parsed {
    From { image: Word, platform: Option<Word>, name: Option<String>, span: Span, text: String },
    Instruction(Instruction),
}

/// The parts of a line that all instructions have.
#[derive(Debug)]
struct Parts<'a> {
    line: &'a Logical,
    keyword: &'static str,
    flags: Vec<Piece>,
    /// What follows keyword and flags, and its offset in the line.
    rest: &'a str,
    rest_at: usize,
    escape: char,
}

impl<'a> Parts<'a> {
    /// Splits a line from an offset on.
    fn split(line: &'a Logical, from: usize, escape: char) -> Result<Self, Located> {
        let text = line.text[from..].trim_end();
        let from = from + (text.len() - text.trim_start().len());
        let text = text.trim_start();
        let (word, after) = split_first(text);
        let upper = word.to_ascii_uppercase();
        let Some(keyword) = KEYWORDS.into_iter().find(|known| *known == upper) else {
            let suggestion = suggest(word, KEYWORDS);
            let span = line.locate(from, from + word.len());
            return Err(
                Problem::UnknownInstruction { word: shortened(word), suggestion, heredoc_of: None }.at(span)
            );
        };
        let (flags, at) = split_flags(&text[after..], from + after, escape);
        let rest = text[after + at..].trim_start();
        Ok(Self { line, keyword, flags, rest, rest_at: from + text.len() - rest.len(), escape })
    }

    fn flags(&self, allowed: &[(&'static str, Takes)]) -> Result<Flags, Located> {
        Flags::parse(self.keyword, &self.flags, self.line, allowed)
    }

    /// Returns where the arguments stand, or the whole line if there are none.
    fn rest_span(&self) -> Span {
        if self.rest.is_empty() {
            return self.line.locate(0, self.line.text.trim_end().len());
        }
        self.line.locate(self.rest_at, self.rest_at + self.rest.len())
    }

    fn word(&self, piece: Piece) -> Word {
        Word { span: self.line.locate(piece.start, piece.end), text: piece.text }
    }

    fn needs(&self, want: &'static str) -> Located {
        Problem::Arguments { instruction: self.keyword, want }.at(self.rest_span())
    }

    fn malformed(&self, problem: impl Into<String>, help: Option<&'static str>) -> Located {
        Problem::Malformed { instruction: self.keyword, problem: problem.into(), help }.at(self.rest_span())
    }

    /// Returns the strings of a JSON array, `None` if the arguments are none.
    fn json(&self) -> Result<Option<Vec<String>>, Located> {
        let Some(values) =
            self.rest.starts_with('[').then(|| serde_json::from_str::<Vec<serde_json::Value>>(self.rest))
        else {
            return Ok(None);
        };
        let Ok(values) = values else { return Ok(None) };
        let strings =
            values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        strings.map(Some).ok_or_else(|| {
            self.malformed(
                "a JSON array here holds only strings",
                Some("quote each argument: [\"ls\", \"-l\"]"),
            )
            .of_lines()
        })
    }

    fn one_argument(&self) -> Result<String, Located> {
        self.flags(&[])?;
        if self.rest.is_empty() {
            return Err(self.needs("an argument"));
        }
        Ok(self.rest.to_owned())
    }
}

fn shortened(word: &str) -> String {
    const SHOWN: usize = 40;
    let mut short: String = word.chars().take(SHOWN).collect();
    if short.len() < word.len() {
        short.push('…');
    }
    short
}

/// Returns whether the line may be followed by heredocs.
pub(crate) fn accepts_heredocs(line: &Logical, escape: char) -> bool {
    let Ok(mut parts) = Parts::split(line, 0, escape) else { return false };
    if parts.keyword == "ONBUILD" {
        let Ok(inner) = Parts::split(line, parts.rest_at, escape) else { return false };
        parts = inner;
    }
    matches!(parts.keyword, "RUN" | "COPY" | "ADD") && parts.json().is_ok_and(|json| json.is_none())
}

/// Returns the instruction of a line that begins a heredoc and cannot have one.
pub(crate) fn refused_heredoc(line: &Logical, escape: char) -> Option<String> {
    let begins = !accepts_heredocs(line, escape) && !Heredoc::all_of_line(&line.text).is_empty();
    begins.then(|| Parts::split(line, 0, escape).ok().map(|parts| parts.keyword.to_owned())).flatten()
}

/// Reads one line.
pub(crate) fn parse_line(line: &Logical, heredocs: &[Heredoc], escape: char) -> Result<Parsed, Located> {
    let parts = Parts::split(line, 0, escape)?;
    if parts.keyword == "FROM" {
        return from(&parts);
    }
    let kind = instruction(&parts, heredocs)?;
    let text = line.text.trim().to_owned();
    Ok(Parsed::Instruction(Instruction { kind, text, span: line.span, comments: line.comments.clone() }))
}

fn instruction(parts: &Parts<'_>, heredocs: &[Heredoc]) -> Result<InstructionKind, Located> {
    Ok(match parts.keyword {
        "RUN" => InstructionKind::Run(command::run(parts, heredocs)?),
        "CMD" => InstructionKind::Cmd(command::command(parts)?),
        "ENTRYPOINT" => InstructionKind::Entrypoint(command::command(parts)?),
        "SHELL" => InstructionKind::Shell(command::shell(parts)?),
        "HEALTHCHECK" => InstructionKind::Healthcheck(command::healthcheck(parts)?),
        "LABEL" => InstructionKind::Label(pairs::pairs(parts)?),
        "ENV" => InstructionKind::Env(pairs::pairs(parts)?),
        "ARG" => InstructionKind::Arg(pairs::arguments(parts)?),
        "COPY" => InstructionKind::Copy(copy::copy(parts, heredocs)?),
        "ADD" => {
            let (copy, options) = copy::add(parts, heredocs)?;
            InstructionKind::Add(copy, options)
        }
        "MAINTAINER" => InstructionKind::Maintainer(parts.one_argument()?),
        "USER" => InstructionKind::User(parts.one_argument()?),
        "WORKDIR" => InstructionKind::Workdir(parts.one_argument()?),
        "STOPSIGNAL" => InstructionKind::StopSignal(parts.one_argument()?),
        "EXPOSE" => {
            parts.flags(&[])?;
            let mut ports: Vec<Word> =
                split_blanks(parts.rest, parts.rest_at).into_iter().map(|piece| parts.word(piece)).collect();
            if ports.is_empty() {
                return Err(parts.needs("a port"));
            }
            ports.sort_by(|a, b| a.text.cmp(&b.text));
            InstructionKind::Expose(ports)
        }
        "VOLUME" => InstructionKind::Volume(volume(parts)?),
        "ONBUILD" => InstructionKind::Onbuild(onbuild(parts, heredocs)?),
        other => unreachable!("`{other}` is FROM or no keyword"),
    })
}

fn from(parts: &Parts<'_>) -> Result<Parsed, Located> {
    let flags = parts.flags(&[("platform", Takes::Value)])?;
    let words = split_blanks(parts.rest, parts.rest_at);
    let name = match words.as_slice() {
        [_] => None,
        [_, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => Some(stage_name(parts, name)?),
        _ => return Err(parts.needs("an image, or `image AS name`")),
    };
    let image = words.into_iter().next().map(|piece| parts.word(piece)).unwrap_or_default();
    Ok(Parsed::From {
        image,
        platform: flags.filled("platform"),
        name,
        span: parts.line.span,
        text: parts.line.text.trim().to_owned(),
    })
}

fn stage_name(parts: &Parts<'_>, piece: &Piece) -> Result<String, Located> {
    let name = piece.text.to_lowercase();
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
    if good {
        return Ok(name);
    }
    let help = Some("a stage's name starts with a letter and has letters, digits, `-`, `_` and `.`");
    let problem = format!("`{}` cannot name a stage", piece.text);
    let span = parts.line.locate(piece.start, piece.end);
    Err(Problem::Malformed { instruction: parts.keyword, problem, help }.at(span))
}

fn volume(parts: &Parts<'_>) -> Result<Vec<String>, Located> {
    parts.flags(&[])?;
    let volumes = match parts.json()? {
        Some(volumes) => volumes,
        None => split_blanks(parts.rest, parts.rest_at).into_iter().map(|piece| piece.text).collect(),
    };
    let volumes: Vec<String> = volumes.iter().map(|volume| volume.trim().to_owned()).collect();
    if volumes.is_empty() || volumes.contains(&String::new()) {
        return Err(parts.needs("a path"));
    }
    Ok(volumes)
}

fn onbuild(parts: &Parts<'_>, heredocs: &[Heredoc]) -> Result<String, Located> {
    parts.flags(&[])?;
    if parts.rest.is_empty() {
        return Err(parts.needs("an instruction"));
    }
    let inner = Parts::split(parts.line, parts.rest_at, parts.escape)?;
    if matches!(inner.keyword, "ONBUILD" | "MAINTAINER" | "FROM") {
        return Err(parts.malformed(format!("{} cannot be a trigger", inner.keyword), None));
    }
    instruction(&inner, heredocs)?;
    // Compat: BuildKit, blanks at the end stay.
    let line = &parts.line.text;
    let mut trigger = format!("{}{}", parts.rest, &line[line.trim_end().len()..]);
    for heredoc in heredocs {
        trigger.push('\n');
        trigger.push_str(&heredoc.content);
        trigger.push_str(&heredoc.name);
    }
    Ok(trigger)
}

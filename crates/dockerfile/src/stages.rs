//! A whole file: directives, global ARGs, stages.

use crate::directive::Directives;
use crate::error::{Located, ParseDockerfileError, Problem};
use crate::instruction::{ArgDeclaration, Instruction, InstructionKind, Word};
use crate::lines::{LineReader, Logical};
use crate::parse::{Parsed, accepts_heredocs, parse_line};
use crate::source::{Source, Span};

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The text, for messages.
    pub source: Source,
    /// Directives at the top.
    pub directives: Directives,
    /// ARGs before the first FROM.
    pub global_args: Vec<GlobalArg>,
    /// At least one.
    pub stages: Vec<Stage>,
    /// Instructions with an empty line inside.
    pub empty_continuations: Vec<Span>,
}

/// A variable that ARG declares before the first FROM.
#[derive(Clone, Debug)]
pub struct GlobalArg {
    /// The declaration.
    pub declaration: ArgDeclaration,
    /// Where its instruction stands.
    pub span: Span,
    /// Comments directly above that.
    pub comments: Vec<String>,
}

/// FROM and what follows.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// The image, another stage, or `scratch`; variables not expanded.
    pub image: Word,
    /// `--platform=`
    pub platform: Option<Word>,
    /// The FROM line, joined.
    pub text: String,
    /// Where FROM stands.
    pub span: Span,
    /// The instructions after it.
    pub instructions: Vec<Instruction>,
    /// Comments directly above FROM.
    pub comments: Vec<String>,
}

/// Parses a Dockerfile; `name` is how messages call it.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Dockerfile, ParseDockerfileError> {
    let (file, mistake) = parse_until_mistake(name, bytes)?;
    mistake.map_or(Ok(file), Err)
}

/// Parses a Dockerfile up to its first mistake, and returns what stands before that, which may have no stage, and the mistake. What is no
/// text at all is an error.
pub fn parse_until_mistake(
    name: &str,
    bytes: &[u8],
) -> Result<(Dockerfile, Option<ParseDockerfileError>), ParseDockerfileError> {
    let source = decode(name, bytes)?;
    let mut reader = LineReader::new(source.text());
    let mut file = Dockerfile {
        source: source.clone(),
        directives: Directives::default(),
        global_args: Vec::new(),
        stages: Vec::new(),
        empty_continuations: Vec::new(),
    };
    let parsed = parse_lines(&mut reader, &mut file);
    file.directives = reader.directives;
    Ok((file, parsed.err().map(|error| error.in_source(&source))))
}

/// Parses the text of an ONBUILD trigger: one instruction, which is blamed on `span` of `source`.
pub fn parse_trigger(text: &str, source: &Source, span: Span) -> Result<Instruction, ParseDockerfileError> {
    let one = |text: &str| -> Result<Instruction, Located> {
        let mut reader = LineReader::new(text);
        let Some(line) = reader.next_line()? else { return Err(Problem::NoStages.at(span)) };
        let mut line = Logical::of_text(&line.text, span);
        let heredocs =
            if accepts_heredocs(&line, '\\') { reader.read_heredocs(&mut line)? } else { Vec::new() };
        match parse_line(&line, &heredocs, '\\')? {
            Parsed::Instruction(instruction) => Ok(instruction),
            Parsed::From { .. } => Err(Problem::BeforeFrom { instruction: "FROM" }.at(span)),
        }
    };
    let parsed = one(text).map_err(|error| error.problem.at(span).in_source(source))?;
    Ok(Instruction { span, ..parsed })
}

fn parse_lines(reader: &mut LineReader<'_>, file: &mut Dockerfile) -> Result<(), Located> {
    while let Some(mut line) = reader.next_line()? {
        let escape = reader.directives.escape;
        let heredocs =
            if accepts_heredocs(&line, escape) { reader.read_heredocs(&mut line)? } else { Vec::new() };
        if line.has_empty_continuation {
            file.empty_continuations.push(line.span);
        }
        let instruction = match parse_line(&line, &heredocs, escape)? {
            Parsed::From { image, platform, name, span, text } => {
                let comments = std::mem::take(&mut line.comments);
                file.stages.push(Stage {
                    name,
                    image,
                    platform,
                    text,
                    span,
                    instructions: Vec::new(),
                    comments,
                });
                continue;
            }
            Parsed::Instruction(instruction) => instruction,
        };
        match (file.stages.last_mut(), instruction.kind) {
            (Some(stage), kind) => stage.instructions.push(Instruction { kind, ..instruction }),
            (None, InstructionKind::Arg(args)) => {
                let (span, comments) = (instruction.span, &instruction.comments);
                file.global_args.extend(args.into_iter().map(|declaration| GlobalArg {
                    declaration,
                    span,
                    comments: comments.clone(),
                }));
            }
            (None, kind) => {
                return Err(Problem::BeforeFrom { instruction: kind.keyword() }.at(line.span));
            }
        }
    }
    if file.stages.is_empty() {
        let end = file.source.text().len();
        return Err(Problem::NoStages.at(Span::new(end, end)));
    }
    Ok(())
}

/// Decodes UTF-8; comments may hold anything.
fn decode(name: &str, bytes: &[u8]) -> Result<Source, ParseDockerfileError> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Source::new(name, text));
    }
    let mut text = String::with_capacity(bytes.len());
    let mut bad = None;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let start = text.len();
        let decoded = String::from_utf8_lossy(line);
        let is_comment = decoded.trim_start().starts_with('#');
        if matches!(decoded, std::borrow::Cow::Owned(_)) && !is_comment && bad.is_none() {
            bad = decoded.find(char::REPLACEMENT_CHARACTER).map(|at| start + at);
        }
        text.push_str(&decoded);
    }
    let source = Source::new(name, text);
    match bad {
        Some(at) => Err(Problem::NotUtf8.at(Span::new(at, at + 1)).in_source(&source)),
        None => Ok(source),
    }
}

#[cfg(test)]
mod tests;

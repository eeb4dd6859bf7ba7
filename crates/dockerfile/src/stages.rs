//! A whole file: directives, global ARGs, stages.

use crate::directive::Directives;
use crate::error::{Located, ParseDockerfileError, Problem};
use crate::heredoc::Heredoc;
use crate::instruction::{ArgDeclaration, Instruction, InstructionKind, Word};
use crate::lines::{LineReader, Logical};
use crate::parse::{Parsed, accepts_heredocs, parse_line, refused_heredoc};
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
    /// Instructions with an empty line inside, without their heredocs.
    pub empty_continuations: Vec<Span>,
    /// The instruction that cannot be read.
    pub unread: Option<Unread>,
    /// Lines, but for comments, with bytes that are not UTF-8.
    pub replaced: Vec<Replaced>,
}

/// Bytes of a line that are not UTF-8: U+FFFD stands in the place of each. Compat: BuildKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Where the first one stood.
    pub span: Span,
    /// The first one.
    pub byte: u8,
    /// How many they are.
    pub count: usize,
}

/// An instruction that cannot be read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Its text, joined.
    pub text: String,
    /// Where it stands.
    pub span: Span,
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
    let (file, mistake) = parse_until_mistake(name, bytes);
    mistake.map_or(Ok(file), Err)
}

/// Parses a Dockerfile up to its first mistake, and returns what stands before that, which may have no stage, and the mistake.
pub fn parse_until_mistake(name: &str, bytes: &[u8]) -> (Dockerfile, Option<ParseDockerfileError>) {
    let (source, replaced) = decode(name, bytes);
    let mut reader = LineReader::new(source.text());
    let mut file = Dockerfile {
        source: source.clone(),
        directives: Directives::default(),
        global_args: Vec::new(),
        stages: Vec::new(),
        empty_continuations: Vec::new(),
        unread: None,
        replaced: Vec::new(),
    };
    let parsed = parse_lines(&mut reader, &mut file);
    file.directives = reader.directives.clone().with_those_elsewhere(source.text());
    file.replaced = outside_comments(replaced, &source, &reader.bodies);
    let Err(Mistake { error, line }) = parsed else { return (file, None) };
    let later = if error.is_of_lines { None } else { mistake_of_lines(&mut reader, &mut file) };
    let Mistake { error, line } = later.unwrap_or(Mistake { error, line });
    let instruction = match &line {
        Some(line) => line.span,
        None if error.problem == Problem::NoStages => {
            let text = source.text();
            let end = text.strip_suffix('\n').unwrap_or(text).len();
            Span::new(end, end)
        }
        None => error.span,
    };
    file.unread = line.map(|line| Unread { text: line.text.trim().to_owned(), span: line.span });
    let error = error.in_source(&source, instruction);
    (file, Some(error))
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
    let parsed = one(text).map_err(|error| error.problem.at(span).in_source(source, span))?;
    Ok(Instruction { span, ..parsed })
}

/// What is wrong, and the instruction that it is in.
struct Mistake {
    error: Located,
    line: Option<Logical>,
}

impl From<Located> for Mistake {
    fn from(error: Located) -> Self {
        Self { error, line: None }
    }
}

/// Reads the next instruction's line with its heredocs.
fn next_instruction(
    reader: &mut LineReader<'_>,
    file: &mut Dockerfile,
) -> Result<Option<(Logical, Vec<Heredoc>)>, Mistake> {
    let Some(mut line) = reader.next_line()? else { return Ok(None) };
    if line.has_empty_continuation {
        file.empty_continuations.push(line.span);
    }
    if !accepts_heredocs(&line, reader.directives.escape) {
        return Ok(Some((line, Vec::new())));
    }
    match reader.read_heredocs(&mut line) {
        Ok(heredocs) => Ok(Some((line, heredocs))),
        Err(error) => Err(Mistake { error, line: Some(line) }),
    }
}

fn parse_lines(reader: &mut LineReader<'_>, file: &mut Dockerfile) -> Result<(), Mistake> {
    let mut above = None;
    while let Some((line, heredocs)) = next_instruction(reader, file)? {
        let mut parsed = parse_line(&line, &heredocs, reader.directives.escape);
        if let Err(Located { problem: Problem::UnknownInstruction { heredoc_of, .. }, .. }) = &mut parsed {
            heredoc_of.clone_from(&above);
        }
        above = refused_heredoc(&line, reader.directives.escape);
        if let Err(error) = parsed.and_then(|parsed| add(file, parsed, &line)) {
            return Err(Mistake { error, line: Some(line) });
        }
    }
    if file.stages.is_empty() {
        let end = file.source.text().len();
        return Err(Problem::NoStages.at(Span::new(end, end)).into());
    }
    Ok(())
}

/// Each stage that is needed has a thread, and what builds on others is followed down.
const MAX_STAGES: usize = 1000;

/// Adds what was read to its stage.
fn add(file: &mut Dockerfile, parsed: Parsed, line: &Logical) -> Result<(), Located> {
    let instruction = match parsed {
        Parsed::From { image, platform, name, span, text } => {
            if file.stages.len() == MAX_STAGES {
                return Err(Problem::TooManyStages { limit: MAX_STAGES }.at(span));
            }
            let (comments, instructions) = (line.comments.clone(), Vec::new());
            file.stages.push(Stage { name, image, platform, text, span, instructions, comments });
            return Ok(());
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
        (None, kind) => return Err(Problem::BeforeFrom { instruction: kind.keyword() }.at(line.span)),
    }
    Ok(())
}

/// Reads what stands behind a mistake, for one that is worse. Compat: BuildKit.
fn mistake_of_lines(reader: &mut LineReader<'_>, file: &mut Dockerfile) -> Option<Mistake> {
    loop {
        let (line, heredocs) = match next_instruction(reader, file) {
            Ok(read) => read?,
            Err(mistake) => return Some(mistake),
        };
        if let Err(error) = parse_line(&line, &heredocs, reader.directives.escape)
            && error.is_of_lines
        {
            return Some(Mistake { error, line: Some(line) });
        }
    }
}

/// Decodes UTF-8. Compat: BuildKit, what is none becomes U+FFFD byte by byte.
fn decode(name: &str, bytes: &[u8]) -> (Source, Vec<Replaced>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Source::new(name, text), Vec::new());
    }
    let (mut text, mut all) = (String::with_capacity(bytes.len()), Vec::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let mut replaced: Option<Replaced> = None;
        for chunk in line.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                let start = text.len();
                text.push(char::REPLACEMENT_CHARACTER);
                let span = Span::new(start, text.len());
                replaced.get_or_insert(Replaced { span, byte: *byte, count: 0 }).count += 1;
            }
        }
        all.extend(replaced);
    }
    (Source::new(name, text), all)
}

/// Leaves out what stands in comments; a line in a heredoc is none, whatever it begins with.
fn outside_comments(mut replaced: Vec<Replaced>, source: &Source, bodies: &[Span]) -> Vec<Replaced> {
    replaced.retain(|Replaced { span, .. }| {
        let before = &source.text()[..span.start];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        let next = bodies.partition_point(|body| body.end <= span.start);
        let is_in_body = bodies.get(next).is_some_and(|body| body.start <= span.start);
        is_in_body || !before[line..].trim_start().starts_with('#')
    });
    replaced
}

#[cfg(test)]
mod tests;

//! From a template's text to its parts.

use serde_json::Value;

use super::TemplateError;

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Show(Pipe),
    If { condition: Pipe, then: Vec<Self>, otherwise: Vec<Self> },
    Range { over: Pipe, each: Vec<Self>, otherwise: Vec<Self> },
}

/// Calls, each of which gets what the one before gave as its last argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipe {
    pub(super) calls: Vec<Call>,
}

/// A value, or a function with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) function: Option<String>,
    pub(super) arguments: Vec<Argument>,
}

/// What a function is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    /// `.A.B`
    Field(Vec<String>),
    /// `$.A.B`
    RootField(Vec<String>),
    Literal(Value),
    /// `(…)`
    Nested(Pipe),
}

impl Node {
    /// Returns the first field that it shows.
    pub(super) fn field(&self) -> Option<String> {
        let Self::Show(pipe) = self else { return None };
        let arguments = pipe.calls.iter().flat_map(|call| &call.arguments);
        arguments.into_iter().find_map(|argument| match argument {
            Argument::Field(path) | Argument::RootField(path) => Some(path.join(".")),
            Argument::Literal(_) | Argument::Nested(_) => None,
        })
    }
}

/// Blocks and parentheses in each other: more are no template that somebody wrote.
const LEVELS: usize = 100;

fn too_deep() -> TemplateError {
    mistake(format!("more than {LEVELS} blocks or parentheses are in each other"))
}

fn mistake(text: impl Into<String>) -> TemplateError {
    TemplateError::Parse(text.into())
}

/// A block that is open: what it does, and where its parts so far are kept.
struct Open {
    is_range: bool,
    /// It is the `else` of the block around it, with which it ends.
    is_chained: bool,
    pipe: Pipe,
    first: Vec<Node>,
    in_else: bool,
    second: Vec<Node>,
}

pub(super) fn parse(source: &str) -> Result<Vec<Node>, TemplateError> {
    // Compat: docker, shells hand `\t` and `\n` on as they are typed.
    let source = source.replace("\\t", "\t").replace("\\n", "\n");
    let mut open: Vec<Open> = Vec::new();
    let mut top = Vec::new();
    let mut rest = source.as_str();
    while !rest.is_empty() {
        let (mut words, action) =
            rest.split_once("{{").map_or((rest, None), |(text, tail)| (text, Some(tail)));
        let Some(tail) = action else {
            push(&mut top, &mut open, Node::Text(words.to_owned()));
            break;
        };
        let (inside, after) = tail.split_once("}}").ok_or_else(|| mistake("`{{` without `}}`"))?;
        rest = after;
        let inside =
            match inside.strip_prefix("- ").or_else(|| inside.strip_prefix('-').filter(|_| inside == "-")) {
                Some(inside) => {
                    words = words.trim_end();
                    inside
                }
                None => inside,
            };
        let inside = match inside.strip_suffix(" -") {
            Some(inside) => {
                rest = rest.trim_start();
                inside
            }
            None => inside,
        };
        if !words.is_empty() {
            push(&mut top, &mut open, Node::Text(words.to_owned()));
        }
        take(inside.trim(), &mut top, &mut open)?;
    }
    if open.is_empty() { Ok(top) } else { Err(mistake("`end` is missing")) }
}

fn push(top: &mut Vec<Node>, open: &mut [Open], node: Node) {
    match open.last_mut() {
        None => top.push(node),
        Some(block) if block.in_else => block.second.push(node),
        Some(block) => block.first.push(node),
    }
}

fn take(action: &str, top: &mut Vec<Node>, open: &mut Vec<Open>) -> Result<(), TemplateError> {
    let (word, tail) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
    match word {
        "" => return Err(mistake("`{{}}` is empty")),
        "if" | "range" => begin(word == "range", false, tail, open)?,
        "else" => {
            open.last_mut().ok_or_else(|| mistake("`else` stands alone"))?.in_else = true;
            match tail.trim_start().split_once(char::is_whitespace) {
                Some(("if", tail)) => begin(false, true, tail, open)?,
                _ if tail.is_empty() => {}
                _ => return Err(mistake(format!("`else {tail}` is not known"))),
            }
        }
        "end" => loop {
            let Open { is_range, is_chained, pipe, first, second, .. } =
                open.pop().ok_or_else(|| mistake("`end` stands alone"))?;
            let node = if is_range {
                Node::Range { over: pipe, each: first, otherwise: second }
            } else {
                Node::If { condition: pipe, then: first, otherwise: second }
            };
            push(top, open, node);
            if !is_chained {
                break;
            }
        },
        _ if action.starts_with("/*") => {}
        _ => push(top, open, Node::Show(pipe(action)?)),
    }
    Ok(())
}

/// Opens a block.
fn begin(is_range: bool, is_chained: bool, words: &str, open: &mut Vec<Open>) -> Result<(), TemplateError> {
    if open.len() == LEVELS {
        return Err(too_deep());
    }
    let (pipe, first, second) = (pipe(words)?, Vec::new(), Vec::new());
    open.push(Open { is_range, is_chained, pipe, first, in_else: false, second });
    Ok(())
}

fn pipe(text: &str) -> Result<Pipe, TemplateError> {
    let mut words = words(text)?.into_iter().peekable();
    let pipe = calls(&mut words, 0)?;
    match words.next() {
        None => Ok(pipe),
        Some(word) => Err(mistake(format!("`{word}` stands alone"))),
    }
}

type Words = std::iter::Peekable<std::vec::IntoIter<String>>;

fn calls(words: &mut Words, level: usize) -> Result<Pipe, TemplateError> {
    if level == LEVELS {
        return Err(too_deep());
    }
    let mut calls = vec![Call { function: None, arguments: Vec::new() }];
    while let Some(word) = words.next_if(|word| word != ")") {
        let call = calls.last_mut().expect("there is always one");
        match word.as_str() {
            "|" => calls.push(Call { function: None, arguments: Vec::new() }),
            "(" => {
                call.arguments.push(Argument::Nested(self::calls(words, level + 1)?));
                words.next_if(|word| word == ")").ok_or_else(|| mistake("`(` without `)`"))?;
            }
            _ => match argument(&word) {
                Some(argument) => call.arguments.push(argument),
                None if call.function.is_none() && call.arguments.is_empty() => call.function = Some(word),
                None => return Err(mistake(format!("`{word}` is neither a field nor a value"))),
            },
        }
    }
    if calls.iter().any(|call| call.function.is_none() && call.arguments.is_empty()) {
        return Err(mistake("a value is missing"));
    }
    Ok(Pipe { calls })
}

fn argument(word: &str) -> Option<Argument> {
    let path = |text: &str| text.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if let Some(text) = word.strip_prefix('"').or_else(|| word.strip_prefix('`')) {
        return Some(Argument::Literal(Value::from(&text[..text.len() - 1])));
    }
    if let Some(field) = word.strip_prefix('.') {
        return Some(Argument::Field(path(field)));
    }
    if let Some(field) = word.strip_prefix('$') {
        return Some(Argument::RootField(path(field)));
    }
    match word {
        "true" => Some(Argument::Literal(Value::Bool(true))),
        "false" => Some(Argument::Literal(Value::Bool(false))),
        _ => word.parse::<i64>().ok().map(|number| Argument::Literal(Value::from(number))),
    }
}

/// Texts in quotes keep their quotes.
fn words(text: &str) -> Result<Vec<String>, TemplateError> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        let mut word = String::from(first);
        match first {
            '"' | '`' => loop {
                let char = chars.next().ok_or_else(|| mistake("a text is not closed"))?;
                word.push(char);
                if char == first {
                    break;
                }
            },
            '(' | ')' | '|' => {}
            _ if first.is_whitespace() => continue,
            _ => {
                let ends = |char: &char| char.is_whitespace() || matches!(char, '(' | ')' | '|' | '"');
                while let Some(char) = chars.next_if(|char| !ends(char)) {
                    word.push(char);
                }
            }
        }
        words.push(word);
    }
    Ok(words)
}

//! From words to pipes: commands, values and variables.

use super::functions;
use super::lex::{Token, Word};
use super::parse::{Parser, no_function};
use super::tree::{Command, Mistake, Operand, Pipe, Term};

/// Reads a pipe and what ends it.
pub(super) fn read(parser: &mut Parser, context: &str, end: &Word) -> Result<Pipe, Mistake> {
    let at = parser.peek().map_or(0, |token| token.at);
    let (variables, assigns, mut first) = declared(parser, context)?;
    let mut commands = Vec::new();
    loop {
        let command = command(parser, first.take())?;
        let next = parser.next()?;
        match command {
            Some(command) => commands.push(command),
            None => return Err(Mistake::at(next.at, format!("{context} misses a value"))),
        }
        match next.word {
            Word::Sign("|") => {}
            word if word == *end => break,
            Word::Close => return Err(Mistake::at(at, "`(` without `)`")),
            word => return Err(Mistake::at(next.at, format!("`{word}` stands alone"))),
        }
    }
    for command in &commands[1..] {
        let first = &command.operands[0];
        if !first.is_executable() {
            return Err(Mistake::at(first.at, "only a function can stand behind `|`"));
        }
    }
    if !assigns {
        parser.variables.extend(variables.iter().cloned());
    }
    Ok(Pipe { variables, assigns, commands })
}

/// Variables, whether they are there already, and a variable that is a value instead.
type Declared = (Vec<String>, bool, Option<Token>);

/// Reads `$name :=`, `$name =` and `$key, $value :=`.
fn declared(parser: &mut Parser, context: &str) -> Result<Declared, Mistake> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let is_variable = |token: &Token| matches!(token.word, Word::Variable(_));
        if !parser.peek().is_some_and(is_variable) {
            return match parser.peek() {
                Some(next) if !names.is_empty() => {
                    Err(Mistake::at(next.at, "`range` gives values to variables only"))
                }
                _ => Ok((names, false, None)),
            };
        }
        let token = parser.next()?;
        let (name, at) = (token.word.to_string(), token.at);
        if parser.next_if(&Word::Sign(":=")).is_some() {
            names.push(name);
            return Ok((names, false, None));
        }
        if parser.next_if(&Word::Sign("=")).is_some() {
            names.push(name);
            for name in &names {
                check(parser, name, at)?;
            }
            return Ok((names, true, None));
        }
        match parser.next_if(&Word::Sign(",")) {
            Some(_) if context == "range" && names.is_empty() => names.push(name),
            Some(comma) => return Err(Mistake::at(comma.at, format!("too many variables for {context}"))),
            None if names.is_empty() => return Ok((names, false, Some(token))),
            None => return Err(Mistake::at(at, "`:=` is missing")),
        }
    }
}

fn check(parser: &Parser, name: &str, at: usize) -> Result<(), Mistake> {
    if parser.variables.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(Mistake::at(at, format!("there is no variable `{name}`")))
}

/// Reads the values up to `|`, `)` or `}}`; `None` if there are none.
fn command(parser: &mut Parser, mut first: Option<Token>) -> Result<Option<Command>, Mistake> {
    let mut operands: Vec<Operand> = Vec::new();
    loop {
        let token = match first.take() {
            Some(token) => token,
            None => match parser.peek() {
                Some(next) if !matches!(next.word, Word::Close | Word::Sign("|" | ")")) => parser.next()?,
                _ => break,
            },
        };
        if !operands.is_empty() && !token.is_apart {
            return Err(Mistake::at(token.at, format!("a space is missing before `{}`", token.word)));
        }
        operands.push(operand(parser, token)?);
    }
    Ok(if operands.is_empty() { None } else { Some(Command { operands }) })
}

fn operand(parser: &mut Parser, token: Token) -> Result<Operand, Mistake> {
    let at = token.at;
    let mut fields = Vec::new();
    let term = match token.word {
        Word::Field(name) => {
            fields.push(name);
            Term::Dot
        }
        Word::Dot => Term::Dot,
        Word::Text(text) => Term::Text(text),
        Word::Whole(number) => Term::Whole(number),
        Word::Real(number) => Term::Real(number),
        Word::Variable(name) => {
            check(parser, &name, at)?;
            Term::Variable(name)
        }
        Word::Name(name) => match name.as_str() {
            "true" | "false" => Term::Truth(name == "true"),
            "nil" => Term::Nil,
            known if functions::NAMES.contains(&known) => Term::Function(name),
            other => return Err(no_function(other, at)),
        },
        Word::Sign("(") => {
            parser.deeper(at)?;
            let pipe = read(parser, "a pair of parentheses", &Word::Sign(")"))?;
            parser.level -= 1;
            Term::Pipe(pipe)
        }
        word => return Err(Mistake::at(at, format!("`{word}` is neither a field nor a value"))),
    };
    // `.` and a field are one word, or there is a `.` too many.
    let has_fields = match term {
        Term::Variable(_) | Term::Function(_) | Term::Pipe(_) => true,
        Term::Dot => !fields.is_empty(),
        Term::Nil | Term::Truth(_) | Term::Whole(_) | Term::Real(_) | Term::Text(_) => false,
    };
    while let Some(next) = parser.peek() {
        let Word::Field(name) = &next.word else { break };
        if next.is_apart {
            break;
        }
        if !has_fields {
            return Err(Mistake::at(
                next.at,
                format!("`.{name}` cannot stand behind a value that has no fields"),
            ));
        }
        fields.push(name.clone());
        parser.next()?;
    }
    Ok(Operand { at, term, fields })
}

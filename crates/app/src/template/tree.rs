//! What a template is made of.

use std::collections::HashMap;

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mistake {
    pub(super) at: usize,
    pub(super) what: String,
    /// What to do, if there is more to say than how templates look.
    pub(super) hint: Option<String>,
}

impl Mistake {
    pub(super) fn at(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into(), hint: None }
    }
}

/// The nodes of a template, and the templates that it defines.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) defined: HashMap<String, Vec<Node>>,
}

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipe}}`
    Show(Pipe),
    /// `if`, `with` or `range`
    Block {
        kind: Kind,
        pipe: Pipe,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
    Break,
    Continue,
    /// `template` and `block`
    Call {
        at: usize,
        name: String,
        pipe: Option<Pipe>,
    },
}

/// What a block does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    If,
    With,
    Range,
}

/// Commands, each of which gets what the one before gave as its last argument; and the variables that get the outcome.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    /// The variables are there already: `=`, not `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A value, or a function with its arguments; never empty.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

/// A value, and the fields of it that are wanted.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) term: Term,
    pub(super) fields: Vec<String>,
}

/// A value as it is written.
#[derive(Clone, Debug)]
pub(super) enum Term {
    Dot,
    Nil,
    Truth(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    Variable(String),
    Function(String),
    /// `(…)`
    Pipe(Pipe),
}

impl Operand {
    /// Whether it can be given arguments.
    pub(super) fn is_executable(&self) -> bool {
        let is_value = matches!(
            self.term,
            Term::Dot | Term::Nil | Term::Truth(_) | Term::Whole(_) | Term::Real(_) | Term::Text(_)
        );
        !is_value || !self.fields.is_empty()
    }
}

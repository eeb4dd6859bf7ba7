//! Go's templates, as people use them in `--format`.
//!
//! All of text/template but methods: fields, variables, pipes, `if`, `with`, `range`, `define`, comparisons, `printf`; and the functions
//! that Docker adds. Nothing of a template ends the program: what is wrong is an error with its place, and what calls itself for ever is
//! stopped. Compat: docker's `--format`, Go's text/template.

mod budget;
mod compare;
mod escape;
mod functions;
mod lex;
mod number;
mod parse;
mod pipe;
mod print;
mod printf;
mod quote;
mod run;
mod shape;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod value;
mod verb;

use serde_json::{Map, Value as Json};

use run::{Fault, Run, What};
use tree::{Mistake, Tree};
use value::{Fields, Value};

pub(crate) use shape::Shape;

/// Exit code for a template that cannot be understood, of verbs that show one thing. Compat: docker.
pub(crate) const MISWRITTEN: u8 = 64;

/// A template that was understood.
#[derive(Debug)]
pub(crate) struct Template {
    source: String,
    tree: Tree,
}

/// Why a template cannot be used. Places are lines and columns.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum TemplateError {
    #[error("the template has a mistake at {place}: {what}")]
    #[diagnostic(code(format::template), help("{hint}"))]
    Parse { place: String, what: String, hint: String },
    #[error("the template asks for `{field}` at {place}, which is not there")]
    #[diagnostic(code(format::field), help("{hint}"))]
    Field { field: String, place: String, hint: String },
    #[error("the template cannot be filled in at {place}: {what}")]
    #[diagnostic(code(format::value), help("`{{{{json .}}}}` shows what there is"))]
    Value { place: String, what: String },
}

impl Template {
    /// Understands a template.
    pub(crate) fn new(source: &str) -> Result<Self, TemplateError> {
        match parse::parse(source) {
            Ok(tree) => Ok(Self { source: source.to_owned(), tree }),
            Err(Mistake { at, what, hint }) => Err(TemplateError::Parse {
                place: place(source, at),
                what,
                hint: hint.unwrap_or_else(|| "write it like '{{.ID}} {{json .}}'".to_owned()),
            }),
        }
    }

    /// Returns the text for a document.
    pub(crate) fn fill(&self, document: &Json) -> Result<String, TemplateError> {
        self.fill_shaped(document, &Shape::Any)
    }

    /// Returns the text for a document of which is known what it can have.
    pub(crate) fn fill_shaped(
        &self,
        document: &Json,
        shape: &'static Shape,
    ) -> Result<String, TemplateError> {
        let mut run = Run::new(&self.tree, false);
        match run.fill(&Value::of(document, shape)) {
            Ok(()) => Ok(run.out),
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// Returns the line above a table: the template with the columns' heads in it. What does not fit heads ends it.
    pub(crate) fn heads(&self, heads: &Map<String, Json>) -> String {
        let mut run = Run::new(&self.tree, true);
        let heads = Value::Fields(Fields { json: heads, shape: &Shape::Map(&Shape::Text) });
        if run.fill(&heads).is_err() {
            tracing::debug!("the heads of a table do not fit its template");
        }
        run.out
    }

    fn error(&self, fault: Fault) -> TemplateError {
        let place = place(&self.source, fault.at);
        match fault.what {
            What::Field(field, hint) => TemplateError::Field { field, place, hint },
            What::Wrong(what) => TemplateError::Value { place, what },
        }
    }
}

/// Returns line and column, from 1.
fn place(source: &str, at: usize) -> String {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
    format!("{line}:{column}")
}

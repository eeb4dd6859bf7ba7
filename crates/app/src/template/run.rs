//! From a tree and a document to text.

use super::budget::{Budget, Writer, steps_of};
use super::shape::Shape;
use super::tree::{Command, Kind, Node, Operand, Pipe, Term, Tree};
use super::value::{Fields, Value};
use super::{functions, print};

/// Templates and blocks in each other while a template is filled in: one that calls itself ends here, long before the stack does.
const DEPTH: usize = 400;

/// Why a template cannot be filled in, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// There is no such field; what to do.
    Field(String, String),
    Wrong(String),
}

fn wrong(at: usize, what: impl Into<String>) -> Fault {
    Fault { at, what: What::Wrong(what.into()) }
}

/// Returns where a pipe begins.
fn place(pipe: &Pipe) -> usize {
    pipe.commands[0].operands[0].at
}

/// How a template goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// A template that is being filled in.
pub(super) struct Run<'t, 'a> {
    tree: &'t Tree,
    pub(super) out: String,
    variables: Vec<(&'t str, Value<'a>)>,
    /// Where the variables of this template begin.
    scope: usize,
    depth: usize,
    budget: Budget,
    /// Functions give what they are given: heads are not cut, nor do they become JSON.
    for_heads: bool,
}

impl<'t, 'a> Run<'t, 'a> {
    pub(super) fn new(tree: &'t Tree, for_heads: bool) -> Self {
        let (out, budget) = (String::new(), Budget::new());
        Self { tree, out, variables: Vec::new(), scope: 0, depth: 0, budget, for_heads }
    }

    /// Fills the template in.
    pub(super) fn fill(&mut self, root: &Value<'a>) -> Result<(), Fault> {
        self.variables.push(("$", root.clone()));
        let tree = self.tree;
        self.nodes(&tree.nodes, root, 0).map(|_flow| ())
    }

    /// Fills in nodes, which stand at or behind a place.
    fn nodes(&mut self, nodes: &'t [Node], dot: &Value<'a>, at: usize) -> Result<Flow, Fault> {
        self.budget.step(1 + nodes.len()).map_err(|what| wrong(at, what))?;
        self.depth += 1;
        let flow = self.each(nodes, dot, at);
        self.depth -= 1;
        flow
    }

    /// Adds to what the template gives.
    fn write(
        &mut self,
        at: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let mut writer = Writer::new(std::mem::take(&mut self.out), "the template", &self.budget);
        let written = write(&mut writer).map_err(|what| wrong(at, what));
        self.out = writer.into_text();
        written
    }

    fn each(&mut self, nodes: &'t [Node], dot: &Value<'a>, at: usize) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.write(at, |out| out.push(text))?;
                    Flow::On
                }
                Node::Show(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.write(place(pipe), |out| print::shown(&value, out))?;
                    }
                    Flow::On
                }
                Node::Block { kind, pipe, body, otherwise } => {
                    let scope = self.variables.len();
                    let flow = match kind {
                        Kind::Range => self.range(pipe, (body, otherwise), dot)?,
                        Kind::If | Kind::With => {
                            let value = self.pipe(pipe, dot)?;
                            let (nodes, inside) = match (value.is_true(), kind) {
                                (true, Kind::With) => (body, &value),
                                (true, _) => (body, dot),
                                (false, _) => (otherwise, dot),
                            };
                            self.nodes(nodes, inside, place(pipe))?
                        }
                    };
                    self.variables.truncate(scope);
                    flow
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
                Node::Call { at, name, pipe } => {
                    self.call(*at, name, pipe.as_ref(), dot)?;
                    Flow::On
                }
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn call(&mut self, at: usize, name: &str, pipe: Option<&'t Pipe>, dot: &Value<'a>) -> Result<(), Fault> {
        let tree = self.tree;
        let nodes =
            tree.defined.get(name).ok_or_else(|| wrong(at, format!("there is no template `{name}`")))?;
        if self.depth > DEPTH {
            return Err(wrong(at, format!("templates and blocks are in each other more than {DEPTH} times")));
        }
        let dot = pipe.map_or(Ok(Value::Missing), |pipe| self.pipe(pipe, dot))?;
        let (start, scope) = (self.variables.len(), self.scope);
        self.scope = start;
        self.variables.push(("$", dot.clone()));
        self.nodes(nodes, &dot, at)?;
        self.variables.truncate(start);
        self.scope = scope;
        Ok(())
    }

    fn range(
        &mut self,
        pipe: &'t Pipe,
        (body, otherwise): (&'t [Node], &'t [Node]),
        dot: &Value<'a>,
    ) -> Result<Flow, Fault> {
        let over = self.pipe(pipe, dot)?;
        let at = place(pipe);
        let pairs: Box<dyn Iterator<Item = (Value<'a>, Value<'a>)>> = match over {
            Value::Missing | Value::Null => Box::new(std::iter::empty()),
            Value::List(values) => {
                let places = (0..values.len()).map(move |place| (place, values[place].clone()));
                Box::new(places.map(|(place, value)| (Value::Whole(place as i128), value)))
            }
            Value::Fields(fields) => {
                let sorted = fields.sorted().into_iter();
                Box::new(sorted.map(|(name, value)| (Value::Text(name.into()), value)))
            }
            Value::Whole(_) if pipe.variables.len() > 1 => {
                return Err(wrong(at, "`range` over a number has one variable"));
            }
            Value::Whole(end) => Box::new((0..end).map(|number| (Value::Missing, Value::Whole(number)))),
            other => return Err(wrong(at, format!("`range` wants a list or a map, not {}", other.kind()))),
        };
        let scope = self.variables.len();
        let mut is_empty = true;
        for (key, value) in pairs {
            is_empty = false;
            match pipe.variables.as_slice() {
                [one] => self.set(one, scope, value.clone()),
                [first, second] => {
                    self.set(first, scope, key);
                    self.set(second, scope, value.clone());
                }
                _ => {}
            }
            let flow = self.nodes(body, &value, at)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        if is_empty { self.nodes(otherwise, dot, at) } else { Ok(Flow::On) }
    }

    /// Gives a variable a value; it is there, or the parser would have said so.
    fn set(&mut self, name: &str, end: usize, value: Value<'a>) {
        let known = self.variables[self.scope..end].iter_mut().rev().find(|(known, _)| *known == name);
        if let Some((_, old)) = known {
            *old = value;
        }
    }

    fn pipe(&mut self, pipe: &'t Pipe, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let mut before = None;
        for command in &pipe.commands {
            before = Some(self.command(command, dot, before)?);
        }
        let value = before.unwrap_or(Value::Missing);
        for name in &pipe.variables {
            if pipe.assigns {
                self.set(name, self.variables.len(), value.clone());
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &'t Command,
        dot: &Value<'a>,
        before: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let (first, rest) = command.operands.split_first().expect("the parser makes no empty command");
        let Term::Function(name) = &first.term else {
            if matches!(first.term, Term::Nil) {
                return Err(wrong(first.at, "`nil` is no command"));
            }
            let value = self.operand(first, dot)?;
            return match (value, rest, &before) {
                (value, [], None) => match value {
                    Value::Lookup(_) => Err(wrong(first.at, "a key is missing behind it")),
                    value => Ok(value),
                },
                (Value::Lookup(map), _, _) => {
                    let mut keys = self.operands(rest, dot)?;
                    keys.extend(before);
                    match keys.as_slice() {
                        [Value::Text(key)] => {
                            let found = map.get(&**key);
                            Ok(found.map_or(Value::Text("".into()), |json| Value::of(json, &Shape::Any)))
                        }
                        _ => Err(wrong(first.at, "one text is wanted behind it")),
                    }
                }
                _ => Err(wrong(first.at, "a value that is no function has arguments")),
            };
        };
        let value = self.function(name, first.at, (rest, dot), before)?;
        self.fields(value, first)
    }

    fn function(
        &mut self,
        name: &str,
        at: usize,
        (operands, dot): (&'t [Operand], &Value<'a>),
        before: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        if matches!(name, "and" | "or") {
            self.budget.step(1 + operands.len()).map_err(|what| wrong(at, what))?;
            let mut last = None;
            for operand in operands {
                let value = self.operand(operand, dot)?;
                if value.is_true() == (name == "or") {
                    return Ok(value);
                }
                last = Some(value);
            }
            return before.or(last).ok_or_else(|| wrong(at, format!("`{name}` wants a value")));
        }
        let mut arguments = self.operands(operands, dot)?;
        arguments.extend(before);
        if self.for_heads && functions::LEAVE_HEADS.contains(&name) {
            return Ok(arguments.into_iter().next().unwrap_or(Value::Missing));
        }
        self.budget.step(steps_of(name, &arguments)).map_err(|what| wrong(at, what))?;
        functions::apply(name, &arguments, &self.budget).map_err(|what| wrong(at, what))
    }

    fn operands(&mut self, operands: &'t [Operand], dot: &Value<'a>) -> Result<Vec<Value<'a>>, Fault> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn operand(&mut self, operand: &'t Operand, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Null,
            Term::Truth(truth) => Value::Truth(*truth),
            Term::Whole(number) => Value::Whole(*number),
            Term::Real(number) => Value::Real(*number),
            Term::Text(text) => Value::text(text.as_str()),
            Term::Variable(name) => {
                let known = self.variables[self.scope..].iter().rev().find(|(known, _)| known == name);
                let missing = || wrong(operand.at, format!("there is no variable `{name}`"));
                known.map(|(_, value)| value.clone()).ok_or_else(missing)?
            }
            Term::Function(name) => self.function(name, operand.at, (&[], dot), None)?,
            Term::Pipe(pipe) => self.pipe(pipe, dot)?,
        };
        self.fields(value, operand)
    }

    /// Returns a field of a field of a value.
    fn fields(&self, value: Value<'a>, operand: &Operand) -> Result<Value<'a>, Fault> {
        let mut value = value;
        for (place, name) in operand.fields.iter().enumerate() {
            let path = || format!(".{}", operand.fields[..=place].join("."));
            value = match &value {
                Value::Fields(fields) => {
                    let found = fields.get(name);
                    found.ok_or_else(|| Fault {
                        at: operand.at,
                        what: What::Field(path(), near(fields, name)),
                    })?
                }
                // Compat: Go, what is not there has nothing.
                Value::Missing => Value::Missing,
                other => {
                    let before = if place == 0 {
                        "the value".to_owned()
                    } else {
                        format!("`.{}`", operand.fields[..place].join("."))
                    };
                    let why = format!("{before} is {}; `{{{{json .}}}}` shows what there is", other.kind());
                    return Err(Fault { at: operand.at, what: What::Field(path(), why) });
                }
            };
        }
        Ok(value)
    }
}

/// Says what there is instead of a field.
fn near(fields: &Fields<'_>, name: &str) -> String {
    let known = match fields.shape {
        Shape::Fields(known) => *known,
        _ => &[],
    };
    let others = known.iter().map(|(name, _)| *name).filter(|name| !fields.json.contains_key(*name));
    let names: Vec<&str> = fields.json.keys().map(String::as_str).chain(others).collect();
    match shipway_dockerfile::suggest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `.{near}`?"),
        None if names.is_empty() => "there is nothing in it".to_owned(),
        None => format!("there are {}", names.join(", ")),
    }
}

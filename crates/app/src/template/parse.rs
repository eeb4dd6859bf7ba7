//! From words to a tree: actions and blocks.

use super::functions;
use super::lex::{Token, Word, words};
use super::tree::{Kind, Mistake, Node, Pipe, Tree};

/// Blocks and parentheses in each other: more are no template that somebody wrote.
pub(super) const LEVELS: usize = 100;

/// Words that are no functions.
const KEYWORDS: [&str; 10] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// Understands a template.
pub(super) fn parse(source: &str) -> Result<Tree, Mistake> {
    let words = words(source)?;
    let mut parser = Parser {
        words: words.into_iter().peekable(),
        end: source.len(),
        variables: vec!["$".to_owned()],
        ranges: 0,
        level: 0,
        tree: Tree::default(),
    };
    let (nodes, end) = parser.nodes()?;
    match end {
        Stop::Source => Ok(Tree { nodes, ..parser.tree }),
        Stop::Else(at) => Err(Mistake::at(at, "`else` stands alone")),
        Stop::End(at) => Err(Mistake::at(at, "`end` stands alone")),
    }
}

/// Where a list of nodes ends.
enum Stop {
    Source,
    /// Behind the word.
    Else(usize),
    /// Behind `}}`.
    End(usize),
}

pub(super) struct Parser {
    words: std::iter::Peekable<std::vec::IntoIter<Token>>,
    /// Where the source ends.
    end: usize,
    /// Those that are there.
    pub(super) variables: Vec<String>,
    /// How many `range` are around.
    ranges: usize,
    pub(super) level: usize,
    tree: Tree,
}

impl Parser {
    pub(super) fn peek(&mut self) -> Option<&Token> {
        self.words.peek()
    }

    pub(super) fn next(&mut self) -> Result<Token, Mistake> {
        let unclosed = || Mistake::at(self.end, "the template ends in the middle of an action");
        self.words.next().ok_or_else(unclosed)
    }

    pub(super) fn next_if(&mut self, word: &Word) -> Option<Token> {
        self.words.next_if(|next| next.word == *word)
    }

    pub(super) fn deeper(&mut self, at: usize) -> Result<(), Mistake> {
        self.level += 1;
        if self.level > LEVELS {
            return Err(Mistake::at(
                at,
                format!("more than {LEVELS} blocks or parentheses are in each other"),
            ));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Mistake> {
        let next = self.next()?;
        match next.word {
            Word::Close => Ok(()),
            word => Err(Mistake::at(next.at, format!("`{word}` is too much here"))),
        }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), Mistake> {
        let mut nodes = Vec::new();
        while let Some(token) = self.words.next() {
            if let Word::Plain(text) = token.word {
                nodes.push(Node::Text(text));
                continue;
            }
            let at = token.at;
            let word = match self.peek().map(|token| &token.word) {
                Some(Word::Name(name)) if KEYWORDS.contains(&name.as_str()) => name.clone(),
                Some(Word::Close) => return Err(Mistake::at(at, "`{{}}` is empty")),
                _ => {
                    nodes.push(Node::Show(self.pipe("an action")?));
                    continue;
                }
            };
            self.next()?;
            match word.as_str() {
                "end" => {
                    self.close()?;
                    return Ok((nodes, Stop::End(at)));
                }
                "else" => return Ok((nodes, Stop::Else(at))),
                "define" => self.define(at)?,
                _ => nodes.push(self.keyword(&word, at)?),
            }
        }
        Ok((nodes, Stop::Source))
    }

    fn keyword(&mut self, word: &str, at: usize) -> Result<Node, Mistake> {
        match word {
            "if" => self.block(Kind::If, at),
            "with" => self.block(Kind::With, at),
            "range" => self.block(Kind::Range, at),
            "break" | "continue" => {
                self.close()?;
                if self.ranges == 0 {
                    return Err(Mistake::at(at, format!("`{word}` is in no `range`")));
                }
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
            "template" => {
                let name = self.template_name("template")?;
                let pipe = match self.next_if(&Word::Close) {
                    Some(_) => None,
                    None => Some(self.pipe("template")?),
                };
                Ok(Node::Call { at, name, pipe })
            }
            "block" => {
                let name = self.template_name("block")?;
                let pipe = self.pipe("block")?;
                self.body_of(name.clone(), at)?;
                Ok(Node::Call { at, name, pipe: Some(pipe) })
            }
            _ => Err(Mistake::at(at, format!("`{word}` is no command"))),
        }
    }

    fn block(&mut self, kind: Kind, at: usize) -> Result<Node, Mistake> {
        self.deeper(at)?;
        let scope = self.variables.len();
        let context = match kind {
            Kind::If => "if",
            Kind::With => "with",
            Kind::Range => "range",
        };
        let pipe = self.pipe(context)?;
        self.ranges += usize::from(kind == Kind::Range);
        let (body, end) = self.nodes()?;
        self.ranges -= usize::from(kind == Kind::Range);
        let otherwise = match end {
            Stop::End(_) => Vec::new(),
            Stop::Source => return Err(unended(context, at)),
            Stop::Else(behind) => self.otherwise(kind, (context, at), behind)?,
        };
        self.variables.truncate(scope);
        self.level -= 1;
        Ok(Node::Block { kind, pipe, body, otherwise })
    }

    /// Reads what follows `else`. `else if` ends with the block around it.
    fn otherwise(&mut self, kind: Kind, of: (&str, usize), at: usize) -> Result<Vec<Node>, Mistake> {
        if self.next_if(&Word::Close).is_some() {
            return match self.nodes()? {
                (nodes, Stop::End(_)) => Ok(nodes),
                (_, Stop::Else(at)) => Err(Mistake::at(at, "`else` is there twice")),
                (_, Stop::Source) => Err(unended(of.0, of.1)),
            };
        }
        let next = self.next()?;
        let chained = match (kind, &next.word) {
            (Kind::If, Word::Name(word)) if word == "if" => Kind::If,
            (Kind::With, Word::Name(word)) if word == "with" => Kind::With,
            (_, word) => {
                return Err(Mistake::at(next.at, format!("`else {word}` is not known in a `{}`", of.0)));
            }
        };
        Ok(vec![self.block(chained, at)?])
    }

    fn define(&mut self, at: usize) -> Result<(), Mistake> {
        if self.level > 0 {
            return Err(Mistake::at(at, "`define` cannot stand in a block"));
        }
        let name = self.template_name("define")?;
        self.close()?;
        self.body_of(name, at)
    }

    /// Reads a template to its `end`. It sees no variables of others.
    fn body_of(&mut self, name: String, at: usize) -> Result<(), Mistake> {
        self.deeper(at)?;
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let body = match self.nodes()? {
            (nodes, Stop::End(_)) => nodes,
            (_, Stop::Else(at)) => return Err(Mistake::at(at, "`else` stands alone")),
            (_, Stop::Source) => return Err(unended("define", at)),
        };
        (self.variables, self.ranges) = (variables, ranges);
        self.level -= 1;
        // Compat: Go, only what is empty is replaced, and nothing by what is empty.
        match self.tree.defined.get(&name) {
            Some(before) if !is_empty(before) => {
                if !is_empty(&body) {
                    return Err(Mistake::at(at, format!("the template `{name}` is defined twice")));
                }
            }
            _ => {
                self.tree.defined.insert(name, body);
            }
        }
        Ok(())
    }

    fn template_name(&mut self, of: &str) -> Result<String, Mistake> {
        let next = self.next()?;
        match next.word {
            Word::Text(name) => Ok(name),
            word => Err(Mistake::at(next.at, format!("`{of}` wants a name in quotes, not `{word}`"))),
        }
    }

    /// Reads a pipe up to the end of the action.
    fn pipe(&mut self, context: &str) -> Result<Pipe, Mistake> {
        super::pipe::read(self, context, &Word::Close)
    }
}

/// Whether a template is nothing but space.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

fn unended(context: &str, at: usize) -> Mistake {
    Mistake::at(at, format!("`end` is missing: `{context}` has none"))
}

/// Says that there is no such function, and which one may be meant.
pub(super) fn no_function(name: &str, at: usize) -> Mistake {
    let hint = shipway_dockerfile::suggest(name, functions::NAMES.iter().copied().chain(KEYWORDS))
        .map(|near| format!("did you mean `{near}`?"));
    Mistake { hint, ..Mistake::at(at, format!("there is no function `{name}`")) }
}

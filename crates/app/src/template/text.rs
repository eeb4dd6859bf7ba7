//! Texts as values.

use std::ops::Deref;
use std::rc::Rc;

/// A text of the document, or one that a template made. Copies share it, however large it is.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    There(&'a str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::There(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::There(text)
    }
}

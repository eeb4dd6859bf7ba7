//! What a document has, whether it is there or not: a field that is unset is empty, not unknown. Compat: the types of Docker's API.

/// What kind of value stands somewhere.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    /// What the document says. A field that it does not have is unknown.
    Any,
    Text,
    Number,
    Truth,
    /// A list of such values.
    List(&'static Self),
    /// Names that anybody chose, each with such a value. One that is not there has no value.
    Map(&'static Self),
    /// Names that are known, and others that the document has. Unset, all of them are unset.
    Fields(&'static [(&'static str, &'static Self)]),
    /// A row of a list: `Label "key"` looks into what it has under that name, which is no field of it.
    Row,
    /// Fields, or nothing.
    Maybe(&'static Self),
}

impl Shape {
    /// Returns the shape of what is in a list, or in something else that says no more of it.
    pub(super) fn of_each(&'static self) -> &'static Self {
        match self.there() {
            Self::List(each) => each,
            other => other,
        }
    }

    /// Returns the shape of a field; `None` if it is not known.
    pub(super) fn of_field(&'static self, name: &str) -> Option<&'static Self> {
        match self.there() {
            Self::Map(each) => Some(each),
            Self::Fields(fields) => fields.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape),
            _ => None,
        }
    }

    /// Returns the shape of a value that is there.
    pub(super) fn there(&'static self) -> &'static Self {
        match self {
            Self::Maybe(shape) => shape,
            other => other,
        }
    }
}

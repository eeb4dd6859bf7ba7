//! Validation per kind.

use serde_json::Value;

use crate::Kind;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value is missing.
    Required,
    /// A value is not acceptable.
    Invalid,
    /// A value is not among the known ones.
    NotSupported,
    /// A value occurs twice.
    Duplicate,
    /// A value must not be set here.
    Forbidden,
    /// A value is too long.
    TooLong,
}

impl FieldErrorKind {
    /// Returns the machine-readable reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
        }
    }
}

/// One thing wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Path, such as `spec.containers[0].name`.
    pub field: String,
    /// What sort of error.
    pub kind: FieldErrorKind,
    /// The value found.
    pub value: Value,
    /// Why it is wrong.
    pub detail: String,
}

impl FieldError {
    /// Returns the message without the field.
    pub fn body(&self) -> String {
        let text = self.kind.text();
        match (self.kind, self.detail.is_empty()) {
            (FieldErrorKind::Required | FieldErrorKind::Forbidden | FieldErrorKind::TooLong, true) => {
                text.to_owned()
            }
            (FieldErrorKind::Required | FieldErrorKind::Forbidden | FieldErrorKind::TooLong, false) => {
                format!("{text}: {}", self.detail)
            }
            (_, true) => format!("{text}: {}", self.value),
            (_, false) => format!("{text}: {}: {}", self.value, self.detail),
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Returns what is wrong with `new`, which replaces `old`.
pub fn check(_kind: &Kind, _new: &Value, _old: Option<&Value>) -> Vec<FieldError> {
    Vec::new()
}

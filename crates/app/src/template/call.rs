//! What functions and fields give.

use serde_json::Value;

use super::TemplateError;
use super::parse::{Argument, Call, Pipe};

impl Pipe {
    /// Returns what the last call gives.
    pub(super) fn value(&self, root: &Value, here: &Value) -> Result<Value, TemplateError> {
        let mut before = None;
        for call in &self.calls {
            before = Some(call.value(root, here, before)?);
        }
        Ok(before.unwrap_or_default())
    }
}

impl Call {
    fn value(&self, root: &Value, here: &Value, before: Option<Value>) -> Result<Value, TemplateError> {
        let arguments = self.arguments.iter().map(|argument| argument.value(root, here));
        let arguments: Vec<Value> = arguments.chain(before.map(Ok)).collect::<Result<_, _>>()?;
        match (&self.function, arguments.as_slice()) {
            (None, [value]) => Ok(value.clone()),
            (None, _) => Err(TemplateError::Parse("two values stand side by side".to_owned())),
            (Some(function), arguments) => apply(function, arguments),
        }
    }
}

impl Argument {
    fn value(&self, root: &Value, here: &Value) -> Result<Value, TemplateError> {
        match self {
            Self::Field(path) => field(here, path),
            Self::RootField(path) => field(root, path),
            Self::Literal(value) => Ok(value.clone()),
            Self::Nested(pipe) => pipe.value(root, here),
        }
    }
}

fn field(value: &Value, path: &[String]) -> Result<Value, TemplateError> {
    let mut value = value;
    for name in path {
        let Value::Object(fields) = value else {
            return Err(missing(path, "`{{json .}}` shows what there is".to_owned()));
        };
        value = fields.get(name).ok_or_else(|| {
            let near = shipway_dockerfile::suggest(name, fields.keys().map(String::as_str));
            let hint = match near {
                Some(near) => format!("did you mean `.{near}`?"),
                None => format!("there are {}", fields.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            missing(path, hint)
        })?;
    }
    Ok(value.clone())
}

fn missing(path: &[String], hint: String) -> TemplateError {
    TemplateError::Field { field: format!(".{}", path.join(".")), hint }
}

fn apply(function: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let wrong = |wants: &str| Err(TemplateError::Value(format!("`{function}` wants {wants}")));
    let all = || arguments.iter().map(text).collect::<Vec<_>>().join(" ");
    match (function, arguments) {
        ("json", [value]) => Ok(Value::from(value.to_string())),
        ("len", [value]) => Ok(Value::from(match value {
            Value::Array(values) => values.len(),
            Value::Object(fields) => fields.len(),
            Value::String(text) => text.len(),
            _ => return wrong("a list, a map or a text"),
        })),
        ("index", [value, keys @ ..]) if !keys.is_empty() => {
            keys.iter().try_fold(value.clone(), |value, key| index(&value, key))
        }
        ("index", _) => wrong("a list or a map, and what to look for"),
        ("join", [Value::Array(values), separator]) => {
            Ok(Value::from(values.iter().map(text).collect::<Vec<_>>().join(&text(separator))))
        }
        ("join", _) => Err(TemplateError::Value("join wants a list and a text".to_owned())),
        ("split", [value, separator]) => {
            Ok(text(value).split(&text(separator)).map(Value::from).collect::<Vec<_>>().into())
        }
        ("lower", [value]) => Ok(Value::from(text(value).to_lowercase())),
        ("upper", [value]) => Ok(Value::from(text(value).to_uppercase())),
        ("title", [value]) => {
            let text = text(value);
            let mut chars = text.chars();
            let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
            Ok(Value::from(first + chars.as_str()))
        }
        ("print", _) => Ok(Value::from(all())),
        ("println", _) => Ok(Value::from(all() + "\n")),
        ("eq", [first, others @ ..]) if !others.is_empty() => Ok(others.contains(first).into()),
        ("ne", [first, second]) => Ok((first != second).into()),
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("and", [.., last]) => Ok(arguments.iter().find(|value| !is_true(value)).unwrap_or(last).clone()),
        ("or", [.., last]) => Ok(arguments.iter().find(|value| is_true(value)).unwrap_or(last).clone()),
        ("json" | "len" | "lower" | "upper" | "title" | "not" | "eq" | "ne" | "split" | "and" | "or", _) => {
            wrong("another number of values")
        }
        _ => Err(TemplateError::Parse(format!("there is no function `{function}` here"))),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    let found = match (value, key) {
        (Value::Array(values), Value::Number(number)) => {
            let place = number.as_u64().and_then(|number| usize::try_from(number).ok());
            place.and_then(|place| values.get(place)).cloned()
        }
        // Compat: Go, a key that a map does not have gives an empty value.
        (Value::Object(fields), Value::String(key)) => {
            Some(fields.get(key).cloned().unwrap_or_else(|| Value::from("")))
        }
        _ => None,
    };
    found.ok_or_else(|| TemplateError::Value(format!("there is no `{}` to index", text(key))))
}

/// Compat: Go, what is empty is false.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Compat: Go's `%v`.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let pair = |(name, value): (&String, &Value)| format!("{name}:{}", text(value));
            format!("map[{}]", fields.into_iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

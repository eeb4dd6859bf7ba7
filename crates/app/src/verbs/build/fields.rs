//! The fields of a flag's value, `type=image,"name=a,b",push=true`. Compat: buildx, a record of CSV.

use std::borrow::Cow;

/// Returns the fields of a value. What stands in quotes is one field, with its commas; two quotes in it are one.
pub(super) fn split(text: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut fields = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (field, after) = match text.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted)?,
            None => {
                let (field, after) =
                    text.split_once(',').map_or((text, None), |(field, after)| (field, Some(after)));
                (Cow::Borrowed(field), after)
            }
        };
        fields.push(field);
        rest = after;
    }
    Ok(fields)
}

fn in_quotes(text: &str) -> Result<(Cow<'_, str>, Option<&str>), String> {
    let mut from = 0;
    while let Some(length) = text[from..].find('"') {
        let (field, after) = (&text[..from + length], &text[from + length + 1..]);
        let field = || {
            if field.contains("\"\"") {
                Cow::Owned(field.replace("\"\"", "\""))
            } else {
                Cow::Borrowed(field)
            }
        };
        match after.bytes().next() {
            None => return Ok((field(), None)),
            Some(b',') => return Ok((field(), Some(&after[1..]))),
            Some(b'"') => from += length + 2,
            Some(_) => return Err("something follows a quote".to_owned()),
        }
    }
    Err("a quote is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_part_nothing() {
        for (text, want) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a=1,b=2,", &["a=1", "b=2", ""]),
            ("type=image,\"name=a,b\",push=true", &["type=image", "name=a,b", "push=true"]),
            ("\"a=\"\"x\"\",y\"", &["a=\"x\",y"]),
            ("a=\"x\"", &["a=\"x\""]),
        ] {
            assert_eq!(split(text).unwrap(), want, "case {text}");
        }
        for text in ["\"a", "a,\"b\"c", "\"a\"\""] {
            assert!(split(text).is_err(), "case {text}");
        }
    }
}

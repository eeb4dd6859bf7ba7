//! `--secret`. Compat: buildx, `id=ID[,src=FILE][,env=NAME][,type=file|env]`.

use std::os::unix::ffi::OsStringExt as _;

use shipway_build::Secret;

use crate::failure::Failure;
use crate::verbs::build::fields;

/// Reads one secret from where it says. Compat: buildx, of a variable that is not set it is empty; `warn` says so.
pub(super) fn load(text: &str, warn: &mut dyn FnMut(String)) -> Result<Secret, Failure> {
    let Source { id, from } = parse(text, |name| std::env::var_os(name).is_some())?;
    let content = match from {
        From::File(path) => fs_err::read(path).map_err(|error| {
            Failure::new(format!("cannot read the secret `{id}`: {error}"), "name its file: src=FILE")
        })?,
        From::Variable(name) => match std::env::var_os(&name) {
            Some(value) => value.into_vec(),
            None => {
                warn(format!("warning: the secret `{id}` is empty: the variable {name} is not set"));
                Vec::new()
            }
        },
    };
    Ok(Secret { id, content })
}

#[derive(Debug, PartialEq)]
struct Source {
    id: String,
    from: From,
}

#[derive(Debug, PartialEq)]
enum From {
    File(String),
    Variable(String),
}

fn parse(text: &str, is_variable: impl Fn(&str) -> bool) -> Result<Source, Failure> {
    fn refuse<T>(message: String) -> Result<T, Failure> {
        Err(Failure::new(message, "write it like --secret id=token,src=FILE"))
    }
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    let parts = fields::split(text).or_else(|why| refuse(format!("`{text}` is no secret: {why}")))?;
    for part in parts {
        let Some((key, value)) = part.split_once('=') else {
            return refuse(format!("`{part}` in the secret `{text}` is no KEY=VALUE"));
        };
        match key.to_ascii_lowercase().as_str() {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => file = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
            _ => return refuse(format!("a secret has no `{part}`")),
        }
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return refuse(format!("the secret `{text}` has no id"));
    };
    let from = match (kind.as_deref(), file, variable) {
        (_, Some(_), Some(_)) => return refuse(format!("the secret `{id}` has two sources")),
        (Some("env"), Some(name), None) | (_, None, Some(name)) => From::Variable(name),
        (_, Some(path), None) => From::File(path),
        (kind, None, None) if kind == Some("env") || (kind.is_none() && is_variable(&id)) => {
            From::Variable(id.clone())
        }
        (_, None, None) => From::File(id.clone()),
    };
    Ok(Source { id, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_set_is_an_empty_secret() {
        let mut warnings = Vec::new();
        let secret = load("id=a,env=NO_SUCH_VARIABLE_IS_SET", &mut |warning| warnings.push(warning)).unwrap();
        assert_eq!((secret.id.as_str(), secret.content.as_slice()), ("a", &b""[..]));
        assert_eq!(
            warnings,
            ["warning: the secret `a` is empty: the variable NO_SUCH_VARIABLE_IS_SET is not set"]
        );
        load("id=a,env=CARGO_PKG_NAME", &mut |warning| panic!("{warning}")).unwrap();
    }

    #[test]
    fn a_secret_comes_from_a_file_or_a_variable() {
        let (file, variable) =
            (|path: &str| From::File(path.into()), |name: &str| From::Variable(name.into()));
        for (text, want) in [
            ("id=a,src=f", file("f")),
            ("id=a,source=f,type=file", file("f")),
            ("id=a,env=V", variable("V")),
            ("id=a,type=env", variable("a")),
            ("type=env,src=V,id=a", variable("V")),
            ("id=a", file("a")),
            ("id=KNOWN", variable("KNOWN")),
            ("ID=a,\"src=f,g\"", file("f,g")),
        ] {
            assert_eq!(parse(text, |name| name == "KNOWN").unwrap().from, want, "{text}");
        }
        for (text, want) in [
            ("src=f", "has no id"),
            ("id=a,src", "no KEY=VALUE"),
            ("id=a,mode=1", "has no `mode=1`"),
            ("id=a,src=f,env=V", "two sources"),
        ] {
            let failure = parse(text, |_| false).unwrap_err();
            assert!(failure.text().contains(want), "{text}: {}", failure.text());
        }
    }
}

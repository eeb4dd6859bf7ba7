//! `--build-arg` and `--label`: names and values. Compat: docker.

use crate::failure::Failure;
use crate::units;

/// Spec: reproducible-builds.org, the time that files and images get at most.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Splits `NAME=value`.
fn pair<'a>(flag: &str, text: &'a str) -> Result<(&'a str, Option<&'a str>), Failure> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() {
        let hint = format!("write it as --{flag} NAME=VALUE");
        return Err(Failure::new(format!("--{flag} `{text}` has no name"), hint));
    }
    Ok((name, value))
}

/// `NAME=value`; a name alone takes the value that this process has, and is left out where it has none. Compat: docker.
fn build_arg(text: &str) -> Result<Option<(String, String)>, Failure> {
    Ok(match pair("build-arg", text)? {
        (name, Some(value)) => Some((name.to_owned(), value.to_owned())),
        (name, None) => std::env::var(name).ok().map(|value| (name.to_owned(), value)),
    })
}

/// Compat: buildx, `SOURCE_DATE_EPOCH` of this process is one too, unless it is given.
pub(super) fn build_args(texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let given = texts.iter().filter_map(|text| build_arg(text).transpose());
    let mut all = given.collect::<Result<Vec<_>, _>>()?;
    if !all.iter().any(|(name, _)| name == SOURCE_DATE_EPOCH) {
        all.extend(build_arg(SOURCE_DATE_EPOCH)?.filter(|(_, value)| !value.is_empty()));
    }
    Ok(all)
}

/// Returns the time of what is written down, if one was given.
pub(super) fn epoch(build_args: &[(String, String)]) -> Option<u64> {
    let last = build_args.iter().rev().find(|(name, _)| name == SOURCE_DATE_EPOCH);
    last.and_then(|(_, value)| value.parse().ok())
}

/// Returns whether a build argument is true that says something of the build itself. Compat: BuildKit.
pub(super) fn is_set(build_args: &[(String, String)], name: &str) -> bool {
    let last = build_args.iter().rev().find(|(known, _)| known == name);
    last.is_some_and(|(_, value)| units::truth(value) == Some(true))
}

/// `NAME=value`; a name alone is an empty label. Compat: docker.
pub(super) fn label(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = pair("label", text)?;
    Ok((name.to_owned(), value.unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alone_are_read_as_docker_reads_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(build_arg("A=b=c").unwrap(), Some(pair("A", "b=c")));
        assert_eq!(build_arg("NO_SUCH_VARIABLE_IS_SET").unwrap(), None);
        assert_eq!(build_arg("CARGO_PKG_NAME").unwrap(), Some(pair("CARGO_PKG_NAME", "shipway-app")));
        assert_eq!(label("CARGO_PKG_NAME").unwrap(), pair("CARGO_PKG_NAME", ""));
        assert_eq!(label("a=b").unwrap(), pair("a", "b"));
        for text in ["", "=", "=b"] {
            let failures = [label(text).unwrap_err(), build_arg(text).unwrap_err()];
            assert!(
                failures.iter().all(|failure| failure.text().contains("has no name\nhint: ")),
                "case {text}"
            );
        }
    }
}

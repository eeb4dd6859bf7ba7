//! Forms of names, labels, quantities. A function returns what is wrong, or nothing.

/// Longest name of a DNS label, a label's value and a qualified name.
const LABEL: usize = 63;
/// Longest DNS name.
const SUBDOMAIN: usize = 253;

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| edge(*byte))
        && bytes.last().is_some_and(|byte| edge(*byte))
        && bytes.iter().all(|byte| inner(*byte))
}

/// A DNS label, such as a container's name.
pub(super) fn dns_label(text: &str) -> Option<&'static str> {
    if text.len() > LABEL {
        return Some("must be no more than 63 bytes");
    }
    (!framed(text, is_lower, |byte| is_lower(byte) || byte == b'-')).then_some(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
         with an alphanumeric character",
    )
}

/// A DNS name.
pub(super) fn dns_subdomain(text: &str) -> Option<&'static str> {
    if text.len() > SUBDOMAIN {
        return Some("must be no more than 253 bytes");
    }
    let fits = |part: &str| framed(part, is_lower, |byte| is_lower(byte) || byte == b'-');
    (!text.split('.').all(fits)).then_some(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
         and end with an alphanumeric character",
    )
}

fn is_name(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    framed(text, edge, |byte| edge(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

/// A label's or annotation's key: a name, perhaps with a DNS name in front.
pub(super) fn qualified_name(text: &str) -> Option<&'static str> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty"),
        Some(prefix) if dns_subdomain(prefix).is_some() => {
            return Some("prefix part must be a lowercase RFC 1123 subdomain");
        }
        _ => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty");
    }
    if name.len() > LABEL {
        return Some("name part must be no more than 63 bytes");
    }
    (!is_name(name)).then_some(
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character",
    )
}

/// A label's value.
pub(super) fn label_value(text: &str) -> Option<&'static str> {
    if text.len() > LABEL {
        return Some("must be no more than 63 bytes");
    }
    (!text.is_empty() && !is_name(text)).then_some(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
         and end with an alphanumeric character",
    )
}

/// The name of a port.
pub(super) fn port_name(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > 15 {
        return Some("must be no more than 15 bytes and not empty");
    }
    if !framed(text, is_lower, |byte| is_lower(byte) || byte == b'-') || text.contains("--") {
        return Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-) between them");
    }
    (!text.bytes().any(|byte| byte.is_ascii_lowercase())).then_some("must contain at least one letter (a-z)")
}

/// A key of a ConfigMap or Secret.
pub(super) fn data_key(text: &str) -> Option<&'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > SUBDOMAIN || !text.bytes().all(fits) {
        return Some("a valid config key must consist of alphanumeric characters, '-', '_' or '.'");
    }
    (text == "." || text.starts_with("..")).then_some("must not be '.' or start with '..'")
}

/// The name of an environment variable.
pub(super) fn variable_name(text: &str) -> Option<&'static str> {
    (!text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=')).then_some(
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_forms() {
        for (text, fits) in
            [("web", true), ("a-1", true), ("", false), ("Web", false), ("-a", false), ("a.b", false)]
        {
            assert_eq!(dns_label(text).is_none(), fits, "{text}");
        }
        for (text, fits) in [
            ("app", true),
            ("app.kubernetes.io/name", true),
            ("a/b/c", false),
            ("/a", false),
            ("a/", false),
            ("A_b.c", true),
            ("a b", false),
        ] {
            assert_eq!(qualified_name(text).is_none(), fits, "{text}");
        }
        for (text, fits) in [("http", true), ("8080", false), ("a--b", false), ("HTTP", false), ("", false)] {
            assert_eq!(port_name(text).is_none(), fits, "{text}");
        }
        assert!(label_value("").is_none() && label_value("v 1").is_some());
    }
}

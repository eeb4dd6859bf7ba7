//! What a server wants to know before it answers. Spec: RFC 9110 section 11.6.1.

/// One way to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password.
    Basic,
    /// A token of a service.
    Bearer {
        /// Where the token is to be had.
        realm: String,
        /// For which service.
        service: Option<String>,
    },
}

/// Returns the ways that a server offers in its `WWW-Authenticate` headers and that are known here.
pub(crate) fn parse_challenges<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    headers.into_iter().flat_map(parse_header).collect()
}

fn parse_header(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_whitespace() || c == ',' || c == '=').unwrap_or(rest.len());
        let word = &rest[..end];
        let after = rest[end..].trim_start();
        match after.strip_prefix('=') {
            Some(value) => {
                let (value, after) = take_value(value.trim_start());
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = after;
            }
            None if word.is_empty() => break,
            None => {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    found.iter().filter_map(|(scheme, parameters)| known(scheme, parameters)).collect()
}

fn known(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let parameter = |name| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") }),
        _ => None,
    }
}

/// Takes a token or a quoted text off the front.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        };
        for (name, header, want) in [
            ("basic", r#"Basic realm="x, y""#, vec![Challenge::Basic]),
            (
                "bearer",
                r#"Bearer realm="https://a.test/t",service="s",scope="repository:x:pull,push""#,
                vec![bearer("https://a.test/t", Some("s"))],
            ),
            (
                "both in one",
                r#"Basic realm="r", BEARER Realm="https://a.test/\"t\"" , error=x"#,
                vec![Challenge::Basic, bearer("https://a.test/\"t\"", None)],
            ),
            (
                "unquoted",
                "Bearer realm=https://a.test/t,service=s",
                vec![bearer("https://a.test/t", Some("s"))],
            ),
            ("no realm", "Bearer service=\"s\"", vec![]),
            ("unknown", "Negotiate abc==", vec![]),
            ("unfinished", "Bearer realm=\"https://a.test", vec![bearer("https://a.test", None)]),
            ("nothing", " ,, ", vec![]),
            ("only an equals sign", "=", vec![]),
        ] {
            assert_eq!(parse_challenges([header]), want, "case {name}");
        }
    }
}

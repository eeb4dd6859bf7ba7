//! Addresses as they may be told.

/// Returns an address without user and password; the user stays where it is part of the address, as in `ssh://git@…`.
pub fn without_credentials(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        None => address.to_owned(),
        Some((user, host)) if scheme.contains("ssh") && !user.contains(':') => {
            format!("{scheme}://{user}@{host}{path}")
        }
        Some((_, host)) => format!("{scheme}://{host}{path}"),
    }
}

/// Returns a text in which every address has lost user and password, as by [`without_credentials`].
pub fn without_credentials_in(text: &str) -> String {
    const ENDS: [char; 3] = ['/', '?', '#'];
    let mut told = String::with_capacity(text.len());
    let mut left = text;
    while let Some(at) = left.find("://") {
        let (scheme, rest) = left.split_at(at);
        let rest = &rest["://".len()..];
        let start = scheme.trim_end_matches(is_of_scheme).len();
        let end =
            rest.find(|letter: char| ENDS.contains(&letter) || letter.is_whitespace()).unwrap_or(rest.len());
        // Not beyond where the next one begins.
        let next = rest.find("://").map_or(rest.len(), |at| rest[..at].trim_end_matches(is_of_scheme).len());
        let end = end.min(next);
        told.push_str(&scheme[..start]);
        told.push_str(&without_credentials(&format!("{}://{}", &scheme[start..], &rest[..end])));
        left = &rest[end..];
    }
    told.push_str(left);
    told
}

fn is_of_scheme(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "+-.".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_what_is_secret() {
        for (address, want) in [
            ("https://me:secret@a.test/x.git#main", "https://a.test/x.git#main"),
            ("https://token@a.test/x", "https://a.test/x"),
            ("https://a.test/x@y?z=@", "https://a.test/x@y?z=@"),
            ("https://a:b@c@d.test", "https://d.test"),
            ("ssh://git@a.test/x.git", "ssh://git@a.test/x.git"),
            ("ssh://git:secret@a.test/x.git", "ssh://a.test/x.git"),
            ("git@a.test:x/y.git", "git@a.test:x/y.git"),
            ("http://me:pw@m.test/debian", "http://m.test/debian"),
            ("http://m.test/a@b", "http://m.test/a@b"),
            ("http://me@m.test", "http://m.test"),
        ] {
            assert_eq!(without_credentials(address), want, "case {address}");
            assert_eq!(without_credentials_in(address), want, "case {address}");
        }
    }

    #[test]
    fn so_does_every_address_of_a_text() {
        for (text, want) in [
            ("", ""),
            ("no address, me@a.test", "no address, me@a.test"),
            (
                "ADD [\"https://u:p@a.test/x\",\"https://v:q@b.test/y\",\"/\"]",
                "ADD [\"https://a.test/x\",\"https://b.test/y\",\"/\"]",
            ),
            ("RUN A=https://u:p@a.test,http://t@b.test curl\n", "RUN A=https://a.test,http://b.test curl\n"),
            ("x='ftp://u:p@a.test'; y=ssh://git@b.test/c", "x='ftp://a.test'; y=ssh://git@b.test/c"),
            ("https://a.test mail@b.test", "https://a.test mail@b.test"),
            ("https://me:pa'ss\"w`or<d>@a.test/x", "https://a.test/x"),
            ("://u:p@", "://"),
            ("é://u:p@a.test/é", "é://a.test/é"),
        ] {
            assert_eq!(without_credentials_in(text), want, "case {text}");
        }
    }
}

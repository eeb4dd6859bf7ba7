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
        }
    }
}

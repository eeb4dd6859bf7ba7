//! apt's settings. Spec: `apt.conf(5)`.

use super::sources::is_true;

/// Settings as `A::B::C` and value, in the order they are made; later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AptConf {
    settings: Vec<(String, String)>,
}

impl AptConf {
    /// Adds the settings of one file. What cannot be read ends the file.
    pub(crate) fn add(&mut self, text: &str) {
        let mut tokens = tokens(text).into_iter().peekable();
        let mut scopes: Vec<String> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => scopes.push(words.drain(..).next().unwrap_or_default()),
                Token::Close => {
                    scopes.pop();
                    words.clear();
                    // The semicolon after a block belongs to it.
                    tokens.next_if_eq(&Token::End);
                }
                Token::End => {
                    let mut parts = words.drain(..);
                    if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                        let path: Vec<&str> =
                            scopes.iter().map(String::as_str).chain([name.as_str()]).collect();
                        self.settings.push((path.join("::"), value));
                    }
                }
            }
        }
    }

    /// Returns the last value of a setting; names are matched in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether an expired `Release` file is an error.
    pub(crate) fn checks_valid_until(&self) -> bool {
        self.get("Acquire::Check-Valid-Until").and_then(is_true) != Some(false)
    }

    /// Returns the proxy for a scheme. Compat: `DIRECT` means none.
    pub(crate) fn proxy(&self, scheme: &str) -> Option<&str> {
        let proxy = self.get(&format!("Acquire::{scheme}::Proxy"))?;
        (!proxy.is_empty() && !proxy.eq_ignore_ascii_case("DIRECT") && proxy != "false").then_some(proxy)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") || first == '#' {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            found.push(Token::Word(word.to_owned()));
            rest = after;
        } else if let Some(token) = single(first) {
            found.push(token);
            rest = &rest[first.len_utf8()..];
        } else if first.is_whitespace() {
            rest = rest.trim_start();
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c)).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    found
}

fn single(character: char) -> Option<Token> {
    match character {
        '{' => Some(Token::Open),
        '}' => Some(Token::Close),
        ';' => Some(Token::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_paths_mean_the_same_and_the_last_one_wins() {
        let mut conf = AptConf::default();
        conf.add(
            "// one\nAcquire { Check-Valid-Until \"false\"; http { Proxy \"http://p.test:3142\"; }; };\n\
             DPkg::Post-Invoke { \"rm -f // x || true\"; \"second\"; };\n/* Acquire::Check-Valid-Until \"true\"; */\n\
             # old comment\nAcquire::https::Proxy \"DIRECT\";",
        );
        assert!(!conf.checks_valid_until());
        assert_eq!(conf.proxy("http"), Some("http://p.test:3142"));
        assert_eq!(conf.proxy("https"), None);
        conf.add("acquire::check-valid-until \"true\";");
        assert!(conf.checks_valid_until());
        assert!(AptConf::default().checks_valid_until());
    }
}

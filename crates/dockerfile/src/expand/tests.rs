//! Tables of expansions.

use super::*;

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "PWD" => "/home",
        "SHELL" => "bash",
        "EMPTY" => "",
        "FILE" => "a.tar.gz",
        "SPACED" => "one two",
        "PATHS" => "/usr/local/bin",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn words_expand_as_in_buildkit() {
    for (name, input, want) in [
        ("nothing", "hello", "hello"),
        ("name", "he$PWD", "he/home"),
        ("name ends", "$PWD.x", "/home.x"),
        ("unset", "he$nope.", "he."),
        ("braces", "${PWD}x", "/homex"),
        ("digits", "$1x", "x"),
        ("lone dollar", "a$ b", "a$ b"),
        ("dollar at the end", "a$", "a$"),
        ("escaped dollar", r"\$PWD", "$PWD"),
        ("escape drops itself", r"he\llo", "hello"),
        ("escape at the end", "hello\\", "hello"),
        ("single quotes", "'$PWD'", "$PWD"),
        ("double quotes", "\"$PWD\"", "/home"),
        ("escape in double quotes", r#""a\b\"\$c""#, r#"a\b"$c"#),
        ("quote in quotes", r#""it's""#, "it's"),
        ("default of unset", "${X:-def}", "def"),
        ("default of empty", "${EMPTY:-def}", "def"),
        ("default without colon", "${EMPTY-def}", ""),
        ("default of set", "${PWD:-def}", "/home"),
        ("nested default", "${X:-${Y:-$SHELL}}", "bash"),
        ("brace in quotes", "${X:-\"}\"}", "}"),
        ("default with a quoted space", "${X:-'a b'}", "a b"),
        ("alternative of set", "${PWD:+alt}", "alt"),
        ("alternative of unset", "${X:+alt}", ""),
        ("alternative of empty", "${EMPTY:+alt}", ""),
        ("alternative of empty without colon", "${EMPTY+alt}", "alt"),
        ("required and set", "${PWD:?no}", "/home"),
        ("shortest prefix", "${PATHS#/*/}", "local/bin"),
        ("longest prefix", "${PATHS##*/}", "bin"),
        ("shortest suffix", "${FILE%.*}", "a.tar"),
        ("longest suffix", "${FILE%%.*}", "a"),
        ("suffix that does not match", "${FILE%.zip}", "a.tar.gz"),
        ("replace first", "${FILE/a/b}", "b.tar.gz"),
        ("replace all", "${FILE//a/b}", "b.tbr.gz"),
        ("replace by pattern", "${FILE/.*/!}", "a!"),
        ("replace a slash", r"${PWD/\//_}", "_home"),
        ("delete", "${FILE//./}", "atargz"),
        ("replace of unset", "${X/a/b}", ""),
        ("wide characters", "ü${PWD}ü", "ü/homeü"),
    ] {
        let got = Lexer::new('\\').expand(input, &variables).map(|expanded| expanded.text);
        assert_eq!(got, Ok(want.to_owned()), "case {name}");
    }
}

#[test]
fn bad_words_are_errors_and_never_panics() {
    let deep = "${a:-".repeat(100_000);
    for (name, input, want) in [
        ("open brace", "${PWD", ExpandError::MissingBrace),
        ("only open", "${", ExpandError::MissingBrace),
        ("open default", "${PWD:-x", ExpandError::MissingBrace),
        ("empty", "${}", ExpandError::BadSubstitution),
        ("twice", "${{PWD}", ExpandError::BadSubstitution),
        ("colon", "${:PWD}", ExpandError::BadSubstitution),
        ("upper", "${PWD^}", ExpandError::UnsupportedModifier("^".to_owned())),
        ("colon percent", "${PWD:%x}", ExpandError::UnsupportedModifier(":%".to_owned())),
        ("single quote", "'a", ExpandError::UnterminatedQuote("single")),
        ("double quote", "\"a", ExpandError::UnterminatedQuote("double")),
        ("slash", "${PWD/a}", ExpandError::MissingSlash),
        ("escape in a pattern", r"${PWD#\x}", ExpandError::BadPattern('x')),
        ("deep", &deep, ExpandError::TooLarge),
        (
            "required",
            "${X:?set X}",
            ExpandError::Required { name: "X".to_owned(), message: "set X".to_owned() },
        ),
        (
            "required and empty",
            "${EMPTY:?}",
            ExpandError::Required {
                name: "EMPTY".to_owned(),
                message: "is not allowed to be empty".to_owned(),
            },
        ),
    ] {
        assert_eq!(Lexer::new('\\').expand(input, &variables), Err(want), "case {name}");
    }
}

#[test]
fn variables_that_repeat_each_other_do_not_fill_the_memory() {
    let large = "x".repeat(1 << 20);
    let variables = |_: &str| Some(large.clone());
    for text in ["$a".repeat(100), format!("\"{}\"", "$a".repeat(100))] {
        assert_eq!(Lexer::new('\\').expand(&text, &variables), Err(ExpandError::TooLarge));
    }
}

#[test]
fn words_split_after_expansion_unless_quoted() {
    for (name, input, want) in [
        ("plain", "a  b", vec!["a", "b"]),
        ("variable", "$SPACED", vec!["one", "two"]),
        ("quoted variable", "\"$SPACED\"", vec!["one two"]),
        ("escaped space", r"a\ b", vec!["a b"]),
        ("a prefix stays with a default", "pre${X:-x}post", vec!["prexpost"]),
        ("empty", "  ", vec![]),
    ] {
        assert_eq!(Lexer::new('\\').expand_words(input, &variables).unwrap(), want, "case {name}");
    }
}

#[test]
fn what_is_not_set_is_reported_or_kept() {
    let expanded = Lexer::new('\\').expand("$A${B:-x}$PWD", &variables).unwrap();
    // What is taken instead does not make it set. Compat: BuildKit.
    assert_eq!(
        (expanded.unset, expanded.used),
        (vec!["A".to_owned(), "B".to_owned()], vec!["PWD".to_owned()])
    );
    let keep = Lexer { skip_unset: true, ..Lexer::new('\\') };
    let text = keep.expand("$A ${B:-x} ${C} ${D//a/b} $PWD", &variables).unwrap().text;
    assert_eq!(text, "$A ${B:-x} ${C} ${D//a/b} /home");
}

#[test]
fn the_escape_can_be_a_backtick() {
    let lexer = Lexer::new('`');
    assert_eq!(lexer.expand("`$PWD c:\\x", &variables).unwrap().text, "$PWD c:\\x");
}

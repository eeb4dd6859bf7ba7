//! What packages say of their licences, as SPDX writes it.
//!
//! Spec: SPDX 2.3, annex D (expressions). What SPDX has no name for gets one of the document's own, `LicenseRef-…`.

use std::collections::BTreeMap;

/// Longer texts are no names; deeper ones are no expressions.
const LENGTH: usize = 400;
const DEPTH: usize = 16;

/// Names of SPDX that packages use. GNU's are made of their parts.
const KNOWN: &[&str] = &[
    "0BSD",
    "AFL-2.1",
    "AFL-3.0",
    "Apache-1.0",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-1.0",
    "Artistic-1.0-Perl",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-3-Clause",
    "BSD-3-Clause-Clear",
    "BSD-4-Clause",
    "BSD-4-Clause-UC",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CECILL-2.1",
    "curl",
    "EPL-1.0",
    "EPL-2.0",
    "EUPL-1.2",
    "FSFAP",
    "FSFUL",
    "FSFULLR",
    "FTL",
    "HPND",
    "IJG",
    "ImageMagick",
    "IPL-1.0",
    "ISC",
    "JSON",
    "Latex2e",
    "Libpng",
    "libtiff",
    "LPPL-1.3c",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MIT-Modern-Variant",
    "MPL-1.0",
    "MPL-1.1",
    "MPL-2.0",
    "MS-PL",
    "NCSA",
    "OFL-1.1",
    "OLDAP-2.8",
    "OpenSSL",
    "PHP-3.01",
    "PostgreSQL",
    "PSF-2.0",
    "Python-2.0",
    "Python-2.0.1",
    "Ruby",
    "Sleepycat",
    "SMLNJ",
    "TCL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "UPL-1.0",
    "Vim",
    "W3C",
    "WTFPL",
    "X11",
    "Zlib",
    "zlib-acknowledgement",
    "ZPL-2.1",
];

const EXCEPTIONS: &[&str] = &[
    "Autoconf-exception-2.0",
    "Autoconf-exception-3.0",
    "Bison-exception-2.2",
    "Classpath-exception-2.0",
    "Font-exception-2.0",
    "GCC-exception-2.0",
    "GCC-exception-3.1",
    "LLVM-exception",
    "Libtool-exception",
    "Linux-syscall-note",
    "OpenJDK-assembly-exception-1.0",
    "Qt-GPL-exception-1.0",
    "u-boot-exception-2.0",
];

/// What people call them. Compat: Debian's short names, Python's classifiers, and what stands in old descriptions.
const ALIASES: &[(&str, &str)] = &[
    ("expat", "MIT"),
    ("mit license", "MIT"),
    ("the mit license", "MIT"),
    ("apache 2.0", "Apache-2.0"),
    ("apache-2", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("apache license version 2.0", "Apache-2.0"),
    ("new bsd license", "BSD-3-Clause"),
    ("3-clause bsd license", "BSD-3-Clause"),
    ("bsd 3-clause", "BSD-3-Clause"),
    ("bsd-3", "BSD-3-Clause"),
    ("bsd-2", "BSD-2-Clause"),
    ("isc license (iscl)", "ISC"),
    ("isc license", "ISC"),
    ("mpl 2.0", "MPL-2.0"),
    ("mozilla public license 2.0 (mpl 2.0)", "MPL-2.0"),
    ("python software foundation license", "PSF-2.0"),
    ("psf-2", "PSF-2.0"),
    ("psf", "PSF-2.0"),
    ("the unlicense (unlicense)", "Unlicense"),
    ("gnu general public license v2 (gplv2)", "GPL-2.0-only"),
    ("gnu general public license v2 or later (gplv2+)", "GPL-2.0-or-later"),
    ("gnu general public license v3 (gplv3)", "GPL-3.0-only"),
    ("gnu general public license v3 or later (gplv3+)", "GPL-3.0-or-later"),
    ("gnu lesser general public license v3 (lgplv3)", "LGPL-3.0-only"),
    ("gnu lesser general public license v3 or later (lgplv3+)", "LGPL-3.0-or-later"),
];

/// Names that documents give to licences that SPDX does not know, and what they stand for.
pub(crate) type OwnNames = BTreeMap<String, String>;

/// Returns an expression for what a package says; names that SPDX does not know are added to `own`.
pub(crate) fn expression(said: &str, own: &mut OwnNames) -> Option<String> {
    let said = said.trim();
    if said.is_empty() || said.len() > LENGTH {
        return None;
    }
    if let Some(known) = lookup(said) {
        return Some(known);
    }
    let spaced = said.replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut names = OwnNames::new();
    let mut rest = tokens.as_slice();
    let parsed = parse(&mut rest, &mut names, 0).filter(|_| rest.is_empty());
    Some(match parsed {
        Some(parsed) => {
            own.extend(names);
            parsed
        }
        None => own_name(said, own),
    })
}

/// `TERM [and|or TERM]…`
fn parse(tokens: &mut &[&str], own: &mut OwnNames, depth: usize) -> Option<String> {
    let mut text = term(tokens, own, depth)?;
    while let Some(operator) = tokens.first().and_then(|token| operator(token)) {
        *tokens = &tokens[1..];
        text = format!("{text} {operator} {}", term(tokens, own, depth)?);
    }
    Some(text)
}

/// `(EXPRESSION)`, or `NAME [with EXCEPTION]`.
fn term(tokens: &mut &[&str], own: &mut OwnNames, depth: usize) -> Option<String> {
    let (first, rest) = tokens.split_first()?;
    *tokens = rest;
    if *first == "(" {
        let inner = (depth < DEPTH).then(|| parse(tokens, own, depth + 1))??;
        let (close, rest) = tokens.split_first()?;
        *tokens = rest;
        return (*close == ")").then(|| format!("({inner})"));
    }
    if operator(first).is_some()
        || !first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+_/".contains(&byte))
    {
        return None;
    }
    let name = lookup(first);
    if let [with, exception, rest @ ..] = tokens
        && with.eq_ignore_ascii_case("with")
    {
        let exception = EXCEPTIONS.iter().find(|known| known.eq_ignore_ascii_case(exception))?;
        *tokens = rest;
        return Some(format!("{} WITH {exception}", name?));
    }
    Some(name.unwrap_or_else(|| own_name(first, own)))
}

fn operator(token: &str) -> Option<&'static str> {
    match token {
        "and" | "AND" | "And" => Some("AND"),
        "or" | "OR" | "Or" => Some("OR"),
        _ => None,
    }
}

/// Returns SPDX's name for one licence.
fn lookup(name: &str) -> Option<String> {
    let known = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(name));
    let alias = || ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, known)| known);
    known.or_else(alias).map(|known| (*known).to_owned()).or_else(|| gnu(name))
}

/// Reads `GPL-2+`, `LGPLv2.1`, `AGPL-3.0-or-later` and the like.
fn gnu(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let family = ["agpl", "lgpl", "gpl", "gfdl"].into_iter().find(|family| lower.starts_with(family))?;
    let rest = lower[family.len()..].trim_start_matches('-').trim_start_matches('v');
    let (number, later) = match rest.strip_suffix("-or-later").or_else(|| rest.strip_suffix('+')) {
        Some(number) => (number, true),
        None => (rest.strip_suffix("-only").unwrap_or(rest), false),
    };
    let number = match number {
        "1" | "2" | "3" => format!("{number}.0"),
        _ => number.to_owned(),
    };
    let numbers: &[&str] = match family {
        "agpl" => &["1.0", "3.0"],
        "lgpl" => &["2.0", "2.1", "3.0"],
        "gpl" => &["1.0", "2.0", "3.0"],
        _ => &["1.1", "1.2", "1.3"],
    };
    let family = family.to_ascii_uppercase();
    let which = if later { "or-later" } else { "only" };
    numbers.contains(&number.as_str()).then(|| format!("{family}-{number}-{which}"))
}

fn own_name(said: &str, own: &mut OwnNames) -> String {
    let parts = said.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
    let mut name = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    name.truncate(60);
    if name.is_empty() {
        "unknown".clone_into(&mut name);
    }
    let name = format!("LicenseRef-{name}");
    own.entry(name.clone()).or_insert_with(|| said.to_owned());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_written_as_spdx_does() {
        for (said, want, own) in [
            ("MIT", "MIT", 0),
            ("mit", "MIT", 0),
            ("GPL-2+ and (LGPL-2.1 or Expat)", "GPL-2.0-or-later AND (LGPL-2.1-only OR MIT)", 0),
            (
                "GPL-2.0-or-later WITH Classpath-exception-2.0",
                "GPL-2.0-or-later WITH Classpath-exception-2.0",
                0,
            ),
            ("(MIT OR Apache-2.0)", "(MIT OR Apache-2.0)", 0),
            ("AGPLv3+", "AGPL-3.0-or-later", 0),
            ("GFDL-1.3", "GFDL-1.3-only", 0),
            ("Apache License 2.0", "Apache-2.0", 0),
            ("BSD", "LicenseRef-BSD", 1),
            ("MIT and public-domain", "MIT AND LicenseRef-public-domain", 1),
            ("GPL-3+ with Bison exception", "LicenseRef-GPL-3-with-Bison-exception", 1),
            ("GPL2 MIT", "LicenseRef-GPL2-MIT", 1),
            ("and", "LicenseRef-and", 1),
            ("(MIT", "LicenseRef-MIT", 1),
            ("SEE LICENSE IN ../x", "LicenseRef-SEE-LICENSE-IN-..-x", 1),
            ("§", "LicenseRef-unknown", 1),
        ] {
            let mut names = OwnNames::new();
            assert_eq!(expression(said, &mut names).as_deref(), Some(want), "case {said}");
            assert_eq!(names.len(), own, "case {said}");
        }
        let mut names = OwnNames::new();
        assert_eq!(expression("", &mut names), None);
        assert_eq!(expression(&"x ".repeat(300), &mut names), None);
        let deep = format!("{}MIT{}", "(".repeat(100), ")".repeat(100));
        assert_eq!(expression(&deep, &mut names).as_deref(), Some("LicenseRef-MIT"));
    }
}

//! Node's modules. Spec: npm, package.json.

use std::path::Path;

use serde_json::Value;
use shipway_linux::Root;

use crate::listing::Listing;
use crate::package::{Ecosystem, Package};

/// Larger descriptions are refused, in bytes: parsed they may take a hundred times as many.
const LIMIT: u64 = 1 << 20;

/// Returns whether a path is the description of a module: `node_modules/NAME/package.json`, or with a scope before the name.
pub(crate) fn is_module(path: &Path) -> bool {
    let mut parts = path.iter().rev().map(|part| part.to_string_lossy());
    if parts.next().as_deref() != Some("package.json") {
        return false;
    }
    let (Some(_name), Some(above)) = (parts.next(), parts.next()) else { return false };
    above == "node_modules" || above.starts_with('@') && parts.next().as_deref() == Some("node_modules")
}

/// Reads the description of a module.
pub(crate) fn package(root: &Root, path: &Path, listing: &mut Listing<'_>) {
    let read = listing.read(root, path, LIMIT).map_err(|error| error.to_string());
    let parsed = read.and_then(|text| {
        text.map(|text| serde_json::from_str(&text).map_err(|error| error.to_string())).transpose()
    });
    match parsed {
        Ok(document) => {
            let found = document.and_then(|document| parse(&document, &format!("/{}", path.display())));
            found.map(|package| listing.add(package));
        }
        Err(error) => listing.unread(path, &error),
    }
}

fn parse(document: &Value, place: &str) -> Option<Package> {
    let text =
        |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let name = text(&document["name"])?;
    let mut package = Package::new(Ecosystem::Node, &name, &text(&document["version"])?, place);
    let one = |licence: &Value| text(licence).or_else(|| text(&licence["type"]));
    // Compat: npm, before licences were expressions there could be a list of them to choose from.
    package.licence = one(&document["license"]).or_else(|| {
        let all: Vec<String> = document["licenses"].as_array()?.iter().filter_map(one).collect();
        (!all.is_empty()).then(|| all.join(" or "))
    });
    package.homepage = text(&document["homepage"]);
    let author = &document["author"];
    package.maintainer = text(author).or_else(|| {
        let name = text(&author["name"])?;
        Some(text(&author["email"]).map_or_else(|| name.clone(), |email| format!("{name} <{email}>")))
    });
    Some(package)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn modules_lie_right_below_node_modules() {
        for (path, want) in [
            ("app/node_modules/express/package.json", true),
            ("app/node_modules/@types/node/package.json", true),
            ("node_modules/a/node_modules/b/package.json", true),
            ("app/package.json", false),
            ("app/node_modules/express/lib/package.json", false),
            ("app/node_modules/package.json", false),
            ("app/@types/node/package.json", false),
            ("package.json", false),
        ] {
            assert_eq!(is_module(Path::new(path)), want, "case {path}");
        }
    }

    #[test]
    fn descriptions_of_every_age_are_read() {
        for (name, document, licence, maintainer) in [
            (
                "new",
                json!({ "name": "express", "version": "4.19.2", "license": "MIT", "author": "TJ <tj@x.test> (http://x.test)" }),
                Some("MIT"),
                Some("TJ <tj@x.test> (http://x.test)"),
            ),
            (
                "old",
                json!({ "name": "x", "version": "1", "license": { "type": "BSD", "url": "u" }, "author": { "name": "A", "email": "a@x.test" } }),
                Some("BSD"),
                Some("A <a@x.test>"),
            ),
            (
                "oldest",
                json!({ "name": "x", "version": "1", "licenses": [{ "type": "MIT" }, "GPL-2.0"] }),
                Some("MIT or GPL-2.0"),
                None,
            ),
            ("odd", json!({ "name": "x", "version": "1", "license": 3, "author": [] }), None, None),
        ] {
            let package = parse(&document, "/x").unwrap();
            assert_eq!(
                (package.licence.as_deref(), package.maintainer.as_deref()),
                (licence, maintainer),
                "case {name}"
            );
        }
        for document in [
            json!({ "name": "x" }),
            json!({ "version": "1" }),
            json!([]),
            json!({ "name": 1, "version": "1" }),
        ] {
            assert_eq!(parse(&document, "/x"), None, "case {document}");
        }
    }
}

//! An inventory as a document. Spec: SPDX 2.3, its JSON form.

use serde_json::{Map, Value, json};
use shipway_oci::{Digest, Platform, Reference, image_purl};

use crate::licence::{OwnNames, expression};
use crate::{Inventory, Package};

const UNKNOWN: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-Image";

/// What an inventory is of.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// The image's names.
    pub names: &'a [Reference],
    /// What it is for.
    pub platform: &'a Platform,
    /// Digest of its config.
    pub image_id: Digest,
    /// When the document is made, RFC 3339 in seconds.
    pub created: &'a str,
    /// The program that makes it: `NAME-VERSION`.
    pub tool: &'a str,
}

/// Writes an inventory down. The same one gives the same document.
pub fn spdx(inventory: &Inventory, of: &Described<'_>) -> Value {
    let mut own = OwnNames::new();
    let mut packages = vec![image(inventory, of)];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    for package in &inventory.packages {
        let purl = package.purl(inventory.release.as_ref());
        let id = id(package, &purl);
        relations.push(relation(IMAGE, "CONTAINS", &id));
        packages.push(entry(package, &id, &purl, &mut own));
    }
    let name = of.names.first().map_or_else(|| of.image_id.to_string(), Reference::familiar);
    let mut creation = json!({ "created": of.created, "creators": [format!("Tool: {}", of.tool)] });
    if !inventory.notes.is_empty() {
        creation["comment"] = json!(format!("This list is not complete.\n{}", inventory.notes.join("\n")));
    }
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": "",
        "creationInfo": creation,
        "packages": packages,
        "relationships": relations,
    });
    if !own.is_empty() {
        let names =
            own.iter().map(|(id, said)| json!({ "licenseId": id, "name": said, "extractedText": said }));
        document["hasExtractedLicensingInfos"] = names.collect();
    }
    document["documentNamespace"] = json!(namespace(&document));
    document
}

/// Returns a name for a document that no other one has. Spec: RFC 9562, version 8 of a UUID, of its content's digest.
fn namespace(document: &Value) -> String {
    let digest = Digest::of(document.to_string().as_bytes()).hex();
    let part = |from: usize, to: usize| &digest[from..to];
    let variant = ["8", "9", "a", "b"][usize::from(digest.as_bytes()[16] % 4)];
    let (a, b, c, d, e) = (part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32));
    format!("urn:uuid:{a}-{b}-8{c}-{variant}{d}-{e}")
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn image(inventory: &Inventory, of: &Described<'_>) -> Value {
    let name = of.names.first().map_or_else(|| of.image_id.to_string(), Reference::familiar_name);
    let mut entry = package(&name, IMAGE);
    let purls: Vec<Value> = of.names.iter().map(|name| purl(&image_purl(name, Some(of.platform)))).collect();
    entry.insert("versionInfo".to_owned(), json!(of.image_id));
    entry.insert("primaryPackagePurpose".to_owned(), json!("CONTAINER"));
    if !purls.is_empty() {
        entry.insert("externalRefs".to_owned(), json!(purls));
    }
    if let Some(release) = &inventory.release {
        entry.insert("comment".to_owned(), json!(format!("Its distribution is {}.", release.name)));
    }
    Value::Object(entry)
}

fn entry(said: &Package, id: &str, url: &str, own: &mut OwnNames) -> Value {
    let mut entry = package(&said.name, id);
    entry.insert("versionInfo".to_owned(), json!(said.version));
    let licence = said.licence.as_deref().and_then(|licence| expression(licence, own));
    entry.insert("licenseDeclared".to_owned(), json!(licence.as_deref().unwrap_or(UNKNOWN)));
    if let Some(maintainer) = &said.maintainer {
        entry.insert("supplier".to_owned(), json!(supplier(maintainer)));
    }
    let is_address = |url: &&String| {
        (url.starts_with("http://") || url.starts_with("https://"))
            && url.is_ascii()
            && !url.contains([' ', '"', '<', '>'])
    };
    if let Some(homepage) = said.homepage.as_ref().filter(is_address) {
        entry.insert("homepage".to_owned(), json!(homepage));
    }
    let mut found = format!("found in {}", said.place);
    if let Some((name, version)) = &said.source {
        found.push_str(&format!("; built of the source package {name} {version}"));
    }
    entry.insert("sourceInfo".to_owned(), json!(found));
    entry.insert("externalRefs".to_owned(), json!([purl(url)]));
    Value::Object(entry)
}

/// Makes an entry with what every one must have.
fn package(name: &str, id: &str) -> Map<String, Value> {
    let fields = [
        ("SPDXID", json!(id)),
        ("name", json!(name)),
        ("downloadLocation", json!(UNKNOWN)),
        ("filesAnalyzed", json!(false)),
        ("licenseConcluded", json!(UNKNOWN)),
        ("licenseDeclared", json!(UNKNOWN)),
        ("copyrightText", json!(UNKNOWN)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn purl(url: &str) -> Value {
    json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url })
}

/// Spec: SPDX 2.3, 7.5: `Person: NAME (ADDRESS)` or `Organization: …`; who it is only a reader of the name can tell.
fn supplier(maintainer: &str) -> String {
    let (name, address) = match maintainer.split_once('<') {
        Some((name, rest)) => (name, rest.split('>').next().unwrap_or_default()),
        None => (maintainer.split('(').next().unwrap_or(maintainer), ""),
    };
    let plain = |text: &str| text.replace(['(', ')', '"'], "").trim().to_owned();
    let (name, address) = (plain(name), plain(address));
    let name = if name.is_empty() { address.clone() } else { name };
    if name.is_empty() {
        return UNKNOWN.to_owned();
    }
    let several = ["Team", "Maintainers", "Developers", "Group", "Project", "Foundation", "Authority"];
    let kind = if several.iter().any(|word| name.contains(word)) { "Organization" } else { "Person" };
    if address.contains('@') { format!("{kind}: {name} ({address})") } else { format!("{kind}: {name}") }
}

/// Returns the name that a package has within the document. Spec: SPDX 2.3, 3.2: letters, digits, `.` and `-`.
fn id(package: &Package, purl: &str) -> String {
    let world = package.ecosystem.purl_type();
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = package.name.chars().map(fits).take(80).collect();
    let digest = Digest::of(format!("{purl}\n{}", package.place).as_bytes()).hex();
    format!("SPDXRef-{world}-{name}-{}", &digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ecosystem, Release};

    fn inventory() -> Inventory {
        let bash = Package {
            architecture: Some("amd64".to_owned()),
            licence: Some("GPL-3+".to_owned()),
            maintainer: Some("Matthias Klose <doko@debian.org>".to_owned()),
            homepage: Some("http://tiswww.case.edu/php/chet/bash/bashtop.html".to_owned()),
            ..Package::new(Ecosystem::Deb, "bash", "5.2.15-2+b7", "/var/lib/dpkg/status")
        };
        let scoped = Package {
            licence: Some("SEE LICENSE".to_owned()),
            homepage: Some("javascript:alert(1)".to_owned()),
            ..Package::new(Ecosystem::Node, "@a/b", "1", "/app/node_modules/@a/b/package.json")
        };
        Inventory {
            release: Some(Release {
                id: "debian".to_owned(),
                version: "12".to_owned(),
                name: "Debian 12".to_owned(),
            }),
            packages: vec![bash, scoped],
            notes: vec!["/x could not be read".to_owned()],
        }
    }

    fn document(inventory: &Inventory) -> Value {
        let names = ["registry.test/web:1".parse().unwrap()];
        let of = Described {
            names: &names,
            platform: &Platform::linux("amd64"),
            image_id: Digest::of(b"config"),
            created: "2026-01-02T03:04:05Z",
            tool: "shipway-0.1.0",
        };
        spdx(inventory, &of)
    }

    #[test]
    fn a_document_describes_an_image_that_contains_packages() {
        let document = document(&inventory());
        let entry = |name: &str| {
            let packages = document["packages"].as_array().unwrap();
            packages.iter().find(|entry| entry["name"] == name).unwrap()
        };
        let (image, bash, scoped) = (entry("registry.test/web"), entry("bash"), entry("@a/b"));
        assert_eq!(
            image["externalRefs"][0]["referenceLocator"],
            "pkg:docker/registry.test/web@1?platform=linux%2Famd64"
        );
        assert_eq!(
            bash["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12"
        );
        assert_eq!(
            (&bash["licenseDeclared"], &bash["supplier"]),
            (&json!("GPL-3.0-or-later"), &json!("Person: Matthias Klose (doko@debian.org)"))
        );
        assert_eq!(
            (scoped["licenseDeclared"].as_str(), scoped.get("homepage")),
            (Some("LicenseRef-SEE-LICENSE"), None)
        );
        assert_eq!(document["hasExtractedLicensingInfos"][0]["licenseId"], "LicenseRef-SEE-LICENSE");
        assert!(document["creationInfo"]["comment"].as_str().unwrap().contains("not complete"));
        let contained: Vec<&Value> = document["relationships"]
            .as_array()
            .unwrap()
            .iter()
            .skip(1)
            .map(|said| &said["relatedSpdxElement"])
            .collect();
        assert_eq!(contained, [&bash["SPDXID"], &scoped["SPDXID"]]);
        let namespace = document["documentNamespace"].as_str().unwrap();
        assert!(namespace.starts_with("urn:uuid:") && namespace.len() == 45, "{namespace}");
    }

    #[test]
    fn the_same_inventory_gives_the_same_document_and_another_one_another_name() {
        let same = (document(&inventory()), document(&inventory()));
        assert_eq!(same.0.to_string(), same.1.to_string());
        let other = document(&Inventory::default());
        assert_ne!(other["documentNamespace"], same.0["documentNamespace"]);
        assert_eq!(other["creationInfo"].get("comment"), None);
    }

    #[test]
    fn suppliers_are_people_or_organisations() {
        for (said, want) in [
            ("Debian GCC Maintainers <gcc@x.test>", "Organization: Debian GCC Maintainers (gcc@x.test)"),
            ("A. N. Other", "Person: A. N. Other"),
            ("me@x.test", "Person: me@x.test"),
            ("<a@x.test>", "Person: a@x.test (a@x.test)"),
            ("TJ <tj@x.test> (http://x.test)", "Person: TJ (tj@x.test)"),
            ("(", "NOASSERTION"),
        ] {
            assert_eq!(supplier(said), want, "case {said}");
        }
    }
}

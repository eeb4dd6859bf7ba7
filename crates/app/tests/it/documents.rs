//! What is attested of files that go to a directory or into an archive.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::machine::{Machine, can_run};

/// Returns what each document in an archive of files is about.
fn of_archive(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut archive = tar::Archive::new(fs_err::File::open(path).unwrap());
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        if path.ends_with(".json") {
            assert_eq!(
                (entry.header().mode().unwrap(), entry.header().mtime().unwrap()),
                (0o600, 7),
                "{path}"
            );
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(path, about(&text));
        }
    }
    found
}

/// Returns the files that a statement is about.
fn about(text: &str) -> Vec<String> {
    let said: Value = serde_json::from_str(text).unwrap();
    assert!(said["predicateType"].is_string() && said["predicate"].is_object(), "{said}");
    let subjects = said["subject"].as_array().unwrap().iter();
    subjects.map(|subject| subject["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_attested_of_files_is_beside_them() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY passwd /etc/$TARGETARCH\n");
    let (out, archive) = (machine.context().join("out"), machine.context().join("files.tar"));
    let both = ["--platform", "linux/amd64,linux/riscv64"];
    for (flags, fields, want) in [
        (&["--provenance"][..], "", &[("provenance.json", "etc/amd64")][..]),
        (&["--provenance=inline-only=true", "--sbom"], "", &[("sbom.spdx.json", "etc/amd64")]),
        (&["--sbom"], ",platform-split=true", &[("linux_amd64/sbom.spdx.json", "etc/amd64")]),
        (
            &["--provenance", both[0], both[1]],
            "",
            &[("linux_amd64/provenance.json", "etc/amd64"), ("linux_riscv64/provenance.json", "etc/riscv64")],
        ),
        (
            &["--provenance", both[0], both[1]],
            ",platform-split=false",
            &[("provenance.linux_amd64.json", "etc/amd64"), ("provenance.linux_riscv64.json", "etc/riscv64")],
        ),
        (&["--sbom"], ",attestation-prefix=app-", &[("app-sbom.spdx.json", "etc/amd64")]),
        (
            &["--provenance", both[0], both[1]],
            ",platform-split=false,attestation-prefix=v1.",
            &[
                ("v1.provenance.linux_amd64.json", "etc/amd64"),
                ("v1.provenance.linux_riscv64.json", "etc/riscv64"),
            ],
        ),
        (&[], "", &[]),
    ] {
        let build = |kind: &str, dest: &str| {
            let output = format!("type={kind},dest={dest}{fields}");
            let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=7", "--platform", "linux/amd64"];
            let last = ["-o", output.as_str(), "."];
            machine.ok(&[&["build", "-q"], &epoch[..if flags.len() > 2 { 2 } else { 4 }], flags, &last].concat());
        };
        build("tar", "files.tar");
        let named: BTreeMap<String, Vec<String>> =
            want.iter().map(|(path, file)| ((*path).to_owned(), vec![(*file).to_owned()])).collect();
        assert_eq!(of_archive(&archive), named, "case {flags:?} {fields}");
        build("local", "out");
        for (path, file) in want {
            let path = out.join(path);
            assert_eq!(about(&fs_err::read_to_string(&path).unwrap()), [*file], "case {flags:?} {fields}");
            let metadata = fs_err::metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "case {flags:?} {fields}");
        }
        fs_err::remove_dir_all(&out).unwrap();
    }
    // Others may read an archive.
    let plain = machine.context().join("plain");
    fs_err::write(&plain, "").unwrap();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&archive), mode(&plain));
}

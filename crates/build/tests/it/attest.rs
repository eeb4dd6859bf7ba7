//! What is attested of results.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shipway_build::{
    Attest, BuildError, Inventory, InventoryQuestion, Provenance, SeamError, Secret, SlsaVersion, Stop,
};
use shipway_linux::Root;
use shipway_oci::Statement;
use shipway_store::{ATTESTATION_LIMIT, Found, StoreError};
use shipway_testkit::{Need, require};

use crate::harness::Bench;

const SECRET: &str = "do-not-tell-5f2c";

/// Lists the names at the top of an image.
#[derive(Debug)]
struct Names;

impl Inventory for Names {
    fn spdx(&self, files: &Root, question: &InventoryQuestion<'_>) -> Result<Value, SeamError> {
        let names: Vec<String> =
            files.names(".").unwrap().iter().map(|name| name.to_string_lossy().into_owned()).collect();
        Ok(json!({ "names": names, "of": question.names[0].familiar(), "at": question.created }))
    }
}

fn provenance(version: SlsaVersion) -> Provenance {
    Provenance { is_full: true, version, builder_id: "https://ci.test".to_owned(), is_reproducible: true }
}

/// Builds, and returns the statements by their type.
fn statements(bench: &Bench, request: &shipway_build::BuildRequest) -> Vec<Statement> {
    let built = bench.builder().with_inventory(Arc::new(Names)).build(request).unwrap();
    let index = built.index.map(|(digest, _)| digest);
    let found = Found { index, ..Found::new(built.image_id, built.manifest) };
    assert_eq!(bench.store.resolve("app").unwrap().index, index);
    let attested = bench.store.attested(&found).unwrap();
    let statements = attested.statements(&found.manifest);
    for said in &statements {
        assert_eq!(said.subject[0].name, "pkg:docker/app@latest?platform=linux%2Famd64");
        assert_eq!(said.subject[0].digest["sha256"], built.manifest.hex());
    }
    statements
}

#[test]
fn provenance_follows_the_stages_and_tells_no_secret() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("a", "a");
    let mut request = bench.request(&format!(
        "FROM debian AS tools\nRUN write /tool x\nFROM tools AS unused\nRUN write /unused x\n\
         FROM debian\n# {SECRET}\nCOPY a /a\nCOPY --from=tools /tool /tool\n\
         RUN --mount=type=secret,id=one,required=true --mount=type=secret,target=/run/two --network=none say hi\n"
    ));
    request.secrets = vec![Secret { id: "one".to_owned(), content: format!("{SECRET}\n").into_bytes() }];
    request.build_args = vec![
        ("PASSWORD".to_owned(), SECRET.to_owned()),
        ("HTTP_PROXY".to_owned(), "http://me:secret@proxy".to_owned()),
    ];
    request.attest = Attest { provenance: Some(provenance(SlsaVersion::V02)), sbom: true };
    let said = statements(&bench, &request);
    assert_eq!(said.len(), 2);
    let (what, inside) = (&said[0].predicate, &said[1].predicate);
    assert_eq!(said[0].predicate_type, "https://slsa.dev/provenance/v0.2");
    let parameters = &what["invocation"]["parameters"];
    assert_eq!(parameters["args"], json!({ "build-arg:PASSWORD": "****" }));
    assert_eq!(parameters["secrets"], json!([{ "id": "one" }, { "id": "two", "optional": true }]));
    assert_eq!(parameters["locals"], json!([{ "name": "context" }, { "name": "dockerfile" }]));
    assert_eq!(
        (&what["metadata"]["reproducible"], &what["builder"]["id"]),
        (&true.into(), &"https://ci.test".into())
    );
    let steps = what["buildConfig"]["steps"].as_array().unwrap();
    let told: Vec<(&str, &Value)> =
        steps.iter().map(|step| (step["id"].as_str().unwrap(), &step["inputs"])).collect();
    let none = Value::Null;
    let [first, copied, both, last] =
        [json!(["step0:0"]), json!(["step2:0"]), json!(["step3:0", "step1:0"]), json!(["step4:0"])];
    let want = [
        ("step0", &none),
        ("step1", &first),
        ("step2", &none),
        ("step3", &copied),
        ("step4", &both),
        ("step5", &last),
    ];
    assert_eq!(told, want, "{steps:?}");
    assert!(!steps.iter().any(|step| step["instruction"].as_str().unwrap().contains("unused")));
    let layers = &what["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["layers"];
    let info = &what["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["source"]["infos"][0];
    let dockerfile = STANDARD.decode(info["data"].as_str().unwrap()).unwrap();
    let dockerfile = String::from_utf8(dockerfile).unwrap();
    assert!(dockerfile.contains("# ****\n") && !dockerfile.contains(SECRET), "{dockerfile}");
    let made: Vec<&String> = layers.as_object().unwrap().keys().collect();
    // The base of the result, and what was made on it.
    assert_eq!(made, ["step2:0", "step3:0", "step4:0", "step5:0"]);
    for statement in &said {
        let text = statement.predicate.to_string();
        assert!(!text.contains(SECRET) && !text.contains("proxy"), "{text}");
    }
    assert_eq!(inside["of"], "app:latest");
    assert!(inside["names"].as_array().unwrap().contains(&"tool".into()), "{inside}");
}

/// Lists more than can be attested, or waits until nobody wants the list any more.
#[derive(Debug)]
struct Endless {
    waits: bool,
}

impl Inventory for Endless {
    fn spdx(&self, _files: &Root, question: &InventoryQuestion<'_>) -> Result<Value, SeamError> {
        if !self.waits {
            return Ok(" ".repeat(usize::try_from(ATTESTATION_LIMIT).unwrap()).into());
        }
        question.stop.set();
        Err(SeamError::new(BuildError::Cancelled))
    }
}

#[test]
fn a_list_without_an_end_is_no_result() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let mut request = bench.request("FROM debian\nLABEL a=b\n");
    request.attest = Attest { provenance: None, sbom: true };
    let mut build = |waits| {
        request.stop = Stop::new();
        let builder = bench.builder().with_inventory(Arc::new(Endless { waits }));
        let error = builder.build(&request).unwrap_err();
        assert!(bench.store.resolve("app").is_err());
        error
    };
    match build(false) {
        BuildError::Store { source: source @ StoreError::Oversized { .. }, .. } => {
            assert!(source.to_string().starts_with("the list of packages has 50331"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(build(true), BuildError::Cancelled));
}

#[test]
fn what_is_from_elsewhere_alone_is_complete() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let mut request = bench.request("FROM debian\nRUN --network=none say hi\n");
    request.origin = Some(shipway_build::Material::at("https://me:x@a.test/app.git#main", "sha1", "ab"));
    request.attest = Attest { provenance: Some(provenance(SlsaVersion::V1)), sbom: false };
    let said = statements(&bench, &request);
    let definition = &said[0].predicate["buildDefinition"];
    let source =
        json!({ "uri": "https://a.test/app.git#main", "digest": { "sha1": "ab" }, "path": "Dockerfile" });
    assert_eq!(definition["externalParameters"]["configSource"], source);
    assert_eq!(definition["resolvedDependencies"].as_array().unwrap().len(), 2);
    let metadata = &said[0].predicate["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_completeness"], json!({ "request": true, "resolvedDependencies": true }));
    assert_eq!(metadata["buildkit_hermetic"], true);
    assert!(metadata["startedOn"].as_str().unwrap() <= metadata["finishedOn"].as_str().unwrap());

    // Who lists packages may fail, and then there is no image.
    let mut request = bench.request("FROM debian\nRUN say hi\n");
    request.tags = vec!["none".parse().unwrap()];
    request.attest.sbom = true;
    let error = bench.run(&request).unwrap_err();
    assert_eq!(error.to_string(), "cannot list the packages in the image");
    assert!(bench.store.resolve("none").is_err());
}

#[test]
fn addresses_are_told_without_who_asks() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    for version in [SlsaVersion::V02, SlsaVersion::V1] {
        let mut request = bench.request(
            "FROM debian\nARG FROM_HERE\nRUN [\"say\", \"say https://me:hidden@a.test/x,http://hidden@b.test\"]\n\
             RUN say ftp://me:hidden@c.test/y?z=1 me@d.test\n",
        );
        request.build_args =
            vec![("FROM_HERE".to_owned(), "https://me:hidden@e.test/x?token=kept".to_owned())];
        request.labels = vec![("from".to_owned(), "'https://hidden@f.test'".to_owned())];
        let origin = "https://me:hidden@g.test/app.git#main";
        request.origin = Some(shipway_build::Material::at(origin, "sha1", "ab"));
        request.attest = Attest { provenance: Some(provenance(version)), sbom: false };
        let text = statements(&bench, &request)[0].predicate.to_string();
        assert!(!text.contains("hidden"), "{version:?}: {text}");
        for kept in [
            "https://a.test/x,http://b.test",
            "ftp://c.test/y?z=1 me@d.test",
            "https://e.test/x?token=kept",
            "'https://f.test'",
            "https://g.test/app.git#main",
        ] {
            assert!(text.contains(kept), "{version:?}: {kept} {text}");
        }
    }
}

#[test]
fn what_is_not_listed_is_told() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let dockerfile = "ARG BUILDKIT_SBOM_SCAN_CONTEXT=1\nFROM debian AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n\
                      RUN write /tool x\nFROM debian\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n\
                      ARG BUILDKIT_SBOM_SCAN_CONTEXT\nCOPY --from=tools /tool /tool\n";
    let told = |sbom: bool, given: &[&str]| {
        let mut request = bench.request(dockerfile);
        request.build_args = given.iter().map(|name| ((*name).to_owned(), "false".to_owned())).collect();
        request.attest = Attest { provenance: None, sbom };
        bench.log.clear();
        bench.builder().with_inventory(Arc::new(Names)).build(&request).unwrap();
        let warnings = bench.log.lines("WARNING");
        warnings.into_iter().filter(|line| line.contains("are listed")).collect::<String>()
    };
    assert!(told(true, &[]).ends_with("not those of the context, stage `tools`"));
    assert!(told(true, &["BUILDKIT_SBOM_SCAN_CONTEXT"]).ends_with("not those of stage `tools`"));
    assert_eq!(told(true, &["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"]), "");
    assert_eq!(told(false, &[]), "");
}

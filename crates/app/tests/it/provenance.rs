//! What provenance tells of a build, and what is told of it in the file beside the image.

use serde_json::{Value, json};
use shipway_testkit::{Need, require};

use crate::contexts::run;
use crate::machine::{Machine, can_run};

const DETAILS: &str = "/metadata/https:~1~1mobyproject.org~1buildkit@v1#metadata";

fn of_image(machine: &Machine, name: &str) -> Value {
    let said = machine.ok(&["inspect", "-f", "{{json .Provenance.SLSA}}", name]).0;
    serde_json::from_str(&said).unwrap()
}

fn metadata(machine: &Machine) -> Value {
    serde_json::from_slice(&fs_err::read(machine.context().join("metadata.json")).unwrap()).unwrap()
}

#[test]
fn a_context_is_of_a_commit_and_steps_lie_on_layers() {
    if !can_run() || !require(&[Need::Git]) {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "FROM box AS base\nFROM base AS other\nRUN echo 1 > /other\nFROM base\nCOPY --from=other /other /\nRUN echo 2 > /own\n",
    );
    let git = "git -c user.name=me -c user.email=me@test";
    let made = format!(
        "{git} init -q && {git} add Dockerfile && {git} commit -qm one && \
         {git} remote add origin https://me:pass@example.test/app.git && git rev-parse HEAD"
    );
    let commit = String::from_utf8(run(&machine.context(), &made)).unwrap().trim().to_owned();
    for mode in ["min", "max"] {
        machine.ok(&[
            "build",
            "-q",
            "-t",
            "web",
            "--network=none",
            &format!("--provenance=mode={mode}"),
            ".",
        ]);
        let said = of_image(&machine, "web");
        let details = said.pointer(DETAILS).unwrap();
        let vcs = json!({
            "localdir:context": ".",
            "localdir:dockerfile": ".",
            "revision": commit,
            "source": "https://example.test/app.git",
        });
        assert_eq!(details["vcs"], vcs, "{mode}");
        // Nothing of the context is copied, and its ignore file is looked for all the same.
        let locals = json!([{ "name": "context" }, { "name": "dockerfile" }]);
        assert_eq!(said["invocation"]["parameters"]["locals"], locals, "{mode}");
        let Some(layers) = details["layers"].as_object() else {
            assert_eq!(mode, "min");
            continue;
        };
        let diff_ids = machine.inspect("web")["RootFS"]["Layers"].clone();
        let stack = |step: &str| -> Vec<Value> {
            let [stack] = layers[step].as_array().unwrap().as_slice() else { panic!("{layers:?}") };
            stack.as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect()
        };
        let all = diff_ids.as_array().unwrap();
        // The other stage is no part of the result.
        assert_eq!(layers.keys().collect::<Vec<_>>(), ["step0:0", "step2:0", "step3:0"]);
        for (step, height) in [("step0:0", all.len() - 2), ("step2:0", all.len() - 1), ("step3:0", all.len())]
        {
            assert_eq!(stack(step), all[..height], "{step}");
        }
    }
    let mut build = machine.command(&["build", "-q", "-t", "web", "--network=none", "--provenance", "."]);
    assert!(build.env("BUILDX_GIT_INFO", "false").output().unwrap().status.success());
    assert_eq!(of_image(&machine, "web").pointer(DETAILS).unwrap().get("vcs"), None);
}

#[test]
fn bases_are_told_by_what_was_named() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY page /$TARGETARCH\n");
    let both = "--platform=linux/amd64,linux/riscv64";
    machine.ok(&["build", "-q", both, "-t", "base", "."]);
    machine.ok(&["build", "-q", both, "-o", "type=oci,tar=false,dest=layout", "."]);
    let index: Value =
        serde_json::from_slice(&fs_err::read(machine.context().join("layout/index.json")).unwrap()).unwrap();
    let of_layout =
        index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let of_base =
        machine.inspect("base")["Descriptor"]["digest"].as_str().unwrap()["sha256:".len()..].to_owned();
    machine.dockerfile("FROM base\nCOPY --from=assets / /assets\n");
    let assets = format!("assets=oci-layout://layout@sha256:{of_layout}");
    let flags = ["build", "-q", both, "--provenance=version=v1", "--metadata-file=metadata.json"];
    machine.ok(&[&flags[..], &["--build-context", &assets, "."]].concat());
    let told = metadata(&machine);
    assert_eq!(told["buildx.build.ref"].as_str().unwrap().split('/').count(), 3, "{told}");
    for platform in ["linux/amd64", "linux/riscv64"] {
        let said = &told[format!("buildx.build.provenance/{platform}")];
        let escaped = platform.replace('/', "%2F");
        let materials = json!([
            { "uri": format!("pkg:docker/base@latest?platform={escaped}"), "digest": { "sha256": of_base } },
            {
                "uri": format!("pkg:oci/assets?digest=sha256:{of_layout}&platform={escaped}"),
                "digest": { "sha256": of_layout },
            },
        ]);
        assert_eq!(said["materials"], materials, "{platform}");
    }
}

#[test]
fn the_file_beside_an_image_tells_what_variables_want() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("frOM box as base\ncOpy page .\nfrom scratch\nCOPy --from=base \\\n  page \\\n  /\n");
    let told = |version: &str, variables: &[(&str, &str)]| {
        let version = format!("--provenance=version={version}");
        let mut build = machine.command(&[
            "build",
            "-q",
            "--network=none",
            &version,
            "--metadata-file=metadata.json",
            ".",
        ]);
        let output = machine.inside(|| build.envs(variables.iter().copied()).output().unwrap());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        metadata(&machine)
    };
    let provenance = "buildx.build.provenance";
    let usual = told("v0.2", &[]);
    let full = told("v0.2", &[("BUILDX_METADATA_PROVENANCE", "max")]);
    assert_eq!(full[provenance]["buildType"], "https://mobyproject.org/buildkit@v1");
    assert!(full[provenance]["metadata"]["buildFinishedOn"].is_string(), "{full}");
    let mut small = full[provenance].clone();
    for field in ["buildConfig", "metadata"] {
        assert!(small.as_object_mut().unwrap().remove(field).is_some(), "{field}");
    }
    assert_eq!(usual[provenance], small);
    assert_eq!(usual.get("buildx.build.warnings"), None);
    // Of another version it is the same.
    assert_eq!(told("v1", &[])[provenance], small);
    let fields = |told: &Value| told.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let v1 = told("v1", &[("BUILDX_METADATA_PROVENANCE", "max")]);
    assert_eq!(fields(&v1[provenance]), fields(&full[provenance]));
    assert_eq!(fields(&v1[provenance]["metadata"]), fields(&full[provenance]["metadata"]));
    for none in ["disabled", "false"] {
        assert_eq!(told("v0.2", &[("BUILDX_METADATA_PROVENANCE", none)]).get(provenance), None);
    }
    let warned = told("v0.2", &[("BUILDX_METADATA_WARNINGS", "true")]);
    let warnings = warned["buildx.build.warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(warnings[0]["range"][0]["start"]["line"], 1);
    // What is only asked is told there as well.
    for (question, code, list) in [("check", 1, "warnings"), ("targets", 0, "targets")] {
        let flags = ["build", "--call", question, "--metadata-file=metadata.json", "."];
        assert_eq!(machine.shipway(&flags).status.code(), Some(code));
        let told = metadata(&machine);
        assert_eq!(fields(&told), ["result.json"]);
        assert!(!told["result.json"][list].as_array().unwrap().is_empty(), "{told}");
    }
}

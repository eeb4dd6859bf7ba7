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

//! Config after instructions, and the history they leave.

use super::*;
use shipway_oci::Platform;

fn run(lines: &str, build_args: &[(&str, &str)]) -> Result<StageState, Problem> {
    let file = shipway_dockerfile::parse("Dockerfile", format!("FROM scratch\n{lines}").as_bytes()).unwrap();
    let build_args: Vec<(String, String)> =
        build_args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut global = Variables::default();
    global.set("TARGETARCH", "amd64");
    let around =
        Surroundings { lexer: Lexer::new('\\'), build_args: &build_args, global: &global, epoch: None };
    let mut state = StageState::scratch(&Platform::linux("amd64"));
    for instruction in &file.stages[0].instructions {
        assert!(apply(&mut state, &instruction.kind, &around)?);
    }
    Ok(state)
}

fn last(state: &StageState) -> &str {
    state.image.history.last().and_then(|entry| entry.created_by.as_deref()).unwrap()
}

#[test]
fn history_reads_as_buildkit_writes_it() {
    for (name, line, want) in [
        ("env", "ENV A=1 B=\"x y\"", "ENV A=1 B=x y"),
        ("label", "LABEL a=1 b='2 3'", "LABEL a=1 b=2 3"),
        ("exec", "CMD [\"npm\", \"start\"]", "CMD [\"npm\" \"start\"]"),
        ("shell form", "CMD npm start", "CMD [\"/bin/sh\" \"-c\" \"npm start\"]"),
        ("entrypoint", "ENTRYPOINT [\"python3\"]", "ENTRYPOINT [\"python3\"]"),
        ("expose", "EXPOSE 443 80/udp", "EXPOSE [443/tcp 80/udp]"),
        ("volume", "VOLUME /a /b", "VOLUME [/a /b]"),
        ("user", "USER a:b", "USER a:b"),
        ("signal", "STOPSIGNAL SIGKILL", "STOPSIGNAL SIGKILL"),
        ("shell", "SHELL [\"/bin/bash\", \"-c\"]", "SHELL [/bin/bash -c]"),
        ("arg", "ARG A=1 B", "ARG A=1 B"),
        ("unseen arg", "ARG BUILDKIT_SBOM_SCAN_STAGE=true", "ARG BUILDKIT_SBOM_SCAN_STAGE=true"),
        ("platform arg", "ARG TARGETARCH", "ARG TARGETARCH=amd64"),
        ("maintainer", "MAINTAINER me $x", "MAINTAINER me $x"),
        (
            "healthcheck",
            "HEALTHCHECK --interval=90s CMD curl x",
            r#"HEALTHCHECK &{["CMD-SHELL" "curl x"] "1m30s" "0s" "0s" "0s" '\x00'}"#,
        ),
    ] {
        let state = run(line, &[]).unwrap();
        assert_eq!(last(&state), want, "case {name}");
        let entry = state.image.history.last().unwrap();
        assert!(entry.empty_layer, "case {name}");
        assert_eq!(entry.comment.as_deref(), Some("buildkit.dockerfile.v0"), "case {name}");
    }
}

#[test]
fn variables_come_from_env_and_arg_and_the_last_one_wins() {
    for (name, lines, build_args, want) in [
        ("env", "ENV A=1\nLABEL x=$A", vec![], "1"),
        ("one instruction sees what was before it", "ENV A=1\nENV A=2 B=$A\nLABEL x=$B", vec![], "1"),
        ("default", "ARG A=1\nLABEL x=$A", vec![], "1"),
        ("unseen", "ARG BUILDKIT_SBOM_SCAN_STAGE=1\nLABEL x=[$BUILDKIT_SBOM_SCAN_STAGE]", vec![], "[]"),
        ("build argument", "ARG A=1\nLABEL x=$A", vec![("A", "2")], "2"),
        ("not declared", "LABEL x=$A", vec![("A", "2")], ""),
        ("env after arg", "ARG A=1\nENV A=3\nLABEL x=$A", vec![("A", "2")], "3"),
        ("default of arg from arg", "ARG A=1\nARG B=${A}2\nLABEL x=$B", vec![], "12"),
        ("quoted", "ENV A='1  2'\nLABEL x=\"$A\"", vec![], "1  2"),
    ] {
        let state = run(lines, &build_args).unwrap();
        assert_eq!(state.image.config.labels["x"], want, "case {name}");
    }
}

#[test]
fn args_do_not_reach_the_config_and_env_does() {
    let state = run("ARG SECRET=1\nENV A=1 PATH=/bin\nENV A=2", &[]).unwrap();
    assert_eq!(state.image.config.env, ["PATH=/bin", "A=2"]);
    assert_eq!(state.scope.get("SECRET"), Some("1"));
}

#[test]
fn entrypoint_drops_the_bases_command_but_not_the_stages_own() {
    let mut base = run("CMD [\"a\"]", &[]).unwrap();
    base.cmd_set = false;
    let around =
        Surroundings { lexer: Lexer::new('\\'), build_args: &[], global: &Variables::default(), epoch: None };
    let entrypoint = InstructionKind::Entrypoint(CommandLine::Exec(vec!["e".to_owned()]));
    let mut child = StageState::of_stage(&base);
    apply(&mut child, &entrypoint, &around).unwrap();
    assert_eq!(child.image.config.cmd, None);
    let state = run("CMD [\"a\"]\nENTRYPOINT [\"e\"]", &[]).unwrap();
    assert_eq!(state.image.config.cmd, Some(vec!["a".to_owned()]));
    let empty = run("ENTRYPOINT []", &[]).unwrap();
    assert_eq!(empty.image.config.entrypoint, None);
}

#[test]
fn shell_form_uses_the_stages_shell() {
    let state = run("SHELL [\"/bin/bash\", \"-ec\"]\nCMD x\nENTRYPOINT y", &[]).unwrap();
    assert_eq!(state.image.config.cmd.unwrap(), ["/bin/bash", "-ec", "x"]);
    assert_eq!(state.image.config.entrypoint.unwrap(), ["/bin/bash", "-ec", "y"]);
}

#[test]
fn triggers_and_health_are_kept_for_the_image() {
    let state = run("ONBUILD RUN x\nHEALTHCHECK NONE\nEXPOSE 80-81", &[]).unwrap();
    assert_eq!(state.image.config.on_build, ["RUN x"]);
    assert_eq!(state.image.config.healthcheck.unwrap().test, ["NONE"]);
    assert_eq!(state.image.config.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp", "81/tcp"]);
}

#[test]
fn wrong_values_are_refused() {
    for (name, line) in [
        ("port", "EXPOSE web"),
        ("signal", "STOPSIGNAL SIGNOPE"),
        ("required variable", "ENV A=${X:?no}"),
        ("open quote", "ENV A='x"),
        ("empty volume", "VOLUME $X"),
    ] {
        assert!(run(line, &[]).is_err(), "case {name}");
    }
}

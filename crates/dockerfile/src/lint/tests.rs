use super::*;

/// Returns the rules and lines of what is odd.
fn found(text: &str) -> Vec<String> {
    found_with(text, &Checks::default())
}

fn found_with(text: &str, checks: &Checks) -> Vec<String> {
    let file = crate::parse("Dockerfile", text.as_bytes()).unwrap();
    let platform = [("TARGETPLATFORM", "linux/amd64"), ("TARGETARCH", "amd64")];
    let platform = platform.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let image = |name: &str| match name {
        "known" => Some(KnownImage { env: vec!["PATH=/bin".to_owned()], platform: "linux/amd64".to_owned() }),
        "arm" => Some(KnownImage { env: Vec::new(), platform: "linux/arm64".to_owned() }),
        _ => None,
    };
    let facts = Facts {
        build_args: &[("GIVEN".to_owned(), "known".to_owned())],
        platform: &platform,
        image: &image,
        is_ignored: &|path| path == "secret/file",
        is_empty: false,
    };
    let line = |span: Span| text[..span.start].matches('\n').count() + 1;
    let warnings = lint(&file, &facts, checks);
    warnings.iter().map(|warning| format!("{} {}", warning.rule.name(), line(warning.span))).collect()
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_else() {
    for (name, text, want) in [
        ("nothing", "FROM known AS a\nENV A=$PATH\nWORKDIR /a\nCMD [\"x\"]\n", &[][..]),
        ("stage name", "FROM known AS Big\n", &["StageNameCasing 1"]),
        ("from as", "FROM known as a\n", &["FromAsCasing 1"]),
        ("lower from as", "from known as a\n", &[]),
        ("empty line", "FROM known\nRUN a && \\\n\n  b\n", &["NoEmptyContinuation 4"]),
        ("mixed from", "From known as a\n", &["ConsistentInstructionCasing 1"]),
        ("shell of a stage", "FROM known AS a\nSHELL [\"bash\"]\nFROM a\nCMD x\n", &[]),
        ("files of secrets", "FROM known\nARG KEY_FILE\nENV AUTH_VERSION=1\n", &[]),
        (
            "casing",
            "FROM known\nrun a\nEnv A=b\nRUN c\n",
            &["ConsistentInstructionCasing 2", "ConsistentInstructionCasing 3"],
        ),
        ("lower casing", "from known\nrun a\nRUN b\n", &["ConsistentInstructionCasing 3"]),
        ("duplicate", "FROM known AS a\nFROM known AS a\n", &["DuplicateStageName 2"]),
        ("reserved", "FROM known AS scratch\n", &["ReservedStageName 1"]),
        ("json", "FROM known\nENTRYPOINT a b\n", &["JSONArgsRecommended 2"]),
        ("json with shell", "FROM known\nSHELL [\"bash\", \"-c\"]\nCMD a b\n", &[]),
        ("maintainer", "FROM known\nMAINTAINER me\n", &["MaintainerDeprecated 2"]),
        ("from arg", "ARG A=known\nFROM $B\n", &["UndefinedArgInFrom 2", "InvalidDefaultArgInFrom 2"]),
        ("workdir", "FROM known\nWORKDIR a\nWORKDIR /b\nWORKDIR c\n", &["WorkdirRelativePath 2"]),
        ("workdir of a stage", "FROM known AS a\nWORKDIR /b\nFROM a\nWORKDIR c\n", &[]),
        ("variable", "FROM known\nARG A\nENV B=$A$C\nLABEL x=$B y=${D:-d}\n", &["UndefinedVar 3"]),
        ("variable of a stage", "FROM known AS a\nARG A=1\nENV B=1\nFROM a\nLABEL x=$A$B\n", &[]),
        ("unknown base", "FROM unknown\nLABEL x=$A\n", &[]),
        ("shell variables", "FROM known\nRUN echo $A\nCMD [\"$A\"]\n", &[]),
        ("several", "FROM known\nCMD [\"a\"]\nCMD [\"b\"]\n", &["MultipleInstructionsDisallowed 2"]),
        ("legacy", "FROM known\nENV a b\nLABEL c d\n", &["LegacyKeyValueFormat 2", "LegacyKeyValueFormat 3"]),
        ("platform of the base", "FROM arm\n", &["InvalidBaseImagePlatform 1"]),
        ("redundant", "FROM --platform=$TARGETPLATFORM known\n", &["RedundantTargetPlatform 1"]),
        (
            "secret",
            "FROM known\nARG API_KEY\nENV MY_TOKEN=x PUBLIC_KEY=y KEYBOARD=z\n",
            &["SecretsUsedInArgOrEnv 2", "SecretsUsedInArgOrEnv 3"],
        ),
        ("default", "ARG GIVEN\nFROM $GIVEN\n", &["InvalidDefaultArgInFrom 2"]),
        (
            "constant platform",
            "FROM --platform=linux/amd64 known AS a\n",
            &["FromPlatformFlagConstDisallowed 1"],
        ),
        ("constant platform that is meant", "FROM --platform=linux/amd64 known AS build_amd64\n", &[]),
        (
            "ignored",
            "FROM known\nCOPY secret/file other /x/\nCOPY --from=b secret/file /y\n",
            &["CopyIgnoredFile 2"],
        ),
        ("protocol", "FROM known\nEXPOSE 80/TCP\n", &["ExposeProtoCasing 2"]),
        ("port", "FROM known\nEXPOSE 80:80\n", &["ExposeInvalidFormat 2"]),
        ("description", "# something else\nARG A=known\nFROM known\n", &[]),
    ] {
        assert_eq!(found(text), want, "case {name}");
    }
    let experimental = Checks::parse("experimental=all");
    let text = "# something else\nARG A=known\n# a is a stage\nFROM known AS a\n# x\n\nARG B\n";
    assert_eq!(found_with(text, &experimental), ["InvalidDefinitionDescription 2"]);
}

#[test]
fn rules_are_switched_off_for_all_or_for_one_place() {
    let text = "FROM known AS Big\nMAINTAINER me\n";
    for (checks, want) in [
        ("", &["StageNameCasing 1", "MaintainerDeprecated 2"][..]),
        ("skip=StageNameCasing", &["MaintainerDeprecated 2"]),
        ("skip=stagenamecasing, MaintainerDeprecated", &[]),
        ("error=true;skip=all", &[]),
        ("nonsense;x=y", &["StageNameCasing 1", "MaintainerDeprecated 2"]),
    ] {
        assert_eq!(found_with(text, &Checks::parse(checks)), want, "case {checks}");
    }
    assert!(Checks::parse("error=true;skip=all").error && !Checks::parse("error=no").error);
    let text = "FROM known\n# check=skip=MaintainerDeprecated // as it was\nMAINTAINER me\nMAINTAINER you\n";
    assert_eq!(found(text), ["MaintainerDeprecated 4"]);
}

#[test]
fn rules_are_described_where_docker_describes_them() {
    assert_eq!(Rule::StageNameCasing.url(), "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/");
    let url = "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/";
    assert_eq!(Rule::JSONArgsRecommended.url(), url);
    let urls: std::collections::HashSet<String> = RULES.map(Rule::url).into_iter().collect();
    assert_eq!(urls.len(), 22);
}

use super::*;

/// Returns the rules and lines of what is odd.
fn found(text: &str) -> Vec<String> {
    found_with(text, &Checks::default())
}

fn found_with(text: &str, checks: &Checks) -> Vec<String> {
    found_up_to(text, checks, (&|_| true, Extent::Whole))
}

fn found_up_to(
    text: &str,
    checks: &Checks,
    (is_wanted, extent): (&dyn Fn(usize) -> bool, Extent),
) -> Vec<String> {
    let (file, _) = crate::parse_until_mistake("Dockerfile", text.as_bytes());
    let platform = [("TARGETPLATFORM", "linux/amd64"), ("TARGETARCH", "amd64")];
    let platform = platform.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let known = || KnownImage {
        env: vec!["PATH=/bin".to_owned()],
        platform: "linux/amd64".to_owned(),
        ..KnownImage::default()
    };
    let image = |name: &str| match name {
        "known" => Some(known()),
        "bash" => Some(KnownImage { has_shell: true, ..known() }),
        "triggers" => Some(KnownImage { triggers: vec!["ENV a $b".to_owned()], ..known() }),
        "arm" => Some(KnownImage { platform: "linux/arm64".to_owned(), ..KnownImage::default() }),
        _ => None,
    };
    let facts = Facts {
        build_args: &[("GIVEN".to_owned(), "known".to_owned())],
        platform: &platform,
        image: &image,
        is_ignored: &|path| path == "secret/file",
        is_wanted,
        extent,
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
        ("mixed as", "FROM known As a\n", &["FromAsCasing 1"]),
        ("shell of an image", "FROM bash\nCMD x\n", &[]),
        ("triggers of an image", "FROM triggers\n", &["UndefinedVar 1", "LegacyKeyValueFormat 1"]),
        (
            "triggers of a stage",
            "FROM known AS a\nONBUILD CMD x\nFROM a AS b\nFROM b\n",
            &["JSONArgsRecommended 3"],
        ),
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
        ("from arg", "ARG A=known\nFROM $B\n", &["InvalidDefaultArgInFrom 2", "UndefinedArgInFrom 2"]),
    ] {
        assert_eq!(found(text), want, "case {name}");
    }
}

#[test]
fn rules_about_instructions_find_what_they_are_for_and_nothing_else() {
    for (name, text, want) in [
        (
            "workdir",
            "FROM known\nWORKDIR a\nWORKDIR b\nWORKDIR /c\nWORKDIR d\n",
            &["WorkdirRelativePath 2"][..],
        ),
        ("workdir of a stage", "FROM known AS a\nWORKDIR /b\nFROM a\nWORKDIR c\n", &[]),
        (
            "variable",
            "FROM known\nARG A\nENV B=$A$C$C\nLABEL x=$B y=${D:-d}\n",
            &["UndefinedVar 3", "UndefinedVar 4"],
        ),
        (
            "variable in each word",
            "FROM scratch\nENV A=$B C=$B\nUSER $PATH\n",
            &["UndefinedVar 2", "UndefinedVar 2"],
        ),
        (
            "variables of mounts and files",
            "FROM scratch\nRUN --mount=id=$A,target=/a x\nCOPY <<E /\n$B\nE\n",
            &["UndefinedVar 2", "UndefinedVar 3"],
        ),
        ("variable of a proxy", "FROM scratch\nENV A=$HTTP_PROXY\nEXPOSE $B\n", &["UndefinedVar 2"]),
        ("behind a mistake", "FROM scratch\nENV A=${B?c} D=$E\nENV f g\n", &["UndefinedVar 2"]),
        ("arguments do not count", "arg a=1\narg b=2\nFROM known\n", &[]),
        ("variable of a stage", "FROM known AS a\nARG A=1\nENV B=1\nFROM a\nLABEL x=$A$B\n", &[]),
        ("unknown base", "FROM unknown\nLABEL x=$A\n", &[]),
        ("shell variables", "FROM known\nRUN echo $A\nCMD [\"$A\"]\n", &[]),
        ("several", "FROM known\nCMD [\"a\"]\nCMD [\"b\"]\n", &["MultipleInstructionsDisallowed 2"]),
        ("legacy", "FROM known\nENV a b\nLABEL c d\n", &["LegacyKeyValueFormat 2", "LegacyKeyValueFormat 3"]),
        ("platform of the base", "FROM arm\n", &["InvalidBaseImagePlatform 1"]),
        ("redundant", "FROM --platform=\"${TARGETPLATFORM}\" known\n", &["RedundantTargetPlatform 1"]),
        ("parts of the platform", "FROM --platform=linux/$TARGETARCH known\n", &[]),
        ("other name of a platform", "FROM --platform=linux/aarch64 scratch AS arm64\n", &[]),
        ("secrets of people", "ARG TOKEN\nFROM known\nARG KEY_NAME\n", &["SecretsUsedInArgOrEnv 3"]),
        ("no secrets", "FROM known\nARG KEY_FILE\nENV AUTH_VERSION=1 public_token=x\n", &[]),
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
        ("protocol", "FROM known\nEXPOSE 80/TCP\n", &["ExposeProtoCasing 2"]),
        ("port", "FROM known\nARG p=80:80\nEXPOSE $p\n", &["ExposeInvalidFormat 3"]),
        ("port behind a mistake", "FROM known\nEXPOSE 1/TCP 2/x 3/TCP\n", &["ExposeProtoCasing 2"]),
        ("description", "# something else\nARG A=known\nFROM known\n", &[]),
        (
            "ignored",
            "FROM known\nCOPY secret/file other /x/\nCOPY --from=b secret/file /y\n",
            &["CopyIgnoredFile 2"],
        ),
    ] {
        assert_eq!(found(text), want, "case {name}");
    }
}

#[test]
fn experimental_rules_are_asked_for() {
    let experimental = Checks::parse("experimental=all").unwrap();
    for (name, text, want) in [
        (
            "other word",
            "# something else\nARG A=known\n# a is a stage\nFROM known AS a\n",
            &["InvalidDefinitionDescription 2"][..],
        ),
        ("empty comment", "# x\n#\nARG A\nFROM known AS a\n", &[]),
        ("empty line", "# x\n\nARG A\nFROM known AS a\n", &["InvalidDefinitionDescription 3"]),
        ("one of several", "# B is\nARG A B\nFROM known AS a\n", &[]),
        ("lower case", "# Big is\nFROM known AS big\n# b is\nARG b\n", &["InvalidDefinitionDescription 2"]),
    ] {
        assert_eq!(found_with(text, &experimental), want, "case {name}");
        assert_eq!(found(text), Vec::<String>::new(), "case {name}");
    }
}

#[test]
fn nothing_is_said_of_what_stands_behind_a_mistake() {
    let text = "FROM known as a\nENV b c\nFROM --platform=linux/arm64 known\nENV d e\n";
    let third = text.find("FROM --").unwrap();
    let all = ["FromAsCasing 1", "FromPlatformFlagConstDisallowed 3", "InvalidBaseImagePlatform 3"];
    let steps = ["LegacyKeyValueFormat 2", "LegacyKeyValueFormat 4"];
    let checks = Checks::default();
    for (name, extent, want) in [
        ("nowhere", Extent::Whole, [&all[..], &steps].concat()),
        ("lines", Extent::Nothing, vec![]),
        ("instructions", Extent::Instructions, all[..1].to_vec()),
        ("first stage", Extent::Stages(0), all[..1].to_vec()),
        ("last stage", Extent::Stages(third), all[..2].to_vec()),
        ("images", Extent::Images, all.to_vec()),
        ("instruction", Extent::Steps(third), [&all[..], &steps[..1]].concat()),
    ] {
        assert_eq!(found_up_to(text, &checks, (&|_| true, extent)), want, "case {name}");
    }
    let wanted = found_up_to(text, &checks, (&|number| number == 0, Extent::Whole));
    assert_eq!(wanted, ["FromAsCasing 1", "FromPlatformFlagConstDisallowed 3", "LegacyKeyValueFormat 2"]);
    // What cannot be read is looked at as far as it can.
    let unread = "FROM known as Big\nRUN a \\\n\n  b\nFROM known as 1B\nMAINTAINER me\n";
    let found = found_up_to(unread, &checks, (&|_| true, Extent::Instructions));
    let want = [
        "NoEmptyContinuation 4",
        "StageNameCasing 1",
        "FromAsCasing 1",
        "StageNameCasing 5",
        "FromAsCasing 5",
    ];
    assert_eq!(found, want);
}

#[test]
fn rules_are_switched_off() {
    let text = "FROM known AS Big\nMAINTAINER me\n";
    for (checks, want) in [
        ("", &["StageNameCasing 1", "MaintainerDeprecated 2"][..]),
        ("skip=StageNameCasing", &["MaintainerDeprecated 2"]),
        ("skip=stagenamecasing, MaintainerDeprecated", &["StageNameCasing 1"]),
        (" error=true;skip=all", &[]),
        ("skip=nonsense", &["StageNameCasing 1", "MaintainerDeprecated 2"]),
    ] {
        assert_eq!(found_with(text, &Checks::parse(checks).unwrap()), want, "case {checks}");
    }
    assert!(Checks::parse("error=true;skip=all").unwrap().error && !Checks::parse("error=0").unwrap().error);
    let text = "FROM known\n# check=skip=MaintainerDeprecated // as it was\nMAINTAINER me\nMAINTAINER you\n";
    assert_eq!(found(text), ["MaintainerDeprecated 4"]);
    for nonsense in ["nonsense", "x=y", "error=maybe", "skip=a;experimental=b;error=1;skip=c"] {
        assert!(Checks::parse(nonsense).is_err(), "case {nonsense}");
    }
}

#[test]
fn rules_are_described_where_docker_describes_them() {
    assert_eq!(Rule::StageNameCasing.url(), "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/");
    let url = "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/";
    assert_eq!(Rule::JSONArgsRecommended.url(), url);
    let urls: std::collections::HashSet<String> = RULES.map(Rule::url).into_iter().collect();
    assert_eq!(urls.len(), 22);
}

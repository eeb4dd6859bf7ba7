//! Tables of whole files, good and bad.

use super::*;
use crate::{CommandLine, CopySource, RunNetwork, excerpt};

fn first(line: &str) -> InstructionKind {
    let file = parse("Dockerfile", format!("FROM scratch\n{line}\n").as_bytes()).unwrap();
    file.stages[0].instructions[0].kind.clone()
}

fn render(text: &str) -> String {
    use miette::Diagnostic as _;
    let error = parse("Dockerfile", text.as_bytes()).unwrap_err();
    let help = error.help().map(|help| format!("hint: {help}\n")).unwrap_or_default();
    format!("error: {error}\n{}{help}", excerpt(&error).unwrap())
}

#[test]
fn a_mistyped_instruction_shows_its_line_a_caret_and_the_right_word() {
    insta::assert_snapshot!(render("FROM debian\n\nRNU apt-get update \\\n && true\n"), @r"
    error: Dockerfile:3:1: unknown instruction `RNU`
    Dockerfile:3:1
      3 | RNU apt-get update \
        | ^^^
    hint: did you mean RUN?
    ");
}

#[test]
fn a_heredoc_of_an_instruction_that_has_none_is_explained() {
    for (text, above) in [
        ("CMD <<EOF\necho x\nEOF\n", Some("CMD")),
        ("entrypoint sh <<-'EOF'\n  ech\nEOF\n", Some("ENTRYPOINT")),
        ("RUN [\"sh\", \"<<EOF\"]\necho x\nEOF\n", None),
        ("CMD a < b\necho x\n", None),
        ("CMD <<EOF\nRUN x\nEOF\n", None),
    ] {
        let said = render(&format!("FROM a\n{text}"));
        let want = above.map(|above| format!("heredocs are for RUN, COPY and ADD, not for {above}: "));
        assert_eq!(said.contains("heredocs are for"), want.is_some(), "{said}");
        assert!(said.contains(&want.unwrap_or_default()), "{said}");
    }
}

#[test]
fn errors_point_at_the_word_that_is_wrong() {
    for (name, text, want) in [
        ("empty", "", "Dockerfile:1:1: the file has no stage to build"),
        ("only comments", "# x\n", "Dockerfile:2:1: the file has no stage to build"),
        ("run before from", "RUN x", "Dockerfile:1:1: RUN before the first FROM"),
        ("from without image", "FROM", "Dockerfile:1:1: FROM needs an image, or `image AS name`"),
        ("from with two words", "FROM a b", "Dockerfile:1:6: FROM needs an image, or `image AS name`"),
        ("bad stage name", "FROM a AS 1x", "Dockerfile:1:11: FROM: `1x` cannot name a stage"),
        ("unknown flag", "FROM --plattform=x a", "Dockerfile:1:6: FROM has no flag `--plattform`"),
        ("flag twice", "FROM a\nCOPY --from=a --from=b x y", "Dockerfile:2:15: flag `--from` is given twice"),
        ("flag without value", "FROM a\nCOPY --chown x y", "Dockerfile:2:6: flag `--chown` needs a value"),
        (
            "flag not boolean",
            "FROM a\nCOPY --link=x x y",
            "Dockerfile:2:6: flag `--link` is true or false, not `x`",
        ),
        ("copy with one path", "FROM a\nCOPY x", "Dockerfile:2:6: COPY needs a source and a destination"),
        (
            "heredoc as destination",
            "FROM a\nCOPY x <<E\nE\n",
            "Dockerfile:2:6: COPY: a heredoc cannot be the destination",
        ),
        ("open heredoc", "FROM a\nRUN cat <<EOF\nx\n", "Dockerfile:2:9: heredoc `EOF` has no end"),
        (
            "json with numbers",
            "FROM a\nCMD [\"a\", 1]",
            "Dockerfile:2:5: CMD: a JSON array here holds only strings",
        ),
        ("shell form of SHELL", "FROM a\nSHELL /bin/sh", "Dockerfile:2:7: SHELL: takes a JSON array"),
        ("env without value", "FROM a\nENV A", "Dockerfile:2:5: ENV needs a name and a value"),
        ("env with a stray word", "FROM a\nENV A=b c", "Dockerfile:2:9: ENV: no `=` in `c`"),
        ("env without name", "FROM a\nENV =b", "Dockerfile:2:5: ENV: a name cannot be empty"),
        ("arg without name", "FROM a\nARG", "Dockerfile:2:1: ARG needs a name"),
        ("workdir without path", "FROM a\nWORKDIR", "Dockerfile:2:1: WORKDIR needs an argument"),
        (
            "onbuild chain",
            "FROM a\nONBUILD ONBUILD RUN x",
            "Dockerfile:2:9: ONBUILD: ONBUILD cannot be a trigger",
        ),
        ("onbuild of nothing", "FROM a\nONBUILD FOO x", "Dockerfile:2:9: unknown instruction `FOO`"),
        (
            "variable in a mount's from",
            "FROM a\nRUN --mount=from=$x,target=/x y",
            "Dockerfile:2:5: mount option `from` takes no variable",
        ),
        (
            "unknown network",
            "FROM a\nRUN --network=x y",
            "Dockerfile:2:5: flag `--network` is default, none or host, not `x`",
        ),
        (
            "unknown security",
            "FROM a\nRUN --security=x y",
            "Dockerfile:2:5: flag `--security` is sandbox or insecure, not `x`",
        ),
        (
            "health without command",
            "FROM a\nHEALTHCHECK CMD",
            "Dockerfile:2:13: HEALTHCHECK needs a command after CMD",
        ),
        (
            "health interval",
            "FROM a\nHEALTHCHECK --interval=5 CMD x",
            "Dockerfile:2:13: flag `--interval` is a duration such as 30s, not `5`",
        ),
        ("bad escape", "# escape=x\nFROM a", "Dockerfile:1:1: directive `escape` takes only \\ or `"),
        (
            "directive twice",
            "# escape=`\n# escape=`\nFROM a",
            "Dockerfile:2:1: directive `escape` is given twice",
        ),
        (
            "error on a later physical line",
            "FROM a\nENV A=1 \\\n    # c\n    B",
            "Dockerfile:4:5: ENV: no `=` in `B`",
        ),
        ("windows ends", "FROM a\r\nFOO\r\n", "Dockerfile:2:1: unknown instruction `FOO`"),
    ] {
        let got = parse("Dockerfile", text.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert_eq!(got, want, "case {name}");
    }
}

#[test]
fn bytes_that_are_no_text_are_replaced_one_by_one_and_told_outside_comments() {
    let text = b"# caf\xe9\nFROM a\nLABEL m=Andr\xe9 x=\xe2\x82\nCOPY <<E /f\n# caf\xe9\nE\n # \xff\nRUN a \\\n # \xff\n b\n";
    let file = parse("f", text).unwrap();
    let InstructionKind::Label(labels) = &file.stages[0].instructions[0].kind else { panic!("{file:?}") };
    assert_eq!(format!("{labels:?}").matches('\u{fffd}').count(), 3, "{labels:?}");
    let told: Vec<_> = file
        .replaced
        .iter()
        .map(|replaced| (file.source.locate(replaced.span), replaced.byte, replaced.count))
        .collect();
    assert_eq!(told, [("f:3:13".to_owned(), 0xe9, 3), ("f:5:6".to_owned(), 0xe9, 1)]);
    let InstructionKind::Copy(copy) = &file.stages[0].instructions[1].kind else { panic!("{file:?}") };
    assert!(format!("{copy:?}").contains("# caf\u{fffd}"), "{copy:?}");
    assert!(parse("f", b"FROM a\n# caf\xe9\n").unwrap().replaced.is_empty());
}

#[test]
fn no_input_panics() {
    let words = [
        "FROM",
        "a",
        "\\\n",
        "\n",
        "RUN",
        "<<E",
        "E",
        "--mount=",
        "${",
        "'",
        "\"",
        "[",
        "\"]",
        "ONBUILD",
        "#",
        "`",
        "=",
        "\u{feff}",
        "ü",
        "COPY",
        "HEALTHCHECK",
        "CMD",
        " ",
        "ENV",
        "--",
        "escape=`",
        "\t",
        "\0",
    ];
    // A fixed pseudo-random walk over short files.
    let mut state = 1u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(words[(state >> 33) as usize % words.len()]);
            if state >> 63 == 1 {
                text.push(' ');
            }
        }
        if let Err(error) = parse("f", text.as_bytes()) {
            excerpt(&error);
        }
    }
}

#[test]
fn large_files_take_linear_time() {
    let copy = format!("FROM a\nCOPY {}/x\n", "a \\\n".repeat(50_000));
    assert_eq!(parse("f", copy.as_bytes()).unwrap().stages[0].instructions.len(), 1);
    let lines = format!("FROM a\n{}", "ENV A=b\n".repeat(50_000));
    assert_eq!(parse("f", lines.as_bytes()).unwrap().stages[0].instructions.len(), 50_000);
}

#[test]
fn a_frontend_is_found_where_no_dockerfile_names_it() {
    for (name, text, syntax, check) in [
        (
            "behind the interpreter",
            "#!/usr/bin/env x\n#syntax=a\n# check=skip=all\nFROM b\n",
            Some("a"),
            Some("skip=all"),
        ),
        ("not behind an empty line", "#!/usr/bin/env x\n\n#syntax=a\nFROM b\n", None, None),
        ("behind slashes", "//escape=`\n// Syntax = a b\nx", Some("a b"), None),
        ("behind other slashes", "//x=y\n//syntax=a\n", None, None),
        ("slashes behind the interpreter", "#!x\n//syntax=a\n//check=skip=all", Some("a"), None),
        ("a document", "\u{feff}{\"syntax\": \"a\", \"x\": []}", Some("a"), None),
        ("no document", "{\"syntax\": \"a\"}\n#syntax=b", None, None),
        ("of another kind", "{\"syntax\": 1}", None, None),
    ] {
        let directives = parse_until_mistake("f", text.as_bytes()).0.directives;
        assert_eq!(
            (directives.syntax.as_deref(), directives.check.as_deref()),
            (syntax, check),
            "case {name}"
        );
    }
    let file = parse("f", b"#!x\n# escape=`\nFROM a\nRUN b \\\n c\n").unwrap();
    assert_eq!(file.stages[0].instructions[0].text, "RUN b  c");
}

#[test]
fn stages_names_and_global_arguments() {
    let text = "# syntax=docker/dockerfile:1\nARG V=1 W\nFROM --platform=$BUILDPLATFORM go:$V AS Build\nRUN x\nFROM build\n";
    let file = parse("f", text.as_bytes()).unwrap();
    assert_eq!(file.directives.syntax.as_deref(), Some("docker/dockerfile:1"));
    let args: Vec<_> = file
        .global_args
        .iter()
        .map(|arg| (arg.declaration.name.as_str(), arg.declaration.default.as_deref()))
        .collect();
    assert_eq!(args, [("V", Some("1")), ("W", None)]);
    let stages: Vec<_> = file.stages.iter().map(|s| (s.name.as_deref(), s.image.text.as_str())).collect();
    assert_eq!(stages, [(Some("build"), "go:$V"), (None, "build")]);
    assert_eq!(file.stages[0].platform.as_ref().unwrap().text, "$BUILDPLATFORM");
}

#[test]
fn commands_have_two_forms() {
    let exec = |words: &[&str]| CommandLine::Exec(words.iter().map(ToString::to_string).collect());
    let shell = |line: &str| CommandLine::Shell(line.to_owned());
    for (name, line, want) in [
        ("exec", "CMD [\"a\", \"b c\"]", exec(&["a", "b c"])),
        ("shell", "CMD a  b", shell("a  b")),
        ("broken json is shell", "CMD [\"a\" b]", shell("[\"a\" b]")),
        ("single quotes are shell", "CMD ['a']", shell("['a']")),
        ("empty json", "CMD []", exec(&[])),
        ("empty", "CMD", shell("")),
        ("lower case", "cmd a", shell("a")),
        ("joined", "CMD a \\\n  && b", shell("a   && b")),
    ] {
        assert_eq!(first(line), InstructionKind::Cmd(want), "case {name}");
    }
}

#[test]
fn run_has_flags_and_heredocs() {
    let InstructionKind::Run(run) =
        first("RUN --network=none --mount=type=cache,target=/c <<EOF bash\n\techo $x\nEOF")
    else {
        panic!("not a RUN")
    };
    assert_eq!((run.network, run.mounts.len()), (RunNetwork::None, 1));
    assert_eq!(run.command, CommandLine::Shell("<<EOF bash".to_owned()));
    assert_eq!(run.heredocs[0].content, "\techo $x\n");
    // A heredoc belongs to its instruction: what follows it is the next one.
    let text = "FROM a\nRUN <<-A cat && <<B cat\n\ta\n\tA\nb\nB\nUSER x\n";
    let file = parse("f", text.as_bytes()).unwrap();
    let instructions = &file.stages[0].instructions;
    assert_eq!(instructions[1].kind, InstructionKind::User("x".to_owned()));
    let InstructionKind::Run(run) = &instructions[0].kind else { panic!("not a RUN") };
    assert_eq!(run.heredocs.iter().map(crate::Heredoc::text).collect::<Vec<_>>(), ["a\n", "b\n"]);
    assert_eq!(
        &text[instructions[0].span.start..instructions[0].span.end],
        &text[7..text.find("\nUSER").unwrap()]
    );
}

#[test]
fn copy_has_sources_and_flags() {
    let InstructionKind::Copy(copy) =
        first("COPY --from=b --chown=1:2 --exclude=a --exclude=b --link x* y/ /z/")
    else {
        panic!("not a COPY")
    };
    assert_eq!(copy.from.unwrap().text, "b");
    assert_eq!(copy.exclude, ["a", "b"]);
    assert!(copy.link);
    assert_eq!(copy.destination.text, "/z/");
    assert_eq!(copy.sources.len(), 2);
    let InstructionKind::Copy(copy) = first("COPY [\"a b\", \"/c d/\"]") else { panic!("not a COPY") };
    assert!(matches!(&copy.sources[0], CopySource::Path(word) if word.text == "a b"));
    let InstructionKind::Copy(copy) = first("COPY <<\"a.txt\" b /x/\n$y\na.txt") else {
        panic!("not a COPY")
    };
    assert!(
        matches!(&copy.sources[0], CopySource::Heredoc(h) if h.name == "a.txt" && !h.expand && h.content == "$y\n")
    );
}

#[test]
fn pairs_and_the_rest() {
    let pair =
        |key: &str, value: &str, legacy| crate::KeyValue { key: key.into(), value: value.into(), legacy };
    for (name, line, want) in [
        ("one", "ENV A=b", InstructionKind::Env(vec![pair("A", "b", false)])),
        (
            "quoted",
            "ENV A=\"b c\" D=e",
            InstructionKind::Env(vec![pair("A", "\"b c\"", false), pair("D", "e", false)]),
        ),
        ("legacy", "ENV A b  c", InstructionKind::Env(vec![pair("A", "b  c", true)])),
        ("legacy with equals", "ENV A b=c", InstructionKind::Env(vec![pair("A", "b=c", true)])),
        ("label", "LABEL a=b", InstructionKind::Label(vec![pair("a", "b", false)])),
        ("maintainer", "MAINTAINER A <a@b>", InstructionKind::Maintainer("A <a@b>".to_owned())),
        ("volumes", "VOLUME /a /b", InstructionKind::Volume(vec!["/a".into(), "/b".into()])),
        ("json volumes", "VOLUME [\"/a b\"]", InstructionKind::Volume(vec!["/a b".into()])),
        ("trigger", "ONBUILD  copy . /x", InstructionKind::Onbuild("copy . /x".to_owned())),
        (
            "blanks behind a trigger",
            "ONBUILD RUN x \\\n y \t",
            InstructionKind::Onbuild("RUN x  y \t".to_owned()),
        ),
        (
            "trigger with heredoc",
            "ONBUILD RUN <<E\nx\nE",
            InstructionKind::Onbuild("RUN <<E\nx\nE".to_owned()),
        ),
        ("signal", "STOPSIGNAL 9", InstructionKind::StopSignal("9".to_owned())),
        ("shell", "SHELL [\"a\", \"-c\"]", InstructionKind::Shell(vec!["a".into(), "-c".into()])),
    ] {
        assert_eq!(first(line), want, "case {name}");
    }
    let InstructionKind::Healthcheck(health) = first("HEALTHCHECK --interval=5s --retries=3 CMD curl x")
    else {
        panic!("not a HEALTHCHECK")
    };
    assert_eq!((health.interval, health.retries), (5_000_000_000, 3));
    assert_eq!(health.test, ["CMD-SHELL", "curl x"]);
}

#[test]
fn triggers_parse_to_one_instruction_and_blame_their_from() {
    let source = Source::new("Dockerfile", "FROM base\n");
    let span = Span::new(0, 9);
    let good = parse_trigger("RUN <<E\nx\nE", &source, span).unwrap();
    assert_eq!(good.span, span);
    let error = parse_trigger("NOPE x", &source, span).unwrap_err();
    assert_eq!(error.to_string(), "Dockerfile:1:1: unknown instruction `NOPE`");
}

#[test]
fn what_stands_before_a_mistake_is_read() {
    for (name, text, want) in [
        ("in a stage", "ARG A=1\n# escape=`\nFROM a AS b\nRUN c\nRNU d\nFROM e\n", (1, 1, 1)),
        ("before FROM", "ARG A\nRUN x\nFROM a\n", (1, 0, 0)),
        ("at once", "x", (0, 0, 0)),
        ("empty", "", (0, 0, 0)),
        ("a heredoc without end", "FROM a\nRUN <<E\nx\n", (0, 1, 0)),
    ] {
        let (file, mistake) = parse_until_mistake("Dockerfile", text.as_bytes());
        let instructions = file.stages.iter().map(|stage| stage.instructions.len()).sum::<usize>();
        assert_eq!((file.global_args.len(), file.stages.len(), instructions), want, "case {name}");
        let whole = parse("Dockerfile", text.as_bytes()).unwrap_err();
        assert_eq!(mistake.unwrap().to_string(), whole.to_string(), "case {name}");
    }
    assert!(parse_until_mistake("Dockerfile", b"FROM a\nRUN b\n").1.is_none());
    assert!(parse_until_mistake("Dockerfile", b"\xff\n").1.is_some());
}

#[test]
fn what_makes_lines_unreadable_is_told_before_what_makes_no_sense() {
    for (name, text, instruction, is_of_lines) in [
        ("unknown instruction", "FROM a\nFOO \\\n  x\nENV b=c\n", "FOO \\\n  x", false),
        ("later pair without a value", "FROM a\nFOO x\nENV b=c d\n", "ENV b=c d", true),
        ("later array", "FROM a\nFOO x\nCMD [1]\n", "CMD [1]", true),
        ("later heredoc", "FROM a\nFOO x\nRUN <<E\ny\n", "RUN <<E\ny", true),
        ("later flag", "FROM a\nFOO x\nRUN --y z\n", "FOO x", false),
    ] {
        let error = parse("Dockerfile", text.as_bytes()).unwrap_err();
        let found = &text[error.instruction.start..error.instruction.end];
        assert_eq!((found, error.is_of_lines), (instruction, is_of_lines), "case {name}");
    }
}

#[test]
fn comments_stay_above_an_instruction_until_an_empty_one() {
    for (name, text, want) in [
        ("directly", "# a b\nFROM x", &["a b"][..]),
        ("empty line", "# a\n\nFROM x", &["a"]),
        ("empty comment", "# a\n#\n# b\nFROM x", &["b"]),
        ("two marks", "## a\nFROM x", &["# a"]),
        ("indented", "  # a\nFROM x", &["# a"]),
        ("directive", "# check=skip=all\n# a\nFROM x", &["a"]),
        ("of the one before", "# a\nARG b\nFROM x", &[]),
    ] {
        assert_eq!(parse("Dockerfile", text.as_bytes()).unwrap().stages[0].comments, want, "case {name}");
    }
}

#[test]
fn there_is_a_limit_to_stages() {
    let of = |count: usize| parse("Dockerfile", "FROM scratch\n".repeat(count).as_bytes());
    assert_eq!(of(1000).unwrap().stages.len(), 1000);
    assert!(of(1001).unwrap_err().to_string().contains("more than 1000 stages"));
}

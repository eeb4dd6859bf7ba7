//! What goes wrong is said once and clearly, with what to do, by the real program; nothing half done stays.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use shipway_testkit::{Need, require};

/// A user that is not root. Compat: Debian's `nobody`.
const NOBODY: u32 = 65_534;

/// A folder with roots and a context.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("app")).unwrap();
        Self { dir }
    }

    /// One whose context has a shell.
    fn with_shell(dockerfile: &str) -> Self {
        let place = Self::new();
        fs_err::copy("/bin/busybox", place.path("app/busybox")).unwrap();
        let shell = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n";
        place.write("app/Dockerfile", &format!("{shell}{dockerfile}"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipway"));
        command.env("SHIPWAY_ROOT", self.path("root")).env("SHIPWAY_STATE", self.path("state"));
        // No registry but those of the tests is asked.
        command
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env_remove("BUILDKIT_PROGRESS")
            .current_dir(self.dir.path())
            .args(args);
        command
    }

    /// Returns what is said about `args`, which fail with code 1, and checks that nothing was begun.
    fn refusal(&self, args: &[&str]) -> String {
        let text = refusal(&mut self.command(args));
        for name in ["root/active", "root/tmp", "state/containers", "state/steps"] {
            let left = fs_err::read_dir(self.path(name)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{args:?} left something in {name}: {text}");
        }
        text
    }

    /// Like `refusal`, with the roots on a file system of their own that goes with the program.
    fn refusal_on(&self, kind: &str, options: &str, args: &[&str]) -> String {
        let mut command = Command::new("unshare");
        let script = "mount -t \"$0\" -o \"$1\" none disk && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, kind, options, env!("CARGO_BIN_EXE_shipway")]);
        fs_err::create_dir_all(self.path("disk")).unwrap();
        refusal(
            command.args(["--root", "disk/root", "--state", "state"]).args(args).current_dir(self.dir.path()),
        )
    }
}

fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!((status.code(), stdout.as_slice()), (Some(1), &b""[..]), "{text}");
    assert_eq!(text.matches("error: ").count(), 1, "one error: {text}");
    text
}

fn can_run() -> bool {
    require(&[Need::Root, Need::Overlay, Need::Cgroups, Need::Busybox])
}

#[test]
fn what_cannot_be_built_is_told_with_what_to_do() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    place.write("app/typo", "FROM scratch\nCOPY --form=x a b\n");
    place.write("app/registry", "FROM 127.0.0.1:1/x\n");
    place.write("app/debian", "FROM debian:bookworm\n");
    for (args, wanted) in [
        (&["app"][..], &["cannot read the Dockerfile `app/Dockerfile`", "or name one with -f"][..]),
        (&["nowhere"], &["the build context `nowhere` is no directory", "hint: "]),
        (&["https://example/x.git"], &["`git fetch` failed: ", "hint: see that this address can be reached"]),
        (&["-"], &["Dockerfile:1:1: ", "hint: "]),
        (
            &["-f", "app/typo", "app"],
            &[
                "typo:2:6: COPY has no flag `--form`",
                "  2 | COPY --form=x a b\n    |      ^^^^",
                "did you mean --from?",
            ],
        ),
        (
            &["-f", "app/registry", "app"],
            &[
                "registry:1:6: cannot get",
                "could not pull `127.0.0.1:1/x:latest`",
                "could not reach http://127.0.0.1:1/v2/x/manifests/latest (directly, ",
                "hint: check the network",
            ],
        ),
        (
            &["-f", "app/debian", "app"],
            &["debian:1:6: cannot get", "through the proxy http://127.0.0.1:1", "--bootstrap-base"],
        ),
        (&["--progress", "tty", "app"], &["needs a terminal", "hint: "]),
        (&["-q", "--progress", "plain", "app"], &["exclude each other", "hint: "]),
    ] {
        let text = place.refusal(&[&["build", "-t", "bad"], args].concat());
        for wanted in wanted {
            assert!(text.contains(wanted), "{args:?} should say {wanted:?}: {text}");
        }
    }
    let listed = place.command(&["images", "-q"]).output().unwrap();
    assert_eq!(listed.stdout, b"");
}

#[test]
fn a_quiet_build_shows_what_a_failed_step_printed() {
    if !can_run() {
        return;
    }
    let place = Place::with_shell("RUN --network=none echo before; exit 7\n");
    for style in [&["-q"][..], &["--progress", "quiet"], &["--progress", "none"]] {
        let text = place.refusal(&[&["build"], style, &["app"]].concat());
        let want = "------\n > [3/3] RUN --network=none echo before; exit 7:\nbefore\n------\n\
                    error: process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7\n";
        assert!(text.starts_with(want), "{text}");
    }
}

#[test]
fn whoever_is_not_root_is_told_so() {
    if !can_run() {
        return;
    }
    let place = Place::with_shell("");
    fs_err::set_permissions(place.dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let text = refusal(place.command(&["build", "app"]).uid(NOBODY).gid(NOBODY));
    assert!(text.contains("by root only") && text.contains("hint: run it as root (`sudo shipway"), "{text}");
    fs_err::create_dir(place.path("closed")).unwrap();
    let text = refusal(place.command(&["--root", "closed/root", "images"]).uid(NOBODY).gid(NOBODY));
    assert!(text.contains("could not use `closed/root`") && text.contains("hint: run it as root"), "{text}");
}

#[test]
fn a_full_disk_is_named() {
    if !can_run() {
        return;
    }
    let place = Place::with_shell("");
    // Too little for the tables, for what is copied, and for what is known of it.
    for size in ["size=64k", "size=512k", "size=1200k"] {
        let text = place.refusal_on("tmpfs", size, &["build", "--progress", "quiet", "-t", "x", "app"]);
        assert!(text.contains("/disk/root` is full: make room there"), "{size}: {text}");
        assert_eq!(text.matches("hint: ").count(), 1, "{size}: {text}");
    }
}

#[test]
fn a_file_system_that_cannot_hold_layers_is_named_before_anything_is_built() {
    if !can_run() {
        return;
    }
    let place = Place::with_shell("");
    let text = place.refusal_on("ramfs", "mode=755", &["build", "app"]);
    assert!(text.contains("without user extended attributes") && text.contains("--root DIR"), "{text}");
    assert!(!text.contains("#1"), "nothing was begun: {text}");
}

#[test]
fn a_mirror_that_does_not_answer_is_told_with_what_was_tried() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirror = format!("http://{closed}/debian");
    let text = place.refusal(&["bootstrap", "debian:bookworm", "--progress", "quiet", "--mirror", &mirror]);
    let tried = format!("could not reach {mirror}/dists/bookworm/InRelease (directly, 5 attempts)");
    assert!(
        text.contains(&tried) && text.contains("Connection refused") && text.contains("hint: "),
        "{text}"
    );
}

#[test]
fn a_port_in_use_is_told_before_anything_is_built() {
    if !can_run() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let place = Place::with_shell("");
    let text = place.refusal(&["up", "--port", &port, "app"]);
    assert!(text.contains(&format!("port {port} is in use")) && text.contains("--port"), "{text}");
    assert!(
        !place.path("root/layers").exists()
            || fs_err::read_dir(place.path("root/layers")).unwrap().count() == 0
    );
}

#[test]
fn a_build_on_a_terminal_is_drawn_and_leaves_the_whole_story() {
    if !can_run() || !std::path::Path::new("/usr/bin/script").exists() {
        return;
    }
    let place =
        Place::with_shell("RUN --network=none for i in 1 2 3 4 5 6 7 8; do echo line $i; done; exit 3\n");
    let line = format!("{} build app", env!("CARGO_BIN_EXE_shipway"));
    let mut script = Command::new("/usr/bin/script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(place.dir.path());
    script.env("SHIPWAY_ROOT", place.path("root")).env("SHIPWAY_STATE", place.path("state"));
    script
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .env_remove("BUILDKIT_PROGRESS")
        .env_remove("SHIPWAY_LOG");
    let output = script.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert_eq!(output.status.code(), Some(1), "{text}");
    // The last frame is all that stays.
    let last = text.rsplit("\u{1b}[?2026h").next().unwrap().replace("\u{1b}[K", "");
    for wanted in [
        "[+] Building ",
        "(3/5) FAILED\n",
        " => [2/3] COPY busybox /bin/sh ",
        " => ERROR [3/3] RUN --network=none for i in 1 2 3",
        "\nline 1\n",
        "\nline 8\n------\n\u{1b}[J",
        "did not complete successfully: exit code: 3\nDockerfile:4\n",
        "\n   4 | >>> RUN --network=none for i in 1 2 3",
    ] {
        assert!(last.contains(wanted), "{wanted:?} in {last:?}");
    }
    assert!(!text.contains("\u{1b}[?25l"), "the cursor is never hidden");
}

#[test]
fn what_is_odd_is_told_by_its_rule() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let app = "# nothing\nFROM scratch AS Big\nCOPY left out /\nMAINTAINER me\n";
    place.write("app/Dockerfile", app);
    place.write("app/left", "x");
    place.write("app/out", "x");
    place.write("app/.dockerignore", "out\n");
    let check = |args: &[&str]| {
        let output = place.command(&[&["build", "--check"], args].concat()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = check(&["app"]);
    assert_eq!(code, Some(1));
    let want = "Check complete, 3 warnings have been found!\n\nWARNING: StageNameCasing - \
                https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n";
    assert!(said.starts_with(want), "{said}");
    for want in [
        "\nWARNING: CopyIgnoredFile - ",
        "/Dockerfile:3\n--------------------\n",
        "   3 | >>> COPY left out /\n",
        "\nWARNING: MaintainerDeprecated - ",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    let argument = "BUILDKIT_DOCKERFILE_CHECK=skip=all";
    assert_eq!(
        check(&["--build-arg", argument, "app"]),
        (Some(0), "Check complete, no warnings found.\n".to_owned())
    );

    // What stands above a mistake is looked at all the same.
    place.write("app/Dockerfile", "FROM scratch AS Big\nMAINTAINER me\nCOPI left /\nENV a b\n");
    let output = place.command(&["build", "--check", "app"]).output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("Check complete, 2 warnings have been found!\n"), "{said}");
    assert!(
        said.contains("WARNING: StageNameCasing - ") && said.contains("WARNING: MaintainerDeprecated - "),
        "{said}"
    );
    assert!(!said.contains("LegacyKeyValueFormat"), "{said}");
    assert!(why.contains("Dockerfile:3:1: unknown instruction `COPI`") && why.contains("COPY"), "{why}");
    assert_eq!(output.status.code(), Some(1));
    let said = place.refusal(&["build", "app"]);
    assert!(
        said.contains("#1 WARN: MaintainerDeprecated: ") && said.contains("unknown instruction `COPI`"),
        "{said}"
    );

    // A build tells of them, and goes on unless its Dockerfile wants no such thing.
    place.write("app/Dockerfile", "FROM scratch AS Big\nCOPY left /\n");
    let output = place.command(&["build", "-t", "odd", "app"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("#1 WARN: StageNameCasing: ") && said.contains("(line 1)\n"),
        "{said}"
    );
    place.write("app/Dockerfile", "# check=error=true\nFROM scratch AS Big\nCOPY left /\n");
    let said = place.refusal(&["build", "-t", "odd", "app"]);
    assert!(
        said.contains("does not keep its own rules: StageNameCasing") && said.contains("hint: "),
        "{said}"
    );
}

/// Asks about `app`, and returns the exit code and what is said.
fn ask(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let output = place.command(&[&["build"], args, &["app"]].concat()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ask_for_json(place: &Place, args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let (code, said) = ask(place, args);
    (code, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// Returns rules and first lines of a check, and the lines of its mistake.
fn summary(checked: &serde_json::Value) -> (Vec<String>, Option<Vec<u64>>) {
    let lines = |location: &serde_json::Value| -> Vec<u64> {
        let ranges = location["ranges"].as_array().cloned().unwrap_or_default();
        ranges.iter().map(|range| range["start"]["line"].as_u64().unwrap()).collect()
    };
    let warnings = checked["warnings"].as_array().cloned().unwrap_or_default();
    let found = warnings.iter().map(|warning| {
        format!("{} {}", warning["ruleName"].as_str().unwrap(), lines(&warning["location"])[0])
    });
    (found.collect(), checked.get("buildError").map(|error| lines(&error["location"])))
}

#[test]
fn a_check_is_told_as_json_up_to_the_first_mistake() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    for (name, text, want, mistake) in [
        ("sound", "FROM scratch\nENV a=b\n", &[][..], None),
        ("odd", "FROM scratch as x\nENV a \\\n  b\n", &["FromAsCasing 1", "LegacyKeyValueFormat 2"], None),
        (
            "chmod",
            "FROM scratch as x\nENV a b\nCOPY --chmod=99999 a /\nENV c d\n",
            &["FromAsCasing 1", "LegacyKeyValueFormat 2"],
            Some(&[3][..]),
        ),
        ("of several lines", "FROM scratch\nENV a=${b:?c} \\\n  d=e\n", &["UndefinedVar 2"], Some(&[2, 3])),
        (
            "stage that comes later",
            "FROM scratch\nENV a b\nCOPY --from=z / /\nFROM scratch AS z\nENV c d\n",
            &["LegacyKeyValueFormat 2"],
            Some(&[3]),
        ),
        (
            "stages that need each other",
            "FROM scratch AS y\nENV a b\nCOPY --from=z / /\nFROM scratch AS z\nCOPY --from=y / /\n",
            &[],
            Some(&[3, 5]),
        ),
        (
            "variable in from",
            "FROM scratch as x\nENV a b\nCOPY --from=$y / /\n",
            &["FromAsCasing 1"],
            Some(&[]),
        ),
        (
            "no name",
            "FROM scratch AS x\nENV a b\nFROM $y\n",
            &["InvalidDefaultArgInFrom 3", "UndefinedArgInFrom 3"],
            Some(&[3]),
        ),
        ("lines", "FROM scratch as x\nMAINTAINER me\nBAD\nENV a=b c\n", &[], Some(&[4])),
        (
            "mount",
            "FROM scratch\nENV a b\nRUN --mount=type=what x\nENV c d\n",
            &["LegacyKeyValueFormat 2"],
            Some(&[3]),
        ),
        ("only arguments", "ARG a\n", &[], Some(&[])),
        ("an option that means nothing", "# check=x\nFROM scratch as x\n", &[], Some(&[])),
        ("wanted errors", "# check=error=true\nFROM scratch as x\n", &["FromAsCasing 2"], Some(&[])),
        ("a text after the directive", "# check=skip=FromAsCasing // why\nFROM scratch as x\n", &[], None),
        (
            "an image that is not here",
            "FROM nobody/has:this\nENV a=${b:?c} d=$e\nCMD x\n",
            &["JSONArgsRecommended 3"],
            None,
        ),
    ] {
        place.write("app/Dockerfile", text);
        let (code, checked) = ask_for_json(&place, &["--call", "check,format=json"]);
        let (found, at) = summary(&checked);
        let mut found = found;
        found.sort();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(
            (found, at.as_deref()),
            (want.iter().map(ToString::to_string).collect(), mistake),
            "case {name}"
        );
        assert_eq!(code, Some(i32::from(!want.is_empty() || mistake.is_some())), "case {name}");
    }
}

#[test]
fn a_check_says_where_it_looked() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    // What is odd in stages that the target does not need is not looked for.
    place.write(
        "app/Dockerfile",
        "FROM scratch AS a\nENV a b\nFROM scratch AS b\nENV c ${d?e}\nFROM a AS c\nENV f g\n",
    );
    for (target, want) in [
        ("a", vec!["LegacyKeyValueFormat 2"]),
        ("c", vec!["LegacyKeyValueFormat 2", "LegacyKeyValueFormat 6"]),
    ] {
        let (_, checked) = ask_for_json(&place, &["--call", "check,format=json", "--target", target]);
        assert_eq!(
            summary(&checked),
            (want.iter().map(ToString::to_string).collect(), None),
            "case {target}"
        );
    }
    place.write("app/Dockerfile", "FROM scratch as x\n");
    assert_eq!(ask(&place, &["--call", "check,ignorestatus=true"]).0, Some(0));
    let (_, checked) = ask_for_json(&place, &["--call", "lint,format=json"]);
    let source = serde_json::json!([
        {"filename": "Dockerfile", "data": "RlJPTSBzY3JhdGNoIGFzIHgK", "language": "Dockerfile"}
    ]);
    assert_eq!(checked["sources"], source);
    let warning = &checked["warnings"][0];
    assert_eq!(warning["url"], "https://docs.docker.com/go/dockerfile/rule/from-as-casing/");
    assert_eq!(
        warning["location"],
        serde_json::json!({"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]})
    );
}

#[test]
fn what_a_dockerfile_offers_is_shown_without_building() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let text = "# VERSION is what is built\nARG VERSION=1\nARG UNUSED=1\n# base has the tools\nFROM scratch AS base\n\
                ARG TOOL VERSION\nRUN --mount=type=secret,id=key,required --mount=type=ssh x\nFROM scratch\n\
                # web is what is shipped\nFROM base AS web\n";
    place.write("app/Dockerfile", text);
    let call = |question: &str| {
        let (code, said) = ask(&place, &["--call", question, "--build-arg", "TOOL=hammer"]);
        assert_eq!(code, Some(0), "{said}");
        said
    };
    let targets = "TARGET        DESCRIPTION\nbase          has the tools\n              \nweb (default) is what is shipped\n";
    assert_eq!(call("targets"), targets);
    let outline = "TARGET:      web\nDESCRIPTION: is what is shipped\n\nBUILD ARG   VALUE    DESCRIPTION\n\
                   VERSION     1        is what is built\nTOOL        hammer   \n\nSECRET   REQUIRED\nkey      true\n\n\
                   SSH       REQUIRED\ndefault   \n\n";
    assert_eq!(call("outline"), outline);
    let line =
        |line: usize| serde_json::json!({"ranges": [{"start": {"line": line}, "end": {"line": line}}]});
    let targets: serde_json::Value = serde_json::from_str(&call("targets,format=json")).unwrap();
    let want = serde_json::json!([
        {"name": "base", "description": "has the tools", "base": "scratch", "location": line(5)},
        {"base": "scratch", "location": line(8)},
        {"name": "web", "default": true, "description": "is what is shipped", "base": "base", "location": line(10)},
    ]);
    assert_eq!(targets["targets"], want);
    assert_eq!(targets["sources"].as_array().map(Vec::len), Some(1));
    let outline: serde_json::Value = serde_json::from_str(&call("outline,format=json")).unwrap();
    assert_eq!(
        outline["secrets"],
        serde_json::json!([{"name": "key", "required": true, "location": line(7)}])
    );
    assert_eq!(outline["ssh"], serde_json::json!([{"name": "default", "location": line(7)}]));

    place.write("app/Dockerfile", "ARG a\n");
    assert_eq!(
        ask_for_json(&place, &["--call", "targets,format=json"]).1["targets"],
        serde_json::Value::Null
    );
    place.write("app/Dockerfile", "FROM scratch\nCOPY --chmod=99999 a /\n");
    assert!(place.refusal(&["build", "--call", "outline", "app"]).contains("Dockerfile:2:1"));
    for (question, why) in [
        ("nonsense", "--call `nonsense` is not there"),
        ("targets,outline", "`outline` is one question too many"),
        ("targets,format=xml", "`format=xml` is not there yet"),
    ] {
        assert!(place.refusal(&["build", "--call", question, "app"]).contains(why), "case {question}");
    }
}

#[test]
fn an_outline_has_what_the_target_needs_and_nothing_else() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let names = |outlined: &serde_json::Value, list: &str| -> Vec<String> {
        let list = outlined[list].as_array().cloned().unwrap_or_default();
        let value = |one: &serde_json::Value| {
            one["value"].as_str().map(|value| format!("={value}")).unwrap_or_default()
        };
        list.iter().map(|one| format!("{}{}", one["name"].as_str().unwrap(), value(one))).collect()
    };
    for (name, text, want) in [
        (
            "used by way of others",
            "ARG a=scr\nARG b=atch\nARG c=$a$b\nARG d=1\nFROM $c\n",
            ["a=scr b=atch c=scratch", "", ""],
        ),
        ("used in a stage", "ARG a=1\nARG b=$a\nARG c=$b\nFROM scratch\nARG b\n", ["a=1 b=1", "", ""]),
        ("its own older value", "ARG a=1\nARG b=2\nARG a=$a$b\nFROM scratch\nARG a\n", ["b=2 a=12", "", ""]),
        ("of the stage", "ARG a=1\nFROM scratch\nARG a=2\nENV e=3\nARG c=$a$e d\n", ["a=2 c=23 d", "", ""]),
        ("of the machine", "FROM scratch\nARG TARGETARCH\nARG a=$TARGETOS\n", ["a", "", ""]),
        (
            "of the stages that it needs",
            "FROM scratch AS a\nARG a=1\nRUN --mount=type=secret,id=a x\nFROM scratch AS b\nARG b=1 a=2\n\
             FROM scratch AS c\nARG c=1\nRUN --mount=type=secret,id=c x\nFROM a\nCOPY --from=b / /\n\
             RUN --mount=type=secret,id=a,required x\n",
            ["a=1 b=1", "a", ""],
        ),
        ("of a trigger", "FROM scratch AS a\nONBUILD RUN --mount=type=ssh,id=x y\nFROM a\n", ["", "", "x"]),
        (
            "names of mounts",
            "FROM scratch\nARG x=1\nRUN --mount=type=secret,target=/a/b$x y\nRUN --mount=type=secret,source=c$x y\n\
             RUN --mount=type=ssh,id=$x y\n",
            ["x=1", "b1 c1", "1"],
        ),
    ] {
        place.write("app/Dockerfile", text);
        let (code, outlined) = ask_for_json(&place, &["--call", "outline,format=json"]);
        let found = ["args", "secrets", "ssh"].map(|list| names(&outlined, list).join(" "));
        assert_eq!((code, found), (Some(0), want.map(str::to_owned)), "case {name}");
    }
}

#[test]
fn questions_about_a_dockerfile_need_no_store() {
    let place = Place::new();
    place.write("app/Dockerfile", "FROM scratch as a\nARG b=1\n");
    // Nobody can make a directory there, root neither.
    let ask = |args: &[&str]| {
        let output = place
            .command(&[&["--root", "/proc/nowhere", "--state", "/proc/nowhere", "build"], args].concat())
            .stdin(fs_err::File::open(place.path("app/Dockerfile")).unwrap().into_parts().0)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), text.concat())
    };
    for (args, code, want) in [
        (&["--check", "app"][..], 1, "FromAsCasing"),
        (&["--check", "-"], 1, "FromAsCasing"),
        (&["--call", "check", "--build-context", "x=app", "app"], 1, "FromAsCasing"),
        (&["--call", "targets", "app"], 0, "a (default)"),
        (&["--call", "outline", "app"], 0, "b"),
        (&["--call", "nosuch", "app"], 1, "ask for check, targets or outline"),
        (&["--check", "https://127.0.0.1:1/x.git"], 1, "needs a place below the data root"),
        (&["app"], 1, "could not use `/proc/nowhere`"),
    ] {
        let (found, said) = ask(args);
        assert!(found == Some(code) && said.contains(want), "{args:?}: {found:?}: {said}");
    }
}

#[test]
fn a_full_place_of_an_output_is_named_with_what_to_type() {
    if !can_run() {
        return;
    }
    let place = Place::with_shell("");
    fs_err::write(place.path("app/large"), vec![b'x'; 6 << 20]).unwrap();
    place.write("app/Dockerfile", "FROM scratch\nCOPY large /a/large\n");
    fs_err::create_dir(place.path("disk")).unwrap();
    let on_full_disk = |output: &str| {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs -o size=4m none disk && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_shipway"), "build", "-q"]);
        command.args(["-o", output, "app"]).current_dir(place.dir.path());
        command.env("SHIPWAY_ROOT", place.path("root")).env("SHIPWAY_STATE", place.path("state"));
        refusal(&mut command)
    };
    for (output, path) in [
        ("disk/out", "`disk/out/a/large`"),
        ("type=oci,tar=false,dest=disk/out", "`disk/out/blobs/"),
        ("type=oci,dest=disk/out.tar", "`disk/out.tar`"),
        ("type=docker,dest=disk/out.tar", "`disk/out.tar`"),
        ("type=tar,dest=disk/out.tar", "`disk/out.tar`"),
        ("type=tar,dest=/dev/full", "`/dev/full`"),
    ] {
        let text = on_full_disk(output);
        assert!(text.contains("no space left to write ") && text.contains(path), "{output}: {text}");
        assert!(text.contains("name another place") && !text.contains("--root"), "{output}: {text}");
    }
    for kind in ["type=tar,dest=-", "type=oci,dest=-"] {
        let mut command = place.command(&["build", "-q", "-o", kind, "app"]);
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full.into_parts().0).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("no space left to write the standard output"), "{kind}: {text}");
        assert!(text.contains("name another place"), "{kind}: {text}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(&["build", "-q", "-o", kind, "app"]);
        let output = command.stdout(writer).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("nobody reads the rest of it") && text.contains("dest=FILE"), "{kind}: {text}");
    }
}

#[test]
fn a_name_to_give_has_no_digest() {
    if !can_run() {
        return;
    }
    let place = Place::with_shell("");
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = place.refusal(&["build", "-t", &format!("web@sha256:{digest}"), "app"]);
    assert!(text.contains("has a digest") && text.contains("give it a tag: `web:TAG`"), "{text}");
}

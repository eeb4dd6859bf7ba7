//! Flags of Docker's that are not there yet: refused by name, unlike typing errors.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;
use crate::failure::{Failure, MISUSED};

/// The flags that each verb does not have yet.
const FLAGS: [(&str, &str); 7] = [
    (
        "run",
        "-a --annotation --attach --blkio-weight --blkio-weight-device --cgroup-parent --cgroupns \
         --cidfile --cpu-count --cpu-percent --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime \
         --cpuset-cpus --cpuset-mems --detach-keys --device --device-cgroup-rule --device-read-bps \
         --device-read-iops --device-write-bps --device-write-iops --disable-content-trust --dns-option \
         --dns-search --domainname --expose --gpus --group-add --health-cmd --health-interval \
         --health-retries --health-start-interval --health-start-period --health-timeout --init \
         --io-maxbandwidth --io-maxiops --ip --ip6 --ipc --isolation --label-file --link --link-local-ip \
         --log-driver --log-opt --mac-address --memory-reservation --memory-swap --memory-swappiness \
         --network-alias --no-healthcheck --oom-kill-disable --oom-score-adj --pid --platform \
         --privileged -q --quiet --runtime --sig-proxy --stop-timeout --storage-opt --sysctl \
         --use-api-socket --userns --uts --volume-driver --volumes-from",
    ),
    ("ps", ""),
    ("logs", "--details --until"),
    ("exec", "--detach-keys --env-file --privileged"),
    ("stop", ""),
    ("kill", ""),
    ("rm", "-l --link"),
];

/// Verbs of Docker's beside those.
const OTHERS: [&str; 16] = [
    "build", "builder", "history", "images", "import", "inspect", "load", "login", "logout", "pull", "push",
    "rmi", "save", "system", "tag", "version",
];

/// Flags whose values Docker does not look at as it reads the command line.
const TEXTS: [&str; 4] = ["--network", "--platform", "--progress", "--type"];

/// Returns what to say about a command line of one of Docker's verbs that could not be read; `None` where it asked for help, or
/// the verb is another.
pub(super) fn explain(error: &clap::Error, arguments: &[OsString]) -> Option<Failure> {
    let command = Cli::command();
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    let typed = words.find(|word| command.find_subcommand(word).is_some());
    if !error.use_stderr() {
        return None;
    }
    let plain = || Failure::plain(error.to_string().trim_end()).with_code(code(typed, error));
    let Some(typed) = typed else { return Some(plain()) };
    if OTHERS.contains(&typed) {
        return Some(plain());
    }
    let (verb, _) = FLAGS.iter().find(|(verb, _)| *verb == typed)?;
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && (*verb == "run" || is_missing(verb, flag))
    {
        return Some(refuse(verb, flag));
    }
    Some(plain())
}

/// Compat: docker, words that are too many or too few are one thing, flags that it does not know another.
fn code(verb: Option<&str>, error: &clap::Error) -> u8 {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let argument = text(ContextKind::InvalidArg).split(' ').next().unwrap_or_default();
    let is_read_later = || {
        let has_value = !text(ContextKind::InvalidValue).is_empty();
        has_value && verb != Some("run") && TEXTS.contains(&argument)
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument | ErrorKind::InvalidSubcommand => 1,
        ErrorKind::UnknownArgument if !argument.is_empty() && !argument.starts_with('-') => 1,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if is_read_later() => 1,
        _ => MISUSED,
    }
}

/// Refuses a flag that a verb does not have.
pub(super) fn refuse(verb: &str, flag: &str) -> Failure {
    let name = flag.split('=').next().unwrap_or_default();
    let what = if is_missing(verb, flag) {
        format!("`{name}` of `shipway {verb}` is not there yet")
    } else {
        format!("`shipway {verb}` has no flag `{name}`")
    };
    let hint = format!("leave it out; `shipway {verb} --help` lists what there is");
    Failure::new(what, hint).with_code(MISUSED)
}

fn is_missing(verb: &str, flag: &str) -> bool {
    let name = flag.split('=').next().unwrap_or_default();
    let flags = FLAGS.iter().find(|(known, _)| *known == verb).map_or("", |(_, flags)| flags);
    flags.split_whitespace().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Verb;

    fn refused(line: &str) -> Option<String> {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let failure = match Cli::try_parse_from(&arguments) {
            Err(error) => explain(&error, &arguments),
            Ok(_run) => crate::cli::parse(arguments.clone(), &mut |_warning| {}).err(),
        };
        failure.map(|failure| failure.text().to_owned())
    }

    #[test]
    fn what_is_not_there_yet_is_told_from_what_is_mistyped() {
        for (line, want) in [
            ("shipway run --gpus all web", "`--gpus` of `shipway run` is not there yet"),
            ("shipway run --init web", "`--init` of `shipway run` is not there yet"),
            ("shipway run --sysctl=a=5 web", "`--sysctl` of `shipway run` is not there yet"),
            ("shipway --root /x logs --until 5m web", "`--until` of `shipway logs` is not there yet"),
            ("shipway run --prot 80 web", "`shipway run` has no flag `--prot`"),
            ("shipway run -d -x web", "`shipway run` has no flag `-x`"),
            ("shipway ps --nonsense", "unexpected argument '--nonsense'"),
        ] {
            let said = refused(line).unwrap();
            assert!(said.contains(want), "case {line}: {said}");
        }
        assert_eq!(refused("shipway run --help"), None);
        let of_build = refused("shipway build --nonsense -t run").unwrap();
        assert!(of_build.contains("unexpected argument '--nonsense'"), "not of run: {of_build}");
        assert_eq!(refused("shipway cluster --nonsense"), None, "not a verb of Docker's");
    }

    #[test]
    fn what_cannot_be_read_has_dockers_exit_codes() {
        for (line, want) in [
            ("build --nonsense .", 125),
            ("build --progress", 125),
            ("tag a", 1),
            ("tag a b c", 1),
            ("rmi", 1),
            ("images a b", 1),
            ("logs", 1),
            ("ps x", 1),
            ("images --nonsense", 125),
            ("history --human=maybe web", 125),
            ("save -o", 125),
            ("stop -t x web", 125),
            ("run --nonsense web", 125),
            ("run --network nope web", 125),
            ("--nonsense", 125),
            ("system --nonsense", 125),
            ("system df --format", 125),
            ("system df x", 1),
            ("system prune --nonsense", 125),
            ("system prune --only=images --nonsense", 125),
            ("builder prune --nonsense", 125),
            ("builder prune x", 1),
            ("builder du --nonsense", 125),
            ("build --progress nope .", 1),
            ("pull --platform bogus web", 1),
            ("inspect --type nope web", 1),
        ] {
            let words: Vec<OsString> =
                std::iter::once("shipway").chain(line.split(' ')).map(OsString::from).collect();
            let error = Cli::try_parse_from(&words).unwrap_err();
            assert_eq!(explain(&error, &words).unwrap().code(), want, "case {line}");
        }
    }

    #[test]
    fn what_follows_the_image_is_the_commands() {
        let arguments = ["shipway", "run", "-d", "web", "-c", "echo -p 80", "--rm", "--gpus"]
            .map(OsString::from)
            .to_vec();
        let Verb::Run(args) = crate::cli::parse(arguments.clone(), &mut |_warning| {}).unwrap().verb else {
            panic!("another verb")
        };
        assert_eq!((args.image.as_str(), args.rm), ("web", false));
        assert_eq!(args.command, ["-c", "echo -p 80", "--rm", "--gpus"]);
    }

    #[test]
    fn no_flag_that_is_there_is_called_missing() {
        let command = Cli::command();
        for (verb, flags) in FLAGS {
            let found = command.find_subcommand(verb).unwrap();
            for argument in found.get_arguments() {
                let long = argument.get_long().map(|long| format!("--{long}"));
                let short = argument.get_short().map(|short| format!("-{short}"));
                for name in long.into_iter().chain(short) {
                    assert!(!flags.split_whitespace().any(|flag| flag == name), "{verb} has {name}");
                }
            }
        }
    }
}

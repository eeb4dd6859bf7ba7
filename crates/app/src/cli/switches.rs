//! Switches that take a value, `--pull=false`, as Docker's do; each form of a switch is made one way here, for all verbs.
//!
//! Compat: pflag, the value goes behind a `=`, and of a flag that is there twice the last one holds.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use crate::units;

/// Lets every switch of a command and of its verbs take a value.
pub(super) fn with_values(command: Command) -> Command {
    command.args_override_self(true).mut_args(with_value).mut_subcommands(with_values)
}

/// Returns the error of `command`, without values, where help was asked for: it shows a switch as `--pull`, and that is all there is to know.
pub(super) fn with_plain_help(command: Command, arguments: &[OsString], error: clap::Error) -> clap::Error {
    let is_help = |error: &clap::Error| {
        matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
    };
    if !is_help(&error) {
        return error;
    }
    command.try_get_matches_from(arguments).err().filter(is_help).unwrap_or(error)
}

fn with_value(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("BOOL")
        .value_parser(|text: &str| units::truth(text).ok_or("it is true or false"))
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Verb, parse};
    use clap::CommandFactory as _;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("shipway").chain(line.split(' ')).map(OsString::from).collect()
    }

    fn read(line: &str) -> Verb {
        parse(words(line), &mut |_warning| {}).unwrap_or_else(|failure| panic!("{line}: {failure:?}")).verb
    }

    #[test]
    fn switches_of_builds_take_values() {
        for (line, want) in [
            ("build .", [false; 5]),
            ("build --pull --no-cache --push --check -q .", [true; 5]),
            ("build --pull=true --no-cache=1 --push=t --check=T -q=TRUE .", [true; 5]),
            ("build --pull=false --no-cache=0 --push=f --check=False -q=false .", [false; 5]),
            ("build --pull --pull=false --no-cache=false --no-cache .", [false, true, false, false, false]),
            ("build -qf x .", [false, false, false, false, true]),
        ] {
            let Verb::Build(args) = read(line) else { panic!("another verb") };
            assert_eq!([args.pull, args.no_cache, args.push, args.check, args.quiet], want, "case {line}");
            assert_eq!(args.context, ["."], "case {line}");
        }
    }

    #[test]
    fn switches_of_containers_take_values_up_to_the_image() {
        for (line, want) in [
            ("run -it --rm box x", [true, true, true]),
            ("run -it=false --rm=true box x", [true, false, true]),
            ("run -i=false -t=0 --rm --rm=false box x", [false, false, false]),
            ("run -t=1 box --rm=false", [false, true, false]),
            ("run -ip80:80 -eA=1 -w/srv box -x", [true, false, false]),
        ] {
            let Verb::Run(args) = read(line) else { panic!("another verb") };
            assert_eq!([args.interactive, args.tty, args.rm], want, "case {line}");
            assert_eq!(args.image, "box", "case {line}");
        }
    }

    #[test]
    fn what_is_neither_true_nor_false_is_told() {
        let command = with_values(Cli::command());
        let error = command.try_get_matches_from(words("build --pull=maybe .")).unwrap_err().to_string();
        assert!(error.contains("'maybe'") && error.contains("it is true or false"), "{error}");
    }

    #[test]
    fn help_shows_switches_as_they_are_typed() {
        let line = words("run --help");
        let error = with_values(Cli::command()).try_get_matches_from(&line).unwrap_err();
        let help = with_plain_help(Cli::command(), &line, error).to_string();
        assert!(help.contains("--rm") && !help.contains("BOOL"), "{help}");
    }

    #[test]
    fn all_verbs_stay_well_formed() {
        with_values(crate::absent::add_to(Cli::command())).debug_assert();
    }
}

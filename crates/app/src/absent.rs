//! Docker's flags that are not there yet: known by name, so that they are refused by name and not as typing errors.
//!
//! A table for each verb. Its flags are added to the verb, hidden; whoever uses one is told what to do instead, or, where
//! nothing changes for him, that it has no effect.

mod images;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;
use crate::units;

/// A flag of docker's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    long: &'static str,
    short: Option<char>,
    /// Whether a value follows; else it is a switch.
    takes_value: bool,
    /// Values that ask for nothing but what there is.
    fine: &'static [&'static str],
    /// Whether its value is a number.
    is_number: bool,
    then: Then,
}

/// What using a flag leads to.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// An error; what to do instead.
    Refuse(&'static str),
    /// A warning; why nothing changes.
    Ignore(&'static str),
    /// Nothing: it asks for what is so anyway.
    Take,
}

impl Flag {
    /// A flag with a value; `hint` says what to do instead.
    const fn value(long: &'static str, hint: &'static str) -> Self {
        Self { long, short: None, takes_value: true, fine: &[], is_number: false, then: Then::Refuse(hint) }
    }

    /// A flag without a value; `hint` says what to do instead.
    const fn switch(long: &'static str, hint: &'static str) -> Self {
        Self { long, short: None, takes_value: false, fine: &[], is_number: false, then: Then::Refuse(hint) }
    }

    const fn with_short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    /// Some values ask for nothing but what there is.
    const fn that_may_be(self, fine: &'static [&'static str]) -> Self {
        Self { fine, ..self }
    }

    /// What is no number is refused. Compat: docker.
    const fn of_numbers(self) -> Self {
        Self { is_number: true, ..self }
    }

    /// It changes nothing, and `why`.
    const fn ignored(self, why: &'static str) -> Self {
        Self { then: Then::Ignore(why), ..self }
    }

    /// It asks for what is so anyway.
    const fn taken(self) -> Self {
        Self { then: Then::Take, ..self }
    }

    fn id(&self) -> String {
        format!("absent-{}", self.long)
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.id()).long(self.long).short(self.short).hide(true).action(ArgAction::Append);
        if self.takes_value {
            arg.num_args(1).allow_hyphen_values(true)
        } else {
            // Compat: docker takes `--flag=false` too.
            arg.num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }

    /// Returns whether it was used, and not to say that it should not be.
    fn is_used(&self, matches: &ArgMatches) -> bool {
        let typed = matches.value_source(&self.id()) == Some(ValueSource::CommandLine);
        let last = matches.get_many::<String>(&self.id()).into_iter().flatten().last();
        let is_fine = |value: &String| match self.takes_value {
            true => self.fine.contains(&value.as_str()),
            false => units::truth(value) == Some(false),
        };
        typed && !last.is_some_and(is_fine)
    }
}

/// The flags of each verb.
const TABLES: &[(&str, &[Flag])] = &[
    ("build", images::BUILD),
    ("import", images::IMPORT),
    ("pull", images::TRANSFER),
    ("push", images::TRANSFER),
    ("rmi", images::RMI),
];

/// Adds the flags to their verbs.
pub(crate) fn add_to(command: Command) -> Command {
    TABLES.iter().fold(command, |command, (verb, flags)| {
        command.mut_subcommand(verb, |command| command.args(flags.iter().map(Flag::arg)))
    })
}

/// Refuses what is not there yet, and returns what was ignored, as warnings.
pub(crate) fn check(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let Some((verb, matches)) = matches.subcommand() else { return Ok(Vec::new()) };
    let flags = TABLES.iter().find(|(known, _)| *known == verb).map_or(&[][..], |(_, flags)| flags);
    let mut warnings = Vec::new();
    for flag in flags.iter().filter(|flag| flag.is_used(matches)) {
        let mut values = matches.get_many::<String>(&flag.id()).into_iter().flatten();
        if let Some(value) = values.find(|value| flag.is_number && value.parse::<i64>().is_err()) {
            return Err(Failure::of_flag(
                format!("--{} `{value}` is no number", flag.long),
                "leave it out: it has no effect",
            ));
        }
        match flag.then {
            Then::Refuse(hint) => {
                let failure =
                    Failure::new(format!("`shipway {verb} --{}` is not there yet", flag.long), hint);
                return Err(failure);
            }
            Then::Take => {}
            Then::Ignore(why) => warnings.push(format!("warning: --{} has no effect: {why}", flag.long)),
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn outcome(line: &str) -> Result<Vec<String>, String> {
        let words = std::iter::once("shipway").chain(line.split(' '));
        let matches =
            add_to(Cli::command()).try_get_matches_from(words).map_err(|error| error.to_string())?;
        check(&matches).map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn no_flag_is_both_there_and_absent() {
        let command = Cli::command();
        for (verb, flags) in TABLES {
            let verb = command.find_subcommand(verb).unwrap_or_else(|| panic!("no verb {verb}"));
            for flag in *flags {
                let there = verb.get_arguments().any(|arg| {
                    arg.get_long_and_visible_aliases().is_some_and(|longs| longs.contains(&flag.long))
                        || (arg.get_short().is_some() && arg.get_short() == flag.short)
                });
                assert!(!there, "{} has --{} now: take it off the table", verb.get_name(), flag.long);
            }
        }
        add_to(Cli::command()).debug_assert();
    }

    #[test]
    fn absent_flags_are_refused_by_name_and_harmless_ones_ignored() {
        for (line, want) in [
            ("build --squash=false --compress=0 .", Ok(0)),
            ("build --rm=true --force-rm .", Ok(2)),
            ("build --memory 512m .", Ok(1)),
            ("build -m 512m .", Ok(1)),
            ("build --security-opt seccomp=unconfined .", Ok(1)),
            ("build --builder default .", Ok(0)),
            ("build --builder= .", Ok(0)),
            ("build -c 512 --cpu-period 1000 .", Ok(2)),
            ("build -c many .", Err("--cpu-shares `many` is no number\nhint: leave it out")),
            ("build --builder x .", Err("`shipway build --builder` is not there yet\nhint: ")),
            ("pull --disable-content-trust web", Ok(0)),
            ("push --disable-content-trust=false web", Ok(0)),
            ("images --tree", Ok(0)),
            ("rmi --no-prune x", Ok(1)),
            ("build --nonsense .", Err("unexpected argument '--nonsense'")),
        ] {
            match (outcome(line), want) {
                (Ok(warnings), Ok(count)) => assert_eq!(warnings.len(), count, "{line}: {warnings:?}"),
                (Err(text), Err(want)) => assert!(text.contains(want), "{line}: {text}"),
                (outcome, _) => panic!("{line}: {outcome:?}"),
            }
        }
    }
}

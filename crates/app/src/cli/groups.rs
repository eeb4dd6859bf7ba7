//! Docker's groups of verbs: `shipway image` alone says what is in it, as `shipway system` does.

use std::ffi::OsString;

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;
use crate::spelling;

/// What the groups are for that have no verbs of their own here.
const GROUPS: [(&str, &str); 3] = [
    ("image", "Manage images"),
    ("container", "Manage containers"),
    ("buildx", "Build images, and look at the build cache"),
];

/// Words that stand for another one of their group.
const ALIASES: [&str; 4] = ["b", "list", "ps", "remove"];

/// Returns what to print of a command line that names a group, and no word of it.
pub(super) fn help(arguments: &[OsString]) -> Option<clap::Error> {
    let verb = spelling::place_of_verb(arguments);
    let word = |place: usize| arguments.get(place).and_then(|word| word.to_str());
    let (group, about) = GROUPS.iter().find(|(group, _)| Some(*group) == word(verb))?;
    let asks = matches!(word(verb + 1), None | Some("help" | "-h" | "--help"));
    if !asks || (arguments.len() > verb + 1 && word(verb + 1).is_none()) {
        return None;
    }
    command(group, about).try_get_matches_from([*group, "--help"]).err()
}

fn command(group: &'static str, about: &'static str) -> Command {
    let all = Cli::command();
    let mut words: Vec<(&str, &str)> = spelling::words_of(group).collect();
    words.retain(|(word, _)| !ALIASES.contains(word));
    words.sort_unstable();
    let verb = |(word, ours): (&'static str, &'static str)| {
        let mut path = ours.split(' ').filter(|part| !part.starts_with('-'));
        let first = all.find_subcommand(path.next()?)?;
        let found = path.next().map_or(Some(first), |word| first.find_subcommand(word))?;
        let about = match (group, word) {
            ("image", "prune") => "Remove images that nobody uses".into(),
            ("container", "prune") => "Remove containers that have stopped".into(),
            (_, "inspect") => format!("Show everything about {group}s").into(),
            _ => found.get_about().cloned().unwrap_or_default(),
        };
        Some(Command::new(word).about(about))
    };
    Command::new(group)
        .bin_name(format!("shipway {group}"))
        .about(about)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommands(words.into_iter().filter_map(verb))
        .after_help(format!("`shipway {group} COMMAND --help` says more of one of them."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Option<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        help(&words).map(|help| help.to_string())
    }

    #[test]
    fn a_group_says_what_is_in_it() {
        for line in ["shipway image", "shipway image --help", "shipway --root /x image help"] {
            let help = shown(line).unwrap();
            for word in ["build", "history", "load", "ls", "prune", "pull", "push", "rm", "save", "tag"] {
                assert!(
                    help.lines().any(|line| line.trim_start().starts_with(&format!("{word} "))),
                    "{word}: {help}"
                );
            }
            assert!(help.contains("Usage: shipway image") && help.contains("List images"), "{help}");
        }
        assert!(shown("shipway container").unwrap().contains("List containers"));
        for line in ["shipway image ls", "shipway images", "shipway run image", "shipway image nope"] {
            assert_eq!(shown(line), None, "{line}");
        }
    }
}

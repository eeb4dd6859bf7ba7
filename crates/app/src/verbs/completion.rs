//! `shipway completion`

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(shell: clap_complete::Shell, ui: &mut Ui) -> Result<u8, Failure> {
    ui.line(script(shell).trim_end());
    Ok(0)
}

fn script(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "shipway", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_verb_is_completed_and_nothing_that_is_not_there() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for verb in Cli::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
            assert!(script.contains("kubeconfig") && script.contains("no-cache"), "{shell}");
            assert!(!script.contains("disable-content-trust"), "{shell} offers a flag that is refused");
        }
    }
}

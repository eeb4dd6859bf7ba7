//! `shipway completion`

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(shell: clap_complete::Shell, ui: &mut Ui) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "shipway", &mut script);
    ui.line(String::from_utf8_lossy(&script).trim_end());
    Ok(0)
}

//! `shipway load`

use std::io::{self, BufReader, IsTerminal as _, Read};

use crate::archive::{self, Loaded};
use crate::cli::LoadArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Compat: docker's words.
pub(crate) fn run(engine: &Engine, args: &LoadArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let hint = "name an archive: `shipway load -i FILE`, or `shipway load < FILE`";
    let mut input: Box<dyn Read + Send> = match &args.input {
        Some(path) if path.is_dir() => {
            let loaded = archive::load_directory(engine, path, args.platform.as_ref());
            return Ok(tell(loaded?, ui));
        }
        Some(path) => {
            let file = fs_err::File::open(path)
                .map_err(|error| Failure::new(format!("could not open the archive: {error}"), hint))?;
            Box::new(BufReader::with_capacity(1 << 18, file))
        }
        None if io::stdin().is_terminal() => {
            return Err(Failure::new("there is no archive to load: the standard input is a terminal", hint));
        }
        None => Box::new(io::stdin()),
    };
    Ok(tell(archive::load(engine, &mut *input, args.platform.as_ref())?, ui))
}

fn tell(loaded: Vec<Loaded>, ui: &mut Ui) -> u8 {
    for loaded in loaded {
        match loaded {
            Loaded::Named(name) => ui.line(format!("Loaded image: {}", name.familiar())),
            Loaded::Unnamed(id) => ui.line(format!("Loaded image ID: {id}")),
        }
    }
    0
}

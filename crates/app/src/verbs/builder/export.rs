//! `shipway builder export`: a cache mount as an archive.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;

use shipway_build::Caches;
use shipway_layers::serialise_with_root;

use crate::cli::BuilderExportArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::part_file;
use crate::tasks::Stopping;
use crate::ui::Ui;

pub(super) fn run(engine: &Engine, args: &BuilderExportArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let id = super::id_of(&args.id)?;
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new(
            "an archive is nothing for a terminal",
            format!("write it to a file: `shipway builder export {id} -o FILE`"),
        ));
    }
    let caches = Caches::below(engine.store.root());
    let found = caches.find(id).map_err(|error| unreadable(id, &error))?;
    let hint = "`shipway builder du --verbose --filter type=exec.cachemount` lists them";
    let cache = found.ok_or_else(|| Failure::new(format!("there is no cache mount `{id}`"), hint))?;
    let stopping = Stopping::hold()?;
    let write = |out: &mut dyn Write| {
        let written = caches.read(&cache, &stopping.build, &mut |root| serialise_with_root(root, out));
        written.map_err(|problem| stopping.failed(Failure::from(problem)))
    };
    match &args.output {
        None => {
            let mut out = BufWriter::with_capacity(1 << 18, ui.out());
            write(&mut out)?;
            out.flush().map_err(|error| unwritable(Path::new("-"), &error))?;
        }
        Some(path) => part_file::write(path, 0o600, &|error| unwritable(path, error), write)?,
    }
    ui.note(format!("to fill it elsewhere: `shipway builder import '{}'`", cache.id));
    Ok(0)
}

fn unreadable(id: &str, error: &io::Error) -> Failure {
    Failure::new(format!("could not look for the cache mount `{id}`: {error}"), "see `shipway builder du`")
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("could not write `{}`: {error}", path.display()),
        "name another file: `shipway builder export ID -o FILE`",
    )
}

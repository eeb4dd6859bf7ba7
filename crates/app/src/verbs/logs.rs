//! `shipway logs`

use crate::cli::LogsArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &LogsArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let row = engine.store.container(&args.container)?;
    let path = engine.containers.get(&row.id)?.log_path();
    let Ok(text) = fs_err::read(&path) else {
        return Err(Failure::new(
            format!("container {} has no log: its output went to the terminal that started it", row.name),
            "start it with `shipway run -d` to have one",
        ));
    };
    for entry in text.split(|byte| *byte == b'\n').filter(|entry| !entry.is_empty()) {
        let mut parts = entry.splitn(4, |byte| *byte == b' ').skip(1);
        let (stream, part, line) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let end: &[u8] = if part == Some(b"P") { b"" } else { b"\n" };
        let out: &mut dyn std::io::Write = if stream == Some(b"stderr") { ui.status() } else { ui.out() };
        // A reader that went away has seen enough.
        if out.write_all(line).and_then(|()| out.write_all(end)).is_err() {
            return Ok(0);
        }
    }
    ui.out().flush().map_or(Ok(1), |()| Ok(0))
}

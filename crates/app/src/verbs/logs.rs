//! `shipway logs`

use std::io;
use std::path::Path;

use shipway_linux::Inotify;
use shipway_runtime::{Container, LogReader, LogSelection, LogStream};

use crate::cli::LogsArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::since;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &LogsArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let row = engine.store.container(&args.container)?;
    let container = engine.containers.get(&row.id)?;
    let selection = LogSelection {
        tail: tail(&args.tail)?,
        since: args.since.as_deref().map(|text| since::parse(text, clock::nanoseconds())).transpose()?,
        timestamps: args.timestamps,
        limit_bytes: None,
    };
    let path = container.log_path();
    if !path.exists() {
        return Err(Failure::new(
            format!("container {} has no log: its output went to the terminal that started it", row.name),
            "start it with `shipway run -d` to have one",
        ));
    }
    let shown = if args.follow { follow(&container, &selection, ui) } else { show(&path, &selection, ui) };
    match shown {
        // A reader that went away has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            format!("could not read `{}`: {error}", path.display()),
            "try again; the container may just have been removed",
        )),
        _ => Ok(0),
    }
}

/// Compat: docker, a negative number is all.
fn tail(text: &str) -> Result<Option<u64>, Failure> {
    match text.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).ok()),
        Err(_) if text == "all" => Ok(None),
        Err(_) => Err(Failure::new(
            format!("`{text}` is no number of lines"),
            "write it as --tail 100, or --tail all",
        )),
    }
}

fn show(path: &Path, selection: &LogSelection, ui: &mut Ui) -> io::Result<()> {
    let mut reader = LogReader::open(path, selection)?;
    print(&mut reader, ui)
}

/// Writes everything that is there now.
fn print(reader: &mut LogReader, ui: &mut Ui) -> io::Result<()> {
    let mut written = Ok(());
    loop {
        let more = reader.read(&mut |stream, text| {
            let out = if stream == LogStream::Stderr { ui.status() } else { ui.out() };
            if written.is_ok() {
                written = out.write_all(text);
            }
        })?;
        if !more || written.is_err() {
            return written.and_then(|()| ui.out().flush());
        }
    }
}

fn follow(container: &Container, selection: &LogSelection, ui: &mut Ui) -> io::Result<()> {
    let path = container.log_path();
    let changes = Inotify::new()?;
    // Before the first read, so that nothing is missed between the two.
    changes.watch_directory(path.parent().unwrap_or(Path::new("/")))?;
    let (ended, running) = io::pipe()?;
    let waited = container.clone();
    std::thread::spawn(move || {
        // An error ends the following as well.
        drop(waited.wait());
        drop(running);
    });
    let mut reader = LogReader::open(&path, selection)?;
    loop {
        print(&mut reader, ui)?;
        if shipway_linux::wait_readable(&changes, &ended)? {
            changes.drain()?;
        } else {
            // What the shim wrote before it ended is read once more.
            return print(&mut reader, ui);
        }
    }
}

//! `shipway ps`

use shipway_runtime::{ContainerState, Status};

use crate::cli::PsArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::publish;
use crate::sweep::sweep;
use crate::table;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &PsArgs, ui: &mut Ui) -> Result<u8, Failure> {
    const COLUMNS: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    sweep(engine);
    let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
    for row in engine.store.containers()? {
        let state = engine.containers.get(&row.id).and_then(|container| container.state()).ok();
        let runs = state.as_ref().is_some_and(|state| state.status == Status::Running);
        if !runs && !args.all {
            continue;
        }
        let id = if args.no_trunc { row.id.clone() } else { row.id.chars().take(12).collect() };
        if args.quiet {
            ui.line(id);
            continue;
        }
        let created = format!("{} ago", clock::ago(clock::now() - row.created));
        rows.push(vec![
            id,
            row.image,
            command(&row.document, args.no_trunc),
            created,
            status(state.as_ref()),
            state.filter(|_| runs).map(|state| publish::render(&state.ports)).unwrap_or_default(),
            row.name,
        ]);
    }
    if !args.quiet {
        for line in table::render(&rows) {
            ui.line(line);
        }
    }
    Ok(0)
}

fn command(document: &str, whole: bool) -> String {
    let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    let words = document["Cmd"].as_array().into_iter().flatten().filter_map(|word| word.as_str());
    let text = words.collect::<Vec<_>>().join(" ");
    let shown: String = if whole || text.chars().count() <= 20 {
        text
    } else {
        text.chars().take(19).chain(['…']).collect()
    };
    format!("\"{shown}\"")
}

fn status(state: Option<&ContainerState>) -> String {
    let since = |nanoseconds: i128| {
        clock::ago(clock::now() - i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0))
    };
    match state {
        None => "Dead".to_owned(),
        Some(state) if state.status == Status::Running => format!("Up {}", since(state.started)),
        Some(state) => format!(
            "Exited ({}) {} ago",
            state.exit_code.unwrap_or(255),
            since(state.finished.unwrap_or(state.started))
        ),
    }
}

//! A build's events on a board.

use std::time::Duration;

use shipway_build::{CACHE_NOT_USED, Event, NOT_BUILT_BEFORE, Progress, StepInfo, StepKind};

use super::board::{Board, Key, Status};
use super::{Kind, Show};

impl Progress for Show {
    fn event(&self, event: &Event<'_>) {
        match &*self.0 {
            Kind::Lines(lines) => lines.build(event),
            Kind::Json(raw) => raw.build(event),
            kind => kind.change(|board, now| apply(board, event, now)),
        }
    }
}

fn apply(board: &mut Board, event: &Event<'_>, now: Duration) {
    match event {
        // And the one that writes the image.
        Event::Planned { steps } => board.plan(steps.iter().filter(|step| is_shown(step)).count() + 1),
        Event::Started { step } if is_shown(step) => board.start(key(step), step.name.clone(), now),
        Event::Cached { step, .. } => board.finish(&key(step), Status::Cached, now),
        // No news.
        Event::Missed { why, .. } if [NOT_BUILT_BEFORE, CACHE_NOT_USED].contains(why) => {}
        Event::Missed { step, why } => board.detail(&key(step), format!("({why})")),
        Event::Output { step, bytes } => board.output(&key(step), bytes),
        Event::Done { step, elapsed, .. } => board.finish_after(&key(step), Status::Done, *elapsed),
        Event::Failed { step, elapsed, cancelled, .. } => {
            let status = if *cancelled { Status::Cancelled } else { Status::Failed };
            board.finish_after(&key(step), status, *elapsed);
        }
        Event::Hashing { .. } => board.aside = Some("hash layers"),
        Event::Written { image_id, .. } => board.remark(format!("writing image {image_id}")),
        Event::Listed { index } => board.remark(format!("exporting manifest list {index}")),
        Event::Named { name } => board.remark(format!("naming to {name}")),
        Event::Warning { message, .. } => board.notes.push(format!("warning: {message}")),
        _ => {}
    }
}

fn is_shown(step: &StepInfo) -> bool {
    step.kind != StepKind::Metadata
}

fn key(step: &StepInfo) -> Key {
    Key::Step(step.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: usize, kind: StepKind) -> StepInfo {
        let name = format!("step {id}");
        StepInfo { id, kind, name, instruction: String::new(), legacy: None, span: None, inputs: vec![] }
    }

    #[test]
    fn steps_that_only_change_the_config_are_not_counted() {
        let steps = [step(1, StepKind::Base), step(2, StepKind::Metadata), step(3, StepKind::Layer)];
        let mut board = Board::new("Building");
        let key = shipway_oci::Digest::of(b"");
        for event in [
            Event::Planned { steps: &steps },
            Event::Started { step: &steps[0] },
            Event::Done { step: &steps[0], elapsed: Duration::ZERO, key: None },
            Event::Started { step: &steps[1] },
            Event::Done { step: &steps[1], elapsed: Duration::ZERO, key: None },
            Event::Started { step: &steps[2] },
            Event::Cached { step: &steps[2], key },
        ] {
            apply(&mut board, &event, Duration::ZERO);
        }
        assert_eq!(board.counts(), (2, 3));
        // The build begins again: nothing is there twice.
        apply(&mut board, &Event::Started { step: &steps[2] }, Duration::ZERO);
        assert_eq!((board.rows.len(), board.rows[1].status), (2, Status::Running));
        apply(&mut board, &Event::Cached { step: &steps[2], key }, Duration::ZERO);
        assert_eq!(
            board.rows.iter().map(|row| row.status).collect::<Vec<_>>(),
            [Status::Done, Status::Cached]
        );
    }
}

//! The rollout, and what the application prints meanwhile.

use std::collections::BTreeSet;

use shipway_workflow::{
    Deployed, LogLine, LogOrder, Project, RolloutStep, follow_logs, wait_for_crashes, wait_for_rollout,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::tasks::Stopping;
use crate::ui::Ui;

/// Lines that may wait to be shown.
const WAITING: usize = 256;

/// What the pods print.
pub(super) struct Output {
    lines: mpsc::Receiver<LogLine>,
    settled: CancellationToken,
    /// Whether lines say whose they are.
    several: bool,
    /// Ends with this value.
    _task: JoinSet<()>,
}

impl Output {
    /// Begins to follow the logs of all pods but those in `known`.
    pub(super) fn follow(
        client: &kube::Client,
        project: &Project,
        known: BTreeSet<String>,
        stopping: &Stopping,
    ) -> Self {
        let (sender, lines) = mpsc::channel(WAITING);
        let settled = CancellationToken::new();
        let order = LogOrder { known, settled: settled.clone(), stop: stopping.token.clone() };
        let (client, followed) = (client.clone(), project.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = follow_logs(&client, &followed, sender, order).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not follow the logs");
            }
        });
        Self { lines, settled, several: project.replicas > 1, _task: task }
    }

    /// Says that the pods that are left are those that stay.
    pub(super) fn settle(&self) {
        self.settled.cancel();
    }

    /// Shows a line.
    fn show(&self, line: &LogLine, ui: &mut Ui) {
        if self.several {
            ui.line(format_args!("{} | {}", line.pod, line.text));
        } else {
            ui.line(&line.text);
        }
    }

    /// Shows what is printed until the person has had enough, or nobody is there to follow.
    pub(super) async fn show_until_stopped(&mut self, stopping: &Stopping, ui: &mut Ui) {
        loop {
            tokio::select! {
                // First: being stopped also ends the logs.
                biased;
                () = stopping.token.cancelled() => return,
                line = self.lines.recv() => match line {
                    Some(line) => self.show(&line, ui),
                    None => {
                        ui.note("the cluster does not answer any more; the logs have ended");
                        return stopping.token.cancelled().await;
                    }
                },
            }
        }
    }
}

/// Waits until the new pods run and are ready, and shows what is printed meanwhile; returns `false` if it was stopped.
pub(super) async fn rollout(
    client: &kube::Client,
    deployed: &Deployed,
    output: &mut Output,
    stopping: &Stopping,
    ui: &mut Ui,
) -> Result<bool, Failure> {
    let (sender, mut steps) = mpsc::unbounded_channel();
    let troubles = sender.clone();
    // Whoever hears of it is below, and lives longer.
    let rolled = wait_for_rollout(client, deployed, move |step| drop(sender.send(step)));
    let crashed = wait_for_crashes(client, deployed, move |step| drop(troubles.send(step)));
    tokio::pin!(rolled, crashed);
    let ended = loop {
        tokio::select! {
            biased;
            () = stopping.token.cancelled() => return Ok(false),
            // Before the lines: an application that always prints must not hold up the end.
            done = &mut rolled => break done,
            error = &mut crashed => break Err(error),
            Some(step) = steps.recv() => ui.note(step_text(&deployed.name, &step)),
            Some(line) = output.lines.recv() => output.show(&line, ui),
        }
    };
    while let Ok(step) = steps.try_recv() {
        ui.note(step_text(&deployed.name, &step));
    }
    while let Ok(line) = output.lines.try_recv() {
        output.show(&line, ui);
    }
    Ok(ended.map(|()| true)?)
}

fn step_text(name: &str, step: &RolloutStep) -> String {
    match step {
        RolloutStep::Ready { ready, wanted } => format!("{name}: {ready} of {wanted} pods ready"),
        RolloutStep::Waiting { pod, reason, message } => format!("{pod}: {reason}: {message}"),
    }
}

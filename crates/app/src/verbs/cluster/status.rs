//! `shipway cluster status`

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::cli::StatusFormat;
use crate::clock;
use crate::cluster::{Control, DaemonRecord, State, connect, is_ready};
use crate::failure::Failure;
use crate::ui::Ui;

/// Exit code of a cluster that does not run. Compat: `systemctl status`, LSB.
const NOT_RUNNING: u8 = 3;

/// What the API says.
struct Answer {
    ready: bool,
    pods: usize,
    running: usize,
}

pub(super) fn run(control: &Control, output: StatusFormat, ui: &mut Ui) -> Result<u8, Failure> {
    let record = match control.state()? {
        State::Running(record) => record,
        other => {
            let word = if other == State::Stopped { "stopped" } else { "changing" };
            match output {
                StatusFormat::Json => ui.line(json!({ "state": word })),
                StatusFormat::Text => {
                    ui.line(format!("cluster: {word}"));
                    ui.note("hint: `shipway cluster start` starts it");
                }
            }
            return Ok(NOT_RUNNING);
        }
    };
    let answer = crate::tasks::runtime()?.block_on(ask(control))?;
    show(control, &record, &answer, output, ui);
    Ok(0)
}

async fn ask(control: &Control) -> Result<Answer, Failure> {
    let client = connect(control).await?;
    let refused = |error: kube::Error| {
        let hint =
            format!("see `{}`, then `shipway cluster stop` and start it", control.log_path().display());
        Failure::new(format!("the cluster does not answer: {error}"), hint)
    };
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.map_err(refused)?;
    let pods = Api::<Pod>::all(client).list(&ListParams::default()).await.map_err(refused)?;
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    let running = pods.iter().filter(|pod| phase(pod).as_deref() == Some("Running")).count();
    Ok(Answer { ready: nodes.iter().any(is_ready), pods: pods.items.len(), running })
}

fn show(control: &Control, record: &DaemonRecord, answer: &Answer, output: StatusFormat, ui: &mut Ui) {
    let memory = memory_kib(record.pid);
    let node = if answer.ready { "Ready" } else { "NotReady" };
    if output == StatusFormat::Json {
        ui.line(json!({
            "state": "running", "url": record.url, "version": record.version, "pid": record.pid,
            "startedAt": record.started, "node": node, "pods": answer.pods, "runningPods": answer.running,
            "memoryKiB": memory, "kubeconfig": control.kubeconfig_path(), "log": control.log_path(),
        }));
        return;
    }
    ui.line(format!("cluster:    running for {}", clock::ago(clock::now() - record.started).to_lowercase()));
    ui.line(format!("API server: {}", record.url));
    ui.line(format!("node:       {node}"));
    ui.line(format!("pods:       {} of {} running", answer.running, answer.pods));
    if let Some(memory) = memory {
        ui.line(format!("memory:     {} MiB (process {})", memory / 1024, record.pid));
    }
    ui.line(format!("kubeconfig: {}", control.kubeconfig_path().display()));
    ui.line(format!("log:        {}", control.log_path().display()));
}

/// Returns the resident memory of a process. Spec: proc(5), `VmRSS`.
fn memory_kib(pid: i32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

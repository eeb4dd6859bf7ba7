//! From a pod that is posted to a pod that is ready, by nothing but HTTP.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

use super::program;
use super::shipway::Shipway;

/// `curl` with the administrator's access to the API server.
#[derive(Debug)]
pub(crate) struct Api {
    server: String,
    dir: PathBuf,
}

impl Api {
    /// Takes the access out of the cluster's kubeconfig.
    pub(crate) fn new(shipway: &Shipway, dir: &Path) -> anyhow::Result<Self> {
        let output = program::output(&mut shipway.command(&["cluster", "kubeconfig"]))?;
        let text = String::from_utf8(output.stdout)?;
        let value = |name: &str| {
            let found = text.lines().find_map(|line| {
                let line = line.trim_start_matches(['-', ' ']);
                line.strip_prefix(name)?.strip_prefix(':')
            });
            found
                .map(|value| value.trim().trim_matches('"').to_owned())
                .with_context(|| format!("no `{name}`"))
        };
        fs_err::create_dir_all(dir)?;
        for name in ["certificate-authority-data", "client-certificate-data", "client-key-data"] {
            let bytes = base64::engine::general_purpose::STANDARD.decode(value(name)?)?;
            fs_err::write(dir.join(name), bytes)?;
        }
        Ok(Self { server: value("server")?, dir: dir.to_owned() })
    }

    fn curl(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--no-buffer", "--noproxy", "*"]);
        for (flag, file) in [
            ("--cacert", "certificate-authority-data"),
            ("--cert", "client-certificate-data"),
            ("--key", "client-key-data"),
        ] {
            command.arg(flag).arg(self.dir.join(file));
        }
        command.arg(format!("{}/api/v1/namespaces/default/pods{path}", self.server));
        command
    }

    /// Posts a pod of an image and returns the seconds until a watch says that it is ready; then deletes it.
    pub(crate) fn pod_ready(&self, name: &str, image: &str) -> anyhow::Result<f64> {
        let mut watch = self.watch(name)?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "main", "image": image, "imagePullPolicy": "Never", "command": ["sleep", "600"],
                }],
            },
        });
        let begin = Instant::now();
        let mut post = self.curl("");
        post.args(["--header", "Content-Type: application/json", "--data"]).arg(pod.to_string());
        program::output(&mut post)?;
        watch.until(is_ready)?;
        let took = begin.elapsed().as_secs_f64();
        program::output(self.curl(&format!("/{name}?gracePeriodSeconds=0")).args(["--request", "DELETE"]))?;
        watch.until(|event| event["type"] == "DELETED")?;
        Ok(took)
    }

    /// Returns a watch of one pod that is connected already.
    fn watch(&self, name: &str) -> anyhow::Result<Watch> {
        let query = format!(
            "?watch=true&fieldSelector=metadata.name%3D{name}&allowWatchBookmarks=true&sendInitialEvents=true\
             &resourceVersionMatch=NotOlderThan"
        );
        let mut child = self.curl(&query).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output of curl")?);
        let mut watch = Watch { child, lines };
        // The bookmark that ends the initial events says that the watch listens.
        watch.until(|event| event["type"] == "BOOKMARK")?;
        Ok(watch)
    }
}

fn is_ready(event: &Value) -> bool {
    let conditions = event["object"]["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// A watch that runs; it ends with the value.
struct Watch {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Watch {
    /// Reads events until one is as wanted.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.lines.read_line(&mut line)? > 0, "the watch ended");
            let event: Value = serde_json::from_str(&line).context("the watch sent no JSON")?;
            if event["type"] == "ERROR" {
                bail!("the watch failed: {line}");
            }
            if wanted(&event) {
                return Ok(());
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

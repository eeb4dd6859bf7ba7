//! Firewalls of the older kind (`iptables-legacy`), which netlink does not show: by their own tool, where they are in use.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::firewalls::{Blocker, Opening};

const FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];

/// Opens the filter for the bridge if it would drop; returns what still does.
pub(crate) fn ensure(opening: &Opening<'_>) -> Vec<Blocker> {
    let Some(filter) = Filter::in_use() else { return Vec::new() };
    if filter.drops() {
        let chain = filter.entry();
        for rule in rules(opening) {
            if !filter.succeeds(&["-C", chain], &rule) {
                filter.succeeds(&["-I", chain], &rule);
            }
        }
    }
    filter.missing(opening)
}

/// Returns the filter if it drops and is not opened.
pub(crate) fn missing(opening: &Opening<'_>) -> Vec<Blocker> {
    Filter::in_use().map_or_else(Vec::new, |filter| filter.missing(opening))
}

/// Takes our rules out again.
pub(crate) fn withdraw(opening: &Opening<'_>) {
    let Some(filter) = Filter::in_use() else { return };
    for chain in ["FORWARD", "DOCKER-USER"] {
        for rule in rules(opening) {
            filter.succeeds(&["-D", chain], &rule);
        }
    }
}

fn rules<'a>(opening: &Opening<'a>) -> [Vec<&'a str>; 2] {
    let rule = |side| vec![side, opening.bridge, "-m", "comment", "--comment", opening.tag, "-j", "ACCEPT"];
    [rule("-i"), rule("-o")]
}

struct Filter {
    tool: String,
}

impl Filter {
    /// Returns the filter if it has ever been used, and its tool: asking that without need would switch the filter on.
    fn in_use() -> Option<Self> {
        let tables = fs_err::read_to_string("/proc/thread-self/net/ip_tables_names").ok()?;
        if !tables.lines().any(|table| table == "filter") {
            return None;
        }
        let tools = FOLDERS.iter().map(|folder| format!("{folder}/iptables-legacy"));
        Some(Self { tool: tools.into_iter().find(|tool| Path::new(tool).exists())? })
    }

    fn listed(&self, chain: &str) -> Option<String> {
        let output = self.command(&["-S", chain]).stdout(Stdio::piped()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn succeeds(&self, start: &[&str], rule: &[&str]) -> bool {
        self.command(start).args(rule).status().is_ok_and(|status| status.success())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.tool);
        // Waits for other users of the filter, as Docker does.
        command.args(["-w", "5"]).args(arguments);
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn drops(&self) -> bool {
        self.listed("FORWARD").is_some_and(|rules| {
            rules.lines().any(|rule| {
                ["-P FORWARD DROP", "-A FORWARD -j DROP"].contains(&rule)
                    || rule.starts_with("-A FORWARD -j REJECT")
            })
        })
    }

    fn entry(&self) -> &'static str {
        if self.listed("DOCKER-USER").is_some() { "DOCKER-USER" } else { "FORWARD" }
    }

    fn missing(&self, opening: &Opening<'_>) -> Vec<Blocker> {
        let chain = self.entry();
        if !self.drops() || rules(opening).iter().all(|rule| self.succeeds(&["-C", chain], rule)) {
            return Vec::new();
        }
        vec![Blocker {
            what: "chain `FORWARD` of iptables (legacy) drops forwarded packets".into(),
            hint: format!(
                "run `{} -I {chain} -i {} -j ACCEPT`, and the same with `-o`",
                self.tool, opening.bridge
            ),
        }]
    }
}

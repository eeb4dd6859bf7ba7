//! `shipway system info`: what there is, what is missing, and what to do about it.

use serde_json::{Value, json};
use shipway_apiserver::KUBERNETES_VERSION;
use shipway_network::Bridge;
use shipway_runtime::Status;

use crate::clock;
use crate::cluster::{Control, State};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network;
use crate::requirements::{self, Facts};
use crate::template::{MISWRITTEN, Template};
use crate::ui::Ui;

pub(super) fn run(engine: &Engine, format: Option<&str>, ui: &mut Ui) -> Result<u8, Failure> {
    let template = format.filter(|format| *format != "json").map(Template::new).transpose();
    let template = template.map_err(|error| Failure::from(error).with_code(MISWRITTEN))?;
    let facts = Facts::find(&engine.roots);
    let document = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "KubernetesVersion": KUBERNETES_VERSION,
        "Root": engine.roots.data,
        "FreeBytes": shipway_linux::free_bytes(&engine.roots.data).ok(),
        "State": engine.roots.state,
        "Images": engine.store.usage()?.images,
        "Containers": containers(engine)?,
        "Cluster": cluster(engine)?,
        "OperatingSystem": operating_system(),
        "Architecture": std::env::consts::ARCH,
        "Kernel": facts.kernel,
        "IsRoot": facts.root,
        "MayMount": facts.admin,
        "Overlay": facts.overlay.is_ok(),
        "UserAttributes": facts.user_attributes,
        "MissingNamespaces": facts.namespaces.missing.iter().chain(&facts.namespaces.forbidden).collect::<Vec<_>>(),
        "Cgroups": {
            "Version": facts.cgroups.version,
            "Controllers": facts.cgroups.controllers,
            "Writable": facts.cgroups.writable,
        },
        "Network": bridge(engine),
        "Warnings": warnings(facts),
    });
    match (format, template) {
        (_, Some(template)) => ui.line(template.fill(&document)?),
        (Some(_), None) => ui.line(&document),
        (None, None) => show(&document, ui),
    }
    Ok(0)
}

fn containers(engine: &Engine) -> Result<Value, Failure> {
    let all = engine.store.containers()?;
    let runs = |id: &str| {
        let state = engine.containers.get(id).and_then(|container| container.state());
        state.is_ok_and(|state| state.status == Status::Running)
    };
    Ok(json!({ "Total": all.len(), "Running": all.iter().filter(|row| runs(&row.id)).count() }))
}

fn cluster(engine: &Engine) -> Result<&'static str, Failure> {
    Ok(match Control::open(&engine.roots)?.state()? {
        State::Running(_) => "running",
        State::Stopped => "stopped",
        State::Changing => "changing",
    })
}

fn bridge(engine: &Engine) -> Value {
    let found = Bridge::find(network::config(&engine.roots)).and_then(|bridge| {
        let Some(bridge) = bridge else { return Ok(Value::Null) };
        let blockers = bridge.blockers()?;
        let blockers = blockers.iter().map(|blocker| json!({ "What": blocker.what, "Hint": blocker.hint }));
        Ok(json!({
            "Device": bridge.device(),
            "Subnet": bridge.subnet().to_string(),
            "Blockers": blockers.collect::<Vec<_>>(),
        }))
    });
    found.unwrap_or_else(|error| json!({ "Error": error.to_string() }))
}

fn operating_system() -> String {
    let text = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

/// Says what keeps containers from being made, as the verbs that make them would.
fn warnings(facts: Facts) -> Vec<String> {
    requirements::first_lack(facts)
        .err()
        .map(|lack| Failure::from(lack).text().to_owned())
        .into_iter()
        .collect()
}

fn show(document: &Value, ui: &mut Ui) {
    let text = |key: &str| match &document[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let word = |key: &str| if document[key] == Value::Bool(true) { "yes" } else { "no" };
    let list = |value: &Value| {
        let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        items.collect::<Vec<_>>().join(" ")
    };
    let free = document["FreeBytes"].as_u64().map(|bytes| format!(" ({} free)", clock::size(bytes)));
    let cgroups = &document["Cgroups"];
    let missing = list(&document["MissingNamespaces"]);
    let bridge = &document["Network"];
    let shown = match (bridge["Device"].as_str(), bridge["Error"].as_str()) {
        (Some(device), _) => format!("{} on {device}", bridge["Subnet"].as_str().unwrap_or_default()),
        (None, Some(error)) => format!("cannot be looked at: {error}"),
        (None, None) => "made with the first container".to_owned(),
    };
    for (head, value) in [
        ("Version", format!("{}, Kubernetes {}", text("Version"), text("KubernetesVersion"))),
        ("Root", format!("{}{}", text("Root"), free.unwrap_or_default())),
        ("State", text("State")),
        ("Images", text("Images")),
        (
            "Containers",
            format!("{} ({} running)", document["Containers"]["Total"], document["Containers"]["Running"]),
        ),
        ("Cluster", text("Cluster")),
        ("Operating system", format!("{} ({})", text("OperatingSystem"), text("Architecture"))),
        ("Kernel", text("Kernel")),
        ("Root user", format!("{}, may mount: {}", word("IsRoot"), word("MayMount"))),
        ("Overlay", format!("{}, user attributes: {}", word("Overlay"), word("UserAttributes"))),
        ("Namespaces", if missing.is_empty() { "all".to_owned() } else { format!("missing: {missing}") }),
        ("Cgroups", format!("version {}: {}", cgroups["Version"], list(&cgroups["Controllers"]))),
        ("Network", shown),
    ] {
        ui.line(format!("{:<18}{value}", format!("{head}:")));
    }
    for blocker in bridge["Blockers"].as_array().into_iter().flatten() {
        let (what, hint) = (blocker["What"].as_str(), blocker["Hint"].as_str());
        ui.line(format!("\nwarning: {}\nhint: {}", what.unwrap_or_default(), hint.unwrap_or_default()));
    }
    for warning in document["Warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ui.line(format!("\n{warning}"));
    }
}

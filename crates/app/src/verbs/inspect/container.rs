//! What `shipway inspect` shows of a container. Compat: docker, the names of the fields.

use serde_json::{Map, Value, json};
use shipway_network::Sandbox;
use shipway_runtime::{ContainerState, Mount, MountKind, PortMapping, ProcessLimit, SHM_SIZE, Status};
use shipway_store::ContainerRow;

use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network;

pub(super) fn document(engine: &Engine, row: &ContainerRow) -> Result<Value, Failure> {
    let container = engine.containers.get(&row.id).ok();
    let state = container.as_ref().and_then(|container| container.state().ok());
    let spec = container.as_ref().and_then(|container| container.spec().ok());
    let recorded: Value = serde_json::from_str(&row.document).unwrap_or_default();
    let sandbox = network::sandbox_of(&engine.roots, &row.id)?;
    let (program, arguments) = match spec.as_ref().and_then(|spec| spec.args.split_first()) {
        Some((program, arguments)) => (program.clone(), arguments.to_vec()),
        None => Default::default(),
    };
    let wanted = spec.as_ref().map(|spec| spec.publish.as_slice()).unwrap_or_default();
    let runs = state.as_ref().is_some_and(|state| state.status == Status::Running);
    let ports = state.as_ref().filter(|_| runs).map(|state| state.ports.as_slice()).unwrap_or_default();
    Ok(json!({
        "Id": row.id,
        "Created": clock::date(i128::from(row.created) * 1_000_000_000),
        "Path": program,
        "Args": arguments,
        "State": state_of(state.as_ref()),
        "Image": row.image_id,
        "LogPath": container.as_ref().map(shipway_runtime::Container::log_path).filter(|path| path.exists()),
        "Name": format!("/{}", row.name),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": {
            "NetworkMode": recorded["NetworkMode"],
            "PortBindings": bindings(wanted),
            "AutoRemove": recorded["AutoRemove"],
            "Binds": spec.as_ref().map(|spec| binds(&spec.mounts)),
            "Memory": spec.as_ref().and_then(|spec| spec.resources.memory).unwrap_or(0),
            "NanoCpus": spec.as_ref().and_then(|spec| spec.resources.cpu_millis).unwrap_or(0) * 1_000_000,
            "PidsLimit": spec.as_ref().and_then(|spec| spec.resources.pids),
            "CapAdd": spec.as_ref().map(|spec| spec.cap_add.clone()),
            "CapDrop": spec.as_ref().map(|spec| spec.cap_drop.clone()),
            "ShmSize": spec.as_ref().map(|spec| spec.shm_size.unwrap_or(SHM_SIZE)),
            "Ulimits": spec.as_ref().map(|spec| ulimits(&spec.limits)),
            "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            "Privileged": spec.as_ref().is_some_and(|spec| spec.privileged),
            "PublishAllPorts": recorded["PublishAllPorts"],
            "ExtraHosts": recorded["ExtraHosts"],
            "Dns": recorded["Dns"],
            "SecurityOpt": recorded["SecurityOpt"],
            "Tmpfs": spec.as_ref().map(|spec| in_memory(&spec.mounts)),
            "CpuShares": spec.as_ref().and_then(|spec| spec.resources.cpu_shares).unwrap_or(0),
            "ReadonlyRootfs": spec.as_ref().is_some_and(|spec| spec.rootfs.read_only),
        },
        "Config": {
            "Hostname": spec.as_ref().map(|spec| spec.hostname.as_str()),
            "User": spec.as_ref().map(|spec| spec.user.as_str()),
            "Tty": recorded["Tty"],
            "OpenStdin": recorded["OpenStdin"],
            "Labels": recorded["Labels"],
            "StopSignal": recorded["StopSignal"],
            "Env": recorded["Env"],
            "Cmd": recorded["Cmd"],
            "Image": row.image,
            "WorkingDir": spec.as_ref().map(|spec| spec.cwd.as_str()),
        },
        "Mounts": spec.as_ref().map(|spec| mounted(&spec.mounts)),
        "NetworkSettings": settings(&recorded, sandbox.as_ref(), ports),
    }))
}

/// Adds what a container has written, and that with its image.
pub(super) fn add_sizes(engine: &Engine, row: &ContainerRow, document: &mut Value) -> Result<(), Failure> {
    let own = row.snapshot.as_ref().map_or(0, |id| tree(&engine.store.snapshot_path(id).join("upper")).1);
    document["SizeRw"] = own.into();
    document["SizeRootFs"] = (own + engine.store.image_size(&row.image_id)?).into();
    Ok(())
}

fn state_of(state: Option<&ContainerState>) -> Value {
    let status = match state.map(|state| state.status) {
        Some(Status::Running) => "running",
        Some(Status::Exited) => "exited",
        None => "dead",
    };
    let never = || "0001-01-01T00:00:00Z".to_owned();
    json!({
        "Status": status,
        "Running": status == "running",
        "Paused": false,
        "Restarting": false,
        "OOMKilled": state.is_some_and(|state| state.out_of_memory),
        "Dead": status == "dead",
        "Pid": state.filter(|_| status == "running").map_or(0, |state| state.pid),
        "ExitCode": state.and_then(|state| state.exit_code).unwrap_or(0),
        "Error": "",
        "StartedAt": state.map_or_else(never, |state| clock::date(state.started)),
        "FinishedAt": state.and_then(|state| state.finished).map_or_else(never, clock::date),
    })
}

fn settings(recorded: &Value, sandbox: Option<&Sandbox>, ports: &[PortMapping]) -> Value {
    let mac =
        sandbox.map(|sandbox| sandbox.mac.map(|byte| format!("{byte:02x}")).join(":")).unwrap_or_default();
    let address = sandbox.map(|sandbox| sandbox.address.to_string()).unwrap_or_default();
    let gateway = sandbox.map(|sandbox| sandbox.gateway.to_string()).unwrap_or_default();
    let prefix = sandbox.map_or(0, |sandbox| sandbox.prefix);
    let network = json!({
        "IPAddress": address, "IPPrefixLen": prefix, "Gateway": gateway, "MacAddress": mac,
    });
    let name = recorded["NetworkMode"].as_str().unwrap_or("none");
    json!({
        "SandboxKey": sandbox.map(|sandbox| sandbox.netns.clone()),
        "Ports": bindings(ports),
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "Gateway": gateway,
        "MacAddress": mac,
        "Networks": { name: network },
    })
}

/// Compat: docker, `-1` is no limit.
fn ulimits(limits: &[ProcessLimit]) -> Vec<Value> {
    let value = |limit: Option<u64>| limit.map_or_else(|| json!(-1), |limit| json!(limit));
    let one = |limit: &ProcessLimit| json!({"Name": limit.name, "Soft": value(limit.soft), "Hard": value(limit.hard)});
    limits.iter().map(one).collect()
}

/// `/host/path:/path:ro`
fn binds(mounts: &[Mount]) -> Vec<String> {
    let one = |mount: &Mount| match &mount.kind {
        MountKind::Bind(source) => {
            let end = if mount.read_only { ":ro" } else { "" };
            Some(format!("{}:{}{end}", source.display(), mount.target.display()))
        }
        MountKind::Tmpfs | MountKind::Detached { .. } => None,
    };
    mounts.iter().filter_map(one).collect()
}

/// `{"/run": "size=1024"}`
fn in_memory(mounts: &[Mount]) -> Map<String, Value> {
    let one = |mount: &Mount| {
        let size = mount.size.map(|size| format!("size={size}")).unwrap_or_default();
        let is_one = matches!(mount.kind, MountKind::Tmpfs);
        is_one.then(|| (mount.target.display().to_string(), Value::from(size)))
    };
    mounts.iter().filter_map(one).collect()
}

/// Compat: docker, what is mounted by a name or a path.
fn mounted(mounts: &[Mount]) -> Vec<Value> {
    let one = |mount: &Mount| match &mount.kind {
        MountKind::Bind(source) => Some(json!({
            "Type": "bind", "Source": source, "Destination": mount.target,
            "Mode": if mount.read_only { "ro" } else { "" }, "RW": !mount.read_only, "Propagation": "rprivate",
        })),
        MountKind::Tmpfs | MountKind::Detached { .. } => None,
    };
    mounts.iter().filter_map(one).collect()
}

/// `{"5000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`
fn bindings(ports: &[PortMapping]) -> Map<String, Value> {
    let mut found = Map::new();
    for mapping in ports {
        let list = found.entry(format!("{}/tcp", mapping.container_port)).or_insert_with(|| json!([]));
        let binding =
            json!({ "HostIp": mapping.host_ip.to_string(), "HostPort": mapping.host_port.to_string() });
        if let Some(list) = list.as_array_mut() {
            list.push(binding);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_by_those_of_the_container() {
        let ports = crate::publish::parse("8080:80").unwrap();
        assert_eq!(
            Value::Object(bindings(&ports)),
            json!({ "80/tcp": [
                { "HostIp": "0.0.0.0", "HostPort": "8080" }, { "HostIp": "::", "HostPort": "8080" },
            ] })
        );
    }
}

//! Volumes of a pod: what is made for it and where in a container it appears.
//!
//! Everything below a volume is written and looked up through [`Root`], so neither a key of a ConfigMap nor a symlink that a
//! container made leads out of it. What holds secrets lies on tmpfs, below the state root.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, Pod, ProjectedVolumeSource, Volume,
};
use shipway_linux::{OpenFlags, Root};
use shipway_runtime::Mount;

use crate::KubeletConfig;
use crate::pod::{Facts, Sources, expand, field, resource_field};

/// Permissions of files where nothing else is said.
const DEFAULT_MODE: i32 = 0o644;

/// Where the volumes of pods are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    disk: PathBuf,
    memory: PathBuf,
}

/// What a volume of a pod holds.
#[derive(Debug, PartialEq, Eq)]
enum Contents {
    /// An empty directory.
    Empty,
    /// These files: path, bytes, mode.
    Files(Vec<(String, Vec<u8>, u32)>),
    /// A path of the host.
    Host(PathBuf),
}

impl Places {
    /// Returns the places of a pod's volumes.
    pub(crate) fn of(config: &KubeletConfig, uid: &str) -> Self {
        let below = |root: &Path| root.join("pods").join(uid);
        Self { disk: below(&config.data_root), memory: below(&config.state_root) }
    }

    fn volume(&self, volume: &Volume) -> PathBuf {
        let in_memory =
            volume.empty_dir.as_ref().is_none_or(|empty| empty.medium.as_deref() == Some("Memory"));
        let root = if in_memory { &self.memory } else { &self.disk };
        root.join("volumes").join(&volume.name)
    }

    /// Returns the file for a container's last words.
    pub(crate) fn last_words(&self, container: &str) -> PathBuf {
        self.memory.join("containers").join(container).join("termination-log")
    }

    /// Removes everything of the pod.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for place in [&self.disk, &self.memory] {
            let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { continue };
            match Root::open(parent) {
                Ok(root) => root.remove_all(name)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns the uids of pods that have files here.
pub(crate) fn found(config: &KubeletConfig) -> Vec<String> {
    let roots = [config.data_root.join("pods"), config.state_root.join("pods")];
    let entries = roots.iter().filter_map(|root| fs_err::read_dir(root).ok()).flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Returns whether a pod's volumes are to be brought up to date while it runs, because objects may change.
pub(crate) fn may_change(pod: &Pod) -> bool {
    let maps = |name: Option<&str>| name.is_some_and(|name| name != "kube-root-ca.crt");
    volumes(pod).any(|volume| {
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        volume.config_map.as_ref().is_some_and(|map| maps(Some(&map.name)))
            || volume.secret.is_some()
            || projected.clone().any(|source| {
                source.secret.is_some() || maps(source.config_map.as_ref().map(|map| map.name.as_str()))
            })
    })
}

/// Returns the names of the ConfigMaps and Secrets that volumes need, and the tokens: volume, path, audience, seconds.
pub(crate) fn referenced(pod: &Pod) -> (Vec<String>, Vec<String>, Vec<TokenWish>) {
    let (mut maps, mut secrets, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for volume in volumes(pod) {
        maps.extend(volume.config_map.iter().map(|map| map.name.clone()));
        secrets.extend(volume.secret.iter().filter_map(|secret| secret.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            maps.extend(source.config_map.iter().map(|map| map.name.clone()));
            secrets.extend(source.secret.iter().map(|secret| secret.name.clone()));
            tokens.extend(source.service_account_token.iter().map(|token| TokenWish {
                key: token_key(&volume.name, &token.path),
                audience: token.audience.clone().filter(|audience| !audience.is_empty()),
                seconds: token.expiration_seconds.unwrap_or(3600),
            }));
        }
    }
    (maps, secrets, tokens)
}

/// A service account token that a volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenWish {
    /// Where it goes.
    pub key: String,
    /// For whom.
    pub audience: Option<String>,
    /// For how long.
    pub seconds: i64,
}

fn token_key(volume: &str, path: &str) -> String {
    format!("{volume}/{path}")
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// Makes all volumes of a pod, or brings them up to date; the error names the volume.
pub(crate) fn prepare(pod: &Pod, places: &Places, sources: &Sources, facts: &Facts) -> Result<(), String> {
    for volume in volumes(pod) {
        let failed = |why: String| format!("MountVolume.SetUp failed for volume \"{}\" : {why}", volume.name);
        let dir = places.volume(volume);
        match contents(pod, volume, sources, facts).map_err(failed)? {
            Contents::Empty => make_dir(&dir, 0o777).map_err(|error| failed(error.to_string()))?,
            Contents::Files(files) => write_files(&dir, &files).map_err(|error| failed(error.to_string()))?,
            Contents::Host(_) => {}
        }
    }
    Ok(())
}

fn contents(pod: &Pod, volume: &Volume, sources: &Sources, facts: &Facts) -> Result<Contents, String> {
    if volume.empty_dir.is_some() {
        return Ok(Contents::Empty);
    }
    if let Some(map) = &volume.config_map {
        let mode = map.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = map.optional == Some(true);
        return config_map(pod, sources, &map.name, (map.items.as_deref(), mode, optional))
            .map(Contents::Files);
    }
    if let Some(secret) = &volume.secret {
        let mode = secret.default_mode.unwrap_or(DEFAULT_MODE);
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let optional = secret.optional == Some(true);
        return secret_files(pod, sources, name, (secret.items.as_deref(), mode, optional))
            .map(Contents::Files);
    }
    if let Some(downward) = &volume.downward_api {
        let mode = downward.default_mode.unwrap_or(DEFAULT_MODE);
        return downward_files(pod, facts, downward.items.as_deref(), mode).map(Contents::Files);
    }
    if let Some(projected) = &volume.projected {
        return projected_files(pod, volume, projected, sources, facts).map(Contents::Files);
    }
    if let Some(host) = &volume.host_path {
        return host_path(host).map(Contents::Host);
    }
    Err("volumes of this kind are not available yet; there are emptyDir, configMap, secret, projected, downwardAPI and \
         hostPath"
        .to_owned())
}

fn projected_files(
    pod: &Pod,
    volume: &Volume,
    projected: &ProjectedVolumeSource,
    sources: &Sources,
    facts: &Facts,
) -> Result<Vec<(String, Vec<u8>, u32)>, String> {
    let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
    let mut files = Vec::new();
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let optional = map.optional == Some(true);
            files.extend(config_map(pod, sources, &map.name, (map.items.as_deref(), mode, optional))?);
        } else if let Some(secret) = &source.secret {
            let optional = secret.optional == Some(true);
            files.extend(secret_files(
                pod,
                sources,
                &secret.name,
                (secret.items.as_deref(), mode, optional),
            )?);
        } else if let Some(downward) = &source.downward_api {
            files.extend(downward_files(pod, facts, downward.items.as_deref(), mode)?);
        } else if let Some(token) = &source.service_account_token {
            let found = sources.tokens.get(&token_key(&volume.name, &token.path));
            let found = found.ok_or_else(|| "the service account token could not be had".to_owned())?;
            files.push((token.path.clone(), found.clone().into_bytes(), bits(mode)));
        } else {
            return Err("one of its projected sources is not available yet".to_owned());
        }
    }
    Ok(files)
}

/// Items to pick, mode of files, and whether nothing there is fine.
type Pick<'a> = (Option<&'a [KeyToPath]>, i32, bool);

fn config_map(
    pod: &Pod,
    sources: &Sources,
    name: &str,
    pick: Pick<'_>,
) -> Result<Vec<(String, Vec<u8>, u32)>, String> {
    let Some(map) = sources.config_maps.get(name) else {
        return if pick.2 { Ok(Vec::new()) } else { Err(format!("configmap \"{name}\" not found")) };
    };
    let text = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    picked(text.chain(binary).collect(), pick, &format!("configmap {}/{name}", namespace(pod)))
}

fn secret_files(
    pod: &Pod,
    sources: &Sources,
    name: &str,
    pick: Pick<'_>,
) -> Result<Vec<(String, Vec<u8>, u32)>, String> {
    let Some(secret) = sources.secrets.get(name) else {
        return if pick.2 { Ok(Vec::new()) } else { Err(format!("secret \"{name}\" not found")) };
    };
    let data = secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    picked(data.collect(), pick, &format!("secret {}/{name}", namespace(pod)))
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn picked(
    data: Vec<(&str, &[u8])>,
    (items, mode, optional): Pick<'_>,
    whose: &str,
) -> Result<Vec<(String, Vec<u8>, u32)>, String> {
    let Some(items) = items else {
        return Ok(data
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_vec(), bits(mode)))
            .collect());
    };
    let mut files = Vec::new();
    for item in items {
        match data.iter().find(|(key, _)| *key == item.key) {
            Some((_, value)) => {
                files.push((item.path.clone(), value.to_vec(), bits(item.mode.unwrap_or(mode))));
            }
            None if optional => {}
            None => return Err(format!("{whose} references non-existent key: {}", item.key)),
        }
    }
    Ok(files)
}

fn downward_files(
    pod: &Pod,
    facts: &Facts,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<Vec<(String, Vec<u8>, u32)>, String> {
    let mut files = Vec::new();
    for item in items.unwrap_or_default() {
        let text = if let Some(reference) = &item.field_ref {
            field(pod, facts, &reference.field_path)?
        } else if let Some(reference) = &item.resource_field_ref {
            let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let wanted = reference.container_name.as_deref().unwrap_or_default();
            let container = containers.find(|container| container.name == wanted);
            let container = container.ok_or_else(|| format!("no container named \"{wanted}\""))?;
            resource_field(container, &reference.resource, reference.divisor.as_ref(), facts)?
        } else {
            String::new()
        };
        files.push((item.path.clone(), text.into_bytes(), bits(item.mode.unwrap_or(mode))));
    }
    Ok(files)
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o777
}

fn host_path(host: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = PathBuf::from(&host.path);
    if path.components().any(|part| part == Component::ParentDir) || !path.is_absolute() {
        return Err(format!("hostPath {} must be absolute and without `..`", host.path));
    }
    let kind = host.type_.as_deref().unwrap_or_default();
    let failed = |error: io::Error| error.to_string();
    match kind {
        "DirectoryOrCreate" if !path.exists() => make_dir(&path, 0o755).map_err(failed)?,
        "FileOrCreate" if !path.exists() => drop(File::create(&path).map_err(failed)?),
        _ => {}
    }
    let meta = fs_err::metadata(&path);
    let fits = match (kind, &meta) {
        ("", _) => true,
        (_, Err(_)) => false,
        ("Directory" | "DirectoryOrCreate", Ok(meta)) => meta.is_dir(),
        ("File" | "FileOrCreate", Ok(meta)) => meta.is_file(),
        ("Socket", Ok(meta)) => meta.file_type().is_socket(),
        ("CharDevice", Ok(meta)) => meta.file_type().is_char_device(),
        ("BlockDevice", Ok(meta)) => meta.file_type().is_block_device(),
        _ => false,
    };
    if !fits {
        return Err(format!("hostPath type check failed: {} is not a {kind}", host.path));
    }
    if meta.is_err() {
        // Compat: upstream's runtimes make a missing directory for an unchecked hostPath.
        make_dir(&path, 0o755).map_err(failed)?;
    }
    Ok(path)
}

fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match fs_err::create_dir(dir) {
        // The mode is what was asked for, whatever the umask; one that is there already may have been changed by the pod.
        Ok(()) => fs_err::set_permissions(dir, std::fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a directory hold these files and no others; each appears whole.
fn write_files(dir: &Path, files: &[(String, Vec<u8>, u32)]) -> io::Result<()> {
    make_dir(dir, 0o755)?;
    let root = Root::open(dir)?;
    for (path, bytes, mode) in files {
        let path = relative(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            root.create_dir_all(parent, 0o755)?;
        }
        if same_contents(&root, path, bytes) {
            continue;
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new~");
        root.remove_all(&unfinished)?;
        let mut file = root.create_file(&unfinished, *mode)?;
        file.write_all(bytes)?;
        // Both names were opened below `dir` just now and nobody else writes there.
        fs_err::rename(dir.join(&unfinished), dir.join(path))?;
    }
    let kept: Vec<&str> = files.iter().filter_map(|(path, ..)| path.split('/').next()).collect();
    for name in root.names(".")? {
        if !kept.iter().any(|kept| name == *kept) {
            root.remove_all(&name)?;
        }
    }
    Ok(())
}

fn same_contents(root: &Root, path: &Path, bytes: &[u8]) -> bool {
    let read = |mut file: File| {
        let mut found = Vec::new();
        io::Read::read_to_end(&mut file, &mut found).map(|_length| found)
    };
    root.open_file(path).and_then(read).is_ok_and(|found| found == bytes)
}

/// Returns a path that stays below what it is relative to.
fn relative(path: &str) -> io::Result<&Path> {
    let bad = || {
        io::Error::new(io::ErrorKind::InvalidInput, format!("path `{path}` is not relative and without `..`"))
    };
    let path = Path::new(path);
    let fine = path.components().all(|part| matches!(part, Component::Normal(_)));
    if fine && !path.as_os_str().is_empty() { Ok(path) } else { Err(bad()) }
}

/// Mounts of a container, and what must stay open until it has started.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// The mounts.
    pub list: Vec<Mount>,
    held: Vec<OwnedFd>,
}

impl Mounts {
    /// Adds a mount.
    pub(crate) fn push(&mut self, mount: Mount) {
        self.list.push(mount);
    }
}

/// Returns the mounts of a container's volumes.
pub(crate) fn mounts(
    pod: &Pod,
    container: &Container,
    places: &Places,
    env: &[String],
) -> Result<Mounts, String> {
    let mut mounts = Mounts::default();
    for wanted in container.volume_mounts.iter().flatten() {
        let volume = volumes(pod).find(|volume| volume.name == wanted.name);
        let volume = volume.ok_or_else(|| format!("no volume named \"{}\"", wanted.name))?;
        let source = match &volume.host_path {
            Some(host) => PathBuf::from(&host.path),
            None => places.volume(volume),
        };
        let lookup = |name: &str| {
            let entries = env.iter().filter_map(|entry| entry.split_once('='));
            entries.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        let below = wanted.sub_path.clone().filter(|path| !path.is_empty());
        let below = below.or_else(|| wanted.sub_path_expr.as_ref().map(|text| expand(text, lookup)));
        let source = match below.filter(|path| !path.is_empty()) {
            Some(below) => {
                let opened = open_below(&source, &below, volume.host_path.is_none()).map_err(|error| {
                    format!("failed to prepare subPath for volumeMount \"{}\": {error}", wanted.name)
                })?;
                // The descriptor, not the path, says what is mounted: what a pod does to the path meanwhile does not matter.
                let path = format!("/proc/{}/fd/{}", std::process::id(), opened.as_raw_fd());
                mounts.held.push(opened);
                PathBuf::from(path)
            }
            None => source,
        };
        let fixed = volume.empty_dir.is_none() && volume.host_path.is_none();
        let read_only = wanted.read_only == Some(true) || fixed;
        mounts.list.push(crate::pod::bind(source, &wanted.mount_path, read_only));
    }
    Ok(mounts)
}

/// Opens what is below a volume, confined to it; a missing directory is made.
fn open_below(volume: &Path, below: &str, make: bool) -> io::Result<OwnedFd> {
    let below = relative(below.trim_end_matches('/'))?;
    let root = Root::open(volume)?;
    match root.open_with(below, OpenFlags::PATH, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
            root.create_dir_all(below, 0o755)?;
            root.open_with(below, OpenFlags::PATH, 0)
        }
        other => other,
    }
}

/// Makes the empty file for a container's last words.
pub(crate) fn make_last_words(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    File::create(path)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    use serde_json::{Value, from_value, json};

    use super::*;

    fn places(dir: &Path) -> Places {
        let config = KubeletConfig {
            node_name: "n".to_owned(),
            node_ip: Ipv4Addr::LOCALHOST,
            data_root: dir.join("data"),
            state_root: dir.join("state"),
            root_id: "abcd".to_owned(),
            version: String::new(),
            pod_cidr: None,
            api_service: None,
            resolv_conf: None,
            max_pods: 1,
        };
        Places::of(&config, "uid")
    }

    fn pod(volume: Value, mount: Value) -> Pod {
        from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "volumeMounts": [mount]}], "volumes": [volume]},
        }))
        .unwrap()
    }

    fn sources() -> Sources {
        let map = json!({"metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}});
        let secret = json!({"metadata": {"name": "s"}, "data": {"key": "cHc="}});
        Sources {
            config_maps: HashMap::from([("m".to_owned(), from_value(map).unwrap())]),
            secrets: HashMap::from([("s".to_owned(), from_value(secret).unwrap())]),
            tokens: HashMap::from([("v/token".to_owned(), "jwt".to_owned())]),
            ..Sources::default()
        }
    }

    fn files(dir: &Path) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs_err::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_file())
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs_err::read_to_string(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn volumes_hold_what_they_should() {
        let all = json!([
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]);
        let cases = [
            ("config map", json!({"configMap": {"name": "m"}}), Ok(vec![("a", "1"), ("b", "2")])),
            (
                "one key",
                json!({"configMap": {"name": "m", "items": [{"key": "b", "path": "x"}]}}),
                Ok(vec![("x", "2")]),
            ),
            ("secret", json!({"secret": {"secretName": "s"}}), Ok(vec![("key", "pw")])),
            (
                "projected",
                json!({"projected": {"sources": all}}),
                Ok(vec![("ca.crt", "1"), ("namespace", "ns"), ("token", "jwt")]),
            ),
            (
                "labels",
                json!({"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
                Ok(vec![("l", "app=\"web\"")]),
            ),
            ("optional", json!({"configMap": {"name": "x", "optional": true}}), Ok(vec![])),
            ("missing", json!({"configMap": {"name": "x"}}), Err("configmap \"x\" not found")),
            (
                "missing key",
                json!({"secret": {"secretName": "s", "items": [{"key": "q", "path": "q"}]}}),
                Err("references non-existent key: q"),
            ),
            (
                "out of it",
                json!({"configMap": {"name": "m", "items": [{"key": "a", "path": "../x"}]}}),
                Err("not relative"),
            ),
            ("unknown", json!({"nfs": {"server": "a", "path": "/"}}), Err("not available yet")),
        ];
        for (name, mut volume, want) in cases {
            let dir = tempfile::tempdir().unwrap();
            volume["name"] = json!("v");
            let pod = pod(volume, json!({"name": "v", "mountPath": "/v"}));
            let places = places(dir.path());
            let done = prepare(&pod, &places, &sources(), &Facts::default());
            match want {
                Ok(want) => {
                    assert_eq!(done, Ok(()), "case {name}");
                    let want: Vec<_> =
                        want.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
                    assert_eq!(files(&places.memory.join("volumes/v")), want, "case {name}");
                }
                Err(want) => assert!(done.clone().unwrap_err().contains(want), "case {name}: {done:?}"),
            }
        }
    }

    #[test]
    fn a_second_look_brings_files_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let pod =
            pod(json!({"name": "v", "configMap": {"name": "m"}}), json!({"name": "v", "mountPath": "/v"}));
        let places = places(dir.path());
        prepare(&pod, &places, &sources(), &Facts::default()).unwrap();
        let mut changed = sources();
        changed.config_maps.get_mut("m").unwrap().data = Some([("a".to_owned(), "3".to_owned())].into());
        prepare(&pod, &places, &changed, &Facts::default()).unwrap();
        assert_eq!(files(&places.memory.join("volumes/v")), [("a".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn a_sub_path_does_not_lead_out_of_its_volume() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let volume = json!({"name": "v", "emptyDir": {}});
        let plain = pod(volume.clone(), json!({"name": "v", "mountPath": "/v", "subPath": "a/b"}));
        prepare(&plain, &places, &sources(), &Facts::default()).unwrap();
        let container = &plain.spec.as_ref().unwrap().containers[0];
        assert!(mounts(&plain, container, &places, &[]).is_ok());
        let inside = places.disk.join("volumes/v");
        assert!(inside.join("a/b").is_dir());
        let dots = pod(volume.clone(), json!({"name": "v", "mountPath": "/v", "subPath": "../x"}));
        assert!(mounts(&dots, &dots.spec.as_ref().unwrap().containers[0], &places, &[]).is_err());
        // A symlink to the host's root is one to the volume's root.
        std::os::unix::fs::symlink("/", inside.join("link")).unwrap();
        let linked = pod(volume, json!({"name": "v", "mountPath": "/v", "subPath": "link"}));
        let found = mounts(&linked, &linked.spec.as_ref().unwrap().containers[0], &places, &[]).unwrap();
        let opened = fs_err::read_link(format!("/proc/self/fd/{}", found.held[0].as_raw_fd())).unwrap();
        assert_eq!(opened, fs_err::canonicalize(&inside).unwrap());
    }

    #[test]
    fn configuration_is_mounted_read_only_and_data_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for (volume, want) in [(json!({"configMap": {"name": "m"}}), true), (json!({"emptyDir": {}}), false)]
        {
            let mut volume = volume;
            volume["name"] = json!("v");
            let pod = pod(volume, json!({"name": "v", "mountPath": "/v"}));
            let found =
                mounts(&pod, &pod.spec.as_ref().unwrap().containers[0], &places(dir.path()), &[]).unwrap();
            assert_eq!(found.list[0].read_only, want);
        }
    }

    #[test]
    fn everything_of_a_pod_goes_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let pod = pod(json!({"name": "v", "emptyDir": {}}), json!({"name": "v", "mountPath": "/v"}));
        prepare(&pod, &places, &sources(), &Facts::default()).unwrap();
        std::os::unix::fs::symlink("/etc", places.disk.join("volumes/v/link")).unwrap();
        places.remove().unwrap();
        assert!(!places.disk.exists() && Path::new("/etc").exists());
        places.remove().unwrap();
    }
}

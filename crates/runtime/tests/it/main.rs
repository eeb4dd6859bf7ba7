//! Containers as they really run, on a root file system of a static busybox.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod confinement;
mod life;
mod speed;
mod terminal;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use shipway_runtime::{ContainerSpec, Containers, Resources, Rootfs, RuntimeError, StdIo};
use shipway_testkit::{Need, require};

/// Needs of every test here.
pub(crate) fn can_run() -> bool {
    require(&[Need::Root, Need::Overlay, Need::Cgroups, Need::Busybox])
}

/// A root of its own, removed at the end, and its running containers with it.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) containers: Containers,
    group: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        for name in ["bin", "etc", "tmp"] {
            fs_err::create_dir_all(image.join(name)).unwrap();
        }
        fs_err::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
        fs_err::set_permissions(image.join("bin/busybox"), std::fs::Permissions::from_mode(0o755)).unwrap();
        for applet in [
            "sh", "cat", "sleep", "true", "id", "mknod", "ls", "env", "kill", "dd", "pwd", "mkdir", "grep",
            "unshare", "mount", "chroot", "tty", "stty", "test",
        ] {
            std::os::unix::fs::symlink("busybox", image.join("bin").join(applet)).unwrap();
        }
        fs_err::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n")
            .unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_shipway-test-shim"));
        let containers = Containers::open(&dir.path().join("state"), program).unwrap();
        let group = format!("shipway-test-{}-{:p}", std::process::id(), &raw const containers);
        Self { dir, containers, group }
    }

    pub(crate) fn image(&self) -> std::path::PathBuf {
        self.dir.path().join("image")
    }

    pub(crate) fn spec(&self, id: &str, args: &[&str]) -> ContainerSpec {
        let active = self.dir.path().join("active").join(id);
        for name in ["upper", "work"] {
            fs_err::create_dir_all(active.join(name)).unwrap();
        }
        ContainerSpec {
            id: id.to_owned(),
            hostname: "box".to_owned(),
            args: args.iter().map(ToString::to_string).collect(),
            env: vec!["A=1".to_owned()],
            cwd: "/".to_owned(),
            user: String::new(),
            rootfs: Rootfs {
                lowers: vec![self.image()],
                upper: active.join("upper"),
                work: active.join("work"),
                ..Rootfs::default()
            },
            hosts: Some("127.0.0.1 localhost\n".to_owned()),
            resources: Resources { pids: Some(64), ..Resources::default() },
            cgroup_parent: self.group.clone(),
            ..ContainerSpec::default()
        }
    }

    /// Runs a container to its end and returns its exit code and output.
    pub(crate) fn run(&self, spec: &ContainerSpec) -> Result<(i32, String), RuntimeError> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let streams = StdIo::Streams {
            stdin: Stdio::null(),
            stdout: writer.try_clone().unwrap().into(),
            stderr: writer.into(),
        };
        let container = self.containers.start(spec, streams)?;
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        Ok((container.wait().unwrap(), output))
    }

    pub(crate) fn shell(&self, id: &str, script: &str) -> (i32, String) {
        self.run(&self.spec(id, &["sh", "-c", script])).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for container in self.containers.list().unwrap_or_default() {
            drop(container.stop(9, std::time::Duration::ZERO));
            drop(container.delete());
        }
        drop(shipway_linux::Cgroup::at(&self.group).remove());
    }
}

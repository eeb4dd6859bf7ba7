//! A machine of its own for a test: roots, a network, an image to run. All of it goes with the value.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use shipway_linux::{NetworkNamespace, RouteSocket, forget_private_mounts};
use shipway_network::{Bridge, BridgeConfig};
use shipway_oci::Digest;
use shipway_testkit::registry::TestRegistry;
use shipway_testkit::{Need, require};

/// What running a container needs.
pub(crate) fn can_run() -> bool {
    require(&[Need::Root, Need::Overlay, Need::Cgroups, Need::Busybox])
}

pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    /// Commands run in here: bridges, rules and ports are the test's own. `None` is this host's network.
    pub(crate) host: Option<NetworkNamespace>,
}

/// `shipway registry serve`, which ends with the value.
pub(crate) struct Served {
    pub(crate) process: Child,
    /// As it says that it is reached: `http://ADDRESS:PORT`.
    pub(crate) url: String,
}

impl Served {
    /// Returns address and port.
    pub(crate) fn address(&self) -> String {
        self.url.split_once("://").unwrap().1.to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}

impl Machine {
    /// Starts a registry and waits until it answers. What it says of requests is to be had from the process.
    pub(crate) fn serve(&self, args: &[&str]) -> Served {
        let mut command = self.command(args);
        let mut process = self.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("registry: ").unwrap().to_owned();
        Served { process, url }
    }

    /// Pushes `box` under a name, and returns what the push says.
    pub(crate) fn publish(&self, name: &str) -> String {
        self.ok(&["tag", "box", name]);
        self.ok(&["push", name]).0
    }

    /// Publishes what [`Machine::with_box`] has built, which is nowhere else then, and returns its name.
    pub(crate) fn move_box_to(&self, registry: &TestRegistry) -> String {
        let name = registry.name("box:1");
        self.publish(&name);
        self.ok(&["rmi", "box", &name]);
        self.ok(&["system", "prune", "-af"]);
        name
    }

    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("app");
        fs_err::create_dir(&context).unwrap();
        fs_err::copy("/bin/busybox", context.join("busybox")).unwrap();
        let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                          ENV GREETING=hello\nWORKDIR /srv\nCOPY page .\nRUN cat page > served && echo built\n\
                          ENTRYPOINT [\"/bin/cat\"]\nCMD [\"served\"]\n";
        fs_err::write(context.join("Dockerfile"), dockerfile).unwrap();
        fs_err::write(context.join("page"), "first\n").unwrap();
        let machine = Self { dir, host: Some(NetworkNamespace::new().unwrap()) };
        machine.inside(|| {
            let mut socket = RouteSocket::open().unwrap();
            let loopback = socket.link("lo").unwrap().unwrap().index;
            socket.set_up(loopback).unwrap();
        });
        machine
    }

    /// A machine that reaches what this host reaches, with roots of its own and nothing to build.
    pub(crate) fn on_host() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("app")).unwrap();
        Self { dir, host: None }
    }

    /// A machine with the image `box`: a busybox whose shell is the entrypoint, with `EXPOSE 80 53/udp`.
    pub(crate) fn with_box() -> Self {
        let machine = Self::new();
        machine.dockerfile(
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
             COPY passwd /etc/passwd\nEXPOSE 80 53/udp\nENTRYPOINT [\"/bin/sh\", \"-c\"]\n",
        );
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n";
        fs_err::write(machine.context().join("passwd"), passwd).unwrap();
        machine.ok(&["build", "-q", "--network", "none", "-t", "box", "."]);
        machine
    }

    pub(crate) fn dockerfile(&self, text: &str) {
        fs_err::write(self.context().join("Dockerfile"), text).unwrap();
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    /// Does something in the machine's network.
    pub(crate) fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        match &self.host {
            Some(host) => host.run(what).unwrap(),
            None => what(),
        }
    }

    pub(crate) fn shipway(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        self.inside(|| command.output().unwrap())
    }

    /// Starts a command prepared by [`Machine::command`].
    pub(crate) fn spawn(&self, command: &mut Command) -> Child {
        self.inside(|| command.spawn().unwrap())
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let (root, state) = (self.dir.path().join("root"), self.dir.path().join("state"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipway"));
        // For those that keep something in object storage.
        command.envs([
            ("AWS_ACCESS_KEY_ID", "me"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "here"),
        ]);
        command.env("SHIPWAY_ROOT", root).env("SHIPWAY_STATE", state).current_dir(self.context());
        command.args(args);
        command
    }

    /// Runs a command from a shell that has done something first.
    pub(crate) fn in_shell(&self, first: &str, args: &[&str]) -> Output {
        let command = self.command(args);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\"")]);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(self.context());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.inside(|| shell.output().unwrap())
    }

    pub(crate) fn ok(&self, args: &[&str]) -> (String, String) {
        let output = self.shipway(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }

    pub(crate) fn refused(&self, args: &[&str], code: i32) -> String {
        let output = self.shipway(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        errors
    }

    /// Runs a script in the image `box` and returns what it printed.
    pub(crate) fn script(&self, flags: &[&str], script: &str) -> String {
        self.ok(&[&["run", "--rm"], flags, &["box", script]].concat()).0
    }

    /// Runs a script in the background and returns the container's id.
    pub(crate) fn background(&self, flags: &[&str], script: &str) -> String {
        let (id, _) = self.ok(&[&["run", "-d"], flags, &["box", script]].concat());
        id.trim().to_owned()
    }

    /// Runs a script in a running container, which may end because of it.
    pub(crate) fn tell(&self, container: &str, script: &str) {
        let code = self.shipway(&["exec", container, "sh", "-c", script]).status.code();
        assert!(matches!(code, Some(0 | 137)), "{code:?}");
    }

    /// Returns the document of `inspect`.
    pub(crate) fn inspect(&self, name: &str) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&self.ok(&["inspect", name]).0).unwrap();
        all[0].clone()
    }

    /// Connects to an address of the machine and returns everything that comes.
    pub(crate) fn read_from(&self, ip: IpAddr, port: u16) -> std::io::Result<String> {
        self.inside(|| {
            let mut stream = TcpStream::connect(SocketAddr::new(ip, port))?;
            stream.write_all(b"\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }

    /// Waits until something holds, for at most ten seconds.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !holds() {
            assert!(start.elapsed().as_secs() < 10, "waited in vain until {what}");
            // Gives the processor to whoever it is about.
            std::thread::yield_now();
        }
    }

    pub(crate) fn network_devices(&self) -> Vec<String> {
        self.inside(|| {
            let links = RouteSocket::open().unwrap().links().unwrap();
            links.into_iter().map(|link| link.name).collect()
        })
    }

    /// Returns how many entries a directory has, none if it is not there.
    pub(crate) fn count(&self, place: &str) -> usize {
        fs_err::read_dir(self.dir.path().join(place)).map_or(0, Iterator::count)
    }

    /// Returns the short name of the root in the names of kernel objects.
    pub(crate) fn root_id(&self) -> String {
        let root = fs_err::canonicalize(self.dir.path().join("root")).unwrap();
        Digest::of(root.as_os_str().as_encoded_bytes()).hex()[..8].to_owned()
    }

    /// Asserts that no container is left in any form; the bridge itself may stay.
    pub(crate) fn assert_nothing_is_left(&self) {
        assert_eq!(self.ok(&["ps", "-aq"]).0, "", "containers");
        for place in [
            "state/containers",
            "state/steps",
            "state/claims",
            "state/network/netns",
            "root/active",
            "root/tmp",
        ] {
            assert_eq!(self.count(place), 0, "{place}");
        }
        let id = self.root_id();
        let ports = format!("sw{id}");
        self.until("the devices are gone", || {
            !self.network_devices().iter().any(|name| name.starts_with(&ports))
        });
        let own = self.dir.path().display().to_string();
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(&own)).collect();
        assert!(mounts.iter().all(|line| line.contains("/state/network/netns ")), "{mounts:?}");
        assert!(mounts.len() <= 1, "{mounts:?}");
        for hierarchy in ["memory", "pids", "cpu", "devices", "freezer", "unified", "systemd", "."] {
            let group = Path::new("/sys/fs/cgroup").join(hierarchy).join(format!("shipway-{id}"));
            self.until("the control groups are gone", || !group.exists());
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(ids) = String::from_utf8(self.shipway(&["ps", "-aq"]).stdout) {
            for id in ids.lines() {
                drop(self.shipway(&["rm", "-f", id]));
            }
        }
        let state_root = self.dir.path().join("state");
        let config = BridgeConfig { root_id: self.root_id(), state_root: state_root.clone() };
        if let Ok(Some(bridge)) = Bridge::find(config) {
            drop(self.inside(|| bridge.destroy()));
        }
        drop(forget_private_mounts(&state_root.join("network/netns")));
    }
}

//! What can be typed after the verbs that make images.

use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, ValueEnum};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A display on a terminal, else `plain`
    #[value(alias = "")]
    Auto,
    /// A display that is drawn again and again
    Tty,
    /// A line per event
    Plain,
    /// Docker's classic `Step 1/9 : …`
    Legacy,
    /// Only the image's id, and why it fails
    Quiet,
    /// Nothing, unless it fails
    None,
    /// BuildKit's JSON, a document for each event
    #[value(name = "rawjson")]
    RawJson,
}

/// Network of RUN steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildNetworkKind {
    /// One of the build's own, with a way out
    #[value(alias = "")]
    Default,
    /// Only a loopback device
    None,
    /// The host's network
    Host,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway build -t web .                       name the image `web:latest`
  shipway build -t web:1.2 -t web:latest .     two names
  shipway build -f deploy/Dockerfile .         another Dockerfile
  shipway build -t registry.example/web:1 --push .
  shipway build -t registry.example/web:1 --push --provenance=mode=min --sbom .
  shipway build --build-arg VERSION=3 --target test .
  shipway build --target binary -o out .       the files of a stage into a directory
  shipway build -o type=oci,dest=web.tar .     an archive that other tools load
  shipway build --secret id=token,src=FILE .   for RUN --mount=type=secret,id=token
  shipway build --cache-from web:cache --cache-to type=registry,ref=web:cache,mode=max .
  shipway build --ssh default=$HOME/.ssh/id_ed25519 .    for RUN --mount=type=ssh
  shipway build https://example.com/app.git#main:docker
  tar c . | shipway build -                    a context on the standard input; a Dockerfile alone goes too
  shipway build --build-context assets=../assets .
  shipway build --build-context base=oci-layout://layout:v1 .
  shipway build --debug .                      a shell where a step fails
  shipway build --bootstrap-base .             `FROM debian:bookworm` from the host's package mirror")]
pub(crate) struct BuildArgs {
    /// What COPY reads from: a directory, an archive at an address or on the standard input (`-`), a git repository
    #[arg(value_name = "PATH | URL | -")]
    pub(crate) context: Vec<String>,
    /// Push the result under each of its names, one after the other
    #[arg(long)]
    pub(crate) push: bool,
    /// Keep the result in the store also when it goes elsewhere by --output
    #[arg(long)]
    pub(crate) load: bool,
    /// Where the result goes beside the store: a directory, `type=local|tar|oci|docker,dest=…`, `type=image,push=true`, `type=registry`
    #[arg(short, long = "output", value_name = "OUTPUT")]
    pub(crate) outputs: Vec<String>,
    /// Name of the result, `name[:tag]`; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    pub(crate) tags: Vec<String>,
    /// The Dockerfile; `-` is the standard input, an address is fetched [default: PATH/Dockerfile]
    #[arg(short, long)]
    // Also an empty one, as the other files.
    #[arg(value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) file: Option<PathBuf>,
    /// What FROM and --from find under a name: a directory, `docker-image://IMAGE`, `oci-layout://DIRECTORY[:TAG]`, or an address
    #[arg(long = "build-context", value_name = "NAME=SOURCE")]
    pub(crate) build_contexts: Vec<String>,
    /// Set a build argument
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    pub(crate) build_args: Vec<String>,
    /// Stage to build
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// Run every step again
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Run every step of a stage again; may be given several times
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// Look for steps in a cache: IMAGE, `type=registry,ref=IMAGE` or `type=local,src=DIRECTORY`; may be given several times
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_from: Vec<String>,
    /// Put steps into a cache: `type=registry,ref=IMAGE`, `type=local,dest=DIRECTORY` or `type=inline`; with `mode=max` those of all stages
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_to: Vec<String>,
    /// Fetch base images also if they are here: there may be newer ones
    #[arg(long)]
    pub(crate) pull: bool,
    /// Add a label to the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Add an annotation to the image's manifest (`manifest[PLATFORM]:` for one of several), or with `index:` or `manifest-descriptor:` before its name elsewhere
    #[arg(long = "annotation", value_name = "[TYPE:]NAME=VALUE")]
    pub(crate) annotations: Vec<String>,
    /// Attest something of the image, in an index with it: `type=provenance,mode=min|max` or `type=sbom` [default: nothing]
    #[arg(long = "attest", value_name = "type=TYPE[,…]")]
    pub(crate) attests: Vec<String>,
    /// Attest where the image comes from, in the words of SLSA; `mode=max` unless said, which tells build arguments and the Dockerfile
    #[arg(long, value_name = "BOOL|mode=MODE[,…]", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) provenance: Option<String>,
    /// Attest the packages in the image, as an SPDX document
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) sbom: Option<String>,
    /// Add a name to /etc/hosts of RUN steps
    #[arg(long, value_name = "NAME:ADDRESS", value_delimiter = ',')]
    pub(crate) add_host: Vec<String>,
    /// Let RUN steps that ask for it do more: `security.insecure` for RUN --security=insecure
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// Limit each process of RUN steps, `NAME=SOFT[:HARD]`
    #[arg(long = "ulimit", value_name = "LIMIT")]
    pub(crate) ulimits: Vec<String>,
    /// Size of /dev/shm in RUN steps [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,
    /// A control group of this machine that bounds RUN steps, by its path below /sys/fs/cgroup
    #[arg(long, value_name = "NAME")]
    pub(crate) cgroup_parent: Option<String>,
    /// A secret for RUN --mount=type=secret: id=ID, and src=FILE or env=NAME
    #[arg(long = "secret", value_name = "SECRET")]
    pub(crate) secrets: Vec<String>,
    /// An ssh agent for RUN --mount=type=ssh: `default`, `ID=SOCKET`, or `ID=KEYFILE[,KEYFILE]`
    #[arg(long = "ssh", value_name = "ID[=SOCKET|KEY]")]
    pub(crate) ssh: Vec<String>,
    /// What to build for: `linux/arm64`, …, several with commas between; DOCKER_DEFAULT_PLATFORM or this machine by default. RUN steps for another one need an emulator (qemu-user-static)
    #[arg(long = "platform", value_name = "OS/ARCH", value_delimiter = ',')]
    pub(crate) platforms: Vec<String>,
    /// Build nothing, and show what the Dockerfile offers: `check`, `targets`, `outline`, each also with `,format=json`
    // Compat: buildx, its name before.
    #[arg(
        long,
        alias = "print",
        value_name = "QUESTION",
        default_value = "build",
        hide_default_value = true
    )]
    pub(crate) call: String,
    /// Look for mistakes in the Dockerfile and build nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Open a shell where a RUN step has failed, with its files, mounts and variables; needs a terminal
    // Compat: buildx, its letter.
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// Print only the image's id
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", env = "BUILDKIT_PROGRESS", value_name = "STYLE")]
    pub(crate) progress: ProgressStyle,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Network of RUN steps that do not choose
    #[arg(long, value_enum, default_value = "default")]
    pub(crate) network: BuildNetworkKind,
    /// RUN steps trust the certificate authorities that this host trusts
    #[arg(long)]
    pub(crate) host_ca: bool,
    /// Assemble Debian base images that are missing from the host's package mirror
    #[arg(long)]
    pub(crate) bootstrap_base: bool,
    /// Use an archive whose Release file has expired
    #[arg(long)]
    pub(crate) accept_expired_release: bool,
}

impl BuildArgs {
    /// Forgets flags with an empty value. Compat: buildx, scripts write `--iidfile "$FILE"`.
    pub(super) fn forget_empty(&mut self) {
        let lists = [
            &mut self.outputs,
            &mut self.build_contexts,
            &mut self.no_cache_filter,
            &mut self.cache_from,
            &mut self.cache_to,
            &mut self.annotations,
            &mut self.add_host,
            &mut self.allow,
            &mut self.secrets,
            &mut self.ssh,
        ];
        lists.into_iter().for_each(|list| list.retain(|text| !text.is_empty()));
        for file in [&mut self.file, &mut self.iidfile, &mut self.metadata_file] {
            file.take_if(|file| file.as_os_str().is_empty());
        }
        for text in [&mut self.target, &mut self.cgroup_parent, &mut self.provenance, &mut self.sbom] {
            text.take_if(|text| text.is_empty());
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway bootstrap                                    the host's own suite
  shipway bootstrap debian:bookworm --include curl     with a further package
  shipway bootstrap debian:bookworm --mirror http://mirror.example/debian")]
pub(crate) struct BootstrapArgs {
    /// Image to make: `debian:SUITE` [default: the host's suite]
    pub(crate) name: Option<String>,
    /// Archive to use instead of the one that the host's apt is told of
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Keys that sign the archive [default: those that the host's apt trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,
    /// A package beside the minimal set; may be given several times
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) include: Vec<String>,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", value_name = "STYLE")]
    pub(crate) progress: ProgressStyle,
    /// Use an archive whose Release file has expired
    #[arg(long)]
    pub(crate) accept_expired_release: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway import rootfs.tar alpine:3.20
  docker export box | shipway import - box     from another machine's or tool's container")]
pub(crate) struct ImportArgs {
    /// The archive: tar, plain or compressed with gzip, zstd, xz or bzip2; `-` is the standard input
    pub(crate) file: String,
    /// Name of the image, `name[:tag]`
    pub(crate) name: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Verb};

    #[test]
    fn flags_with_an_empty_value_are_not_there() {
        let flags = [
            "--output",
            "--build-context",
            "--no-cache-filter",
            "--cache-from",
            "--cache-to",
            "--annotation",
            "--add-host",
            "--allow",
            "--secret",
            "--ssh",
            "--file",
            "--iidfile",
            "--metadata-file",
            "--target",
            "--cgroup-parent",
            "--provenance",
            "--sbom",
            "--progress",
            "--network",
            "--call",
        ];
        let words = flags.map(|flag| format!("{flag}="));
        let words = ["shipway", "build"].into_iter().chain(words.iter().map(String::as_str)).chain(["."]);
        let read = |words: Vec<&str>| {
            let Verb::Build(mut args) = Cli::try_parse_from(words).unwrap().verb else {
                panic!("another verb")
            };
            args.forget_empty();
            args.call = args.call.replace("build", "");
            format!("{args:?}")
        };
        assert_eq!(read(words.collect()), read(vec!["shipway", "build", "."]));
    }
}

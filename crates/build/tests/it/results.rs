//! What ends up in the image: config, history, layers, names.

use std::path::Path;

use shipway_layers::LayerStore as _;
use shipway_testkit::{Need, require};

use crate::harness::{Bench, read};

fn history(config: &shipway_oci::ImageConfig) -> Vec<(String, bool)> {
    config.history.iter().map(|entry| (entry.created_by.clone().unwrap(), entry.empty_layer)).collect()
}

#[test]
fn the_flask_example_has_buildkits_config_and_history() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("requirements.txt", "flask\n");
    bench.file("exampleapp.py", "print()\n");
    let built = bench
        .build(
            "FROM debian\nRUN write /usr/bin/python3 x\nWORKDIR /opt/exampleapp\nCOPY requirements.txt .\n\
             RUN say installing\nENV PYTHONUNBUFFERED=1\nCOPY exampleapp.py .\nEXPOSE 5000\n\
             ENTRYPOINT [\"python3\"]\nCMD [\"/opt/exampleapp/exampleapp.py\"]\n",
        )
        .unwrap();
    let config = bench.config(&built);
    assert_eq!(config.config.entrypoint.clone().unwrap(), ["python3"]);
    assert_eq!(config.config.cmd.clone().unwrap(), ["/opt/exampleapp/exampleapp.py"]);
    assert_eq!(config.config.working_dir, "/opt/exampleapp");
    assert!(config.config.exposed_ports.contains_key("5000/tcp"));
    assert!(config.config.args_escaped);
    let want = [
        ("RUN /bin/sh -c write /usr/bin/python3 x # buildkit", false),
        ("WORKDIR /opt/exampleapp", false),
        ("COPY requirements.txt . # buildkit", false),
        ("RUN /bin/sh -c say installing # buildkit", false),
        ("ENV PYTHONUNBUFFERED=1", true),
        ("COPY exampleapp.py . # buildkit", false),
        ("EXPOSE [5000/tcp]", true),
        ("ENTRYPOINT [\"python3\"]", true),
        ("CMD [\"/opt/exampleapp/exampleapp.py\"]", true),
    ];
    let want: Vec<(String, bool)> = want.into_iter().map(|(text, empty)| (text.to_owned(), empty)).collect();
    assert_eq!(history(&config), want);
    assert_eq!(config.rootfs.diff_ids.len(), 6);
    assert!(config.history.iter().all(|entry| entry.created.is_some()));
    assert_eq!(config.created, config.history.last().unwrap().created);
    assert_eq!(bench.store.resolve("app").unwrap().image_id, built.image_id);
    let manifest = bench.store.manifest(&built.manifest).unwrap();
    assert_eq!(manifest.layers.len(), 6);
    assert_eq!(bench.log.lines("OUTPUT"), ["installing"]);
    bench.assert_nothing_left();
}

#[test]
fn a_directory_that_exists_already_makes_no_layer() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let built = bench.build("FROM debian\nWORKDIR /etc\nWORKDIR /\nUSER web\nWORKDIR /home/web/x").unwrap();
    let config = bench.config(&built);
    assert_eq!(config.rootfs.diff_ids.len(), 2);
    let empty: Vec<bool> = config.history.iter().map(|entry| entry.empty_layer).collect();
    assert_eq!(empty, [true, true, true, false]);
    assert!(bench.listing(&built).contains(&"home/web/x/ 755 33:33".to_owned()));
}

#[test]
fn several_names_and_labels_are_given() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.file("a", "1");
    let mut request = bench.request("FROM scratch\nCOPY a /\nLABEL x=1\n");
    request.tags = vec!["app:1".parse().unwrap(), "localhost:5000/app:2".parse().unwrap()];
    request.labels = vec![("x".to_owned(), "2".to_owned()), ("y".to_owned(), "3".to_owned())];
    let built = bench.run(&request).unwrap();
    let labels = bench.config(&built).config.labels;
    assert_eq!((labels["x"].as_str(), labels["y"].as_str()), ("2", "3"));
    assert_eq!(bench.store.images().unwrap().len(), 2);
    assert_eq!(bench.log.lines("NAMED"), ["app:1", "localhost:5000/app:2"]);
}

#[test]
fn an_image_without_a_name_is_kept() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.file("a", "1");
    let mut request = bench.request("FROM scratch\nCOPY a /\n");
    request.tags.clear();
    let built = bench.run(&request).unwrap();
    let images = bench.store.images().unwrap();
    assert_eq!(
        images.iter().map(|image| (image.name.clone(), image.image_id)).collect::<Vec<_>>(),
        [(None, built.image_id)]
    );
}

#[test]
fn build_arguments_are_in_the_history_of_run_but_not_in_the_config() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let mut request = bench.request(
        "ARG BASE=nothing\nFROM $BASE\nARG V=1 W\nENV E=2\nRUN env\nUSER web\nWORKDIR /x\nRUN env\n",
    );
    request.build_args = [("BASE", "debian"), ("V", "9"), ("HTTP_PROXY", "http://p"), ("UNUSED", "1")]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .to_vec();
    let built = bench.run(&request).unwrap();
    let config = bench.config(&built);
    assert!(
        history(&config).iter().any(|(text, _)| text == "RUN |2 V=9 W= /bin/sh -c env # buildkit"),
        "{:?}",
        history(&config)
    );
    assert!(!config.config.env.iter().any(|text| text.starts_with("V=") || text.contains("proxy")));
    let output = bench.log.lines("OUTPUT");
    assert!(
        output[0].contains("V=9 E=2")
            && output[0].contains("http_proxy=http://p")
            && output[0].ends_with(" /"),
        "{output:?}"
    );
    assert!(output[1].ends_with(" /x web"), "{output:?}");
    assert_eq!(bench.log.lines("WARNING"), ["one or more build arguments were not used: UNUSED"]);
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("http://p"));
}

#[test]
fn a_command_that_is_a_heredoc_alone_is_its_text() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    for start in ["<<E", "3<<E", "<<  E", "<<-E", "<<'E'", "<<'a b'"] {
        let end = if start.contains("a b") { "a b" } else { "E" };
        bench.log.clear();
        bench.build(&format!("FROM debian\nRUN {start}\nsay one {start}\nsay two\n{end}\n")).unwrap();
        let shown = bench.log.lines("STARTED [2/2]");
        assert_eq!(shown, [format!("RUN {start} (say one {start}...)")], "case {start}");
    }
}

#[test]
fn proxies_of_the_command_line_are_those_of_commands() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    let mut request = bench.request("FROM debian\nENV http_proxy=mine ftp_proxy=own\nRUN env\n");
    request.build_args =
        [("http_proxy", "old"), ("http_proxy", "small"), ("HTTP_PROXY", "LARGE"), ("no_proxy", "")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .to_vec();
    let built = bench.run(&request).unwrap();
    let output = bench.log.lines("OUTPUT").join("\n");
    for (text, want) in [
        ("HTTP_PROXY=small", true),
        ("http_proxy=small", true),
        ("ftp_proxy=own", true),
        ("mine", false),
        ("LARGE", false),
        ("no_proxy", false),
    ] {
        assert_eq!(output.contains(text), want, "{text}: {output}");
    }
    assert!(bench.config(&built).config.env.contains(&"http_proxy=mine".to_owned()));
}

#[test]
fn triggers_of_the_base_run_first_and_do_not_pass_on() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.base(
        "onbuild",
        |config| config.config.on_build = vec!["COPY a /a".to_owned(), "RUN <<E\nwrite /b 2\nE".to_owned()],
        |root| root.create_dir("etc", 0o755).unwrap(),
    );
    bench.file("a", "1");
    let built = bench.build("FROM onbuild\nRUN write /c 3\n").unwrap();
    let config = bench.config(&built);
    assert_eq!(config.config.on_build, Vec::<String>::new());
    assert_eq!(
        history(&config).into_iter().map(|(text, _)| text).collect::<Vec<_>>(),
        [
            "COPY a /a # buildkit",
            "RUN /bin/sh -c write /b 2\n # buildkit",
            "RUN /bin/sh -c write /c 3 # buildkit"
        ]
    );
    assert!(bench.log.lines("DONE").iter().any(|line| line == "[2/4] ONBUILD COPY a /a"));
}

#[test]
fn source_date_epoch_gives_the_same_image_from_other_times() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let bench = Bench::new();
        bench.debian();
        bench.file("d/a", "1");
        let mut request = bench.request("FROM debian\nCOPY d /d/\nRUN write /x 1\nWORKDIR /w\nCMD [\"x\"]\n");
        request.build_args = vec![("SOURCE_DATE_EPOCH".to_owned(), "1000000000".to_owned())];
        let built = bench.run(&request).unwrap();
        let config = bench.config(&built);
        assert_eq!(config.created.as_deref(), Some("2001-09-09T01:46:40Z"));
        ids.push((config.rootfs.diff_ids[1..].to_vec(), config.history));
    }
    assert_eq!(ids[0], ids[1]);
}

/// One entry of an archive: directories end in a slash.
fn tar_entry(name: &str, mode: u32, content: &str) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(124, &format!("{:011o}", content.len()));
    put(156, if name.ends_with('/') { "5" } else { "0" });
    put(257, "ustar\u{0}00");
    put(148, "        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.extend(content.as_bytes());
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

#[test]
fn what_mends_a_base_image_is_seen_by_the_build_and_not_listed_by_the_image() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    // The second layer only implies `tmp`, which is sticky in the first.
    let archives = [tar_entry("tmp/", 0o1777, ""), tar_entry("tmp/x", 0o644, "1")];
    let import = |mut bytes: Vec<u8>| {
        bytes.extend([0; 1024]);
        bench.layers.import(&mut bytes.as_slice(), None).unwrap().diff_id
    };
    let diff_ids = archives.map(import).to_vec();
    let layers = bench.layers.resolve(&diff_ids).unwrap();
    assert_eq!(layers.len(), 3, "a layer mends the two");
    bench.mended_base("foreign", diff_ids.clone(), layers);
    bench.file("y", "2");
    let built = bench.build("FROM foreign\nCOPY y /tmp/\n").unwrap();
    assert_eq!(bench.listing(&built), ["tmp/ 1777 0:0", "tmp/x 644 0:0 1", "tmp/y 644 0:0 2"]);
    let listed = bench.config(&built).rootfs.diff_ids;
    assert_eq!((&listed[..2], listed.len()), (&diff_ids[..], 3));
    assert_eq!(bench.store.manifest(&built.manifest).unwrap().layers.len(), 3);
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_told_line_by_line() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    let mut request = bench.request("");
    let lines =
        b"# \xe9\nFROM scratch\nLABEL by=\"Andr\xe9\" at=\xe2\x82\nCOPY <<E /text\n# caf\xe9\nE\n".to_vec();
    let more = (0..12).flat_map(|number| [format!("LABEL l{number}=").as_bytes(), b"\xff\n"].concat());
    request.dockerfile_text = Some(lines.into_iter().chain(more).collect());
    let built = bench.run(&request).unwrap();
    assert_eq!(bench.config(&built).config.labels["by"], "Andr\u{fffd}");
    assert_eq!(bench.config(&built).config.labels["at"], "\u{fffd}\u{fffd}");
    assert_eq!(read(&bench.files(&built), Path::new("text")), "# caf\u{fffd}\n");
    let told = bench.log.lines("WARNING");
    let rest = "U+FFFD stands in its place, save the file as UTF-8";
    assert_eq!(told[0], format!("byte 0xE9 is not UTF-8, nor are 2 more (line 3): {rest}"));
    assert_eq!(told[1], format!("byte 0xE9 is not UTF-8 (line 5): {rest}"));
    assert_eq!((told.len(), told[10].as_str()), (11, "4 more lines have bytes that are not UTF-8"));
}

//! Steps that one builder has done and another one takes over.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shipway_build::{
    BuildRequest, Built, CacheContent, CacheExport, CacheMode, CacheSource, CacheTarget, INLINE_CACHE,
    SeamError, Secret, StepRecord,
};
use shipway_layers::{LayerId, LayerStore as _, Unpacked};
use shipway_oci::{Descriptor, DiffId, Digest, Platform};
use shipway_testkit::{Need, require};

use crate::harness::Bench;

/// A cache in memory.
#[derive(Debug, Default)]
struct Shelf {
    document: Mutex<Vec<u8>>,
    layers: Mutex<HashMap<DiffId, Vec<u8>>>,
    /// Layers that it does not give any more.
    broken: Mutex<HashSet<DiffId>>,
    fetched: AtomicUsize,
    refuses: bool,
}

/// A shelf as one machine sees it.
#[derive(Debug)]
struct Door {
    shelf: Arc<Shelf>,
    layers: Arc<Unpacked>,
    mode: CacheMode,
    ignores_errors: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the shelf is locked")]
#[diagnostic(help("find the key"))]
struct Locked;

impl CacheSource for Door {
    fn name(&self) -> String {
        "shelf".to_owned()
    }

    fn load(&self) -> Result<CacheContent, SeamError> {
        if self.shelf.refuses {
            return Err(SeamError::new(Locked));
        }
        let blob = |diff_id: &DiffId, tar: &Vec<u8>| Descriptor::new("layer", diff_id.0, tar.len() as u64);
        let layers = self.shelf.layers.lock().unwrap();
        let layers = layers.iter().map(|(diff_id, tar)| (*diff_id, blob(diff_id, tar))).collect();
        let steps = StepRecord::parse(&self.shelf.document.lock().unwrap()).unwrap();
        Ok(CacheContent { steps, layers })
    }

    fn fetch(&self, _blob: &Descriptor, diff_id: DiffId) -> Result<LayerId, SeamError> {
        self.shelf.fetched.fetch_add(1, Ordering::SeqCst);
        if self.shelf.broken.lock().unwrap().contains(&diff_id) {
            return Err(SeamError::new(Locked));
        }
        let tar = self.shelf.layers.lock().unwrap()[&diff_id].clone();
        Ok(self.layers.import(&mut tar.as_slice(), Some(diff_id)).unwrap().id)
    }
}

impl CacheTarget for Door {
    fn name(&self) -> String {
        "shelf".to_owned()
    }

    fn title(&self) -> String {
        "exporting cache to shelf".to_owned()
    }

    fn mode(&self) -> CacheMode {
        self.mode
    }

    fn ignores_errors(&self) -> bool {
        self.ignores_errors
    }

    fn put(&self, export: &CacheExport<'_>, say: &(dyn Fn(&str) + Sync)) -> Result<(), SeamError> {
        if self.shelf.refuses {
            return Err(SeamError::new(Locked));
        }
        let mut there = HashMap::new();
        for (_, diff_id) in &export.layers {
            let known = self.shelf.layers.lock().unwrap().get(diff_id).cloned();
            let broken = self.shelf.broken.lock().unwrap().contains(diff_id);
            let tar = match known.filter(|_| !broken) {
                Some(tar) => tar,
                None => {
                    export.bring(*diff_id)?;
                    let mut tar = Vec::new();
                    self.layers.export(&self.layer_of(*diff_id), &mut tar).unwrap();
                    tar
                }
            };
            there.insert(*diff_id, tar);
        }
        let blobs: Vec<Descriptor> = export.layers.iter().map(|(layer, _)| layer.clone()).collect();
        *self.shelf.document.lock().unwrap() = export.document(&blobs);
        *self.shelf.layers.lock().unwrap() = there;
        say("shelved");
        Ok(())
    }
}

impl Door {
    fn layer_of(&self, diff_id: DiffId) -> LayerId {
        self.layers.resolve(&[diff_id]).unwrap().remove(0)
    }
}

fn door(bench: &Bench, shelf: &Arc<Shelf>, mode: CacheMode) -> Arc<Door> {
    let (shelf, layers) = (Arc::clone(shelf), Arc::clone(&bench.layers));
    Arc::new(Door { shelf, layers, mode, ignores_errors: false })
}

/// Fills a shelf with what a build does.
fn fill(bench: &Bench, shelf: &Arc<Shelf>, mode: CacheMode, request: &BuildRequest) -> Built {
    bench.log.clear();
    bench.builder().with_caches(Vec::new(), vec![door(bench, shelf, mode)]).build(request).unwrap()
}

/// Builds with what is on a shelf.
fn take(bench: &Bench, shelf: &Arc<Shelf>, request: &BuildRequest) -> Built {
    bench.log.clear();
    bench.runner.runs.store(0, Ordering::SeqCst);
    let door = door(bench, shelf, CacheMode::Min);
    bench.builder().with_caches(vec![door], Vec::new()).build(request).unwrap()
}

/// A machine with the base image and the context that all have.
fn machine() -> Bench {
    let bench = Bench::new();
    bench.debian();
    bench.file("src/main.c", "1");
    bench.file("page", "page");
    bench
}

const STAGES: &str = "FROM debian AS made\nRUN write /tools 1\nCOPY src /src\nRUN write /out made\n\
                      FROM debian\nWORKDIR /app\nCOPY --from=made /out .\nCOPY page .\nRUN write /done 1\n";

fn runs(bench: &Bench) -> usize {
    bench.runner.runs.load(Ordering::SeqCst)
}

#[test]
fn another_machine_does_nothing_again_and_fetches_only_what_is_in_the_image() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    for (mode, layers, epoch) in
        [(CacheMode::Max, 7, ""), (CacheMode::Min, 4, ""), (CacheMode::Max, 7, "1700000000")]
    {
        let build_args = vec![("SOURCE_DATE_EPOCH".to_owned(), epoch.to_owned())];
        let request =
            |bench: &Bench| BuildRequest { build_args: build_args.clone(), ..bench.request(STAGES) };
        let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
        let built = fill(&one, &shelf, mode, &request(&one));
        assert_eq!(one.log.lines("OUTPUT shelved").len(), 1);
        assert_eq!(shelf.layers.lock().unwrap().len(), layers, "{mode:?}");
        let again = take(&other, &shelf, &request(&other));
        assert_eq!((again.image_id, again.manifest), (built.image_id, built.manifest), "{mode:?}");
        assert_eq!((again.cached_steps, runs(&other)), (again.steps, 0), "{mode:?}");
        assert_eq!(shelf.fetched.load(Ordering::SeqCst), 4, "{mode:?}");
        assert_eq!(other.listing(&again), one.listing(&built));
        assert_eq!(other.log.lines("WARNING"), [""; 0]);
        // And knows the steps from now on.
        let third =
            BuildRequest { build_args: build_args.clone(), ..other.request("FROM debian\nWORKDIR /app\n") };
        let third = other.run(&third).unwrap();
        assert_eq!(third.cached_steps, third.steps);
        other.assert_nothing_left();
    }
}

#[test]
fn a_cache_has_the_steps_for_all_platforms() {
    const BOTH: &str = "FROM debian\nARG TARGETARCH\nRUN write /for a\nCOPY page /$TARGETARCH\n";
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let platforms = ["amd64", "riscv64"].map(Platform::linux).to_vec();
    for mode in [CacheMode::Min, CacheMode::Max] {
        let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
        // One time for all files, or the command's layers are two where the second begins between them.
        let build_args = vec![("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned())];
        let request = |bench: &Bench| BuildRequest {
            platforms: platforms.clone(),
            build_args: build_args.clone(),
            ..bench.request(BOTH)
        };
        let built = fill(&one, &shelf, mode, &request(&one));
        // The command knows for what it runs; it makes the same layer.
        assert_eq!((runs(&one), shelf.layers.lock().unwrap().len()), (2, 3), "{mode:?}");
        let again = take(&other, &shelf, &request(&other));
        assert_eq!((again.index, runs(&other)), (built.index, 0), "{mode:?}");
        assert_eq!((again.cached_steps, again.parts.len()), (again.steps, 2));
    }
}

#[test]
fn steps_that_came_without_their_layers_lead_on_without_the_cache_that_had_them() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
    let built = fill(&one, &shelf, CacheMode::Max, &one.request(STAGES));
    take(&other, &shelf, &other.request(STAGES));
    assert_eq!(shelf.fetched.load(Ordering::SeqCst), 4, "none of the first stage");
    let again = other.build(STAGES).unwrap();
    assert_eq!((again.image_id, again.cached_steps, runs(&other)), (built.image_id, again.steps, 0));
    other.file("page", "another");
    other.build(STAGES).unwrap();
    assert_eq!((runs(&other), other.log.lines("MISSED").len()), (1, 2), "{:?}", other.log.lines("MISSED"));
    // Where the files are wanted after all they are made, and the steps that were found are still there.
    other.file("src/main.c", "2");
    other.runner.runs.store(0, Ordering::SeqCst);
    let changed = other.build(STAGES).unwrap();
    assert_eq!(runs(&other), 2, "{:?}", other.log.lines("MISSED"));
    assert_eq!(other.log.lines("WARNING"), [""; 0]);
    other.file("src/main.c", "1");
    other.file("page", "page");
    let back = other.build(STAGES).unwrap();
    assert_eq!((back.image_id, back.cached_steps, runs(&other)), (built.image_id, back.steps, 2));
    assert_eq!(other.listing(&changed).len(), other.listing(&back).len());
    other.assert_nothing_left();
}

#[test]
fn who_has_done_a_step_himself_goes_on_with_what_others_did_on_theirs() {
    const FIRST: &str = "FROM debian AS made\nRUN write /tools 1\n";
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let whole = format!("{FIRST}COPY src /src\nRUN write /out made\n");
    let on_it = format!("{FIRST}FROM made AS more\nRUN write /more 1\nFROM made\nCOPY --from=more /more /\n");
    for (name, own, text) in [
        ("a step", FIRST, STAGES),
        ("a stage that is copied from", &whole, STAGES),
        ("a stage that others are on", FIRST, &on_it),
    ] {
        let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
        let built = fill(&one, &shelf, CacheMode::Max, &one.request(text));
        other.build(own).unwrap();
        let again = take(&other, &shelf, &other.request(text));
        assert_eq!((again.cached_steps, runs(&other)), (again.steps, 0), "{name}: {:?}", other.log);
        assert_eq!(again.image_id, built.image_id, "{name}");
        assert_eq!(other.listing(&again), one.listing(&built), "{name}");
        // Both are known from now on, and what was done here is the first.
        let again = other.build(text).unwrap();
        assert_eq!((again.image_id, again.cached_steps), (built.image_id, again.steps), "{name}");
        let mine = other.build(own).unwrap();
        assert_eq!(mine.cached_steps, mine.steps, "{name}");
        // Until it is done anew.
        let first = BuildRequest { no_cache: true, ..other.request(FIRST) };
        other.run(&first).unwrap();
        other.build(text).unwrap();
        // What is on other files is done again, and what has read the same bytes is found.
        assert!(!other.log.lines("MISSED").is_empty(), "{name}");
        other.assert_nothing_left();
    }
}

#[test]
fn linked_copies_are_found_without_what_they_lie_on() {
    const LINKED: &str = "FROM debian AS made\nRUN write /tools 1\nCOPY --link src /src/new\nRUN write /out made\n\
                          FROM debian\nCOPY --from=made --link --chown=web /out /srv/new/\nCOPY --link page /etc\n";
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    for (mode, layers) in [(CacheMode::Max, 5), (CacheMode::Min, 2)] {
        let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
        let build_args = vec![("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned())];
        let request =
            |bench: &Bench| BuildRequest { build_args: build_args.clone(), ..bench.request(LINKED) };
        let built = fill(&one, &shelf, mode, &request(&one));
        assert_eq!(shelf.layers.lock().unwrap().len(), layers, "{mode:?}");
        let again = take(&other, &shelf, &request(&other));
        assert_eq!((again.image_id, runs(&other)), (built.image_id, 0), "{mode:?}");
        assert_eq!((again.cached_steps, shelf.fetched.load(Ordering::SeqCst)), (again.steps, 2), "{mode:?}");
        assert_eq!(other.listing(&again), one.listing(&built));
        other.assert_nothing_left();
    }
}

#[test]
fn a_changed_file_costs_the_steps_that_read_it() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (one, shelf) = (machine(), Arc::new(Shelf::default()));
    fill(&one, &shelf, CacheMode::Max, &one.request(STAGES));
    let late = machine();
    late.file("page", "another");
    take(&late, &shelf, &late.request(STAGES));
    assert_eq!((runs(&late), late.log.lines("MISSED").len()), (1, 2));
    // Of the first stage only what is below the change is fetched, and nothing is made again that is on top of the same files.
    let early = machine();
    early.file("src/main.c", "2");
    shelf.fetched.store(0, Ordering::SeqCst);
    take(&early, &shelf, &early.request(STAGES));
    assert_eq!(runs(&early), 1, "{:?}", early.log.lines("MISSED"));
    assert_eq!(early.log.lines("MISSED").len(), 2);
    assert_eq!(shelf.fetched.load(Ordering::SeqCst), 5);
}

#[test]
fn steps_whose_layer_was_not_kept_are_done_where_their_files_are_needed() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
    fill(&one, &shelf, CacheMode::Min, &one.request(STAGES));
    other.file("src/main.c", "2");
    let built = take(&other, &shelf, &other.request(STAGES));
    // Both commands of the first stage; the second stage is on top of the same file.
    assert_eq!(runs(&other), 2, "{:?}", other.log.lines("MISSED"));
    assert_eq!(other.log.lines("WARNING"), [""; 0], "that is how it is meant");
    assert!(other.listing(&built).iter().any(|line| line.starts_with("done ")));
    other.assert_nothing_left();
}

#[test]
fn a_layer_that_does_not_come_is_told_and_made_again() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
    fill(&one, &shelf, CacheMode::Max, &one.request(STAGES));
    let diff_ids: Vec<DiffId> = shelf.layers.lock().unwrap().keys().copied().collect();
    shelf.broken.lock().unwrap().extend(diff_ids);
    let built = take(&other, &shelf, &other.request(STAGES));
    assert_eq!(runs(&other), 3);
    let warnings = other.log.lines("WARNING");
    assert!(!warnings.is_empty());
    for line in &warnings {
        assert_eq!(line, "a layer of the cache `shelf` is not used: the shelf is locked");
    }
    assert_eq!(other.listing(&built), one.listing(&one.build(STAGES).unwrap()));
    other.assert_nothing_left();
}

#[test]
fn a_cache_that_cannot_be_read_or_written_is_told() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (bench, shelf) = (machine(), Arc::new(Shelf { refuses: true, ..Shelf::default() }));
    let built = take(&bench, &shelf, &bench.request(STAGES));
    assert_eq!((built.cached_steps, runs(&bench)), (2, 3));
    assert_eq!(bench.log.lines("WARNING"), ["the cache `shelf` is not used: the shelf is locked"]);
    assert_eq!(
        bench.log.lines("FAILED"),
        ["importing cache manifest from shelf: the shelf is locked"],
        "it is shown"
    );
    let target = door(&bench, &shelf, CacheMode::Max);
    let error = bench.builder().with_caches(Vec::new(), vec![target]).build(&bench.request(STAGES));
    assert_eq!(
        crate::harness::render(&error.unwrap_err()),
        "error: cannot export the cache to `shelf`\n  because: the shelf is locked\nhint: find the key\n"
    );
    let ignores_errors = true;
    let (shelf, layers) = (Arc::clone(&shelf), Arc::clone(&bench.layers));
    let target = Arc::new(Door { shelf, layers, mode: CacheMode::Max, ignores_errors });
    bench.log.clear();
    bench.builder().with_caches(Vec::new(), vec![target]).build(&bench.request(STAGES)).unwrap();
    assert_eq!(bench.log.lines("WARNING"), ["cannot export the cache to `shelf`: the shelf is locked"]);
}

#[test]
fn a_cache_is_passed_on_without_fetching_what_is_there() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
    fill(&one, &shelf, CacheMode::Max, &one.request(STAGES));
    let before = shelf.document.lock().unwrap().clone();
    let export = |bench: &Bench| {
        let door = || door(bench, &shelf, CacheMode::Max);
        bench.builder().with_caches(vec![door()], vec![door()]).build(&bench.request(STAGES)).unwrap()
    };
    let built = export(&other);
    assert_eq!(shelf.fetched.load(Ordering::SeqCst), 4, "what the image needs");
    let same = |shelf: &Shelf| StepRecord::parse(&shelf.document.lock().unwrap()).unwrap();
    assert_eq!(same(&shelf), StepRecord::parse(&before).unwrap());
    assert_eq!(shelf.layers.lock().unwrap().len(), 7);
    // One that is gone by then is left out, and its step still has its key.
    let third = machine();
    let of_image: HashSet<DiffId> = other.config(&built).rootfs.diff_ids.into_iter().collect();
    let others: Vec<DiffId> =
        shelf.layers.lock().unwrap().keys().filter(|diff_id| !of_image.contains(diff_id)).copied().collect();
    shelf.broken.lock().unwrap().extend(others);
    export(&third);
    assert_eq!(
        (shelf.layers.lock().unwrap().len(), same(&shelf).len()),
        (4, StepRecord::parse(&before).unwrap().len())
    );
}

#[test]
fn an_image_says_itself_under_which_keys_its_layers_are_found() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (one, other) = (machine(), machine());
    let request = |bench: &Bench| BuildRequest { inline_cache: true, ..bench.request(STAGES) };
    let built = one.run(&request(&one)).unwrap();
    let config = one.config(&built);
    let text = config.other[INLINE_CACHE].as_str().unwrap();
    let steps = StepRecord::parse_inline(text).unwrap();
    let has = |step: &&StepRecord| step.diff_id.is_some_and(|id| config.rootfs.diff_ids.contains(&id));
    let found: HashSet<DiffId> = steps.iter().filter(has).filter_map(|step| step.diff_id).collect();
    assert_eq!((found.len(), config.rootfs.diff_ids.len()), (4, 5), "all but the base's");
    assert!(!one.config(&one.build(STAGES).unwrap()).other.contains_key(INLINE_CACHE));
    // What is built on the image is another one.
    one.mended_base(
        "made",
        config.rootfs.diff_ids.clone(),
        one.layers.resolve(&config.rootfs.diff_ids).unwrap(),
    );
    let above = one.build("FROM made\nCMD [\"x\"]\n").unwrap();
    assert!(!one.config(&above).other.contains_key(INLINE_CACHE));
    // Steps and layers are all that the other one needs.
    let (shelf, mut layers) = (Arc::new(Shelf::default()), HashMap::new());
    for diff_id in &config.rootfs.diff_ids {
        let mut tar = Vec::new();
        one.layers.export(&one.layers.resolve(&[*diff_id]).unwrap()[0], &mut tar).unwrap();
        layers.insert(*diff_id, tar);
    }
    *shelf.layers.lock().unwrap() = layers;
    let records = base64(text);
    *shelf.document.lock().unwrap() = [b"{\"records\":".as_slice(), &records, b"}"].concat();
    let again = take(&other, &shelf, &request(&other));
    assert_eq!((again.image_id, runs(&other)), (built.image_id, 0));
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn a_cache_tells_nothing_of_a_build_but_digests_and_layers() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (bench, shelf) = (machine(), Arc::new(Shelf::default()));
    let text = "FROM debian\nARG TOKEN\nENV NAME=enviable\nUSER somebody\n\
                RUN --mount=type=secret,id=key write /a 1\nCOPY page /nowhere/\n";
    let secret = Secret { id: "key".to_owned(), content: b"hidden-content".to_vec() };
    let request = BuildRequest {
        secrets: vec![secret],
        build_args: vec![("TOKEN".to_owned(), "argument-value".to_owned())],
        ..bench.request(text)
    };
    fill(&bench, &shelf, CacheMode::Max, &request);
    let document = String::from_utf8(shelf.document.lock().unwrap().clone()).unwrap();
    for word in ["hidden", "argument", "enviable", "somebody", "nowhere", "page", "TOKEN", "key", "context"] {
        assert!(!document.contains(word), "{word}: {document}");
    }
    // Each thing in it is a digest, a time, a number or a word of the format.
    let value: serde_json::Value = serde_json::from_str(&document).unwrap();
    let records = value["records"].as_array().unwrap();
    assert_eq!(records.len(), 3, "the base image and two steps");
    for record in records {
        assert!(record["digest"].as_str().unwrap().parse::<Digest>().is_ok());
    }
}

#[test]
fn without_the_cache_nobody_looks_elsewhere() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (one, other, shelf) = (machine(), machine(), Arc::new(Shelf::default()));
    fill(&one, &shelf, CacheMode::Max, &one.request(STAGES));
    let request = BuildRequest { no_cache: true, ..other.request(STAGES) };
    take(&other, &shelf, &request);
    assert_eq!((runs(&other), shelf.fetched.load(Ordering::SeqCst)), (3, 0));
    let request = BuildRequest { no_cache_stages: vec!["made".to_owned()], ..other.request(STAGES) };
    let fresh = machine();
    take(&fresh, &shelf, &BuildRequest { context: fresh.dir.path().join("context"), ..request });
    assert_eq!(runs(&fresh), 2, "those of that stage");
}

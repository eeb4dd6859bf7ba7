//! COPY and ADD steps.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use shipway_layers::{LayerId, Snapshot};
use shipway_linux::{Metadata, Overlay, Root};
use shipway_oci::Digest;

use super::fetches::{Fetch, is_pinned};
use super::leaks::{OF_COPY, check, check_digests, check_item, needles};
use super::steps::{Applied, Left, Slot, mount};
use super::ways::Ways;
use super::{Outcome, Solver};
use crate::context::PatternList;
use crate::copy::{
    Apart, Gather, Item, Tree, UNPACKING, Writer, can_draw, digest_of, digest_of_commit, hash_all,
    is_archive, resolve_in, resolve_owner, unpack_archive,
};
use crate::key::{Key, KeyBuilder};
use crate::plan::{Below, CopyAction, Origin, SourceWord};
use crate::state::clean_path;
use crate::time::now;
use crate::{BuildError, Problem};

/// So many files are named in the inputs that are kept to explain a miss.
const NAMED_FILES: usize = 1000;

/// What a copy read, in the order of the words.
enum Read<'a> {
    /// What was found in a tree, and whether archives among it are unpacked.
    Items(Vec<Item>, &'a Tree<'a>, bool),
    Inline(&'a str, &'a str),
}

/// Returns the keys of a copy on what is there.
type KeysOf<'a> = dyn Fn(&CopyAction, &Outcome) -> Vec<Key> + 'a;

impl Solver<'_> {
    pub(super) fn copy_step(
        &self,
        slot: &Slot<'_>,
        copy: &CopyAction,
        ways: &mut Ways,
    ) -> Result<Applied, Problem> {
        match copy.from {
            None => self.copy_from_context(slot, copy, ways),
            Some(Origin::Context(number)) => {
                let name = &self.plan.contexts[number].name;
                let context = self.named_context(number).map_err(of_build)?;
                let tree = context.tree(format!("the context `{name}`"));
                self.copy_from_tree(slot, (copy, &[]), &tree, ways)
            }
            Some(origin) => self.copy_from_stage(slot, copy, origin, ways),
        }
    }

    /// Takes a copy from the cache, or does it; `keys` are those of a copy, the last one for what it copies. A linked one is first looked
    /// for on what it lies on, without looking at that; then by itself, for it may have been made on something else.
    fn cached_copy(
        &self,
        slot: &Slot<'_>,
        copy: &CopyAction,
        ways: &mut Ways,
        (read, keys): (&[Read<'_>], &KeysOf<'_>),
    ) -> Result<Applied, Problem> {
        let mut all: Vec<Vec<Key>> = ways.iter().map(|way| keys(copy, way)).collect();
        if let Some(applied) = self.look_up(slot, &all, ways)? {
            return Ok(applied);
        }
        let (way, mut all) = (ways.choose(), all.swap_remove(0));
        if !copy.link {
            return self.do_step(slot, &all, ways, |snapshot| self.write(copy, read, snapshot));
        }
        let apart = self.look_below(slot, copy, &way)?;
        all.extend(keys(&apart, &way));
        self.cached_or(slot, &all, ways, |snapshot| self.write(&apart, read, snapshot))
    }

    /// Finds out what a linked copy must know of what lies below after all: whether the destination is a directory, the numbers of an
    /// owner, and which directories are new and so are the copy's own.
    fn look_below(
        &self,
        slot: &Slot<'_>,
        copy: &CopyAction,
        outcome: &Outcome,
    ) -> Result<CopyAction, Problem> {
        let below = self.open_files(&self.layers_of(&slot.step.info, &outcome.layers)?)?;
        let chown = copy.chown.as_deref().map(|chown| resolve_owner(&below, chown)).transpose()?;
        let chown = chown.map(|(uid, gid)| format!("{uid}:{gid}"));
        let ways: Vec<&Path> = Path::new(&copy.destination).ancestors().collect();
        let (mut missing, mut destination) = (None, copy.destination.clone());
        for way in ways.into_iter().rev() {
            let resolved = resolve_in(&below, way).map_err(Problem::io("find", way))?;
            let found = below.metadata(&resolved).map_err(Problem::io("find", way))?;
            if found.as_ref().is_some_and(Metadata::is_directory) {
                continue;
            }
            let is_last = way == Path::new(&copy.destination) && !copy.destination.ends_with('/');
            if found.is_some() && !is_last {
                return Err(Problem::invalid(format!(
                    "`{}` is a file in the image, not a directory",
                    way.display()
                )));
            }
            missing = Some(way.strip_prefix("/").unwrap_or(way).to_owned());
            break;
        }
        if missing.is_none() && !destination.ends_with('/') {
            destination.push('/');
        }
        let below = Some(Below { missing });
        Ok(CopyAction { chown, below, destination, ..copy.clone() })
    }

    fn copy_from_context(
        &self,
        slot: &Slot<'_>,
        copy: &CopyAction,
        ways: &mut Ways,
    ) -> Result<Applied, Problem> {
        if is_pinned(copy) {
            let by_address: Vec<_> = ways.iter().map(|way| vec![self.address_key(copy, way)]).collect();
            if let Some(applied) = self.look_up(slot, &by_address, ways)? {
                return Ok(applied);
            }
        }
        let fetches = self.fetch_sources(copy)?;
        let context = self.context().map_err(of_build)?;
        let tree = context.tree("the build context".to_owned());
        self.copy_from_tree(slot, (copy, &fetches), &tree, ways)
    }

    /// Copies from a context; `fetches` are the sources that are none of it, if there are such.
    fn copy_from_tree(
        &self,
        slot: &Slot<'_>,
        (copy, fetches): (&CopyAction, &[Option<Fetch>]),
        tree: &Tree<'_>,
        ways: &mut Ways,
    ) -> Result<Applied, Problem> {
        let trees: Vec<Option<Tree<'_>>> =
            fetches.iter().map(|fetch| fetch.as_ref().map(Fetch::tree)).collect();
        let of_source = |index: usize| trees.get(index).and_then(Option::as_ref).unwrap_or(tree);
        let word_of = |index: usize| fetches.get(index).and_then(Option::as_ref).map(|fetch| &*fetch.word);
        let read = self.read(copy, &of_source, &word_of)?;
        let keys = |copy: &CopyAction, outcome: &Outcome| {
            let by_address = is_pinned(copy).then(|| self.address_key(copy, outcome));
            by_address.into_iter().chain([self.content_key(copy, (&read, fetches), outcome)]).collect()
        };
        self.cached_copy(slot, copy, ways, (&read, &keys))
    }

    fn copy_from_stage(
        &self,
        slot: &Slot<'_>,
        copy: &CopyAction,
        origin: Origin,
        ways: &mut Ways,
    ) -> Result<Applied, Problem> {
        // The stage being the same is enough to know; only if it is not, its files are looked at.
        let by_stage = |copy: &CopyAction, way: &Outcome, from: &Outcome| {
            self.copy_key(copy, false, way).text("from", &from.key.to_string()).finish()
        };
        let by_stages = ways.iter().map(|way| {
            let from = self.files_of(origin, way).map_err(of_build)?;
            Ok(vec![by_stage(copy, way, &from)])
        });
        let by_stages = by_stages.collect::<Result<Vec<_>, Problem>>()?;
        if let Some(applied) = self.look_up(slot, &by_stages, ways)? {
            return Ok(applied);
        }
        let from = self.files_of(origin, &ways.choose()).map_err(of_build)?;
        let root = self.open_files(&self.layers_of(&slot.step.info, &from.layers)?)?;
        let tree =
            Tree { root: &root, ignore: None, stats: None, keep_owner: true, place: self.place_of(origin) };
        let read = self.read(copy, &|_| &tree, &|_| None)?;
        let keys = |copy: &CopyAction, outcome: &Outcome| {
            vec![by_stage(copy, outcome, &from), self.content_key(copy, (&read, &[]), outcome)]
        };
        self.cached_copy(slot, copy, ways, (&read, &keys))
    }

    /// Returns the key of a copy whose addresses alone say what comes.
    fn address_key(&self, copy: &CopyAction, outcome: &Outcome) -> Key {
        let mut key = self.copy_key(copy, true, outcome);
        key.text("from", "its address");
        key.finish()
    }

    pub(super) fn place_of(&self, origin: Origin) -> String {
        match origin {
            Origin::Scratch => "scratch".to_owned(),
            Origin::Stage(stage) => format!("stage `{}`", self.plan.stages[stage].name),
            Origin::Image(image) => format!("image `{}`", self.plan.images[image].name),
            Origin::Context(context) => format!("the context `{}`", self.plan.contexts[context].name),
        }
    }

    /// Opens the files of layers, read-only.
    pub(crate) fn open_files(&self, layers: &[LayerId]) -> Result<Root, Problem> {
        let overlay = Overlay { lowers: self.builder.layers.view(layers), ..Overlay::default() };
        overlay.mount_detached().map(Root::from_fd).map_err(Problem::io("mount", "the layers of a stage"))
    }

    /// Reads the sources: `tree` has each of them, and `word` what is wanted of one that was fetched.
    fn read<'a>(
        &self,
        copy: &'a CopyAction,
        tree: &dyn Fn(usize) -> &'a Tree<'a>,
        word: &dyn Fn(usize) -> Option<&'a str>,
    ) -> Result<Vec<Read<'a>>, Problem> {
        // Compat: BuildKit, a pattern with a slash at its beginning matches nothing.
        let exclude = copy.exclude.iter().map(String::as_str);
        let exclude = exclude.filter(|pattern| !pattern.trim_start_matches('!').starts_with('/'));
        let exclude = PatternList::new(exclude).map_err(|pattern| {
            Problem::invalid(format!("--exclude: the pattern `{pattern}` is malformed"))
        })?;
        let gather = |index: usize, path: &str, unpack: bool| {
            let tree = tree(index);
            let (exclude, parents) = (exclude.clone(), copy.parents && word(index).is_none());
            let sent = |directory: &str| self.is_sent(directory, path);
            let sent: Option<&(dyn Fn(&str) -> bool + Sync)> =
                (copy.from.is_none() && word(index).is_none()).then_some(&sent);
            let gather = Gather { tree, exclude, parents, sent, stop: &self.stop };
            gather.source(path).map(|items| Read::Items(items, tree, unpack))
        };
        let found = copy.sources.iter().enumerate().map(|(index, source)| match source {
            SourceWord::Path { path, span } => gather(index, path, copy.unpack).map_err(|mut problem| {
                if let Problem::MissingSource { word, .. } = &mut problem {
                    *word = Some(*span);
                }
                problem
            }),
            SourceWord::Remote { .. } => gather(index, word(index).unwrap_or("/"), copy.unpack_remote),
            SourceWord::Inline { name, content } => Ok(Read::Inline(name, content)),
        });
        let mut found = found.collect::<Result<Vec<_>, Problem>>()?;
        let items = found.iter_mut().filter_map(|read| match read {
            Read::Items(items, tree, _) => Some(items.iter_mut().map(|item| (*tree, item))),
            Read::Inline(..) => None,
        });
        hash_all(items.flatten(), &self.stop, now())?;
        for read in &mut found {
            if let Read::Items(items, tree, unpack) = read {
                check_digests(tree, items, &self.request.secrets)?;
                *unpack = *unpack && has_archive(tree, items)?;
            }
        }
        Ok(found)
    }

    fn copy_key(&self, copy: &CopyAction, by_address: bool, outcome: &Outcome) -> KeyBuilder {
        let mut key = match (copy.is_add, copy.link) {
            (true, false) => self.key("add", outcome),
            (false, false) => self.key("copy", outcome),
            (_, true) if copy.below.is_none() => self.key("linked on what is there", outcome),
            (_, true) => self.key_apart("linked"),
        };
        if copy.link {
            key.text("is", if copy.is_add { "add" } else { "copy" });
        }
        let mut words = Vec::new();
        for source in &copy.sources {
            match source {
                // Nothing else of it is read, but for where `--parents` begins.
                SourceWord::Path { path, .. } if !copy.parents => words.push(clean_path(path)),
                SourceWord::Path { path, .. } => words.push(path.clone()),
                SourceWord::Inline { name, content } => words.push(format!("<<{name}\n{content}")),
                SourceWord::Remote { address, checksum, keep_git_dir, .. } => {
                    words.push(format!("{address} {checksum:?} {}", keep_git_dir.unwrap_or(false)));
                }
            }
        }
        words.push(copy.destination.clone());
        let shown = format!("{words:?}");
        if !by_address {
            // Compat: BuildKit, what came is what counts.
            let sources = copy.sources.iter().zip(&mut words);
            let remote = sources.filter(|(source, _)| matches!(source, SourceWord::Remote { .. }));
            remote.for_each(|(_, word)| "what came".clone_into(word));
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        key.text_as("instruction", &format!("{words:?}"), &shown)
            .text("--chown", &text(&copy.chown))
            .text("--chmod", copy.chmod.as_ref().map_or("", |(text, _)| text))
            .text("--exclude", &format!("{:?}", copy.exclude))
            .text("--parents", if copy.parents { "true" } else { "" })
            .text("--unpack", if copy.unpack { "true" } else { "" });
        if let Some(missing) = copy.below.as_ref().and_then(|below| below.missing.as_ref()) {
            key.text("new below", &missing.to_string_lossy());
        }
        if copy.unpack_remote {
            // Where nothing is fetched, nobody knows whether it is an archive.
            key.text("--unpack of what is fetched", "true").text(UNPACKING.0, UNPACKING.1);
        }
        key
    }

    fn content_key(
        &self,
        copy: &CopyAction,
        (read, fetches): (&[Read<'_>], &[Option<Fetch>]),
        outcome: &Outcome,
    ) -> Key {
        let mut key = self.copy_key(copy, false, outcome);
        if !copy.unpack_remote && read.iter().any(|items| matches!(items, Read::Items(_, _, true))) {
            key.text(UNPACKING.0, UNPACKING.1);
        }
        let (mut named, mut all) = (0, Vec::new());
        for (source, items) in read.iter().enumerate() {
            let Read::Items(items, tree, _) = items else { continue };
            let commit =
                fetches.get(source).and_then(Option::as_ref).and_then(|fetch| fetch.commit.as_deref());
            let digest = match commit {
                Some(commit) => digest_of_commit(items, tree.keep_owner, commit).hex(),
                None => digest_of(items, tree.keep_owner).hex(),
            };
            key.hidden("files", &digest);
            all.push(digest);
            let entries = items.iter().flat_map(|item| item.entries.iter().map(move |entry| (item, entry)));
            for (item, entry) in entries.filter(|(_, entry)| !entry.metadata.is_directory()) {
                named += 1;
                if named > NAMED_FILES {
                    break;
                }
                // A file that was named itself has no path below its base.
                let path: PathBuf = item.base.components().chain(entry.path.components()).collect();
                let content =
                    entry.digest.map_or_else(|| format!("{:?}", entry.link), |digest| digest.short());
                key.note(format!("file {}", path.display()), format!("{content} {:o}", entry.metadata.mode));
            }
        }
        if named > NAMED_FILES {
            key.note("another file".to_owned(), Digest::of(all.join(" ").as_bytes()).short());
        }
        key.finish()
    }

    fn write<'r>(
        &'r self,
        copy: &CopyAction,
        read: &'r [Read<'_>],
        snapshot: &Snapshot,
    ) -> Result<Left<'r>, Problem> {
        let root = mount(snapshot)?;
        let owner = copy.chown.as_deref().map(|owner| resolve_owner(&root, owner)).transpose()?;
        let mode = copy.chmod.as_ref().map(|(_, mode)| mode.clone());
        let mut writer = Writer::new(&root, owner, mode, &self.stop);
        if let Some(below) = &copy.below {
            writer.apart = Some(Apart { missing: below.missing.clone(), implied: RefCell::default() });
        }
        refuse_many_files(copy, read, &writer)?;
        let secrets = needles(self.request.secrets.iter());
        let implied = |writer: Writer<'_>| writer.apart.map(|apart| apart.implied.into_inner());
        if let [Read::Items(items, tree, _)] = read
            && let [item] = items.as_slice()
            && can_draw(item)
            && self.builder.layers.draws()
            && let Some(filling) = writer.frame((tree, item), &copy.destination, &self.stop)?
        {
            check_item((tree, item), &filling.top, &secrets)?;
            return Ok(Left::Drawn(implied(writer), Box::new(filling)));
        }
        for items in read {
            match items {
                Read::Inline(name, content) => writer.inline(name, content.as_bytes(), &copy.destination)?,
                Read::Items(items, tree, unpack) => {
                    for item in items {
                        if *unpack && is_archive_among(tree, item)? {
                            self.unpack(copy, tree, item, &mut writer)?;
                        } else {
                            writer.item(tree, item, &copy.destination)?;
                        }
                    }
                }
            }
        }
        check(&snapshot.upper, &secrets, OF_COPY)?;
        Ok(implied(writer).map_or(Left::Changes, Left::Apart))
    }

    /// Unpacks into a place of its own and copies from there, so that all rules of COPY hold. Compat: BuildKit, but those of `--chmod`.
    fn unpack(
        &self,
        copy: &CopyAction,
        tree: &Tree<'_>,
        item: &Item,
        writer: &mut Writer<'_>,
    ) -> Result<(), Problem> {
        let layers = &self.builder.layers;
        let scratch = layers
            .prepare(&[])
            .map_err(|source| Problem::Layers { action: "prepare a place to unpack into", source })?;
        let root = Root::open(&scratch.upper).map_err(Problem::io("open", "a place to unpack into"))?;
        let added = unpack_archive(tree.root, &item.base, &root, now())?;
        let unpacked = Tree {
            root: &root,
            ignore: None,
            stats: None,
            keep_owner: true,
            place: "the archive".to_owned(),
        };
        let (exclude, stop) = (PatternList::default(), &self.stop);
        let gather = Gather { tree: &unpacked, exclude, parents: false, sent: None, stop };
        let mode = writer.mode.take();
        writer.implied = Some(added.implied.into_iter().collect());
        // First: a file of the archive may take the place of one that gets another name.
        added.links.iter().try_for_each(|link| writer.link(link, &copy.destination))?;
        for item in gather.source("/")? {
            writer.item(&unpacked, &item, &copy.destination)?;
        }
        writer.implied = None;
        writer.mode = mode;
        Ok(())
    }
}

fn has_archive(tree: &Tree<'_>, items: &[Item]) -> Result<bool, Problem> {
    for item in items {
        if is_archive_among(tree, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether an item is an archive that is unpacked.
fn is_archive_among(tree: &Tree<'_>, item: &Item) -> Result<bool, Problem> {
    let is_file = item.entries.first().is_some_and(|entry| entry.metadata.kind == shipway_linux::Kind::File);
    if is_file { is_archive(tree.root, &item.base) } else { Ok(false) }
}

/// Several files cannot all become one; BuildKit would keep the last one only.
fn refuse_many_files(copy: &CopyAction, read: &[Read<'_>], writer: &Writer<'_>) -> Result<(), Problem> {
    let mut files = 0;
    for read in read {
        match read {
            Read::Inline(..) => files += 1,
            Read::Items(items, tree, unpack) => {
                for item in items.iter().filter(|item| !item.is_directory()) {
                    // What is unpacked makes a directory, as one that is copied does.
                    files += usize::from(!(*unpack && is_archive_among(tree, item)?));
                }
            }
        }
    }
    if files > 1
        && !copy.parents
        && !copy.destination.ends_with('/')
        && !writer.is_directory(Path::new(&copy.destination))?
    {
        let instruction = if copy.is_add { "ADD" } else { "COPY" };
        return Err(Problem::invalid(format!(
            "When using {instruction} with more than one source file, the destination must be a directory and end with a /"
        )));
    }
    Ok(())
}

/// The context or another stage failed; the error itself is reported by whoever has it.
pub(super) fn of_build(error: BuildError) -> Problem {
    match error {
        BuildError::OpenContext { path, source } => {
            Problem::Io { action: "open the build context", path: path.display().to_string(), source }
        }
        _ => Problem::Cancelled,
    }
}

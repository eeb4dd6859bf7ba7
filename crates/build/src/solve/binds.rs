//! `RUN --mount=type=bind`: what it shows is part of the step's key, and is only made ready when the command really runs.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_dockerfile::Mount;
use shipway_layers::Snapshot;
use shipway_linux::{Metadata, OpenFlags, Overlay, Root, clone_at};

use super::copies::of_build;
use super::{Outcome, Solver, Stacked};
use crate::Problem;
use crate::context::{Context, PatternList, has_wildcards};
use crate::copy::{Gather, Item, Tree, Writer, digest_of, hash_all, resolve_in};
use crate::plan::Origin;
use crate::progress::StepInfo;
use crate::seams::{MountSource, StepMount};
use crate::state::clean_path;
use crate::time::now;

/// A bind mount whose source was found.
pub(super) struct Bind {
    mount: Mount,
    target: String,
    origin: Option<Origin>,
    /// What a stage or an image is, where it is of one.
    from: Option<Arc<Outcome>>,
    /// What a context has there.
    items: Vec<Item>,
}

impl Bind {
    fn layers(&self) -> &[Stacked] {
        self.from.as_ref().map_or(&[], |from| &from.layers)
    }
}

impl Solver<'_> {
    /// Finds the source, and returns what the key has to say of it.
    pub(super) fn find_bind(
        &self,
        mount: &Mount,
        (origin, way): (Option<Origin>, &Outcome),
        target: String,
    ) -> Result<(Bind, String), Problem> {
        let source = mount.source.clone().unwrap_or_default();
        let mut bind = Bind { mount: mount.clone(), target, origin, from: None, items: Vec::new() };
        let content = match self.context_of(origin) {
            Some(found) => {
                let (context, place) = found?;
                bind.items = self.gather(&tree_of(context, place), &source)?;
                digest_of(&bind.items, true).to_string()
            }
            None => {
                let from = self.files_of(origin.unwrap_or(Origin::Scratch), way).map_err(of_build)?;
                bind.from.insert(from).key.to_string()
            }
        };
        let writable = if mount.read_only { "" } else { " rw" };
        let described = format!("bind {} {source} {content}{writable}", bind.target);
        Ok((bind, described))
    }

    /// Returns what the key has to say of a part of a stage by what is in it; `None` where all of a stage is shown, and where nothing is
    /// found, which the command's own failure tells.
    pub(super) fn describe_content(&self, step: &StepInfo, bind: &Bind) -> Result<Option<String>, Problem> {
        let source = bind.mount.source.as_deref().map(clean_path).unwrap_or_default();
        // A mount takes its source word by word.
        let is_part = !source.trim_matches('/').is_empty() && !has_wildcards(&source);
        let (Some(origin @ Origin::Stage(_)), true) = (bind.origin, is_part) else { return Ok(None) };
        let files = self.open_files(&self.layers_of(step, bind.layers())?)?;
        let tree =
            Tree { root: &files, ignore: None, stats: None, keep_owner: true, place: self.place_of(origin) };
        let Ok(items) = self.gather(&tree, &source) else { return Ok(None) };
        let writable = if bind.mount.read_only { "" } else { " rw" };
        Ok(Some(format!("bind {} with {}{writable}", bind.target, digest_of(&items, true))))
    }

    /// Makes the mount. What the command writes to it goes with `held`.
    pub(super) fn make_bind(
        &self,
        step: &StepInfo,
        bind: &Bind,
        held: &mut Vec<Snapshot>,
    ) -> Result<StepMount, Problem> {
        let source = match self.context_of(bind.origin) {
            Some(found) => self.bind_of_context(bind, found?, held)?,
            None => self.bind_of_stage(step, bind, held)?,
        };
        Ok(StepMount { target: bind.target.clone(), source })
    }

    /// Returns the context that a mount reads, if it reads one.
    fn context_of(&self, origin: Option<Origin>) -> Option<Result<(&Context, String), Problem>> {
        match origin {
            None => Some(self.context().map(|context| (context, "the build context".to_owned()))),
            Some(Origin::Context(number)) => {
                let name = &self.plan.contexts[number].name;
                Some(self.named_context(number).map(|context| (context, format!("the context `{name}`"))))
            }
            Some(_) => None,
        }
        .map(|found| found.map_err(of_build))
    }

    fn gather(&self, tree: &Tree<'_>, source: &str) -> Result<Vec<Item>, Problem> {
        let (exclude, stop) = (PatternList::default(), &self.stop);
        let mut items = Gather { tree, exclude, parents: false, sent: None, stop }.source(source)?;
        hash_all(items.iter_mut().map(|item| (tree, item)), stop, now())?;
        Ok(items)
    }

    /// Copies what a bind mount would show into a root, which becomes what the directory is.
    pub(super) fn copy_bind(&self, step: &StepInfo, bind: &Bind, root: &Root) -> Result<(), Problem> {
        if let Some(found) = self.context_of(bind.origin) {
            let (context, place) = found?;
            return self.copy_items(&tree_of(context, place), &bind.items, root);
        }
        let origin = bind.origin.unwrap_or(Origin::Scratch);
        let files = self.open_files(&self.layers_of(step, bind.layers())?)?;
        let place = self.place_of(origin);
        let tree = Tree { root: &files, ignore: None, stats: None, keep_owner: true, place };
        let items = self.gather(&tree, bind.mount.source.as_deref().unwrap_or("/"))?;
        self.copy_items(&tree, &items, root)
    }

    /// Returns what the file is called that a bind mount would show, if it would show one.
    pub(super) fn file_of(&self, step: &StepInfo, bind: &Bind) -> Result<Option<PathBuf>, Problem> {
        let source = clean_path(bind.mount.source.as_deref().unwrap_or("/"));
        let is_directory = if self.context_of(bind.origin).is_some() {
            bind.items.iter().any(Item::is_directory)
        } else {
            let files = self.open_files(&self.layers_of(step, bind.layers())?)?;
            let found = resolve_in(&files, Path::new(&source)).map_err(Problem::io("find", &source))?;
            let found = files.metadata(&found).map_err(Problem::io("find", &source))?;
            found.is_none_or(|found| found.is_directory())
        };
        let name = Path::new(&source).file_name().filter(|_| !is_directory);
        Ok(name.map(PathBuf::from))
    }

    fn copy_items(&self, tree: &Tree<'_>, items: &[Item], root: &Root) -> Result<(), Problem> {
        let mut writer = Writer::new(root, None, None, &self.stop);
        items.iter().try_for_each(|item| writer.item(tree, item, "/"))?;
        let Some(top) =
            items.first().filter(|item| item.is_directory()).and_then(|item| item.entries.first())
        else {
            return Ok(());
        };
        let Metadata { uid, gid, mode, .. } = top.metadata;
        let done = root.set_owner(".", uid, gid).and_then(|()| root.set_mode(".", mode));
        done.map_err(Problem::io("own", &top.path))
    }

    fn bind_of_stage(
        &self,
        step: &StepInfo,
        bind: &Bind,
        held: &mut Vec<Snapshot>,
    ) -> Result<MountSource, Problem> {
        let layers = &self.builder.layers;
        let mut overlay =
            Overlay { lowers: layers.view(&self.layers_of(step, bind.layers())?), ..Overlay::default() };
        if !bind.mount.read_only {
            overlay = self.writable(overlay, held)?;
        }
        let mounted = overlay.mount_detached().map_err(Problem::io("mount", "the files of a stage"))?;
        let root = Root::from_fd(mounted.try_clone().map_err(Problem::io("open", "the files of a stage"))?);
        let source = bind.mount.source.clone().unwrap_or_default();
        let found = resolve_in(&root, Path::new(&source)).map_err(Problem::io("find", &source))?;
        let metadata = root.metadata(&found).map_err(Problem::io("find", &source))?;
        let metadata = metadata.ok_or_else(|| Problem::MissingSource {
            path: source,
            place: self.place_of(bind.origin.unwrap_or(Origin::Scratch)),
            hint: "see what the stage has there: build it alone with --target".to_owned(),
            word: None,
        })?;
        Ok(MountSource::Bind { fd: Arc::new(mounted), sub: found, is_directory: metadata.is_directory() })
    }

    fn bind_of_context(
        &self,
        bind: &Bind,
        (context, place): (&Context, String),
        held: &mut Vec<Snapshot>,
    ) -> Result<MountSource, Problem> {
        let source = bind.mount.source.clone().unwrap_or_default();
        let opened = context.root.open_with(Path::new(&source), OpenFlags::PATH, 0);
        let opened = opened.map_err(Problem::io("open", &source))?;
        let is_directory = bind.items.iter().any(Item::is_directory);
        let whole = |fd| MountSource::Bind { fd: Arc::new(fd), sub: PathBuf::new(), is_directory };
        // What is ignored is not in the key, so the command must not see it.
        let is_filtered = is_directory && !context.ignore.list.is_empty();
        if bind.mount.read_only && !is_filtered {
            return Ok(whole(clone_at(opened, true).map_err(Problem::io("mount", &source))?));
        }
        if is_directory && !is_filtered {
            let lower = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
            let overlay = Overlay { lowers: vec![lower], ..Overlay::default() };
            let mounted = self.writable(overlay, held)?.mount_detached();
            return Ok(whole(mounted.map_err(Problem::io("mount", &source))?));
        }
        let copy = self.scratch()?;
        let root = Root::open(&copy.upper).map_err(Problem::io("open", &copy.upper))?;
        let mut writer = Writer::new(&root, None, None, &self.stop);
        let tree = tree_of(context, place);
        for item in &bind.items {
            writer.item(&tree, item, "/")?;
        }
        let name = bind.items.first().map(|item| item.name.clone()).filter(|_| !is_directory);
        let copied = root.open_with(name.as_deref().unwrap_or(Path::new(".")), OpenFlags::PATH, 0);
        let copied = copied.map_err(Problem::io("open", &source))?;
        held.push(copy);
        Ok(whole(clone_at(copied, bind.mount.read_only).map_err(Problem::io("mount", &source))?))
    }

    /// Lets an overlay be written: what is written goes with `held`. Compat: BuildKit, nobody else ever sees it.
    fn writable(&self, overlay: Overlay, held: &mut Vec<Snapshot>) -> Result<Overlay, Problem> {
        let scratch = self.scratch()?;
        let writable =
            Overlay { upper: Some(scratch.upper.clone()), work: Some(scratch.work.clone()), ..overlay };
        held.push(scratch);
        Ok(writable)
    }

    fn scratch(&self) -> Result<Snapshot, Problem> {
        let prepared = self.builder.layers.prepare(&[]);
        prepared.map_err(|source| Problem::Layers { action: "prepare a place for a mount", source })
    }
}

fn tree_of(context: &Context, place: String) -> Tree<'_> {
    Tree { keep_owner: true, ..context.tree(place) }
}

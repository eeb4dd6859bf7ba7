//! Layers that are kept as the archives that they came as, with an index that makes them mountable (docs/adr/0016).
//!
//! `layers/ID` then has the uncompressed archive, `tar`, and a small file system that says where in it everything is, `index`.
//! Nothing is unpacked, two files are synced, and whether the layer is sound is whether the archive has its digest.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use shipway_erofs::{Tree, write_index};
use shipway_linux::{Attributes, EarlyFile, INDEX_DATA, Metadata, Root, can_mount_indexes, mount_index};
use shipway_oci::{DiffId, Hashing};
use shipway_store::{LayerId, LayerNotes, LayerRow, NotedRoot, unique_name};

use crate::serialise::{OPAQUE, serialise_as};
use crate::tidy::tidy;
use crate::unpack::{BUFFER, Budget, Sketch, Target as _, Unpacked as Notes, Unpacker, Whiteouts};
use crate::unpacked::{drain, expect, imply};
use crate::{Drawing, Layer, LayerError, Snapshot, Unpacked};

/// What the index is called in the directory of a layer.
pub(crate) const INDEX: &str = "index";

/// What came of an archive that was taken in.
struct Taken {
    /// `None` if there are so many names in it that they are better kept on the disk: there is no index then.
    notes: Option<Notes>,
    diff_id: DiffId,
    /// Bytes of the archive.
    size: u64,
}

impl Unpacked {
    /// Takes in an archive as it is, or unpacked if it has too many names for the memory.
    pub(crate) fn import_indexed(
        &self,
        tar: &mut dyn Read,
        wanted: Option<DiffId>,
    ) -> Result<Layer, LayerError> {
        let snapshot = self.prepare_empty()?;
        let dir = &snapshot.upper;
        let taken = take(dir, tar, wanted, None)?;
        if let Some(known) = self.known(taken.diff_id)? {
            return Ok(known);
        }
        let Some(notes) = taken.notes else {
            let path = dir.join(INDEX_DATA);
            let mut archive = File::open(&path).map_err(LayerError::io("open", &path))?;
            return self.import_unpacked(&mut archive, Some(taken.diff_id));
        };
        let id = self.adopt_as(LayerId::unique_indexed(crate::unpacked::now()), dir)?;
        self.record_import(id, notes, taken.diff_id, taken.size)
    }

    /// Makes a layer of what is in a snapshot and of a drawing.
    pub(crate) fn commit_indexed(
        &self,
        snapshot: &Snapshot,
        implied: Option<Vec<PathBuf>>,
        drawing: Drawing<'_>,
    ) -> Result<LayerId, LayerError> {
        let upper = &snapshot.upper;
        tidy(upper, &snapshot.lowers, snapshot.latest_mtime).map_err(LayerError::io("tidy", upper))?;
        let tree = Root::open(upper).map_err(LayerError::io("open", upper))?;
        let notes = match implied {
            Some(implied) => imply(snapshot, implied)?,
            None => {
                let root = noted(&tree).map_err(LayerError::io("examine", upper))?;
                LayerNotes { root, ..LayerNotes::default() }
            }
        };
        let made = self.prepare_empty()?;
        let Taken { diff_id, size, notes: drawn } =
            take_drawn(&made.upper, snapshot, (&tree, &notes), drawing)?;
        if drawn.is_none() {
            let path = made.upper.join(INDEX_DATA);
            let mut archive = File::open(&path).map_err(LayerError::io("open", &path))?;
            return self.import_unpacked(&mut archive, Some(diff_id)).map(|layer| layer.id);
        }
        let id = self.adopt_as(LayerId::unique_indexed(crate::unpacked::now()), &made.upper)?;
        self.record(&LayerRow { id: id.clone(), diff_id: None, size, notes })?;
        self.store.record_diff_id(&id, diff_id).map_err(|source| LayerError::Record { id, source })
    }

    /// Returns what is wrong with a layer, as the rest of a sentence.
    pub(crate) fn check_indexed(
        &self,
        LayerRow { id, notes, .. }: &LayerRow,
        diff_id: DiffId,
    ) -> Result<Option<String>, LayerError> {
        let dir = self.path(id);
        let archive = match File::open(dir.join(INDEX_DATA)) {
            Ok(archive) => archive,
            Err(_gone) if !dir.is_dir() => return Ok(None),
            Err(error) => return Ok(Some(format!("cannot be read: {error}"))),
        };
        let mut hashing = Hashing::new(archive);
        let mut sketch = Sketch::default();
        let drawn = draw(&mut sketch, &mut hashing);
        let rest = io::copy(&mut hashing, &mut io::sink());
        let (_, found, length) = hashing.finish();
        if rest.is_err() || found != diff_id.0 {
            return Ok(Some(format!("has another archive: its digest is {found}")));
        }
        drawn?;
        let mut wanted = Hashing::new(io::sink());
        let path = dir.join(INDEX);
        write(&mut sketch, notes.root.as_ref(), (length, diff_id), &mut wanted)
            .map_err(LayerError::io("index", &path))?;
        let mut index = Hashing::new(io::sink());
        let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut index));
        let is_whole = read.is_ok() && index.digest() == wanted.digest();
        Ok((!is_whole).then(|| "has an index that is not that of its archive".to_owned()))
    }

    /// Makes a layer's directory again, of its own archive or of the one that it came as; `false` if neither is here.
    pub(crate) fn restore_indexed(&self, id: &LayerId, diff_id: DiffId) -> Result<bool, LayerError> {
        let (path, notes) = (self.path(id), self.row(id)?.notes);
        let own = File::open(path.join(INDEX_DATA)).ok().map(|file| Box::new(file) as Box<dyn Read>);
        let mut sources = own.into_iter().map(Ok).chain(self.archive(diff_id).transpose());
        let taken = sources.find_map(|archive| {
            let again = archive.and_then(|mut archive| {
                let again = self.prepare_empty()?;
                let taken = take(&again.upper, &mut *archive, Some(diff_id), notes.root.as_ref())?;
                Ok(taken.notes.map(|_| again))
            });
            again.inspect_err(|error| tracing::debug!(layer = %id, %error, "not from there")).ok().flatten()
        });
        let Some(again) = taken else { return Ok(false) };
        self.replace(&path, &again.upper)?;
        Ok(true)
    }

    /// Opens the archive of a layer.
    pub(crate) fn open_archive(&self, id: &LayerId) -> Result<File, LayerError> {
        let path = self.path(id).join(INDEX_DATA);
        File::open(&path).map_err(LayerError::io("open", &path))
    }

    /// Writes the archive of a layer.
    pub(crate) fn export_indexed(&self, id: &LayerId, out: &mut dyn Write) -> Result<(), LayerError> {
        let path = self.path(id).join(INDEX_DATA);
        let mut archive = self.open_archive(id)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = archive.read(&mut buffer).map_err(LayerError::io("read", &path))?;
            if read == 0 {
                return Ok(());
            }
            out.write_all(&buffer[..read]).map_err(LayerError::io("write the archive of", &path))?;
        }
    }
}

/// Returns whether the kernel mounts an index from the file system of a directory: tries it.
pub(crate) fn can_index(dir: &Path) -> bool {
    let dir = dir.join(format!("index-{}", unique_name()));
    let mounted = || -> io::Result<()> {
        fs_err::create_dir(&dir)?;
        fs_err::write(dir.join(INDEX_DATA), [])?;
        let mut tree = Tree::new();
        tree.set_xattr("", OPAQUE.as_bytes(), b"y")?;
        write_index(&tree, 0, [0; 16], &mut fs_err::File::create(dir.join(INDEX))?)?;
        // Without attributes, what a layer hides would be seen.
        let shown = Root::from_fd(mount_index(&dir.join(INDEX))?).xattrs("")?;
        let has_attributes = shown.iter().any(|(name, _)| name == OPAQUE);
        if has_attributes { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    };
    let mounted = if can_mount_indexes() { mounted() } else { Err(io::ErrorKind::Unsupported.into()) };
    drop(fs_err::remove_dir_all(&dir));
    mounted.inspect_err(|error| tracing::debug!(%error, "layers are unpacked here")).is_ok()
}

/// Writes what is in a snapshot, and a drawing, as an archive and its index into a directory.
fn take_drawn(
    dir: &Path,
    snapshot: &Snapshot,
    (tree, notes): (&Root, &LayerNotes),
    drawing: Drawing<'_>,
) -> Result<Taken, LayerError> {
    let left_out = notes.implied.iter().map(|path| path.0.as_path()).collect();
    let (mut reader, writer) = io::pipe().map_err(LayerError::io("connect", dir))?;
    let (written, taken) = std::thread::scope(|scope| {
        let left_out = &left_out;
        let writing = scope.spawn(move || {
            let mut out = BufWriter::with_capacity(BUFFER, writer);
            serialise_as(tree, left_out, Some((drawing, snapshot.latest_mtime)), &mut out)?;
            out.flush()
        });
        let taken = take(dir, &mut reader, None, notes.root.as_ref());
        // Whoever still writes hears that nobody reads.
        drop(reader);
        (writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), taken)
    });
    match written {
        // What ended the archive early is why it could not be taken in, unless that ended the writing.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(LayerError::io("write the archive of", drawing.top)(error))
        }
        _ => taken,
    }
}

/// Writes an archive and its index into a directory.
fn take(
    dir: &Path,
    tar: &mut dyn Read,
    wanted: Option<DiffId>,
    root: Option<&NotedRoot>,
) -> Result<Taken, LayerError> {
    let path = dir.join(INDEX_DATA);
    let file = create(&path).map_err(LayerError::io("create", &path))?;
    let mut tee = Tee { input: Hashing::new(tar), out: EarlyFile::new(file), failure: None };
    let mut sketch = Sketch::default();
    let notes = match draw(&mut sketch, &mut tee) {
        Ok(notes) => drain(&mut tee, notes.budget.bytes).map(|()| Some(notes)),
        Err(_) if sketch.is_full => drain(&mut tee, Budget::default().bytes).map(|()| None),
        Err(error) => Err(error),
    };
    if let Some(error) = tee.failure {
        return Err(LayerError::io("write", &path)(error));
    }
    let notes = notes?;
    let (_, digest, size) = tee.input.finish();
    let diff_id = expect(wanted, DiffId(digest))?;
    if notes.is_none() {
        return Ok(Taken { notes, diff_id, size });
    }
    let path = dir.join(INDEX);
    let index = create(&path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut sketch, root, (size, diff_id), &mut out)?;
        out.flush()
    });
    index.map_err(LayerError::io("write", &path))?;
    Ok(Taken { notes, diff_id, size })
}

/// Reads an archive up to its end mark, or a little beyond.
fn draw(sketch: &mut Sketch, archive: &mut dyn Read) -> Result<Notes, LayerError> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    Unpacker::new(sketch, Budget::default(), Whiteouts::Apply).run(&mut archive)
}

/// Returns what the root of a tree is like.
fn noted(tree: &Root) -> io::Result<Option<NotedRoot>> {
    let metadata = tree.metadata("")?;
    Ok(metadata.map(|Metadata { uid, gid, mode, mtime, .. }| NotedRoot {
        uid,
        gid,
        mode: mode & 0o7777,
        mtime,
    }))
}

/// Writes the index of an archive of `length` bytes. It is called by the diff ID, so that an overlay can tell layers apart.
fn write(
    sketch: &mut Sketch,
    root: Option<&NotedRoot>,
    (length, DiffId(digest)): (u64, DiffId),
    out: &mut impl Write,
) -> io::Result<()> {
    if let Some(&NotedRoot { uid, gid, mode, mtime }) = root {
        let attributes = Attributes { uid, gid, mode, xattrs: Vec::new() };
        sketch.describe(Path::new(""), &attributes)?;
        sketch.set_mtime(Path::new(""), mtime)?;
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest.as_bytes()[..16]);
    write_index(&sketch.tree, length, uuid, out).map(drop)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Keeps what is read.
struct Tee<'a> {
    input: Hashing<&'a mut dyn Read>,
    out: EarlyFile,
    /// Why it could not be kept.
    failure: Option<io::Error>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.out.write_all(&buffer[..read]).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            io::Error::from(kind)
        })?;
        Ok(read)
    }
}

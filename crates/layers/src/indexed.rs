//! Layers that are kept as archives, with an index that makes them mountable (docs/adr/0016).
//!
//! `layers/ID` then has the uncompressed archive, `tar`, and a small file system that says where in it everything is, `index`.
//! Nothing is unpacked, two files are synced, and whether the layer is sound is whether the archive has its digest.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use shipway_erofs::{Tree, write_index};
use shipway_linux::{Attributes, EarlyFile, INDEX_DATA, Root, can_mount_indexes, mount_index};
use shipway_oci::{Beside, DiffId, Hashing, HashingBeside};
use shipway_store::{LayerId, LayerNotes, LayerRow, NotedRoot, is_of_the_moment, unique_name};

use crate::drawing::Pencil;
use crate::earlier::Earlier;
use crate::layer_store::LayerStore as _;
use crate::serialise::{OPAQUE, serialise_as};
use crate::tidy::tidy;
use crate::unpack::{BUFFER, Budget, Sketch, Target as _, Unpacked as Notes, Unpacker, Whiteouts};
use crate::unpacked::{imply, noted_root};
use crate::whole::{drain, expect};
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

/// The archive of a layer, read again.
struct Own {
    sketch: Sketch,
    /// Whether it could be understood.
    drawn: Result<(), LayerError>,
    /// Its digest.
    found: DiffId,
    /// Its bytes.
    length: u64,
}

impl Own {
    /// Reads the archive in the directory of a layer.
    fn read(dir: &Path) -> io::Result<Self> {
        let mut hashing = Hashing::new(File::open(dir.join(INDEX_DATA))?);
        let mut sketch = Sketch::default();
        let drawn = draw(&mut sketch, &mut hashing).map(drop);
        io::copy(&mut hashing, &mut io::sink())?;
        let (_, found, length) = hashing.finish();
        Ok(Self { sketch, drawn, found: DiffId(found), length })
    }
}

impl Unpacked {
    /// Takes in an archive as it is, or unpacked if it has too many names for the memory.
    pub(crate) fn import_indexed(
        &self,
        tar: &mut dyn Read,
        wanted: Option<DiffId>,
        beside: Option<&dyn Beside>,
    ) -> Result<Layer, LayerError> {
        let snapshot = self.prepare_empty()?;
        let dir = &snapshot.upper;
        let taken = take(dir, HashingBeside::new(tar, beside), wanted, None)?;
        if let Some(known) = self.known(taken.diff_id)? {
            return Ok(known);
        }
        let Some(notes) = taken.notes else { return self.unpack_taken(dir, taken.diff_id) };
        let id = self.adopt_as(LayerId::unique_indexed(crate::unpacked::now()), dir)?;
        self.record_import(id, notes, taken.diff_id, taken.size)
    }

    /// Unpacks an archive that is in a directory.
    fn unpack_taken(&self, dir: &Path, diff_id: DiffId) -> Result<Layer, LayerError> {
        self.import_unpacked(&mut open(dir)?, Some(diff_id), None)
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
                let root = noted_root(&tree).map_err(LayerError::io("examine", upper))?;
                LayerNotes { root, ..LayerNotes::default() }
            }
        };
        let made = self.prepare_empty()?;
        // Without it everything is read where it is.
        let earlier = drawing.earlier.filter(|id| id.is_indexed()).and_then(|id| self.open_archive(id).ok());
        let Taken { diff_id, size, notes: drawn } =
            take_drawn(&made.upper, snapshot, (&tree, &notes), (drawing, earlier))?;
        if drawn.is_none() {
            return Ok(self.publish(&[&self.unpack_taken(&made.upper, diff_id)?])?.remove(0));
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
        let Own { mut sketch, drawn, found, length } = match Own::read(&dir) {
            Ok(own) => own,
            Err(_gone) if !dir.is_dir() => return Ok(None),
            Err(error) if is_of_the_moment(&error) => return Err(LayerError::io("read", &dir)(error)),
            Err(error) => return Ok(Some(format!("has an archive that cannot be read: {error}"))),
        };
        if found != diff_id {
            return Ok(Some(format!("has another archive: its digest is {found}")));
        }
        drawn?;
        let path = dir.join(INDEX);
        let mut wanted = Hashing::new(io::sink());
        write(&mut sketch, notes.root.as_ref(), (length, diff_id), &mut wanted)
            .map_err(LayerError::io("index", &path))?;
        let mut index = Hashing::new(io::sink());
        let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut index));
        let is_whole = match read {
            Err(error) if is_of_the_moment(&error) => return Err(LayerError::io("read", &path)(error)),
            read => read.is_ok() && index.digest() == wanted.digest(),
        };
        Ok((!is_whole).then(|| "has an index that is not that of its archive".to_owned()))
    }

    /// Makes the index of a layer again if its archive is sound, or both of the archive that it came as; `false` if neither is here.
    pub(crate) fn restore_indexed(&self, id: &LayerId, diff_id: DiffId) -> Result<bool, LayerError> {
        let (path, root) = (self.path(id), self.row(id)?.notes.root);
        match Own::read(&path) {
            Err(error) if is_of_the_moment(&error) => return Err(LayerError::io("read", &path)(error)),
            Ok(Own { mut sketch, drawn: Ok(()), found, length }) if found == diff_id => {
                let fresh = path.join(unique_name());
                write_file(&fresh, &mut sketch, root.as_ref(), (length, diff_id))
                    .inspect_err(|_| drop(fs_err::remove_file(&fresh)))?;
                fs_err::rename(&fresh, path.join(INDEX)).map_err(LayerError::io("name", &path))?;
                self.store.flush().map_err(|source| LayerError::Sync { source })?;
                return Ok(true);
            }
            _ => {}
        }
        let Some(mut archive) = self.archive(diff_id)? else { return Ok(false) };
        let again = self.prepare_empty()?;
        let taken =
            take(&again.upper, HashingBeside::new(&mut *archive, None), Some(diff_id), root.as_ref())?;
        if taken.notes.is_some() {
            self.replace(&path, &again.upper)?;
        }
        Ok(taken.notes.is_some())
    }

    /// Opens the archive of a layer.
    pub(crate) fn open_archive(&self, id: &LayerId) -> Result<File, LayerError> {
        open(&self.path(id))
    }

    /// Writes the archive of a layer.
    pub(crate) fn export_indexed(&self, id: &LayerId, out: &mut dyn Write) -> Result<(), LayerError> {
        let mut archive = BufReader::with_capacity(BUFFER, self.open_archive(id)?);
        let copied = io::copy(&mut archive, out);
        copied.map(drop).map_err(LayerError::io("copy the archive of", &self.path(id)))
    }
}

/// Opens the archive in the directory of a layer.
fn open(dir: &Path) -> Result<File, LayerError> {
    let path = dir.join(INDEX_DATA);
    File::open(&path).map_err(LayerError::io("open", &path))
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
    (drawing, earlier): (Drawing<'_>, Option<File>),
) -> Result<Taken, LayerError> {
    let left_out = notes.implied.iter().map(|path| path.0.as_path()).collect();
    let (mut reader, writer) = io::pipe().map_err(LayerError::io("connect", dir))?;
    let (written, taken) = std::thread::scope(|scope| {
        let left_out = &left_out;
        let writing = scope.spawn(move || {
            let mut out = BufWriter::with_capacity(BUFFER, writer);
            let mut earlier = earlier.map(|file| BufReader::with_capacity(BUFFER, file));
            let mut fill = |out: &mut dyn Write| {
                let earlier = earlier.as_mut().map(|archive| Earlier::new(archive));
                (drawing.draw)(&mut Pencil::new(out, snapshot.latest_mtime, earlier))
            };
            serialise_as(tree, left_out, Some((drawing.top, &mut fill)), &mut out)?;
            out.flush()
        });
        let taken = take(dir, HashingBeside::new(&mut reader, None), None, notes.root.as_ref());
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
fn take<'a>(
    dir: &Path,
    input: HashingBeside<'a, &'a mut dyn Read>,
    wanted: Option<DiffId>,
    root: Option<&NotedRoot>,
) -> Result<Taken, LayerError> {
    let path = dir.join(INDEX_DATA);
    let file = create(&path).map_err(LayerError::io("create", &path))?;
    let mut tee = Tee { input, out: EarlyFile::new(file), failure: None };
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
    let (digest, size) = tee.input.finish();
    let diff_id = expect(wanted, DiffId(digest))?;
    if notes.is_none() {
        return Ok(Taken { notes, diff_id, size });
    }
    write_file(&dir.join(INDEX), &mut sketch, root, (size, diff_id))?;
    Ok(Taken { notes, diff_id, size })
}

/// Reads an archive up to its end mark, or a little beyond.
fn draw(sketch: &mut Sketch, archive: &mut dyn Read) -> Result<Notes, LayerError> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    Unpacker::new(sketch, Budget::default(), Whiteouts::Apply).run(&mut archive)
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

/// Writes an index to a file that is not there yet.
fn write_file(
    path: &Path,
    sketch: &mut Sketch,
    root: Option<&NotedRoot>,
    of: (u64, DiffId),
) -> Result<(), LayerError> {
    let written = create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(sketch, root, of, &mut out)?;
        out.flush()
    });
    written.map_err(LayerError::io("write", path))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Keeps what is read.
struct Tee<'a> {
    input: HashingBeside<'a, &'a mut dyn Read>,
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

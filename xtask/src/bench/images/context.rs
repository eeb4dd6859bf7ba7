//! What images are built of, in the Dockerfiles that Shipway builds.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::usr;
use crate::bench::program;

/// Bytes that make a layer of real files one that nobody has seen.
const MARK: u64 = 4 << 10;

/// What the layers of an image are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// Random bytes, one file a layer.
    Random {
        layers: usize,
        /// Bytes of each.
        size: u64,
    },
    /// One layer of this machine's `/usr`.
    Usr,
}

/// A directory that is built, and the archive of the image that it gave last.
#[derive(Debug)]
pub(super) struct Context {
    content: Content,
    pub(super) dir: PathBuf,
    /// A docker-archive with layers that are not compressed, for those who cannot build.
    pub(super) archive: PathBuf,
    /// What was packed, if it is no random bytes.
    pub(super) packed: Option<usr::Packed>,
}

impl Context {
    /// Makes one below `place`; [`Self::renew`] completes it.
    pub(super) fn new(content: Content, place: &Path) -> anyhow::Result<Self> {
        let dir = place.join("context");
        fs_err::create_dir_all(&dir)?;
        let mut dockerfile = "FROM scratch\n".to_owned();
        let mut packed = None;
        match content {
            Content::Random { layers, .. } => {
                for layer in 0..layers {
                    dockerfile.push_str(&format!("COPY f{layer} /f{layer}\n"));
                }
            }
            Content::Usr => {
                packed = Some(usr::pack(&dir.join("usr.tar"))?);
                dockerfile.push_str("ADD usr.tar /\n");
            }
        }
        fs_err::write(dir.join("Dockerfile"), dockerfile)?;
        Ok(Self { content, dir, archive: place.join("image.tar"), packed })
    }

    /// Changes every layer to one that nobody has seen.
    pub(super) fn renew(&self) -> anyhow::Result<()> {
        match self.content {
            Content::Random { layers, size } => (0..layers).try_for_each(|layer| self.fill(layer, size)),
            Content::Usr => self.mark(),
        }
    }

    /// Changes only the last layer.
    pub(super) fn change(&self) -> anyhow::Result<()> {
        match self.content {
            Content::Random { layers, size } => self.fill(layers - 1, size),
            Content::Usr => self.mark(),
        }
    }

    fn fill(&self, layer: usize, size: u64) -> anyhow::Result<()> {
        let mut file = fs_err::File::create(self.dir.join(format!("f{layer}")))?;
        std::io::copy(&mut random(size)?, &mut file)?;
        Ok(())
    }

    /// Adds a small file to the archive, under a name that it does not have yet.
    fn mark(&self) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        random(MARK)?.read_to_end(&mut bytes)?;
        let name: String = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let place = self.dir.with_extension("mark");
        fs_err::create_dir_all(&place)?;
        fs_err::write(place.join(&name), bytes)?;
        let mut tar = Command::new("tar");
        tar.arg("--append").arg("--file").arg(self.dir.join("usr.tar")).arg("--directory").arg(&place);
        program::output(tar.arg(&name))?;
        Ok(fs_err::remove_dir_all(place)?)
    }
}

fn random(bytes: u64) -> anyhow::Result<impl std::io::Read> {
    Ok(fs_err::File::open("/dev/urandom")?.take(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_all_layers_but_the_last() {
        let place = tempfile::tempdir().unwrap();
        let context = Context::new(Content::Random { layers: 2, size: 16 }, place.path()).unwrap();
        let read = || ["f0", "f1"].map(|name| fs_err::read(context.dir.join(name)).unwrap());
        context.renew().unwrap();
        let [first, last] = read();
        context.change().unwrap();
        let [unchanged, changed] = read();
        assert!(first == unchanged && last != changed && changed.len() == 16);
        context.renew().unwrap();
        assert!(read()[0] != first);
    }
}

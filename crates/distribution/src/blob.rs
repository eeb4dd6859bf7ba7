//! Blobs while they arrive: counted, hashed, taken up again where they broke off.

use std::io::{self, Read};
use std::time::Duration;

use shipway_fetch::{Body, Method, Response, is_overdue};
use shipway_oci::{Descriptor, Digest, Hasher};

use crate::RegistryError;
use crate::documents::Repository;
use crate::refusal::{Attempt, refusal};
use crate::registry::Ask;
use crate::sources::Sources;

/// So often in a row it may break off without anything arriving, and so often in all.
const FRUITLESS: u32 = 5;
const BREAKS: u32 = 100;
/// So often it is waited in vain for one that is silent or hardly goes on: less for a mirror, beside which there is somebody else to ask.
const DELAYS: u32 = 3;
const MIRROR_DELAYS: u32 = 2;
/// So much must have come between two such waits for them not to count together.
const FRUITFUL: u64 = 64 << 10;

/// A blob that is being read. Its end is reached only if size and digest are those of the descriptor; or, if somebody else hashes it, the size.
pub(crate) struct BlobReader<'a> {
    sources: &'a Sources<'a>,
    /// Which of them is asked.
    place: usize,
    digest: Digest,
    size: u64,
    received: u64,
    /// None if somebody else hashes it.
    hasher: Option<Hasher>,
    body: Option<Body>,
    fruitless: u32,
    breaks: u32,
    /// Waits in vain, and what had been received at the last one.
    delays: (u32, u64),
    is_over: bool,
    failure: Option<RegistryError>,
}

impl<'a> BlobReader<'a> {
    pub(crate) fn new(sources: &'a Sources<'a>, descriptor: &Descriptor) -> Self {
        Self {
            sources,
            place: sources.next(0),
            digest: descriptor.digest,
            size: descriptor.size,
            received: 0,
            hasher: Some(Hasher::default()),
            body: None,
            fruitless: 0,
            breaks: 0,
            delays: (0, 0),
            is_over: false,
            failure: None,
        }
    }

    /// Like [`BlobReader::new`], of one whose digest the caller finds; [`BlobReader::check`] takes it.
    pub(crate) fn unhashed(sources: &'a Sources<'a>, descriptor: &Descriptor) -> Self {
        Self { hasher: None, ..Self::new(sources, descriptor) }
    }

    /// Returns what a failed read was about.
    pub(crate) fn failure(&mut self, error: io::Error) -> RegistryError {
        self.failure.take().unwrap_or_else(|| self.broken(error))
    }

    fn repository(&self) -> &'a Repository {
        self.sources.at(self.place)
    }

    fn what(&self) -> String {
        format!("blob {}", self.digest.short())
    }

    fn broken(&self, source: io::Error) -> RegistryError {
        RegistryError::Broken { what: self.what(), received: self.received, size: self.size, source }
    }

    fn wrong(&self, reason: String) -> RegistryError {
        self.repository().wrong(&self.what(), reason)
    }

    /// Asks for the blob from where it broke off.
    fn open(&self) -> Result<Body, RegistryError> {
        let Repository { registry, path, pull_scope } = self.repository();
        let url = registry.url(&format!("{path}/blobs/{}", self.digest));
        // One byte more than there may be: it is an error, and not the end.
        let whole = Ask::new(Method::Get, &url, pull_scope).budget(self.size.saturating_add(1));
        let mut response = if self.received > 0 {
            let rest = whole.clone().header("range", format!("bytes={}-", self.received));
            registry.ask(&rest, &[])?
        } else {
            registry.ask(&whole, &[])?
        };
        // One that has no part of it may have all of it.
        if response.status() == 416 && self.received > 0 {
            response = registry.ask(&whole, &[])?;
        }
        match response.status() {
            206 if starts_at(&response, self.received) => Ok(response.into_body()),
            206 if starts_at(&response, 0) => self.skip(response.into_body()),
            200 => self.skip(response.into_body()),
            206 => Err(self.wrong("the answer is another part of it than was asked for".to_owned())),
            _ => Err(refusal(registry, Attempt { operation: "get", what: &self.what() }, response)),
        }
    }

    /// Leaves out what is known of a whole blob.
    fn skip(&self, mut body: Body) -> Result<Body, RegistryError> {
        if let Some(size) = body.expected().filter(|size| *size != self.size) {
            return Err(self.wrong(format!("it has {size} bytes, not {}", self.size)));
        }
        let skipped = io::copy(&mut body.by_ref().take(self.received), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == self.received => Ok(body),
            Ok(_) => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn advance(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        if self.is_over {
            return Ok(0);
        }
        loop {
            if self.body.is_none() {
                match self.open() {
                    Ok(body) => self.body = Some(body),
                    Err(RegistryError::Broken { source, .. }) => {
                        self.note_break(source)?;
                        continue;
                    }
                    Err(error) => self.leave(error)?,
                }
            }
            let Some(body) = &mut self.body else { continue };
            match body.read(buffer) {
                Ok(0) if self.received == self.size => return self.verify(),
                Ok(0) => self.note_break(io::ErrorKind::UnexpectedEof.into())?,
                Ok(read) => return self.take(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(self.too_large()),
                Err(error) => self.note_break(error)?,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, RegistryError> {
        self.received += bytes.len() as u64;
        if self.received > self.size {
            return Err(self.too_large());
        }
        self.fruitless = 0;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(bytes.len())
    }

    fn too_large(&self) -> RegistryError {
        self.wrong(format!("it has more than its {} bytes", self.size))
    }

    fn verify(&mut self) -> Result<usize, RegistryError> {
        if let Some(hasher) = &self.hasher {
            self.check(hasher.clone().finish())?;
        }
        self.is_over = true;
        self.body = None;
        Ok(0)
    }

    /// Fails if another digest was found than the one asked for.
    pub(crate) fn check(&self, found: Digest) -> Result<(), RegistryError> {
        if found == self.digest {
            return Ok(());
        }
        let wrong = || self.wrong(format!("its digest is {found}, not {}", self.digest));
        // What was read cannot be taken back: whoever reads begins anew, without that mirror.
        self.sources.after(self.place, wrong())?;
        Err(wrong())
    }

    /// Asks elsewhere for the rest, if there is any place left.
    fn leave(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.place = self.sources.after(self.place, error)?;
        (self.body, self.fruitless, self.breaks, self.delays) = (None, 0, 0, (0, 0));
        Ok(())
    }

    /// Counts a wait in vain, and returns whether it was the last one.
    fn is_given_up(&mut self) -> bool {
        let (delays, received) = self.delays;
        let is_next = self.received - received < FRUITFUL;
        self.delays = (if is_next { delays + 1 } else { 1 }, self.received);
        self.delays.0 >= if self.sources.is_last(self.place) { DELAYS } else { MIRROR_DELAYS }
    }

    fn note_break(&mut self, error: io::Error) -> Result<(), RegistryError> {
        self.body = None;
        self.fruitless += 1;
        self.breaks += 1;
        if self.fruitless > FRUITLESS || self.breaks > BREAKS || is_overdue(&error) && self.is_given_up() {
            return self.leave(self.broken(error));
        }
        tracing::debug!(blob = %self.digest, received = self.received, %error, "asking for the rest");
        let config = self.repository().registry.inner.client.config();
        let pause =
            if self.fruitless > 1 { config.retry.pause(self.fruitless - 1, None) } else { Duration::ZERO };
        if config.stop.wait(pause) {
            return Err(self.broken(io::ErrorKind::Interrupted.into()));
        }
        Ok(())
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.advance(buffer).map_err(|error| {
            let text = error.to_string();
            self.failure.get_or_insert(error);
            io::Error::other(text)
        })
    }
}

fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.header("content-range").and_then(|range| range.strip_prefix("bytes "));
    range.and_then(|range| range.split_once('-')).and_then(|(start, _)| start.parse().ok()) == Some(offset)
}

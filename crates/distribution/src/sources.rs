//! The same repository in several places: mirrors, and the registry itself, which is asked last and believed in the end.

use std::sync::atomic::{AtomicBool, Ordering};

use shipway_oci::Reference;

use crate::documents::{Document, Repository, Wanted};
use crate::{Event, Progress, Registries, RegistryError};

/// Where the content of one repository may be had.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// The image or repository, by its whole name.
    name: String,
    /// The registry itself is the last.
    all: Vec<Source>,
    progress: &'a dyn Progress,
}

#[derive(Debug)]
struct Source {
    repository: Repository,
    /// It is asked what a tag stands for.
    resolves: bool,
    /// It is not asked again.
    failed: AtomicBool,
    /// It did not have something.
    lacked: AtomicBool,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(
        registries: &Registries,
        reference: &Reference,
        progress: &'a dyn Progress,
    ) -> Result<Self, RegistryError> {
        let all = registries.sources(reference).map_err(RegistryError::Settings)?;
        let source = |(registry, resolves)| Source {
            repository: Repository::new(registry, reference.repository()),
            resolves,
            failed: AtomicBool::new(false),
            lacked: AtomicBool::new(false),
        };
        let name = reference.to_string();
        Ok(Self { name, all: all.into_iter().map(source).collect(), progress })
    }

    /// Returns the whole name of what is asked for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the repository of the registry itself.
    pub(crate) fn origin(&self) -> &Repository {
        &self.all[self.last()].repository
    }

    /// Returns the repository at a place.
    pub(crate) fn at(&self, place: usize) -> &Repository {
        &self.all[place.min(self.last())].repository
    }

    /// Returns the first place from `place` on that may be asked; that of the registry itself always may.
    pub(crate) fn next(&self, place: usize) -> usize {
        let usable = |at: &usize| *at == self.last() || !self.all[*at].failed.load(Ordering::Relaxed);
        (place..=self.last()).find(usable).unwrap_or(self.last())
    }

    /// Returns whether the registry itself is at a place.
    pub(crate) fn is_last(&self, place: usize) -> bool {
        place >= self.last()
    }

    /// Notes that a mirror is of no use for something, and returns where to ask next; the error itself if it was none.
    pub(crate) fn after(&self, place: usize, error: RegistryError) -> Result<usize, RegistryError> {
        if self.is_last(place) {
            self.tell_of_lacks();
            return Err(error);
        }
        // One that does not have something may have the rest.
        if matches!(error, RegistryError::NotFound { .. }) {
            self.all[place].lacked.store(true, Ordering::Relaxed);
        } else if !self.all[place].failed.swap(true, Ordering::Relaxed) {
            let note = format!("a mirror is left out: {}", error.with_cause());
            self.progress.event(&Event::Note(&note));
        }
        Ok(self.next(place + 1))
    }

    /// Says once, when the registry itself fails too, which mirrors were asked and did not have it.
    fn tell_of_lacks(&self) {
        for source in &self.all {
            if source.lacked.swap(false, Ordering::Relaxed) {
                let Repository { registry, path, .. } = &source.repository;
                let note = format!("the mirror {} does not have it in `{path}`", registry.host());
                self.progress.event(&Event::Note(&note));
            }
        }
    }

    /// Does something with one place after the other until it succeeds.
    fn ask<T>(
        &self,
        may: impl Fn(&Source) -> bool,
        ask: impl Fn(&Repository) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut place = self.next(0);
        loop {
            let source = &self.all[place];
            if place < self.last() && !may(source) {
                place = self.next(place + 1);
                continue;
            }
            match ask(&source.repository) {
                Ok(done) => return Ok(done),
                Err(error) => place = self.after(place, error)?,
            }
        }
    }

    /// Asks those that know what a tag stands for.
    pub(crate) fn ask_for_tag<T>(
        &self,
        ask: impl Fn(&Repository) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.ask(|source| source.resolves, ask)
    }

    /// Asks for what has a digest.
    pub(crate) fn ask_any<T>(
        &self,
        ask: impl Fn(&Repository) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.ask(|_| true, ask)
    }

    /// Fetches a manifest or an index.
    pub(crate) fn fetch_document(&self, wanted: Wanted<'_>) -> Result<Document, RegistryError> {
        match wanted {
            Wanted::Tag(_) => self.ask_for_tag(|repository| repository.fetch_document(wanted)),
            _ => self.ask_any(|repository| repository.fetch_document(wanted)),
        }
    }

    /// Does something that reads blobs, and again while that finds mirrors that are of no use.
    pub(crate) fn persist<T>(&self, work: impl Fn() -> Result<T, RegistryError>) -> Result<T, RegistryError> {
        loop {
            let before = self.failures();
            match work() {
                Err(_) if self.failures() > before => {}
                other => return other,
            }
        }
    }

    fn failures(&self) -> usize {
        self.all.iter().filter(|source| source.failed.load(Ordering::Relaxed)).count()
    }

    fn last(&self) -> usize {
        self.all.len() - 1
    }
}

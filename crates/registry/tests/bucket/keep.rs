//! A bucket of a test's own, in memory, whose storage fails where a test wants it to.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use shipway_registry::Bucket;
use tokio::sync::Notify;

type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

pub(crate) struct Kept {
    pub(crate) objects: Arc<Objects>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { objects: Arc::default() }
    }

    pub(crate) fn keep(&self) -> Bucket {
        Bucket::new(self.objects.clone(), "registry/one")
    }
}

/// How a request to the storage goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is refused.
    Refused,
    /// It is done, and the answer says that it is not.
    Unsaid,
    /// It is done, the answer is lost, and asked again it finds what it has done.
    Repeated,
    /// Its conditions are not heeded.
    Careless,
    /// It is not done before somebody says so; the first tells that it has come.
    Held(Arc<Notify>, Arc<Notify>),
}

#[derive(Debug, Default)]
pub(crate) struct Objects {
    memory: InMemory,
    /// Of the next request of this kind for such a path.
    faults: Mutex<Vec<(&'static str, &'static str, Fault)>>,
    /// Uploads of parts that are neither complete nor aborted.
    parts: Mutex<BTreeSet<MultipartId>>,
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects of a test")
    }
}

impl Objects {
    /// Lets the next request of a kind (`put`, `part`, `complete`, `abort`, `delete`) for a path with this in it go wrong.
    pub(crate) fn fail(&self, kind: &'static str, path: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push((kind, path, fault));
    }

    /// Returns how many faults nobody has met.
    pub(crate) fn faults(&self) -> usize {
        self.faults.lock().unwrap().len()
    }

    /// Returns how many uploads of parts there are.
    pub(crate) fn open_parts(&self) -> usize {
        self.parts.lock().unwrap().len()
    }

    fn fault(&self, kind: &str, path: &Path) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|(of, part, _)| *of == kind && path.as_ref().contains(part))?;
        Some(faults.remove(at).2)
    }

    /// Returns how a write is done: as it is told, unless it is to be done anyhow.
    fn options(&self, path: &Path, options: PutOptions) -> PutOptions {
        let mut faults = self.faults.lock().unwrap();
        let is_it = |(kind, part, fault): &(&str, &str, Fault)| {
            *kind == "put" && path.as_ref().contains(part) && matches!(fault, Fault::Careless)
        };
        let conditional = !matches!(options.mode, PutMode::Overwrite);
        match faults.iter().position(is_it).filter(|_| conditional) {
            Some(at) => {
                faults.remove(at);
                PutOptions { mode: PutMode::Overwrite, ..options }
            }
            None => options,
        }
    }

    async fn meet<T>(&self, kind: &str, path: &Path, doing: impl Future<Output = Result<T>>) -> Result<T> {
        let failed = || Error::Generic { store: "test", source: "500 Internal Server Error".into() };
        match self.fault(kind, path) {
            None => doing.await,
            Some(Fault::Careless) => doing.await,
            Some(Fault::Refused) => Err(failed()),
            Some(Fault::Unsaid) => doing.await.and_then(|_done| Err(failed())),
            Some(Fault::Repeated) => {
                doing.await?;
                Err(Error::Precondition { path: path.to_string(), source: "412 Precondition Failed".into() })
            }
            Some(Fault::Held(come, go)) => {
                come.notify_one();
                go.notified().await;
                doing.await
            }
        }
    }

    fn known(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let is_known = self.parts.lock().unwrap().contains(id);
        let missing = || Error::NotFound { path: path.to_string(), source: "no such upload".into() };
        is_known.then_some(()).ok_or_else(missing)
    }
}

impl ObjectStore for Objects {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Later<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
    {
        Box::pin(self.meet("put", path, self.memory.put_opts(path, payload, self.options(path, options))))
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        options: PutMultipartOptions,
    ) -> Later<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
    {
        self.memory.put_multipart_opts(path, options)
    }

    fn get_opts<'a, 'b, 'c>(&'a self, path: &'b Path, options: GetOptions) -> Later<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
    {
        Box::pin(self.meet("get", path, self.memory.get_opts(path, options)))
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let faults: Vec<_> =
            self.faults.lock().unwrap().extract_if(.., |fault| fault.0 == "delete").collect();
        let refused = move |path: &Path| faults.iter().any(|(_, part, _)| path.as_ref().contains(part));
        let paths = paths.map(move |path| match path {
            Ok(path) if refused(&path) => {
                Err(Error::Generic { store: "test", source: "503 Slow Down".into() })
            }
            path => path,
        });
        self.memory.delete_stream(paths.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> Later<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
    {
        self.memory.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'd>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        options: CopyOptions,
    ) -> Later<'d, ()>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        self.memory.copy_opts(from, to, options)
    }
}

impl MultipartStore for Objects {
    fn create_multipart<'a, 'b, 'c>(&'a self, path: &'b Path) -> Later<'c, MultipartId>
    where
        'a: 'c,
        'b: 'c,
    {
        Box::pin(async move {
            let id = self.memory.create_multipart(path).await?;
            self.parts.lock().unwrap().insert(id.clone());
            Ok(id)
        })
    }

    fn put_part<'a, 'b, 'c, 'd>(
        &'a self,
        path: &'b Path,
        id: &'c MultipartId,
        index: usize,
        payload: PutPayload,
    ) -> Later<'d, PartId>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        Box::pin(self.meet("part", path, async move {
            self.known(path, id)?;
            self.memory.put_part(path, id, index, payload).await
        }))
    }

    fn complete_multipart<'a, 'b, 'c, 'd>(
        &'a self,
        path: &'b Path,
        id: &'c MultipartId,
        parts: Vec<PartId>,
    ) -> Later<'d, PutResult>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        Box::pin(self.meet("complete", path, async move {
            self.known(path, id)?;
            let done = self.memory.complete_multipart(path, id, parts).await?;
            self.parts.lock().unwrap().remove(id);
            Ok(done)
        }))
    }

    fn abort_multipart<'a, 'b, 'c, 'd>(&'a self, path: &'b Path, id: &'c MultipartId) -> Later<'d, ()>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        Box::pin(self.meet("abort", path, async move {
            self.known(path, id)?;
            self.memory.abort_multipart(path, id).await?;
            self.parts.lock().unwrap().remove(id);
            Ok(())
        }))
    }
}

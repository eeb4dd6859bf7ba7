//! Content on its way: in one piece, or in pieces one after the other. Spec: distribution-spec, Pushing blobs.

mod here;

use std::hash::{BuildHasher as _, RandomState};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use tokio::sync::OwnedMutexGuard;

pub(crate) use self::here::Uploads;
use crate::answer::{empty, set, text};
use crate::digest::AnyDigest;
use crate::guard::{Action, Caller, Wish};
use crate::keep::Keep;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::server::Registry;
use crate::{bucket, path, range};

/// An upload that this request has to itself.
enum Session {
    Here(OwnedMutexGuard<here::Session>),
    Bucket(Box<bucket::Upload>),
}

impl Session {
    async fn find(registry: &Registry, name: &str, id: &str) -> Result<Self, Refusal> {
        Ok(match &registry.inner.keep {
            Keep::Store(_) => Self::Here(registry.inner.uploads.find(name, id).await?),
            Keep::Bucket(bucket) => {
                Self::Bucket(Box::new(bucket.find_upload(name, id, registry.now()).await?))
            }
        })
    }

    fn received(&self) -> u64 {
        match self {
            Self::Here(session) => session.received,
            Self::Bucket(upload) => upload.received(),
        }
    }

    async fn receive(&mut self, registry: &Registry, id: &str, body: Body) -> Result<(), Refusal> {
        match self {
            Self::Here(session) => session.receive(registry, id, body).await,
            Self::Bucket(upload) => upload.receive(registry, body).await,
        }
    }

    /// Keeps what has arrived for the next request.
    async fn rest(self) -> Result<(), Refusal> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Bucket(upload) => upload.rest().await,
        }
    }

    async fn commit(&mut self, registry: &Registry, name: &str, digest: &AnyDigest) -> Result<(), Refusal> {
        match self {
            Self::Here(session) => session.commit(registry, name, digest).await,
            Self::Bucket(upload) => upload.commit(name, digest).await,
        }
    }

    /// Lets go of it, and of what has arrived if it was not committed.
    async fn forget(self, registry: &Registry, id: &str) -> Result<(), Refusal> {
        match self {
            Self::Here(mut session) => {
                registry.inner.uploads.forget(id);
                session.drop_content();
                Ok(())
            }
            Self::Bucket(upload) => upload.forget().await,
        }
    }

    /// Lets go of it when what there is to say has been found out. What is left then a collection takes away.
    async fn leave(self, registry: &Registry, id: &str) {
        if let Err(refusal) = self.forget(registry, id).await {
            tracing::warn!(reason = refusal.message, "something of an upload is left for a day");
        }
    }
}

/// Returns an id that nobody can guess.
pub(crate) fn unguessable() -> String {
    // Each state has keys of its own from the system's random numbers.
    let number = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", number(), number())
}

fn here(name: &str, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// Returns where an upload stands, as a header says it.
fn until(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn standing(status: StatusCode, name: &str, id: &str, received: u64) -> Response {
    let mut response = empty(status);
    let headers = response.headers_mut();
    set(headers, "location", &here(name, id));
    set(headers, "range", &until(received));
    set(headers, "docker-upload-uuid", id);
    response
}

fn created(name: &str, digest: &AnyDigest) -> Response {
    let mut response = empty(StatusCode::CREATED);
    set(response.headers_mut(), "location", &format!("/v2/{name}/blobs/{digest}"));
    set(response.headers_mut(), "docker-content-digest", digest.as_str());
    response
}

fn digest_of(text: &str) -> Result<AnyDigest, Refusal> {
    text.parse().map_err(|_no| Refusal::digest_invalid("this is no sha256 or sha512 digest"))
}

/// Begins an upload; or mounts a blob that another repository has; or takes the whole content at once.
pub(crate) async fn begin(
    registry: &Registry,
    name: String,
    query: &Query,
    caller: &Caller,
    body: Body,
) -> Result<Response, Refusal> {
    if let Some(wanted) = query.get("mount") {
        let digest = digest_of(wanted)?;
        let from = query.get("from").filter(|from| !from.is_empty()).map(path::name).transpose()?;
        // What somebody may not read is not there to mount.
        let guard = &registry.inner.config.guard;
        let may_read = match &from {
            Some(from) => guard.may(caller, Wish::Use(from, Action::Pull)),
            None => caller.reads_everything(guard),
        };
        if may_read && registry.mount(name.clone(), from, digest.clone()).await? {
            return Ok(created(&name, &digest));
        }
    }
    // Spec: it may be told before the content comes.
    let whole = query.get("digest").map(digest_of).transpose()?;
    let id = match &registry.inner.keep {
        Keep::Store(_) => registry.inner.uploads.open(registry, &name).await?,
        Keep::Bucket(bucket) => bucket.open_upload(&name).await?,
    };
    let Some(digest) = whole else {
        return Ok(standing(StatusCode::ACCEPTED, &name, &id, 0));
    };
    let mut session = Session::find(registry, &name, &id).await?;
    let done = finish(registry, (&name, &id), &mut session, &digest, body).await;
    session.leave(registry, &id).await;
    done
}

/// Says where an upload stands.
pub(crate) async fn stand(registry: &Registry, name: &str, id: &str) -> Result<Response, Refusal> {
    let received = Session::find(registry, name, id).await?.received();
    Ok(standing(StatusCode::NO_CONTENT, name, id, received))
}

/// Takes a piece.
pub(crate) async fn add(
    registry: &Registry,
    name: &str,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mut session = Session::find(registry, name, id).await?;
    check_order(name, id, headers, session.received())?;
    let fed = session.receive(registry, id, body).await;
    let received = session.received();
    if matches!(&fed, Err(refusal) if refusal.status == StatusCode::PAYLOAD_TOO_LARGE) {
        session.leave(registry, id).await;
    } else {
        session.rest().await?;
    }
    fed?;
    Ok(standing(StatusCode::ACCEPTED, name, id, received))
}

/// Takes the last piece, if there is one, and ends an upload.
pub(crate) async fn end(
    registry: &Registry,
    name: &str,
    id: &str,
    (headers, query): (&HeaderMap, &Query),
    body: Body,
) -> Result<Response, Refusal> {
    let digest = query.get("digest").ok_or_else(|| Refusal::digest_invalid("`digest` is missing"))?;
    let digest = digest_of(digest)?;
    let mut session = Session::find(registry, name, id).await?;
    check_order(name, id, headers, session.received())?;
    let done = finish(registry, (name, id), &mut session, &digest, body).await;
    if matches!(&done, Err(refusal) if refusal.code == "BLOB_UPLOAD_INVALID") {
        session.rest().await?;
    } else {
        session.leave(registry, id).await;
    }
    done
}

/// Gives an upload up. Whoever still sends to it ends first.
pub(crate) async fn give_up(registry: &Registry, name: &str, id: &str) -> Result<Response, Refusal> {
    Session::find(registry, name, id).await?.forget(registry, id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A piece that says where it belongs must belong at the end of what is there.
fn check_order(name: &str, id: &str, headers: &HeaderMap, received: u64) -> Result<(), Refusal> {
    let Some(header) = text(headers, "content-range") else { return Ok(()) };
    let refuse = |message: &str| {
        let refusal = Refusal::range(message);
        refusal.with("location", here(name, id)).with("range", until(received))
    };
    let Some((first, last)) = range::of_piece(header) else {
        return Err(refuse("the Content-Range is no range"));
    };
    let length: Option<u64> = text(headers, "content-length").and_then(|length| length.parse().ok());
    if first != received || length.is_some_and(|length| (last - first).checked_add(1) != Some(length)) {
        return Err(refuse("pieces must come in order, each as long as it says"));
    }
    Ok(())
}

/// Takes the rest of the content and gives it to the repository.
async fn finish(
    registry: &Registry,
    (name, id): (&str, &str),
    session: &mut Session,
    digest: &AnyDigest,
    body: Body,
) -> Result<Response, Refusal> {
    session.receive(registry, id, body).await?;
    session.commit(registry, name, digest).await?;
    Ok(created(name, digest))
}

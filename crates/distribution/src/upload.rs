//! Sending blobs: mounted from elsewhere, in one piece, while they are made, or taken up again where it broke off. Spec: distribution-spec, "Push".

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use shipway_fetch::{FetchError, Method, Payload, Response};
use shipway_oci::Digest;

use crate::RegistryError;
use crate::auth::escape;
use crate::documents::Repository;
use crate::refusal::{Attempt, refusal};
use crate::registry::Ask;

/// So often an upload may break off without getting further, and in all.
const FRUITLESS: u32 = 5;
const BREAKS: u32 = 100;
/// Up to this size one request less matters more than being able to go on in the middle.
pub(crate) const ONE_PIECE: u64 = 8 << 20;

/// Where bytes to be sent come from.
#[derive(Clone, Copy)]
pub(crate) enum Bytes<'a> {
    Memory(&'a [u8]),
    File(&'a File),
}

/// A blob to be sent.
pub(crate) struct Upload<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) scope: &'a str,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) bytes: Bytes<'a>,
    /// Hears how many bytes were sent.
    pub(crate) sent: &'a (dyn Fn(u64) + Sync),
}

/// How an upload began.
enum Begun {
    Mounted,
    At(String),
}

/// How an upload goes that may break off.
#[derive(Default)]
struct Course {
    /// Where an earlier attempt stopped.
    begun: Option<String>,
    /// Bytes that the registry had at most.
    reached: u64,
    /// The last thing sent was content, which the client below does not send again by itself.
    streamed: bool,
    fruitless: u32,
    breaks: u32,
}

impl Repository {
    /// Returns whether the registry has a blob in this repository.
    pub(crate) fn has_blob(&self, digest: &Digest, size: u64, scope: &str) -> Result<bool, RegistryError> {
        let url = self.registry.url(&format!("{}/blobs/{digest}", self.path));
        let response = self.registry.ask(&Ask::new(Method::Head, &url, scope), &[])?;
        match response.status() {
            200 => {
                let length = response.header("content-length").and_then(|text| text.parse::<u64>().ok());
                Ok(length.is_none_or(|length| length == size))
            }
            404 => Ok(false),
            _ => Err(refusal(&self.registry, Attempt { operation: "look for", what: &self.path }, response)),
        }
    }

    /// Asks the registry to take a blob from another repository; `false` if it does not.
    pub(crate) fn mount(&self, digest: &Digest, from: &str, scope: &str) -> Result<bool, RegistryError> {
        let query = format!("?mount={}&from={}", escape(&digest.to_string()), escape(from));
        Ok(matches!(self.begin(&query, scope)?, Begun::Mounted))
    }

    /// Begins an upload to which bytes are appended; returns where.
    pub(crate) fn begin_empty(&self, scope: &str) -> Result<String, RegistryError> {
        match self.begin("", scope)? {
            Begun::At(location) => Ok(location),
            Begun::Mounted => Err(self.wrong("answer", "an upload that has not begun has ended".to_owned())),
        }
    }

    /// Sends what a reader gives, however much that is, and returns where the upload is closed. A reader that fails leaves it open.
    pub(crate) fn append(
        &self,
        location: &str,
        scope: &str,
        reader: &mut dyn Read,
    ) -> Result<String, RegistryError> {
        let ask = Ask::new(Method::Patch, location, scope).header("content-type", "application/octet-stream");
        let response = self.registry.send(&ask, Payload::Stream { reader, length: None })?;
        match response.status() {
            202 | 204 => self.location(&response),
            _ => {
                let attempt = Attempt { operation: "send to", what: &self.path };
                Err(refusal(&self.registry, attempt, response))
            }
        }
    }

    fn begin(&self, query: &str, scope: &str) -> Result<Begun, RegistryError> {
        let url = self.registry.url(&format!("{}/blobs/uploads/{query}", self.path));
        let response = self.registry.ask(&Ask::new(Method::Post, &url, scope), &[])?;
        match response.status() {
            201 => Ok(Begun::Mounted),
            202 => Ok(Begun::At(self.location(&response)?)),
            _ => Err(refusal(&self.registry, Attempt { operation: "send to", what: &self.path }, response)),
        }
    }

    /// Returns where an upload goes on: always at the registry itself.
    fn location(&self, response: &Response) -> Result<String, RegistryError> {
        let location = response.header("location").unwrap_or_default();
        join(&self.registry.inner.host.endpoint, location)
            .map_err(|reason| self.wrong("upload address", format!("`{location}` {reason}")))
    }
}

/// Judges where a registry wants an upload, or a list, to go on.
pub(crate) fn join(endpoint: &crate::endpoint::Endpoint, location: &str) -> Result<String, &'static str> {
    let is_plain = location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if location.is_empty() || !is_plain {
        return Err("is no address");
    }
    if let Some((scheme, rest)) =
        location.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?']))
    {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let default = if endpoint.https { ":443" } else { ":80" };
        let bare = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
        if bare(authority) != bare(&endpoint.authority) {
            return Err("is at another host");
        }
        // A registry behind a proxy may not know that it is asked with encryption.
        if scheme != "https" && scheme != "http" {
            return Err("is no address");
        }
        return Ok(format!("{}{}", endpoint.origin(), &rest[authority.len()..]));
    }
    if location.starts_with("//") || !location.starts_with('/') {
        return Err("is at another host");
    }
    Ok(format!("{}{location}", endpoint.origin()))
}

/// Returns whether it may go better the next time: what the registry said no to stays refused, a connection may hold.
pub(crate) fn may_hold(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unreachable { source, .. } => !matches!(source, FetchError::Stopped { .. }),
        RegistryError::Status { status, .. } => *status >= 500,
        _ => false,
    }
}

impl Upload<'_> {
    /// Sends the blob.
    pub(crate) fn run(&self) -> Result<(), RegistryError> {
        self.go_on(None)
    }

    /// Sends what is missing of a blob whose upload broke off, if it had begun.
    pub(crate) fn go_on(&self, begun: Option<String>) -> Result<(), RegistryError> {
        let mut course = Course { begun, ..Course::default() };
        loop {
            let Err(error) = self.attempt(&mut course) else { return Ok(()) };
            // It went meanwhile, or has ended and only the answer was lost.
            let is_gone = matches!(&error, RegistryError::NotFound { .. }) && course.begun.take().is_some();
            let may_hold = is_gone
                || may_hold(&error)
                || course.streamed && matches!(&error, RegistryError::Limited { .. })
                || matches!(&error, RegistryError::Unauthorized { .. }) && course.breaks == 0;
            course.fruitless += 1;
            course.breaks += 1;
            if !may_hold || course.fruitless > FRUITLESS || course.breaks > BREAKS {
                return Err(error);
            }
            if is_gone && self.repository.has_blob(&self.digest, self.size, self.scope)? {
                (self.sent)(self.size);
                return Ok(());
            }
            tracing::debug!(blob = %self.digest, %error, "sending the rest");
            let config = self.repository.registry.inner.client.config();
            let asked = match &error {
                RegistryError::Limited { wait, .. } => *wait,
                _ => None,
            };
            if !config.retry.allows(asked) {
                return Err(error);
            }
            let pause = config.retry.pause(course.fruitless, asked);
            if asked.is_some() {
                config.waits.tell(|| error.to_string(), pause);
            }
            if config.stop.wait(pause) {
                return Err(error);
            }
        }
    }

    /// Sends what is missing.
    fn attempt(&self, course: &mut Course) -> Result<(), RegistryError> {
        course.streamed = false;
        let (mut location, mut offset) = match course.begun.take() {
            Some(location) => self.status(&location)?,
            None => (String::new(), 0),
        };
        if offset > course.reached {
            (course.reached, course.fruitless) = (offset, 0);
        }
        if location.is_empty() {
            match self.repository.begin("", self.scope)? {
                Begun::Mounted => return Ok(()),
                Begun::At(at) => (location, offset) = (at, 0),
            }
        }
        course.begun = Some(location.clone());
        course.streamed = offset < self.size;
        if self.size > ONE_PIECE && offset < self.size {
            location = self.patch(&location, offset)?;
            offset = self.size;
            course.streamed = false;
            course.begun = Some(location.clone());
        }
        self.put(&location, offset)
    }

    /// Asks how far an upload is. An empty place means that it has to begin anew.
    fn status(&self, location: &str) -> Result<(String, u64), RegistryError> {
        let registry = &self.repository.registry;
        let response = registry.ask(&Ask::new(Method::Get, location, self.scope), &[])?;
        if response.status() != 204 {
            return Ok((String::new(), 0));
        }
        let next = match response.header("location") {
            Some(_) => self.repository.location(&response)?,
            None => location.to_owned(),
        };
        let range = response.header("range").unwrap_or_default();
        let last =
            range.trim_start_matches("bytes=").split_once('-').and_then(|(_, last)| last.parse::<u64>().ok());
        // Nothing yet and one byte look the same: `0-0`.
        let offset = last.filter(|last| *last > 0).map_or(0, |last| last + 1);
        if offset > self.size || last == Some(0) {
            return Ok((String::new(), 0));
        }
        Ok((next, offset))
    }

    /// Sends the bytes from `offset` on and returns where the upload is closed.
    fn patch(&self, location: &str, offset: u64) -> Result<String, RegistryError> {
        let ask = Ask::new(Method::Patch, location, self.scope)
            .header("content-type", "application/octet-stream")
            .header("content-range", format!("{offset}-{}", self.size - 1));
        let response = self.send(&ask, offset)?;
        match response.status() {
            202 | 204 => self.repository.location(&response),
            _ => Err(self.refused(response)),
        }
    }

    /// Closes an upload that has all bytes.
    pub(crate) fn close(&self, location: &str) -> Result<(), RegistryError> {
        self.put(location, self.size)
    }

    /// Closes the upload; sends the bytes from `offset` on with it.
    fn put(&self, location: &str, offset: u64) -> Result<(), RegistryError> {
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={}", escape(&self.digest.to_string()));
        let ask = Ask::new(Method::Put, &url, self.scope).header("content-type", "application/octet-stream");
        let response = self.send(&ask, offset)?;
        match response.status() {
            201 | 204 => {
                (self.sent)(self.size);
                Ok(())
            }
            _ => Err(self.refused(response)),
        }
    }

    fn send(&self, ask: &Ask<'_>, offset: u64) -> Result<Response, RegistryError> {
        let registry = &self.repository.registry;
        if offset == self.size {
            return registry.ask(ask, &[]);
        }
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut reader: Box<dyn Read + '_> = match self.bytes {
            Bytes::Memory(bytes) => Box::new(bytes.get(at..).unwrap_or_default()),
            Bytes::File(file) => Box::new(Slice { file, at: offset }),
        };
        let mut counted = Counted { inner: &mut *reader, count: offset, sent: self.sent };
        registry.send(ask, Payload::Stream { reader: &mut counted, length: Some(self.size - offset) })
    }

    fn refused(&self, response: Response) -> RegistryError {
        let what = format!("blob {}", self.digest.short());
        refusal(&self.repository.registry, Attempt { operation: "send", what: &what }, response)
    }
}

/// A file from a place on; several may read it at the same time.
struct Slice<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

struct Counted<'a> {
    inner: &'a mut dyn Read,
    count: u64,
    sent: &'a (dyn Fn(u64) + Sync),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        (self.sent)(self.count);
        Ok(read)
    }
}

/// Returns the length of a file.
pub(crate) fn length(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn an_upload_stays_with_its_registry() {
        let secure = Endpoint::of_url("https://reg.test", "/v2").unwrap();
        for (name, location, want) in [
            ("path", "/v2/x/blobs/uploads/1?s=a", Some("https://reg.test/v2/x/blobs/uploads/1?s=a")),
            ("absolute", "https://reg.test/v2/u", Some("https://reg.test/v2/u")),
            ("default port", "https://reg.test:443/v2/u", Some("https://reg.test/v2/u")),
            ("without encryption", "http://reg.test/v2/u", Some("https://reg.test/v2/u")),
            (
                "a URL in the query",
                "/v2/u?to=http://evil.test/",
                Some("https://reg.test/v2/u?to=http://evil.test/"),
            ),
            ("elsewhere", "https://evil.test/v2/u", None),
            ("other port", "https://reg.test:444/v2/u", None),
            ("user in front", "https://reg.test@evil.test/v2/u", None),
            ("no scheme", "//evil.test/v2/u", None),
            ("relative", "u", None),
            ("nothing", "", None),
            ("backslash", "/\\evil.test/u", None),
        ] {
            assert_eq!(join(&secure, location).ok().as_deref(), want, "case {name}");
        }
    }
}

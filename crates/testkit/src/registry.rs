//! A small registry with faults, for the tests of those who talk to one.
//!
//! It keeps what it is given in memory, notes what it was asked, and does wrong what a test wants it to do wrong. It trusts its
//! clients: a question that makes no sense is a panic of its thread.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// What the registry was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// Returns a header by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether it has this method, and `part` in its path or query.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection is closed after so many bytes of the body.
    pub cut: Option<usize>,
    /// The body goes on until the other side has enough.
    pub endless: bool,
    /// The body comes slowly.
    pub drips: Option<Drips>,
}

/// How a body comes slowly.
#[derive(Clone, Copy, Debug)]
pub struct Drips {
    /// So many bytes come at once.
    pub at_once: usize,
    /// Then so many at a time.
    pub piece: usize,
    /// Before each of these so much time passes.
    pub pause: Duration,
}

impl Reply {
    /// A whole answer.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, endless: false, drips: None }
    }

    /// Returns the same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Returns the digest of some bytes, `sha256:…`.
pub fn digest_of(bytes: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

/// Answers instead of the registry; gets the question and how many there were before.
type Fault = dyn Fn(&Asked, usize) -> Option<Reply> + Send + Sync;

/// What the registry has.
#[derive(Debug, Default)]
pub struct Contents {
    /// By digest.
    pub blobs: HashMap<String, Vec<u8>>,
    /// By `REPOSITORY/manifests/NAME`: type and bytes.
    pub manifests: HashMap<String, (String, Vec<u8>)>,
    /// Which repository has which blob.
    pub links: Vec<(String, String)>,
    uploads: HashMap<String, Vec<u8>>,
    asked: Vec<Asked>,
    /// Uploads break off after so many bytes, once for each entry.
    pub broken_uploads: Vec<usize>,
}

/// A registry; its threads end with the test's process.
#[derive(Debug)]
pub struct TestRegistry {
    /// Where it answers: address and port.
    pub address: String,
    contents: Arc<Mutex<Contents>>,
}

impl TestRegistry {
    /// Starts one without faults, on a port of its own on 127.0.0.1 of the caller's network.
    pub fn start() -> Self {
        Self::with_fault(|_, _| None)
    }

    /// Starts one that `fault` may answer for.
    pub fn with_fault(fault: impl Fn(&Asked, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let contents = Arc::new(Mutex::new(Contents::default()));
        let (of_server, fault): (_, Arc<Fault>) = (Arc::clone(&contents), Arc::new(fault));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (contents, fault) = (Arc::clone(&of_server), Arc::clone(&fault));
                std::thread::spawn(move || serve(&stream, &contents, &*fault));
            }
        });
        Self { address, contents }
    }

    /// Returns what it has.
    pub fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    /// Returns what it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.contents().asked.clone()
    }

    /// Returns how often something was asked.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.is(method, part)).count()
    }

    /// Forgets what it was asked.
    pub fn forget_questions(&self) {
        self.contents().asked.clear();
    }

    /// Adds a blob to a repository; returns its digest.
    pub fn add_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let mut contents = self.contents();
        contents.blobs.insert(digest.clone(), bytes.to_vec());
        contents.links.push((repository.to_owned(), digest.clone()));
        digest
    }

    /// Adds a manifest, by tag and by digest; returns its digest.
    pub fn add_manifest(&self, repository: &str, tag: &str, kind: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let mut contents = self.contents();
        for name in [tag.to_owned(), digest.clone()] {
            let key = format!("{repository}/manifests/{name}");
            contents.manifests.insert(key, (kind.to_owned(), bytes.to_vec()));
        }
        digest
    }

    /// Returns the name of an image in it.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }
}

fn serve(mut stream: &TcpStream, contents: &Mutex<Contents>, fault: &Fault) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read_question(&mut reader, stream, contents) {
        let number = {
            let mut contents = contents.lock().unwrap();
            contents.asked.push(asked.clone());
            contents.asked.len() - 1
        };
        let reply = fault(&asked, number).unwrap_or_else(|| answer(&asked, &mut contents.lock().unwrap()));
        if !write_reply(&mut stream, &asked, &reply) {
            return;
        }
    }
}

/// Reads a question; `None` if there is none, or if an upload is to break off.
fn read_question(
    reader: &mut BufReader<&TcpStream>,
    stream: &TcpStream,
    contents: &Mutex<Contents>,
) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, target, headers, body: Vec::new() };
    let mut incoming: Box<dyn Read + '_> = match asked.header("content-length") {
        Some(length) => Box::new(reader.by_ref().take(length.parse().unwrap())),
        None if asked.header("transfer-encoding").is_some() => {
            Box::new(Chunks { reader, rest: 0, ended: false })
        }
        None => Box::new(io::empty()),
    };
    let cut = match asked.method.as_str() {
        "PATCH" => contents.lock().unwrap().broken_uploads.pop(),
        _ => None,
    };
    if let Some(cut) = cut {
        let mut part = vec![0; cut];
        incoming.read_exact(&mut part).ok()?;
        let mut contents = contents.lock().unwrap();
        contents.uploads.entry(upload_of(&asked.target)).or_default().extend(part);
        asked.body = Vec::new();
        contents.asked.push(asked);
        drop(contents);
        drop(stream.shutdown(std::net::Shutdown::Both));
        return None;
    }
    let mut body = Vec::new();
    incoming.read_to_end(&mut body).ok()?;
    let is_whole = asked.header("content-length").is_none_or(|length| length == body.len().to_string());
    asked.body = body;
    is_whole.then_some(asked)
}

/// A body in chunks. Spec: RFC 9112 section 7.1.
struct Chunks<'a, R> {
    reader: &'a mut R,
    rest: usize,
    ended: bool,
}

impl<R: BufRead> Read for Chunks<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest == 0 {
            let mut line = String::new();
            if self.ended {
                return Ok(0);
            }
            self.reader.read_line(&mut line)?;
            self.rest = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
            if self.rest == 0 {
                self.ended = true;
                self.reader.read_line(&mut line)?;
            }
        }
        let length = buffer.len().min(self.rest);
        let read = self.reader.read(&mut buffer[..length])?;
        self.rest -= read;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.rest == 0 {
            self.reader.read_line(&mut String::new())?;
        }
        Ok(read)
    }
}

fn write_reply(stream: &mut &TcpStream, asked: &Asked, reply: &Reply) -> bool {
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    let named = |name: &str| reply.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if reply.endless {
        head.push_str("Connection: close\r\n");
    } else if !named("content-length") {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    reply.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return false;
    }
    if asked.method == "HEAD" {
        return true;
    }
    if let Some(Drips { at_once, piece, pause }) = reply.drips {
        let (at_once, rest) = reply.body.split_at(at_once);
        stream.set_read_timeout(Some(pause)).unwrap();
        let is_there = |stream: &mut &TcpStream| !matches!(stream.read(&mut [0]), Ok(0));
        return stream.write_all(at_once).is_ok()
            && rest.chunks(piece).all(|piece| is_there(stream) && stream.write_all(piece).is_ok());
    }
    let sent = &reply.body[..reply.cut.unwrap_or(reply.body.len())];
    if stream.write_all(sent).is_err() || reply.cut.is_some() {
        drop(stream.shutdown(std::net::Shutdown::Both));
        return false;
    }
    if reply.endless {
        // Until the other side has had enough.
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
        return false;
    }
    true
}

fn upload_of(target: &str) -> String {
    target.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned()
}

/// Answers as a registry does.
pub fn answer(asked: &Asked, contents: &mut Contents) -> Reply {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let Some(path) = path.strip_prefix("/v2/") else { return Reply::new(404, "") };
    if path.is_empty() {
        return Reply::new(200, "{}");
    }
    if path.contains("/manifests/") {
        return manifest(asked, path, contents);
    }
    let (repository, rest) = path.split_once("/blobs/").unwrap();
    if let Some(upload) = rest.strip_prefix("uploads/") {
        return write(asked, repository, upload, query, contents);
    }
    let linked = contents.links.iter().any(|(known, digest)| known == repository && digest == rest);
    let Some(blob) = contents.blobs.get(rest).filter(|_| linked) else {
        return Reply::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#);
    };
    match asked
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
    {
        Some(from) => Reply::new(206, &blob[from..])
            .header("Content-Range", format!("bytes {from}-{}/{}", blob.len() - 1, blob.len())),
        None => Reply::new(200, blob.clone()),
    }
}

fn manifest(asked: &Asked, path: &str, contents: &mut Contents) -> Reply {
    if asked.method == "PUT" {
        let kind = asked.header("content-type").unwrap().to_owned();
        let digest = digest_of(&asked.body);
        let repository = path.split_once("/manifests/").unwrap().0;
        for key in [path.to_owned(), format!("{repository}/manifests/{digest}")] {
            contents.manifests.insert(key, (kind.clone(), asked.body.clone()));
        }
        return Reply::new(201, "").header("Docker-Content-Digest", digest);
    }
    match contents.manifests.get(path) {
        Some((kind, bytes)) => Reply::new(200, bytes.clone())
            .header("Content-Type", kind.clone())
            .header("Docker-Content-Digest", digest_of(bytes)),
        None => Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
    }
}

fn write(asked: &Asked, repository: &str, upload: &str, query: &str, contents: &mut Contents) -> Reply {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/"))
    };
    let here = |upload: &str| format!("/v2/{repository}/blobs/uploads/{upload}");
    match asked.method.as_str() {
        "POST" => {
            if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
                && contents.links.contains(&(from, digest.clone()))
            {
                contents.links.push((repository.to_owned(), digest));
                return Reply::new(201, "");
            }
            let number = format!("u{}", contents.uploads.len());
            contents.uploads.insert(number.clone(), Vec::new());
            Reply::new(202, "").header("Location", here(&number))
        }
        "GET" => {
            let length = contents.uploads[upload].len();
            Reply::new(204, "").header("Range", format!("0-{}", length.saturating_sub(1)))
        }
        "PATCH" => {
            let bytes = contents.uploads.get_mut(upload).unwrap();
            let from = asked.header("content-range").and_then(|range| range.split('-').next()?.parse().ok());
            if from.is_some_and(|from: usize| from != bytes.len()) {
                return Reply::new(416, "");
            }
            bytes.extend(&asked.body);
            Reply::new(202, "").header("Location", here(upload))
        }
        "PUT" => {
            let mut bytes = contents.uploads.remove(upload).unwrap();
            bytes.extend(&asked.body);
            let digest = digest_of(&bytes);
            if parameter("digest").as_deref() != Some(&digest) {
                return Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}"#);
            }
            contents.uploads.insert(upload.to_owned(), Vec::new());
            contents.blobs.insert(digest.clone(), bytes);
            contents.links.push((repository.to_owned(), digest));
            Reply::new(201, "")
        }
        "DELETE" => {
            contents.uploads.insert(upload.to_owned(), Vec::new());
            Reply::new(204, "")
        }
        other => panic!("{other}"),
    }
}

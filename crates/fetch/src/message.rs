//! Requests and answers.

use std::io;

use ureq::http::{HeaderMap, Method as HttpMethod};

use crate::Body;
use crate::date::parse_retry_after;

/// What to do with a resource. Spec: RFC 9110 section 9, RFC 5789 for `PATCH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Fetches it.
    #[default]
    Get,
    /// Asks whether it is there.
    Head,
    /// Starts something.
    Post,
    /// Makes or replaces it.
    Put,
    /// Adds to it.
    Patch,
    /// Removes it.
    Delete,
}

impl Method {
    pub(crate) fn of_http(self) -> HttpMethod {
        match self {
            Self::Get => HttpMethod::GET,
            Self::Head => HttpMethod::HEAD,
            Self::Post => HttpMethod::POST,
            Self::Put => HttpMethod::PUT,
            Self::Patch => HttpMethod::PATCH,
            Self::Delete => HttpMethod::DELETE,
        }
    }

    pub(crate) fn has_payload(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

/// What is sent with a request.
pub enum Payload<'a> {
    /// Nothing.
    None,
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A stream; it can be sent only once, so such a request is not repeated.
    Stream {
        /// The bytes.
        reader: &'a mut dyn io::Read,
        /// How many there are; they go in chunks if that is not known. Spec: RFC 9112 section 7.1.
        length: Option<u64>,
    },
}

impl std::fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: Vec<(&'a str, String)>,
    /// Those that do not follow a redirect to another origin.
    pub(crate) private: Vec<(&'a str, String)>,
    pub(crate) budget: u64,
    pub(crate) from: u64,
}

/// An answer; its body is still to be read.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl<'a> Request<'a> {
    /// Returns a request for `url` whose body may have at most `budget` bytes.
    pub fn get(url: &'a str, budget: u64) -> Self {
        Self::new(Method::Get, url, budget)
    }

    /// Returns a request whose answer may have at most `budget` bytes.
    pub fn new(method: Method, url: &'a str, budget: u64) -> Self {
        Self { method, url, headers: Vec::new(), private: Vec::new(), budget, from: 0 }
    }

    /// Adds a header. `Authorization` and `Cookie` do not follow a redirect to another origin.
    pub fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a header that is for the server of `url` alone and does not follow a redirect to another origin.
    pub fn private_header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.private.push((name, value.into()));
        self
    }
}

impl Response {
    /// Returns the HTTP status: 200 to 299, or any that is no redirect for [`crate::Client::exchange`].
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the address that answered, after redirects, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a header's value, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns all values of a header that are text: some headers may be sent several times.
    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// Returns all headers, names in lower case.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Returns when what is sent was changed last, in seconds since 1970. Spec: RFC 9110 section 8.8.2.
    pub fn last_modified(&self) -> Option<u64> {
        crate::date::parse_date(self.header("last-modified")?)
    }

    /// Returns how long the server asks to wait. Spec: RFC 9110 section 10.2.3.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        parse_retry_after(self.header("retry-after")?, self.header("date"))
    }

    /// Returns the body as it arrives. A failure while reading is the caller's to repeat.
    pub fn into_body(self) -> Body {
        self.body
    }
}

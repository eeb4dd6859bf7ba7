//! HTTP for everything that downloads, and for registries: proxy, host CA, budgets, retry.
//!
//! A [`Client`] is cheap to clone and used from many threads; idle connections are shared. Every body has a
//! budget in bytes: a longer one is an error, never a short read. Requests that fail before or while the body arrives
//! are repeated with growing pauses, and a body that broke off goes on where it stopped. Errors name what was
//! asked (without credentials), by which way (directly or through which proxy), at which addresses and how often.
//!
//! The crate trusts the certificates that the host trusts and resolves names in its own code, because a statically
//! linked program cannot load the C library's name service modules. It knows nothing of registries, archives
//! or authentication schemes: callers add headers, and headers that carry credentials do not follow a redirect to
//! another origin.
//!
//! Specs: RFC 9110 (redirects, `Retry-After`, ranges), RFC 9112 section 3.2.2 (absolute form), RFC 1035 (DNS).
#![forbid(unsafe_code)]

mod absolute;
mod agents;
mod body;
mod client;
mod config;
mod connect;
mod date;
mod error;
mod message;
mod pace;
mod proxy;
mod resolve;
mod retry;
mod stop;
mod target;
mod trust;
mod tunnel;
mod waits;

pub use body::Body;
pub use client::Client;
pub use config::{Config, Retry};
pub use error::{CertificateFault, FetchError};
pub use message::{Method, Payload, Request, Response};
pub use pace::is_overdue;
pub use proxy::{InvalidProxyError, Proxies, is_loopback};
pub use resolve::{ResolveError, Resolver};
pub use stop::Stop;
pub use target::decode_percent;
pub use trust::{Identity, Trust, TrustError};
pub use waits::{Listening, Wait, Waits};

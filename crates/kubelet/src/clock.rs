//! The time of day, in one place.

use k8s_openapi::jiff::Timestamp;

/// Returns the time now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns a time given in nanoseconds since the epoch, as the runtime notes it.
pub(crate) fn from_nanoseconds(nanoseconds: i128) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

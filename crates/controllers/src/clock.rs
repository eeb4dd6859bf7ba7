//! The time of day, in one place.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Returns the time now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns whole seconds from `since` to `now`; 0 when `since` lies ahead.
pub(crate) fn seconds_since(since: &Time, now: Timestamp) -> i64 {
    (now.as_second() - since.0.as_second()).max(0)
}

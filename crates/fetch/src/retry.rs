//! When to ask again, and after what pause.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::time::Duration;

use crate::Retry;

impl Retry {
    /// Returns whether a pause that a server asks for is one to wait for: to ask before is of no use.
    pub fn allows(&self, asked: Option<Duration>) -> bool {
        asked.is_none_or(|asked| asked <= self.longest_pause)
    }

    /// Returns the pause after failed attempt number `attempt` (from 1): doubled each time, the upper half random.
    pub fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let doubled =
            self.first_pause.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        let whole = doubled.min(self.longest_pause);
        let jittered = whole / 2 + whole.mul_f64(random_fraction()) / 2;
        asked.map_or(jittered, |asked| asked.max(jittered)).min(self.longest_pause)
    }
}

/// Returns a number from 0 to 1 that two processes started together do not share.
fn random_fraction() -> f64 {
    let random = RandomState::new().hash_one(0_u8) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let fraction = random as f64 / (1_u64 << 53) as f64;
    fraction
}

/// Statuses that may be different next time.
pub(crate) fn status_is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Failures that may be different next time: everything but a certificate that is not trusted, no network at all, and nonsense.
pub(crate) fn failure_is_temporary(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => {
            !is_without_network(error) && tls_failure(error).is_none_or(|tls| !certificate_is_at_fault(tls))
        }
        ureq::Error::Rustls(error) => !certificate_is_at_fault(error),
        ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::LargeResponseHeader(..) => false,
        ureq::Error::Other(other) => {
            other.downcast_ref::<crate::ResolveError>().is_none_or(crate::ResolveError::is_temporary)
        }
        _ => true,
    }
}

/// Whether this machine has no way out, which waiting does not change.
pub(crate) fn is_without_network(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown)
}

/// Whether the other side wants a certificate of ours, or another one. Spec: RFC 8446 section 6.2.
pub(crate) fn wants_certificate(error: &ureq::Error) -> bool {
    use rustls::AlertDescription as Alert;
    let tls = match error {
        ureq::Error::Io(error) => tls_failure(error),
        ureq::Error::Rustls(error) => Some(error),
        _ => None,
    };
    let Some(rustls::Error::AlertReceived(alert)) = tls else { return false };
    [
        Alert::AccessDenied,
        Alert::BadCertificate,
        Alert::CertificateExpired,
        Alert::CertificateRequired,
        Alert::CertificateRevoked,
        Alert::CertificateUnknown,
        // The signature that belongs to it.
        Alert::DecryptError,
        Alert::UnknownCA,
        Alert::UnsupportedCertificate,
    ]
    .contains(alert)
}

/// Whether the other side's certificate is the problem.
pub(crate) fn is_untrusted(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => tls_failure(error).is_some_and(certificate_is_at_fault),
        ureq::Error::Rustls(error) => certificate_is_at_fault(error),
        _ => false,
    }
}

/// Returns what a proxy answers that lets nobody in, or not us. Compat: ureq says it in words only, the number at the end.
pub(crate) fn refused_by_proxy(error: &ureq::Error) -> Option<u16> {
    let ureq::Error::ConnectProxyFailed(reason) = error else { return None };
    let number = reason.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    number.parse().ok().filter(|status| matches!(status, 403 | 407))
}

fn tls_failure(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn certificate_is_at_fault(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResolveError;

    #[test]
    fn pauses_double_up_to_the_longest_and_honour_the_server() {
        let retry = Retry {
            attempts: 9,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(1),
        };
        for (attempt, least, most) in
            [(1, 50, 100), (2, 100, 200), (3, 200, 400), (8, 500, 1000), (200, 500, 1000)]
        {
            let pause = retry.pause(attempt, None);
            assert!(
                (Duration::from_millis(least)..=Duration::from_millis(most)).contains(&pause),
                "attempt {attempt}: {pause:?}"
            );
        }
        assert_eq!(retry.pause(1, Some(Duration::from_millis(700))), Duration::from_millis(700));
        assert_eq!(retry.pause(1, Some(Duration::from_secs(99))), Duration::from_secs(1));
        for (asked, want) in [(None, true), (Some(1), true), (Some(2), false)] {
            assert_eq!(retry.allows(asked.map(Duration::from_secs)), want, "{asked:?}");
        }
    }

    #[test]
    fn a_machine_without_network_is_no_reason_to_wait() {
        for (kind, again) in [
            (io::ErrorKind::NetworkUnreachable, false),
            (io::ErrorKind::NetworkDown, false),
            (io::ErrorKind::ConnectionRefused, true),
            (io::ErrorKind::ConnectionReset, true),
        ] {
            assert_eq!(failure_is_temporary(&ureq::Error::Io(kind.into())), again, "{kind:?}");
            let error =
                ResolveError::NoAnswer { host: String::new(), servers: String::new(), source: kind.into() };
            assert_eq!(error.is_temporary(), again, "{kind:?}");
        }
    }
}

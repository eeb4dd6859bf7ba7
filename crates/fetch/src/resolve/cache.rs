//! Answers kept for the process; one lookup per name at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ResolveError;

type Slot = Arc<Mutex<Option<(Vec<IpAddr>, Instant)>>>;

#[derive(Debug, Default)]
pub(super) struct Cache {
    names: Mutex<HashMap<String, Slot>>,
}

impl Cache {
    /// Returns the kept answer, or the one that `look_up` gives with its lifetime. Failures are not kept.
    pub(super) fn get_or_insert(
        &self,
        host: &str,
        look_up: impl FnOnce() -> Result<(Vec<IpAddr>, Duration), ResolveError>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let slot = self.slot(host);
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((addresses, until)) = kept.as_ref()
            && Instant::now() < *until
        {
            return Ok(addresses.clone());
        }
        let (addresses, lifetime) = look_up()?;
        *kept = Some((addresses.clone(), Instant::now() + lifetime));
        Ok(addresses)
    }

    /// Returns what was last found, however old.
    pub(super) fn known(&self, host: &str) -> Vec<IpAddr> {
        let slot = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        let kept = slot.as_ref().and_then(|slot| slot.try_lock().ok());
        kept.and_then(|kept| kept.as_ref().map(|(addresses, _until)| addresses.clone())).unwrap_or_default()
    }

    fn slot(&self, host: &str) -> Slot {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(names.entry(host.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_once_until_its_lifetime_ends() {
        let cache = Cache::default();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let long = || Ok((vec![address], Duration::from_secs(60)));
        assert_eq!(cache.get_or_insert("a", long).unwrap(), [address]);
        assert_eq!(cache.get_or_insert("a", || panic!("it is kept")).unwrap(), [address]);
        assert_eq!(cache.known("a"), [address]);
        assert!(cache.known("b").is_empty());
        cache.get_or_insert("c", || Ok((vec![address], Duration::ZERO))).unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        assert_eq!(cache.get_or_insert("c", || Ok((vec![other], Duration::ZERO))).unwrap(), [other]);
    }
}

//! How many pods the old and the new ReplicaSet may have during a rollout.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Where a rollout may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Wanted pods.
    pub replicas: i32,
    /// Pods beyond that while rolling.
    pub surge: i32,
    /// Pods of that which may be missing while rolling.
    pub unavailable: i32,
    /// Whether all old pods go before any new one comes.
    pub recreate: bool,
}

impl Limits {
    /// Returns the limits a Deployment asks for.
    pub(super) fn of(deployment: &Deployment) -> Self {
        let replicas = deployment.spec.replicas.unwrap_or(1);
        let strategy = deployment.spec.strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            return Self { replicas, surge: 0, unavailable: 0, recreate: true };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".to_owned());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
        let surge = share(surge, replicas, true);
        let mut unavailable = share(unavailable, replicas, false);
        if surge == 0 && unavailable == 0 {
            // Nothing could ever move.
            unavailable = 1;
        }
        Self { replicas, surge, unavailable: unavailable.min(replicas), recreate: false }
    }

    /// Returns the least pods that must be available.
    pub(super) fn least(self) -> i32 {
        self.replicas - self.unavailable
    }
}

/// Returns a number or a percentage of `total`.
fn share(value: &IntOrString, total: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent = text.trim_end_matches('%').parse::<i64>().unwrap_or(0);
            let product = percent * i64::from(total);
            let share = if up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

/// Returns the pods a ReplicaSet wants.
pub(super) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// Returns the available pods of a ReplicaSet.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Returns how many pods the new ReplicaSet should want now; `all` is what all of them want together.
pub(super) fn new_size(limits: Limits, new: i32, all: i32) -> i32 {
    if limits.recreate || new > limits.replicas {
        return limits.replicas;
    }
    let room = (limits.replicas + limits.surge - all).max(0);
    new + room.min(limits.replicas - new)
}

/// One old ReplicaSet, as the maths sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Old {
    /// Wanted pods.
    pub wanted: i32,
    /// Available pods.
    pub available: i32,
}

/// Returns how many pods each old ReplicaSet (oldest first) should want now.
///
/// First pods that do not work anyway go, then working ones as far as `maxUnavailable` allows.
pub(super) fn old_sizes(limits: Limits, olds: &[Old], new: Old) -> Vec<i32> {
    let mut sizes: Vec<i32> = olds.iter().map(|old| old.wanted).collect();
    let all = new.wanted + sizes.iter().sum::<i32>();
    let new_unavailable = (new.wanted - new.available).max(0);
    let mut budget = all - limits.least() - new_unavailable;
    if budget <= 0 {
        return sizes;
    }
    for (size, old) in sizes.iter_mut().zip(olds) {
        let broken = (*size - old.available).clamp(0, budget);
        *size -= broken;
        budget -= broken;
    }
    let working = new.available + olds.iter().map(|old| old.available).sum::<i32>();
    let mut budget = (working - limits.least()).max(0);
    for size in &mut sizes {
        let step = (*size).min(budget);
        *size -= step;
        budget -= step;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(replicas: i32, surge: i32, unavailable: i32) -> Limits {
        Limits { replicas, surge, unavailable, recreate: false }
    }

    #[test]
    fn percentages_round_as_upstream() {
        let cases = [
            ("surge rounds up", "25%", 3, true, 1),
            ("unavailable rounds down", "25%", 3, false, 0),
            ("all", "100%", 7, false, 7),
            ("none", "0%", 7, true, 0),
        ];
        for (name, text, total, up, want) in cases {
            assert_eq!(share(&IntOrString::String(text.to_owned()), total, up), want, "case {name}");
        }
    }

    #[test]
    fn the_new_set_grows_into_the_surge() {
        let cases = [
            ("first rollout", limits(3, 1, 0), 0, 0, 3),
            ("room for one", limits(3, 1, 0), 0, 3, 1),
            ("no room", limits(3, 1, 0), 1, 4, 1),
            ("never beyond the wanted number", limits(3, 3, 0), 2, 3, 3),
            ("too many", limits(2, 1, 0), 5, 5, 2),
            ("recreate takes all at once", Limits { recreate: true, ..limits(3, 0, 0) }, 0, 0, 3),
        ];
        for (name, limits, new, all, want) in cases {
            assert_eq!(new_size(limits, new, all), want, "case {name}");
        }
    }

    #[test]
    fn old_sets_shrink_only_as_far_as_availability_allows() {
        let old = |wanted, available| Old { wanted, available };
        let cases = [
            ("nothing new is ready", limits(3, 1, 0), vec![old(3, 3)], old(1, 0), vec![3]),
            ("one new is ready", limits(3, 1, 0), vec![old(3, 3)], old(1, 1), vec![2]),
            ("broken old ones go first", limits(3, 1, 0), vec![old(1, 1), old(2, 0)], old(1, 1), vec![1, 1]),
            ("with one allowed to miss", limits(3, 1, 1), vec![old(3, 3)], old(1, 0), vec![2]),
            ("all new are ready", limits(3, 1, 0), vec![old(1, 1), old(2, 2)], old(3, 3), vec![0, 0]),
            ("oldest first", limits(4, 1, 0), vec![old(2, 2), old(2, 2)], old(1, 1), vec![1, 2]),
        ];
        for (name, limits, olds, new, want) in cases {
            assert_eq!(old_sizes(limits, &olds, new), want, "case {name}");
        }
    }

    #[test]
    fn a_rollout_that_could_never_move_may_miss_one() {
        let deployment: Deployment = serde_json::from_value(serde_json::json!({"spec": {
            "replicas": 2, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}},
        }}))
        .unwrap();
        assert_eq!(Limits::of(&deployment), limits(2, 0, 1));
    }
}

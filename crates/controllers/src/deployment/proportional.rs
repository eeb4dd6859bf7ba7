//! Scaling a Deployment in the middle of a rollout: each ReplicaSet keeps its share.

/// One active ReplicaSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Wanted pods.
    pub wanted: i32,
    /// Replicas plus surge of the Deployment when it was last scaled; `None` if never noted.
    pub maximum: Option<i32>,
}

/// Returns the new sizes of `shares` so that together they are `allowed`; `wanted_now` is replicas + surge.
///
/// Sorted by size, largest first, with leftovers to the first.
pub(super) fn sizes(shares: &[Share], allowed: i32, wanted_now: i32) -> Vec<i32> {
    let total: i32 = shares.iter().map(|share| share.wanted).sum();
    let to_add = allowed - total;
    let mut added = 0;
    let mut result: Vec<i32> = Vec::with_capacity(shares.len());
    for share in shares {
        let fraction = if wanted_now == 0 {
            -share.wanted
        } else {
            let base = share.maximum.filter(|maximum| *maximum > 0).unwrap_or(total.max(1));
            let size = f64::from(share.wanted) * f64::from(wanted_now) / f64::from(base);
            #[expect(clippy::cast_possible_truncation, reason = "a share of an i32 count is an i32")]
            let size = size.round() as i32;
            size - share.wanted
        };
        let left = to_add - added;
        let step = if to_add > 0 { fraction.clamp(0, left) } else { fraction.clamp(left.min(0), 0) };
        added += step;
        result.push((share.wanted + step).max(0));
    }
    if let Some(first) = result.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_keeps_its_share() {
        let share = |wanted, maximum| Share { wanted, maximum: Some(maximum) };
        let cases = [
            ("double", vec![share(8, 10), share(2, 10)], 20, vec![16, 4]),
            ("half", vec![share(8, 10), share(2, 10)], 5, vec![4, 1]),
            ("a leftover goes to the first", vec![share(5, 10), share(5, 10)], 11, vec![6, 5]),
            ("to nothing", vec![share(3, 4), share(1, 4)], 0, vec![0, 0]),
        ];
        for (name, shares, allowed, want) in cases {
            assert_eq!(sizes(&shares, allowed, allowed), want, "case {name}");
        }
    }
}

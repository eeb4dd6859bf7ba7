//! Ways on which a stage may go on: a step may have been done more than once, here and on other machines, and what was done next lies on one
//! of its results.
//!
//! All that fit are followed as long as the cache has the next step on one of them. Each is whole in itself: its layers were made on each
//! other, and of another stage that it reads it goes on with one result. What has to be done is done on the first.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipway_oci::Digest;

use super::{Made, Outcome};

/// So many are followed.
const MOST: usize = 8;

/// The ways of a stage up to a step, one at least; the first is preferred.
#[derive(Clone, Debug)]
pub(crate) struct Ways(Vec<Arc<Outcome>>);

/// What became of the other stages that a stage has read, by their numbers.
pub(crate) type Read = BTreeMap<usize, Arc<Outcome>>;

impl Ways {
    pub(crate) fn one(outcome: Outcome) -> Self {
        Self(vec![Arc::new(outcome)])
    }

    /// Returns those of a stage that begins on another one.
    pub(super) fn on(stage: usize, others: &Self) -> Self {
        Self(others.0.iter().map(|way| Arc::new(way.with(stage, way))).collect())
    }

    pub(crate) fn first(&self) -> &Arc<Outcome> {
        self.0.first().expect("there is one at least")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Outcome>> {
        self.0.iter()
    }

    /// Goes on with what `next` makes of ways and what was found on them; each is given by its place, in their order, and there is one at
    /// least. A way is copied only where it is gone on with more than once, or somebody else has it.
    pub(super) fn go_on<T>(
        &mut self,
        mut found: Vec<(usize, T)>,
        next: impl Fn(Outcome, usize, T) -> Outcome,
    ) {
        found.truncate(MOST);
        let mut ways: Vec<_> = std::mem::take(&mut self.0).into_iter().map(Some).collect();
        let mut found = found.into_iter().peekable();
        while let Some((at, step)) = found.next() {
            let is_last = found.peek().is_none_or(|(next, _)| *next != at);
            let way = if is_last { ways[at].take() } else { ways[at].clone() };
            let way = Arc::unwrap_or_clone(way.expect("it is taken when it is gone on with last"));
            self.0.push(Arc::new(next(way, at, step)));
        }
    }

    /// Gives all but the first up.
    pub(super) fn choose(&mut self) -> Arc<Outcome> {
        self.0.truncate(1);
        Arc::clone(self.first())
    }

    /// Lets each go on with each way of another stage that fits to what it has read. Where none does, they have seen different results of
    /// a third one: those that are preferred are as good as any.
    pub(super) fn read(&mut self, stage: usize, others: &Self) {
        let fitting = self.0.iter().flat_map(|way| {
            let known = way.read.contains_key(&stage).then(|| Arc::clone(way));
            let new = others.0.iter().filter(|_| known.is_none()).filter(|other| fit(way, stage, other));
            let new: Vec<_> = new.map(|other| Arc::new(way.with(stage, other))).collect();
            known.into_iter().chain(new)
        });
        let mut fitting: Vec<_> = fitting.take(MOST).collect();
        if fitting.is_empty() {
            fitting.push(Arc::new(self.first().with(stage, others.first())));
        }
        self.0 = fitting;
    }
}

impl Outcome {
    /// Returns its steps, by key and state.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Digest, String)> {
        let of_one = |made: &Made| {
            let keys = made.keys.iter().chain([&made.last]);
            keys.map(|key| (*key, made.state.to_string())).collect::<Vec<_>>()
        };
        self.made.iter().flat_map(of_one)
    }

    /// Returns the same after reading another stage.
    pub(super) fn with(&self, stage: usize, other: &Arc<Self>) -> Self {
        let mut read = other.read.clone();
        read.extend(self.read.iter().map(|(stage, read)| (*stage, Arc::clone(read))));
        read.insert(stage, Arc::clone(other));
        Self { read, ..self.clone() }
    }
}

fn fit(way: &Outcome, stage: usize, other: &Arc<Outcome>) -> bool {
    let own = other.read.iter().map(|(stage, read)| (*stage, read)).chain([(stage, other)]);
    let mut own = own.filter_map(|(stage, read)| Some((way.read.get(&stage)?, read)));
    own.all(|(one, other)| one.key == other.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str) -> Outcome {
        let key = Digest::of(name.as_bytes());
        Outcome { key, layers: Vec::new(), made: Vec::new(), read: Read::new() }
    }

    #[test]
    fn a_way_goes_on_with_one_result_of_each_stage() {
        let ways = |names: &[&str]| Ways(names.iter().map(|name| Arc::new(outcome(name))).collect());
        let base = ways(&["own", "other"]);
        let (mut left, mut right) = (ways(&["left"]), ways(&["right"]));
        left.read(0, &base);
        right.read(0, &base);
        assert_eq!((left.0.len(), right.0.len()), (2, 2));
        // One of them is found on one result only, the other one on the other.
        let mut top = ways(&["top"]);
        top.read(1, &left);
        top.read(2, &right);
        assert_eq!(top.0.len(), 2, "each with the same result in both");
        for way in top.iter() {
            let of = |stage: usize| way.read[&stage].read[&0].key;
            assert_eq!((of(1), of(2)), (way.read[&0].key, way.read[&0].key));
        }
        let second = right.0.pop().unwrap();
        right.0 = vec![second];
        let mut top = ways(&["top"]);
        top.read(1, &left);
        top.read(2, &right);
        assert_eq!(top.0.len(), 1);
        assert_eq!(top.first().read[&0].key, outcome("other").key);
        left.choose();
        let mut top = ways(&["top"]);
        top.read(1, &left);
        top.read(2, &right);
        assert_eq!((top.0.len(), top.first().read[&2].key), (1, outcome("right").key));
    }
}

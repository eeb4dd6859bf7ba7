//! Rounds that give several figures of each side at once.

use std::collections::HashMap;

use super::samples::{Samples, Unit};
use super::table::Table;

/// Returns the places of so many sides; another one begins each round.
pub(crate) fn turn(sides: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..sides).map(move |place| (round + place) % sides)
}

/// Figures of several things that one round gives.
#[derive(Debug)]
pub(crate) struct Rows {
    sides: Vec<&'static str>,
    figures: HashMap<(&'static str, &'static str), Vec<f64>>,
}

impl Rows {
    /// The first of the sides is Shipway.
    pub(crate) fn new(sides: impl IntoIterator<Item = &'static str>) -> Self {
        Self { sides: sides.into_iter().collect(), figures: HashMap::new() }
    }

    /// Adds what one round gave of one thing on one side.
    pub(crate) fn add(&mut self, what: &'static str, side: &'static str, figure: f64) {
        eprintln!("   {what}, {side}: {figure:.2}");
        self.figures.entry((what, side)).or_default().push(figure);
    }

    /// Makes a row of one thing, of the sides that have figures of it.
    pub(crate) fn show(&self, title: &str, what: &'static str, unit: Unit, table: &mut Table) {
        let figures = |side: &'static str| {
            let figures = self.figures.get(&(what, side))?.clone();
            Some((side.to_owned(), Samples { unit, figures }))
        };
        table.row(title, self.sides.iter().copied().filter_map(figures).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_side_begins_each_round() {
        assert_eq!(turn(2, 0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(turn(2, 3).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn what_a_round_gives_becomes_rows() {
        let mut rows = Rows::new(["Shipway", "docker", "buildah"]);
        rows.add("copy", "Shipway", 1.0);
        rows.add("copy", "docker", 4.0);
        let mut table = Table::default();
        rows.show("COPY", "copy", Unit::Seconds, &mut table);
        let text = table.to_string();
        assert!(text.contains("| COPY | 1 | 1.00 s | docker | 4.00 s | 0.25 |") && !text.contains("buildah"));
    }
}

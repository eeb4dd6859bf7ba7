//! What was measured: one figure per run, and what is quoted of them.

use std::fmt;

/// What the figures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Megabytes,
    Percent,
}

/// Figures of one thing, in the order of the runs.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub(crate) unit: Unit,
    pub(crate) figures: Vec<f64>,
}

impl Samples {
    pub(crate) fn new(unit: Unit) -> Self {
        Self { unit, figures: Vec::new() }
    }

    pub(crate) fn one(unit: Unit, figure: f64) -> Self {
        Self { unit, figures: vec![figure] }
    }

    /// Returns `(ours / theirs)` run by run, the runs that were made one after the other.
    pub(crate) fn ratios(&self, theirs: &Self) -> Vec<f64> {
        self.figures.iter().zip(&theirs.figures).map(|(ours, theirs)| ours / theirs).collect()
    }
}

/// `median (minimum-maximum)`, or the figure alone if there is one.
impl fmt::Display for Samples {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let middle = median(&self.figures);
        let (scale, name, digits) = match self.unit {
            Unit::Seconds if middle < 1.0 => (1000.0, "ms", usize::from(middle < 0.1)),
            Unit::Seconds => (1.0, "s", 2),
            Unit::Megabytes => (1.0, "MB", 1),
            Unit::Percent => (1.0, "%", 2),
        };
        let show = |figure: f64| format!("{:.digits$}", figure * scale);
        match &self.figures[..] {
            [] => write!(out, "-"),
            [one] => write!(out, "{} {name}", show(*one)),
            all => {
                let (least, most) = range(all);
                write!(out, "{} {name} ({}-{})", show(middle), show(least), show(most))
            }
        }
    }
}

/// Returns the middle figure, or the mean of the two in the middle.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[half],
        _even => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// Returns the least and the greatest figure.
pub(crate) fn range(figures: &[f64]) -> (f64, f64) {
    figures
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), one| (least.min(*one), most.max(*one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_quoted_with_the_range_in_a_readable_unit() {
        let samples =
            |figures: &[f64]| Samples { unit: Unit::Seconds, figures: figures.to_vec() }.to_string();
        assert_eq!(samples(&[12.0, 10.0, 20.0]), "12.00 s (10.00-20.00)");
        assert_eq!(samples(&[0.010, 0.012]), "11.0 ms (10.0-12.0)");
        assert_eq!(samples(&[0.25]), "250 ms");
        assert_eq!(Samples::one(Unit::Percent, 0.126).to_string(), "0.13 %");
    }

    #[test]
    fn ratios_are_of_runs_beside_each_other() {
        let ours = Samples { unit: Unit::Seconds, figures: vec![1.0, 3.0] };
        let theirs = Samples { unit: Unit::Seconds, figures: vec![2.0, 4.0] };
        assert_eq!(ours.ratios(&theirs), [0.5, 0.75]);
    }
}

//! Rows, and the Markdown that they become.

use std::fmt;

use super::samples::{Samples, median, range};

/// What was measured of one thing, on all sides.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    ours: Samples,
    peers: Vec<(String, Samples)>,
}

/// The rows of a group, and what its reader should know.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    /// Adds a row; the first of `sides` is Shipway.
    pub(crate) fn row(&mut self, what: &str, sides: Vec<(String, Samples)>) {
        let mut sides = sides.into_iter();
        let Some((_shipway, ours)) = sides.next() else { return };
        let row = Row { what: what.to_owned(), ours, peers: sides.collect() };
        eprintln!("   {what}: {}", row.ours);
        for (name, samples) in &row.peers {
            eprintln!("   {what}: {samples} with {name}");
        }
        self.rows.push(row);
    }

    /// Adds a row without a peer.
    pub(crate) fn alone(&mut self, what: &str, ours: Samples) {
        self.row(what, vec![(String::new(), ours)]);
    }

    /// Adds a sentence below the table, once.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| what | runs | Shipway | peer | its figure | Shipway / peer |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let runs = row.ours.figures.len();
            if row.peers.is_empty() {
                writeln!(out, "| {} | {runs} | {} | | | |", row.what, row.ours)?;
            }
            for (at, (name, theirs)) in row.peers.iter().enumerate() {
                let (what, runs, ours) = match at {
                    0 => (row.what.as_str(), runs.to_string(), row.ours.to_string()),
                    _below => ("", String::new(), String::new()),
                };
                let ratio = ratio(&row.ours, theirs);
                writeln!(out, "| {what} | {runs} | {ours} | {name} | {theirs} | {ratio} |")?;
            }
        }
        writeln!(out)?;
        self.notes.iter().try_for_each(|note| writeln!(out, "- {note}"))
    }
}

/// `median (minimum-maximum)` of the ratios, with three digits where two would say little.
fn ratio(ours: &Samples, theirs: &Samples) -> String {
    let ratios = ours.ratios(theirs);
    let (least, most) = range(&ratios);
    let middle = median(&ratios);
    let digits = if middle < 0.1 { 3 } else { 2 };
    match ratios.len() {
        0 => "-".to_owned(),
        1 => format!("{middle:.digits$}"),
        _ => format!("{middle:.digits$} ({least:.digits$}-{most:.digits$})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::samples::Unit;

    #[test]
    fn every_peer_has_a_line_with_its_ratio() {
        let seconds = |figures: &[f64]| Samples { unit: Unit::Seconds, figures: figures.to_vec() };
        let mut table = Table::default();
        let sides = [("shipway", seconds(&[1.0])), ("a", seconds(&[2.0])), ("b", seconds(&[4.0]))];
        table.row("build", sides.map(|(name, samples)| (name.to_owned(), samples)).into());
        table.alone("memory", Samples::one(Unit::Megabytes, 40.0));
        table.note("No `c` here.");
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| build | 1 | 1.00 s | a | 2.00 s | 0.50 |",
                "|  |  |  | b | 4.00 s | 0.25 |",
                "| memory | 1 | 40.0 MB | | | |",
                "",
                "- No `c` here."
            ]
        );
    }
}

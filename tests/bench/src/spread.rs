//! How far the rounds of a run were apart: how far its figures are to be relied on.

use crate::text::median;

/// Rounds that are this far apart, in percent, say little.
const BUSY: f64 = 100.0;

/// Of each cell, in percent of its median.
pub struct Spread(Vec<f64>);

impl Spread {
    /// Of the rates of each cell, round by round.
    pub fn of(cells: impl Iterator<Item = Vec<f64>>) -> Self {
        let spread = |rates: Vec<f64>| {
            let least = rates.iter().copied().fold(f64::MAX, f64::min);
            let most = rates.iter().copied().fold(0.0, f64::max);
            Some((most - least) / median(rates)? * 100.0)
        };
        Self(cells.filter_map(spread).collect())
    }

    /// For the head of a report.
    pub fn warning(&self) -> Option<String> {
        self.0.iter().any(|spread| *spread > BUSY).then(|| {
            format!(
                "**Not to be relied on**: a rate differed by more than {BUSY:.0} % between rounds, as on \
                 a machine that others use."
            )
        })
    }

    /// For below a table of rates.
    pub fn line(&self) -> String {
        let most = self.0.iter().copied().fold(0.0, f64::max);
        format!(
            "From the slowest round to the fastest a rate differs by {:.0} % (median of the cells), by \
             {most:.0} % at most.",
            median(self.0.clone()).unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_are_far_apart_are_told() {
        let calm = Spread::of([vec![90.0, 100.0, 110.0], vec![], vec![50.0]].into_iter());
        assert_eq!(calm.warning(), None);
        assert!(calm.line().contains("differs by 10 %") && calm.line().contains("by 20 %"));
        let busy = Spread::of([vec![20.0, 100.0, 130.0]].into_iter());
        assert!(busy.warning().is_some_and(|warning| warning.contains("100 %")));
    }
}

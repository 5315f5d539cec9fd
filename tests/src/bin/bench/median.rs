//! Medians of what was measured.
//!
//! Never: a mean; one bad neighbour would be in it.

/// Values of one kind.
#[derive(Debug, Default, Clone)]
pub(crate) struct Values(Vec<f64>);

impl Values {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The median, and the tenth and ninetieth percentiles; `None` where nothing was measured.
    pub(crate) fn spread(&self) -> Option<(f64, f64, f64)> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |tenths: usize| sorted[(last * tenths + 5) / 10];
        Some((at(5), at(1), at(9)))
    }

    /// The median.
    pub(crate) fn median(&self) -> Option<f64> {
        self.spread().map(|(median, _, _)| median)
    }
}

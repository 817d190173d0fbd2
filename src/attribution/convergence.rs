//! Two estimates of a map come in; how far the finer one is from the truth, and what the sum says, goes out.

use super::Stop;

/// What a change of the map, all intervals halved, is multiplied by to become a claim about the finer map's distance to the
/// truth: 1 / sqrt(3).
///
/// Where the gradient walks at random along the path (independent steps), halving an interval of width h in the trapezoid
/// rule changes its integral by h^3 / 16 in the mean square and leaves h^3 / 48, independent of the change: the rest is
/// 1 / sqrt(3) of the change in the mean, and spread over so many pixels it is near its mean. A smooth gradient leaves 1 / 3.
pub const CLAIM: f64 = 0.577_350_269_189_625_8;

/// The same where every second interval was halved: sqrt(5 / 3).
///
/// For a change d^2 in the halved intervals, d^2 / 3 is left in them, and d^2 + d^2 / 3 in the others.
pub const CLAIM_OF_HALF: f64 = 1.290_994_448_735_805_6;

/// Squared norms gathered while one estimate replaces another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    difference: f64,
    norm: f64,
}

impl Change {
    pub(super) fn add(&mut self, former: f64, finer: f64) {
        self.difference += (finer - former) * (finer - former);
        self.norm += finer * finer;
    }

    pub(super) fn is_finite(self) -> bool {
        self.difference.is_finite() && self.norm.is_finite()
    }

    /// The claimed relative L2 distance of the finer map to the truth; 0 where nothing changed.
    pub(super) fn claim(self, whole: bool) -> f64 {
        let factor = if whole { CLAIM } else { CLAIM_OF_HALF };
        if self.difference == 0.0 { 0.0 } else { factor * (self.difference / self.norm).sqrt() }
    }
}

/// |gap| relative to the change of F that it should have explained.
pub(crate) fn completeness_error(gap: f64, change_of_f: f64) -> f64 {
    gap.abs() / change_of_f.abs().max(1e-12)
}

impl Stop {
    /// Whether a map with this claim and this completeness error is good enough.
    pub fn is_met(&self, map_change: f64, completeness_error: f64) -> bool {
        map_change <= self.tolerance && self.completeness.is_none_or(|limit| completeness_error <= limit)
    }
}

/// Relative L2 distance of `map` to `reference`.
pub fn distance(map: &[f32], reference: &[f32]) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&a, &b) in map.iter().zip(reference) {
        difference += (f64::from(a) - f64::from(b)).powi(2);
        norm += f64::from(b).powi(2);
    }
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

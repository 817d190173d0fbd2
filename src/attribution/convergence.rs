//! Two estimates of a map come in; how far the finer one is from the truth, and what the sum says, goes out.

use super::Stop;

/// What a change of the map is multiplied by to become a claim about the finer map's distance to the truth.
///
/// Halving the intervals of the trapezoid rule over a gradient that walks at random (a Brownian path) leaves an error of
/// 1 / sqrt(3) = 0.58 of the change in the mean, and over a smooth gradient one of 1 / 3.
pub const CLAIM: f64 = 0.75;

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
    pub(super) fn claim(self) -> f64 {
        if self.difference == 0.0 { 0.0 } else { CLAIM * (self.difference / self.norm).sqrt() }
    }
}

/// |gap| relative to the change of F that it should have explained.
pub(super) fn completeness_error(gap: f64, change_of_f: f64) -> f64 {
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

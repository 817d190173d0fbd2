//! Two refinements of a map come in; how far the finer one is from the truth, and what the sum says, goes out.
//!
//! A claim is the distance between both, times what is left of it at the finer one if errors fall as they were measured to fall
//! (`ORDER`): the order is assumed, and what differs from one photograph to the next is the distance. What rounding adds is a
//! constant of the function.

use super::Stop;

/// How the error of a map by secants falls with the number of intervals: as `intervals^-ORDER`. And how alike the errors of
/// two refinements are, as the cosine between them.
///
/// Measured on photographs and both networks with weights, against 1,024 midpoints: orders of 1.25 to 1.34 from 4 to 36 intervals, of
/// 1.2 to 1.5 from 12 to 48; cosines of 0.0 to 0.4 where there are eight times as many intervals, which hardly matters then, to 0.8
/// where there are a third more. `tests/goldens/convergence.csv` holds claims against the truth.
const ORDER: f64 = 1.3;
const ALIKE: f64 = 0.7;

/// What a first map, of four intervals, is usually off by: 0.24 to 0.30 on three photographs and two networks. It says how fine the
/// next one should be, and nothing that is shown.
pub(super) const USUAL: f64 = 0.28;

/// What the error of the finer of two maps is of the difference between them.
///
/// The coarser map's error is `r = (intervals / former)^ORDER` times the finer one's, and the difference of two vectors of lengths
/// `r` and 1 with cosine `ALIKE` is `sqrt(r^2 + 1 - 2 ALIKE r)` long.
fn share_of_change(former: usize, intervals: usize) -> f64 {
    let r = (intervals as f64 / former as f64).powf(ORDER);
    1.0 / (r * r + 1.0 - 2.0 * ALIKE * r).sqrt()
}

/// How many intervals make an error a `factor` smaller than `now` intervals do.
pub(super) fn intervals(now: usize, factor: f64) -> usize {
    (now as f64 * factor.max(0.0).powf(1.0 / ORDER)).ceil() as usize
}

/// Squared norms gathered while one refinement replaces another.
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

    /// Relative to the finer map, and so about what the coarser one is off by; 0 where nothing changed.
    pub(super) fn relative(self) -> f64 {
        if self.difference == 0.0 { 0.0 } else { (self.difference / self.norm).sqrt() }
    }

    /// The claimed relative L2 distance of the finer map to the truth, by the intervals that both have on each path: what is
    /// left of the change, and what the function's `precision` adds to it.
    pub(super) fn claim(self, [former, intervals]: [usize; 2], precision: f64) -> f64 {
        (self.relative() * share_of_change(former, intervals)).hypot(precision)
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

//! Two refinements of a map come in; how far the finer one is from the truth, and what the sum says, goes out.
//!
//! A claim is the distance between both, times what is left of it at the finer one if errors fall as they were measured to fall
//! ([`Baseline::order`]): the order is assumed, and what differs from one photograph to the next is the distance. What rounding adds is a
//! constant of the function.

use super::{Baseline, Stop};

impl Baseline {
    /// How the error of a map by secants falls with the number of intervals on paths from here: as `intervals^-order`.
    ///
    /// Measured on photographs and both networks with weights, against 1,024 midpoints. From the blurred photograph: 1.25 to 1.34 from 4
    /// to 36 intervals, 1.2 to 1.5 from 12 to 48. From black, a longer way on which a first map is further from where errors fall like
    /// that: 1.1 to 1.3 from 4 to 36. The others were not measured, and start as far away.
    /// `tests/goldens/convergence.csv` holds claims against the truth.
    pub const fn order(self) -> f64 {
        match self {
            Self::Blur => 1.3,
            Self::Black | Self::Mean | Self::BlackWhite => 1.2,
        }
    }
}

/// How alike the errors of two refinements are, as the cosine between them: measured as 0.0 to 0.4 where there are eight times as many
/// intervals, which hardly matters then, to 0.8 where there are a third more.
const ALIKE: f64 = 0.7;

/// A coarser map that is further off than this is not yet where errors fall like that: they are taken to fall as slowly as
/// [`FAR_ORDER`] says. Of 137 maps made of a first one and one more, it was off by 0.38 to 0.40 for the two whose true distance was
/// 1.7 and 2.2 times what the order claimed (black, logit), and by 0.33 at most for all others.
const FAR: f64 = 0.35;
const FAR_ORDER: f64 = 1.0;

/// What a first map, of four intervals, is usually off by: 0.24 to 0.30 on three photographs and two networks. It says how fine the
/// next one should be, and nothing that is shown.
pub(super) const USUAL: f64 = 0.28;

/// What the error of the finer of two maps is of the difference between them, if errors fall with this order.
///
/// The coarser map's error is `r = (intervals / former)^order` times the finer one's, and the difference of two vectors of lengths
/// `r` and 1 with cosine `ALIKE` is `sqrt(r^2 + 1 - 2 ALIKE r)` long.
fn share_of_change([former, intervals]: [usize; 2], order: f64) -> f64 {
    let r = (intervals as f64 / former as f64).powf(order);
    1.0 / (r * r + 1.0 - 2.0 * ALIKE * r).sqrt()
}

/// How many intervals make an error a `factor` smaller than `now` intervals do, where it falls with this order.
pub(super) fn intervals(now: usize, factor: f64, order: f64) -> usize {
    (now as f64 * factor.max(0.0).powf(1.0 / order)).ceil() as usize
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

    /// The claimed relative L2 distance of the finer map to the truth, by the intervals that both have on each path and the order with
    /// which errors fall there: what is left of the change, and what the function's `precision` adds to it.
    pub(super) fn claim(self, intervals: [usize; 2], order: f64, precision: f64) -> f64 {
        let change = self.relative();
        let order = if change > FAR { FAR_ORDER } else { order };
        (change * share_of_change(intervals, order)).hypot(precision)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two maps whose errors have these lengths and the cosine [`ALIKE`], of a true map of length 1 at right angles to both.
    fn change([coarse, fine]: [f64; 2]) -> Change {
        let across = (1.0 - ALIKE * ALIKE).sqrt();
        let mut change = Change::default();
        for (former, finer) in [(1.0, 1.0), (coarse * ALIKE, fine), (coarse * across, 0.0)] {
            change.add(former, finer);
        }
        change
    }

    proptest! {
        #[test]
        fn the_claim_is_the_error_where_errors_fall_as_they_are_taken_to(
            former in 4usize..40, growth in 1.5..28.0f64, coarse in 0.01..0.3f64, is_far: bool, usual in 1.1..1.5f64
        ) {
            let intervals = (former as f64 * growth).ceil() as usize;
            // A first map may be off by more than the whole.
            let (coarse, order) = if is_far { (coarse + 0.7, FAR_ORDER) } else { (coarse, usual) };
            let fine = coarse * (former as f64 / intervals as f64).powf(order);
            let change = change([coarse, fine]);
            prop_assume!((change.relative() > FAR) == is_far);
            let claim = change.claim([former, intervals], usual, 0.0);
            // Changes are relative to the finer map, which is longer than the true one.
            prop_assert!((claim * 1.0f64.hypot(fine) / fine - 1.0).abs() < 1e-9, "{claim} {fine}");
            prop_assert!((change.claim([former, intervals], usual, 0.01) - claim.hypot(0.01)).abs() < 1e-12);
        }
    }
}

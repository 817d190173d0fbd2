//! Measured values come in; least, middle and greatest go out.

use serde::{Deserialize, Serialize};

/// How values spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one, of an even number the mean of the middle two.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// `None` where there is no value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { min, median: 0.5 * (below + above), max })
    }

    /// `1.0 / 2.5 / 3.0`, with so many digits behind the point.
    pub fn words(self, digits: usize) -> String {
        format!("{:.digits$} / {:.digits$} / {:.digits$}", self.min, self.median, self.max)
    }

    /// Every value times `factor`, which is positive.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { min: self.min * factor, median: self.median * factor, max: self.max * factor }
    }
}

/// How many times longer the other side took, pair by pair.
pub fn ratios<'a>(ours: &'a [f64], other: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    ours.iter().zip(other).map(|(ours, other)| other / ours)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "halves are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_a_value_or_between_two() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Some(Spread { min: 1.0, median: 3.0, max: 9.0 }));
        assert_eq!(Spread::of([5.0]), Some(Spread { min: 5.0, median: 5.0, max: 5.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_ratio_is_of_a_pair_and_not_of_medians() {
        // The machine was half as fast for the second pair: the ratio does not know of it.
        assert_eq!(ratios(&[1.0, 2.0], &[3.0, 6.0]).collect::<Vec<_>>(), [3.0, 3.0]);
        assert_eq!(ratios(&[1.0, 2.0], &[3.0]).count(), 1, "what has no partner is left out");
    }
}

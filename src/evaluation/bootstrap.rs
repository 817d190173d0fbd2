//! Groups of cases and a statistic come in; a percentile interval goes out.

use serde::{Deserialize, Serialize};

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

/// The percentile interval of a statistic under resampling of whole groups (the photographs of one patient belong
/// together), with a fixed seed: the same cases give the same interval. `None` where fewer than half of the replicates
/// have a statistic.
pub fn bootstrap<T: Copy>(
    groups: &[Vec<T>],
    replicates: usize,
    statistic: impl Fn(&[T]) -> Option<f64>,
) -> Option<Interval> {
    let mut random = SplitMix(0x5eed);
    let mut values: Vec<f64> = (0..replicates)
        .filter_map(|_| {
            let drawn = groups.iter().filter_map(|_| groups.get(random.below(groups.len())));
            statistic(&drawn.flatten().copied().collect::<Vec<T>>())
        })
        .collect();
    values.sort_by(f64::total_cmp);
    if values.is_empty() || values.len() * 2 < replicates {
        return None;
    }
    let last = (values.len() - 1) as f64;
    Some(Interval { low: values[(0.025 * last).round() as usize], high: values[(0.975 * last).round() as usize] })
}

/// `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
struct SplitMix(u64);

impl SplitMix {
    /// A number below `bound` (which is far below 2^32: the bias is negligible).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * bound as u128) >> 64) as usize
    }
}

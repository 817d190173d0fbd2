//! Pairs of grades come in; a confusion matrix, its agreement and its accuracy go out.

use serde::{Deserialize, Serialize};

use super::GRADES;
use crate::grading::Grade;

/// Photographs counted by reference (row) and prediction (column).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion([[u64; GRADES]; GRADES]);

impl Confusion {
    /// Counts pairs of reference and prediction.
    pub fn new(pairs: impl IntoIterator<Item = (Grade, Grade)>) -> Self {
        let mut counts = [[0; GRADES]; GRADES];
        for (reference, predicted) in pairs {
            counts[reference as usize][predicted as usize] += 1;
        }
        Self(counts)
    }

    /// Counts by reference, then by prediction.
    pub fn rows(&self) -> &[[u64; GRADES]; GRADES] {
        &self.0
    }

    /// Photographs in all.
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// Share on the diagonal in [0, 1]; `None` without photographs.
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = self.0.iter().enumerate().map(|(grade, row)| row[grade]).sum();
        (self.total() > 0).then(|| right as f64 / self.total() as f64)
    }

    /// Cohen's kappa with quadratic weights (Cohen, Psychological Bulletin 70:213, 1968): 1 is agreement, 0 what chance
    /// gives with the same margins. `None` where chance agrees wholly (all references and predictions one grade).
    pub fn quadratic_weighted_kappa(&self) -> Option<f64> {
        let references = self.0.map(|row| row.iter().sum::<u64>() as f64);
        let predictions: [f64; GRADES] =
            std::array::from_fn(|grade| self.0.iter().map(|row| row[grade]).sum::<u64>() as f64);
        let total = self.total() as f64;
        let (mut observed, mut expected) = (0.0, 0.0);
        for (i, row) in self.0.iter().enumerate() {
            for (j, &count) in row.iter().enumerate() {
                let weight = (i as f64 - j as f64).powi(2);
                observed += weight * count as f64;
                expected += weight * references[i] * predictions[j] / total;
            }
        }
        (expected > 0.0).then(|| 1.0 - observed / expected)
    }
}

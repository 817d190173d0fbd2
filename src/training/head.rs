//! A linear function of pooled features: the last layer of a network, with what fitting did to it folded in.

use crate::evaluation::GRADES;
use crate::grading::NetworkGrade;

/// A feature whose deviation is below this share of its mean is the same for all photographs but for rounding.
const CONSTANT: f64 = 1e-4;

/// Means and deviations of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardisation {
    means: Vec<f64>,
    /// 0 where a feature is constant.
    inverse_deviations: Vec<f64>,
}

impl Standardisation {
    /// By the rows given, each of the same width.
    pub fn of(features: &[&[f32]]) -> Self {
        let width = features.first().map_or(0, |row| row.len());
        let count = features.len() as f64;
        let mut means = vec![0.0; width];
        for row in features {
            means.iter_mut().zip(*row).for_each(|(sum, &value)| *sum += f64::from(value) / count);
        }
        let mut variances = vec![0.0; width];
        for row in features {
            let squares = row.iter().zip(&means).map(|(&value, mean)| (f64::from(value) - mean).powi(2) / count);
            variances.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
        }
        let inverse = |(variance, mean): (f64, &f64)| {
            let deviation = variance.sqrt();
            if deviation > CONSTANT * mean.abs() && deviation > 0.0 { deviation.recip() } else { 0.0 }
        };
        let inverse_deviations = variances.into_iter().zip(&means).map(inverse).collect();
        Self { means, inverse_deviations }
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.means.len()
    }

    /// Number of features that are the same for all photographs.
    pub fn constant(&self) -> usize {
        self.inverse_deviations.iter().filter(|&&inverse| inverse == 0.0).count()
    }

    /// A row with mean 0 and deviation 1; constant features become 0.
    pub fn apply(&self, row: &[f32]) -> impl Iterator<Item = f64> {
        let scales = self.means.iter().zip(&self.inverse_deviations);
        row.iter().zip(scales).map(|(&value, (mean, inverse))| (f64::from(value) - mean) * inverse)
    }

    /// The head that does to raw features what `kernel` (`[GRADES, width]`) and `bias` do to standardised ones.
    pub fn fold(&self, kernel: &[f64], bias: &[f64]) -> Head {
        let width = self.width();
        let weight = |class: usize, feature: usize| kernel[class * width + feature] * self.inverse_deviations[feature];
        let folded = (0..width).flat_map(|feature| (0..GRADES).map(move |class| weight(class, feature))).collect();
        let shift = |class: usize| (0..width).map(|feature| weight(class, feature) * self.means[feature]).sum::<f64>();
        Head::new(folded, std::array::from_fn(|class| bias[class] - shift(class)))
    }
}

/// The dense layer `predictions`: logits of five grades from pooled features.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `[width, GRADES]`, as Keras has it.
    kernel: Vec<f64>,
    bias: [f64; GRADES],
}

impl Head {
    /// `kernel` is `[width, GRADES]`.
    pub fn new(kernel: Vec<f64>, bias: [f64; GRADES]) -> Self {
        Self { kernel, bias }
    }

    /// `[width, GRADES]`.
    pub fn kernel(&self) -> &[f64] {
        &self.kernel
    }

    /// One for each grade.
    pub fn bias(&self) -> &[f64; GRADES] {
        &self.bias
    }

    /// As it is after its values were stored.
    #[must_use]
    pub fn rounded(&self, store: impl Fn(f64) -> f64) -> Self {
        Self { kernel: self.kernel.iter().map(|&value| store(value)).collect(), bias: self.bias.map(store) }
    }

    /// Undoes in the bias what `weights` of the grades did while fitting. A photograph of grade c that counts `weights[c]`
    /// times makes the odds of c larger by that factor, so its logarithm is taken off (Elkan, IJCAI 2001, theorem 2).
    #[must_use]
    pub fn with_priors_restored(mut self, weights: &[f64; GRADES]) -> Self {
        self.bias.iter_mut().zip(weights).for_each(|(bias, weight)| *bias -= weight.ln());
        self
    }

    /// Logits of raw features.
    pub fn logits(&self, features: &[f32]) -> [f64; GRADES] {
        let mut logits = self.bias;
        for (&feature, weights) in features.iter().zip(self.kernel.as_chunks::<GRADES>().0) {
            logits.iter_mut().zip(weights).for_each(|(logit, weight)| *logit += f64::from(feature) * weight);
        }
        logits
    }

    /// What a network with this head says of raw features.
    pub fn grade(&self, features: &[f32]) -> NetworkGrade {
        NetworkGrade::from_logits(&self.logits(features))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [[f32; 3]; 4] = [[1.0, 7.0, 0.5], [2.0, 7.0, -0.5], [4.0, 7.0, 0.25], [0.0, 7.0, 3.0]];

    fn rows() -> Vec<&'static [f32]> {
        ROWS.iter().map(<[f32; 3]>::as_slice).collect()
    }

    #[test]
    fn folding_the_standardisation_changes_no_logit() {
        let standardisation = Standardisation::of(&rows());
        let kernel: Vec<f64> = (0..15).map(|i| f64::from(i * i % 7) - 3.0).collect();
        let bias = [0.1, 0.2, -0.3, 0.4, -0.5];
        let head = standardisation.fold(&kernel, &bias);
        for row in ROWS {
            let standardised: Vec<f64> = standardisation.apply(&row).collect();
            for (class, logit) in head.logits(&row).into_iter().enumerate() {
                let wanted = bias[class] + (0..3).map(|i| standardised[i] * kernel[class * 3 + i]).sum::<f64>();
                assert!((logit - wanted).abs() < 1e-12);
            }
        }
        assert_eq!(standardisation.constant(), 1);
    }

    #[test]
    fn restoring_priors_divides_each_probability_by_its_weight() {
        let head = Head::new((0..15).map(|i| f64::from(i % 4) - 1.5).collect(), [0.3, -0.2, 0.1, 0.0, 0.5]);
        let weights = [0.3, 2.0, 1.0, 4.0, 7.0];
        let restored = head.clone().with_priors_restored(&weights);
        for row in ROWS {
            let weighted: [f64; GRADES] =
                std::array::from_fn(|class| head.grade(&row).probabilities[class] / weights[class]);
            let sum: f64 = weighted.iter().sum();
            for (found, wanted) in restored.grade(&row).probabilities.into_iter().zip(weighted) {
                assert!((found - wanted / sum).abs() < 1e-12);
            }
        }
    }
}

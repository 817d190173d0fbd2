//! Features and grades come in; a linear head goes out: multinomial logistic regression with an L2 penalty, in f64.

use rayon::prelude::*;

use super::head::{Head, Standardisation};
use super::lbfgs::{Limits, Minimum, minimise};
use crate::evaluation::GRADES;
use crate::grading::Grade;

/// Rows that one task sums up; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 256;

/// Where a fit ends: changes of the head below this move no probability that is shown.
const LIMITS: Limits = Limits { gradient: 1e-5, iterations: 1000 };

/// How much a photograph of each grade counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// All photographs alike.
    None,
    /// All grades alike: each photograph counts by the inverse of its grade's share.
    Balanced,
}

/// Standardised features with grades: what a head is fitted to.
pub struct Sample {
    width: usize,
    /// `[rows, width]`.
    features: Vec<f64>,
    grades: Vec<Grade>,
    standardisation: Standardisation,
}

impl Sample {
    /// Standardises `features`, each of the same width, by their own mean and deviation.
    pub fn new(features: &[&[f32]], grades: Vec<Grade>) -> Self {
        let standardisation = Standardisation::of(features);
        let features = features.iter().flat_map(|row| standardisation.apply(row)).collect();
        Self { width: standardisation.width(), features, grades, standardisation }
    }

    /// How often each grade is there.
    fn counts(&self) -> [usize; GRADES] {
        let mut counts = [0; GRADES];
        self.grades.iter().for_each(|&grade| counts[grade as usize] += 1);
        counts
    }

    /// The weight of each grade; 1 on average over the sample.
    pub fn weights(&self, kind: ClassWeights) -> [f64; GRADES] {
        let counts = self.counts();
        let present = counts.iter().filter(|&&count| count > 0).count() as f64;
        counts.map(|count| match kind {
            ClassWeights::Balanced if count > 0 => self.grades.len() as f64 / (present * count as f64),
            _ => 1.0,
        })
    }

    /// The penalised loss at `parameters` (`[GRADES, width]`, then `[GRADES]` biases, which are not penalised): weighted
    /// mean of -ln p(reference) plus `penalty / 2` times the squared norm; with its gradient.
    pub fn loss(&self, parameters: &[f64], weights: &[f64; GRADES], penalty: f64) -> (f64, Vec<f64>) {
        let parts: Vec<(f64, Vec<f64>)> = self
            .features
            .par_chunks(CHUNK * self.width)
            .zip(self.grades.par_chunks(CHUNK))
            .map(|(rows, grades)| self.part(parameters, weights, rows, grades))
            .collect();
        let count = self.grades.len() as f64;
        let kernel = GRADES * self.width;
        let mut loss = 0.0;
        let mut gradient = vec![0.0; parameters.len()];
        for (part, part_gradient) in parts {
            loss += part / count;
            gradient.iter_mut().zip(part_gradient).for_each(|(sum, part)| *sum += part / count);
        }
        for (gradient, &weight) in gradient.iter_mut().zip(&parameters[..kernel]) {
            loss += 0.5 * penalty * weight * weight;
            *gradient += penalty * weight;
        }
        (loss, gradient)
    }

    /// The sum over some rows.
    fn part(&self, parameters: &[f64], weights: &[f64; GRADES], rows: &[f64], grades: &[Grade]) -> (f64, Vec<f64>) {
        let (kernel, bias) = parameters.split_at(GRADES * self.width);
        let mut loss = 0.0;
        let mut gradient = vec![0.0; parameters.len()];
        for (row, &grade) in rows.chunks_exact(self.width).zip(grades) {
            let logits: [f64; GRADES] =
                std::array::from_fn(|class| bias[class] + dot(row, &kernel[class * self.width..][..self.width]));
            let log_sum = log_sum_exp(&logits);
            let weight = weights[grade as usize];
            loss += weight * (log_sum - logits[grade as usize]);
            for (class, logit) in logits.into_iter().enumerate() {
                let residual = weight * ((logit - log_sum).exp() - f64::from(u8::from(class == grade as usize)));
                let slice = &mut gradient[class * self.width..][..self.width];
                slice.iter_mut().zip(row).for_each(|(sum, value)| *sum += residual * value);
                gradient[GRADES * self.width + class] += residual;
            }
        }
        (loss, gradient)
    }

    /// The head with the least loss, searched from `start` (all zero if `None`), on raw features. Where grades are
    /// weighted, the shift of priors is taken back in its bias: its probabilities are for grades as frequent as in the
    /// sample.
    pub fn fit(&self, kind: ClassWeights, penalty: f64, start: Option<Vec<f64>>) -> (Head, Minimum) {
        let weights = self.weights(kind);
        let start = start.unwrap_or_else(|| vec![0.0; GRADES * (self.width + 1)]);
        let minimum = minimise(|parameters| self.loss(parameters, &weights, penalty), start, LIMITS);
        let (kernel, bias) = minimum.at.split_at(GRADES * self.width);
        let head = self.standardisation.fold(kernel, bias).with_priors_restored(&weights);
        (head, minimum)
    }
}

/// ln of the sum of exponentials, without overflow.
fn log_sum_exp(logits: &[f64; GRADES]) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln()
}

/// A scalar product in eight partial sums, which the processor can take side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic values that look random, in [-1, 1].
    fn noise(seed: usize) -> f64 {
        let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 32)) % 20_001) as f64 / 10_000.0 - 1.0
    }

    fn features(rows: usize, width: usize) -> Vec<Vec<f32>> {
        (0..rows).map(|row| (0..width).map(|column| 3.0 + 2.0 * noise(row * width + column) as f32).collect()).collect()
    }

    /// Grades drawn by the head's own probabilities.
    fn draw(head: &Head, features: &[Vec<f32>]) -> Vec<Grade> {
        let drawn = |(row, values): (usize, &Vec<f32>)| {
            let mut left = f64::midpoint(noise(1_000_003 + row), 1.0);
            for (grade, probability) in Grade::ALL.into_iter().zip(head.grade(values).probabilities) {
                left -= probability;
                if left < 0.0 {
                    return grade;
                }
            }
            Grade::Proliferative
        };
        features.iter().enumerate().map(drawn).collect()
    }

    fn views(features: &[Vec<f32>]) -> Vec<&[f32]> {
        features.iter().map(Vec::as_slice).collect()
    }

    fn truth() -> Head {
        let kernel = vec![1.0, 0.5, 0.0, -0.5, -1.0, 0.3, -0.6, 0.1, 0.4, -0.2, -0.2, 0.0, 0.6, 0.1, -0.5];
        Head::new(kernel, [-1.2, 0.3, -1.0, 0.2, 1.7])
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let features = features(300, 7);
        let grades = (0..300).map(|row| Grade::ALL[row * row % 5]).collect();
        let sample = Sample::new(&views(&features), grades);
        let weights = [0.5, 2.0, 1.0, 3.0, 0.25];
        let at: Vec<f64> = (0..40).map(|i| 0.5 * noise(77 + i)).collect();
        let (_, gradient) = sample.loss(&at, &weights, 0.3);
        for i in 0..at.len() {
            let along = |step: f64| {
                let mut moved = at.clone();
                moved[i] += step;
                sample.loss(&moved, &weights, 0.3).0
            };
            let finite = (along(1e-5) - along(-1e-5)) / 2e-5;
            assert!((finite - gradient[i]).abs() < 1e-8, "{i}: {finite} {}", gradient[i]);
        }
    }

    #[test]
    fn known_coefficients_are_recovered() {
        let features = features(60_000, 3);
        let truth = truth();
        let sample = Sample::new(&views(&features), draw(&truth, &features));
        for kind in [ClassWeights::None, ClassWeights::Balanced] {
            let (head, minimum) = sample.fit(kind, 0.0, None);
            assert!(minimum.converged, "{minimum:?}");
            // Only differences between classes are determined.
            for probe in features.iter().take(200) {
                let (found, wanted) = (head.grade(probe).probabilities, truth.grade(probe).probabilities);
                for (found, wanted) in found.iter().zip(wanted) {
                    assert!((found - wanted).abs() < 0.03, "{kind:?}: {found} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_constant_feature_gets_no_weight() {
        let mut features = features(200, 3);
        features.iter_mut().for_each(|row| row[1] = 0.1);
        let grades = (0..200).map(|row| Grade::ALL[row % 5]).collect();
        let (head, _) = Sample::new(&views(&features), grades).fit(ClassWeights::None, 0.01, None);
        assert!(head.kernel()[5..10].iter().all(|&weight| weight == 0.0));
    }

    #[test]
    fn balanced_weights_count_every_grade_alike() {
        let features = features(100, 2);
        let grades: Vec<_> = (0..100).map(|row| Grade::ALL[(row >= 60) as usize + (row >= 90) as usize]).collect();
        let sample = Sample::new(&views(&features), grades);
        let weights = sample.weights(ClassWeights::Balanced);
        for (count, weight) in [60.0, 30.0, 10.0].into_iter().zip(weights) {
            assert!((count * weight - 100.0 / 3.0).abs() < 1e-9);
        }
    }
}

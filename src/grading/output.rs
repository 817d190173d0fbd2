//! The scalar that a map explains: a function of one network's five logits, with its derivative.

use serde::{Deserialize, Serialize};

use super::Grade;
use super::logits::{argmax, log_sum_exp, softmax};

/// Which class a probability or logit is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// The explained network's own argmax.
    #[default]
    Predicted,
    /// A grade.
    Grade(Grade),
}

/// What is explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Output {
    /// ln(p(grade >= 2) / p(grade < 2)).
    #[default]
    LogOddsReferable,
    /// Softmax probability of a class.
    Probability(Target),
    /// Logit of a class.
    Logit(Target),
}

impl Target {
    /// The class that `Predicted` stands for at these logits.
    fn resolved(self, logits: &[f64]) -> Grade {
        match self {
            Self::Predicted => Grade::of_greatest(argmax(logits)),
            Self::Grade(grade) => grade,
        }
    }
}

impl Output {
    /// The same with `Predicted` replaced by the class that is greatest at these logits: along a path the class must not
    /// change.
    #[must_use]
    pub fn resolved(self, logits: &[f64]) -> Self {
        match self {
            Self::LogOddsReferable => Self::LogOddsReferable,
            Self::Probability(target) => Self::Probability(Target::Grade(target.resolved(logits))),
            Self::Logit(target) => Self::Logit(Target::Grade(target.resolved(logits))),
        }
    }

    /// Whether it names its class, or needs none.
    pub fn is_resolved(self) -> bool {
        !matches!(self, Self::Probability(Target::Predicted) | Self::Logit(Target::Predicted))
    }

    /// The class explained, if it is known; `None` for log-odds of referable and for `Predicted` before it is resolved.
    pub fn grade(self) -> Option<Grade> {
        match self {
            Self::Probability(Target::Grade(grade)) | Self::Logit(Target::Grade(grade)) => Some(grade),
            _ => None,
        }
    }

    /// Value and derivative by each logit. A `Predicted` that was not resolved before is resolved at these logits.
    pub fn value_and_cotangent(self, logits: &[f64]) -> (f64, Vec<f64>) {
        match self {
            Self::LogOddsReferable => log_odds_referable(logits),
            Self::Probability(target) => probability(logits, target.resolved(logits).index()),
            Self::Logit(target) => logit(logits, target.resolved(logits).index()),
        }
    }

    /// The mean derivative by each logit on the straight line between logits: times their difference it is exactly the
    /// change of the value.
    pub fn mean_cotangent(self, from: &[f64], to: &[f64]) -> Vec<f64> {
        let step: Vec<f64> = from.iter().zip(to).map(|(from, to)| to - from).collect();
        let mut mean = vec![0.0; step.len()];
        for middle in 0..MIDDLES {
            let share = (f64::from(middle) + 0.5) / f64::from(MIDDLES);
            let at: Vec<f64> = from.iter().zip(&step).map(|(from, step)| from + share * step).collect();
            let (_, cotangent) = self.value_and_cotangent(&at);
            mean.iter_mut().zip(cotangent).for_each(|(mean, value)| *mean += value / f64::from(MIDDLES));
        }
        // What the sum leaves goes along the step, where it is the least change of the mean.
        let change = self.value_and_cotangent(to).0 - self.value_and_cotangent(from).0;
        let explained: f64 = mean.iter().zip(&step).map(|(mean, step)| mean * step).sum();
        let length: f64 = step.iter().map(|step| step * step).sum();
        if length > 0.0 {
            let rest = (change - explained) / length;
            mean.iter_mut().zip(&step).for_each(|(mean, step)| *mean += rest * step);
        }
        mean
    }
}

/// Points of the line between logits at which a derivative is averaged.
const MIDDLES: u32 = 32;

/// With p the softmax, ln(p(>= 2) / p(< 2)) is the difference of two log-sum-exps; each one's derivative is the softmax of
/// its own group.
fn log_odds_referable(logits: &[f64]) -> (f64, Vec<f64>) {
    let (healthy, referable) = logits.split_at(Grade::Moderate.index().min(logits.len()));
    let value = log_sum_exp(referable) - log_sum_exp(healthy);
    let cotangent = softmax(healthy).into_iter().map(|share| -share).chain(softmax(referable)).collect();
    (value, cotangent)
}

/// `d p_k / d l_j = p_k ((1 if j = k, else 0) - p_j)`.
fn probability(logits: &[f64], class: usize) -> (f64, Vec<f64>) {
    let probabilities = softmax(logits);
    let value = probabilities.get(class).copied().unwrap_or(0.0);
    let cotangent =
        probabilities.iter().enumerate().map(|(index, p)| value * (f64::from(u8::from(index == class)) - p)).collect();
    (value, cotangent)
}

fn logit(logits: &[f64], class: usize) -> (f64, Vec<f64>) {
    let cotangent = (0..logits.len()).map(|index| f64::from(u8::from(index == class))).collect();
    (logits.get(class).copied().unwrap_or(0.0), cotangent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [[f64; 5]; 4] = [
        [0.3, -1.2, 2.0, 0.7, -0.4],
        [4.0, 3.0, -2.0, -5.0, -1.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-12.0, 9.0, 11.0, -3.0, 10.5],
    ];

    fn outputs() -> Vec<Output> {
        let targets = Grade::ALL.map(Target::Grade);
        std::iter::once(Output::LogOddsReferable)
            .chain(targets.map(Output::Probability))
            .chain(targets.map(Output::Logit))
            .collect()
    }

    #[test]
    fn cotangents_agree_with_finite_differences() {
        let step = 1e-5;
        for logits in LOGITS {
            for output in outputs() {
                let (_, cotangent) = output.value_and_cotangent(&logits);
                assert_eq!(cotangent.len(), 5);
                for index in 0..5 {
                    let (mut above, mut below) = (logits, logits);
                    above[index] += step;
                    below[index] -= step;
                    let difference =
                        (output.value_and_cotangent(&above).0 - output.value_and_cotangent(&below).0) / (2.0 * step);
                    assert!((difference - cotangent[index]).abs() < 1e-8, "{output:?} at {logits:?}, logit {index}");
                }
            }
        }
    }

    #[test]
    fn a_mean_cotangent_explains_the_change_and_lies_between() {
        for output in outputs() {
            for (from, to) in LOGITS.iter().zip(LOGITS.iter().skip(1)) {
                let mean = output.mean_cotangent(from, to);
                let explained: f64 = mean.iter().zip(from).zip(to).map(|((mean, from), to)| mean * (to - from)).sum();
                let change = output.value_and_cotangent(to).0 - output.value_and_cotangent(from).0;
                assert!(
                    (explained - change).abs() < 1e-12 * change.abs().max(1.0),
                    "{output:?}: {explained}, {change}"
                );
                assert!(mean.iter().all(|value| value.abs() <= 1.01), "{output:?}: {mean:?}");
            }
            let (_, here) = output.value_and_cotangent(&LOGITS[0]);
            let mean = output.mean_cotangent(&LOGITS[0], &LOGITS[0]);
            assert!(here.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-12), "{output:?}");
        }
    }

    #[test]
    fn log_odds_are_those_of_the_probabilities() {
        for logits in LOGITS {
            let p = softmax(&logits);
            let expected = ((p[2] + p[3] + p[4]) / (p[0] + p[1])).ln();
            assert!((Output::LogOddsReferable.value_and_cotangent(&logits).0 - expected).abs() < 1e-9);
        }
        let certain = Output::LogOddsReferable.value_and_cotangent(&[-900.0, -900.0, 900.0, 900.0, 900.0]).0;
        assert!((certain - (1800.0 + 1.5f64.ln())).abs() < 1e-9, "saturated probabilities keep their log-odds");
    }

    #[test]
    fn predicted_is_the_argmax_where_it_was_resolved() {
        let resolved = Output::Logit(Target::Predicted).resolved(&LOGITS[0]);
        assert_eq!(resolved, Output::Logit(Target::Grade(Grade::Moderate)));
        assert!((resolved.value_and_cotangent(&LOGITS[1]).0 - LOGITS[1][2]).abs() < 1e-12);
        assert_eq!(Output::LogOddsReferable.resolved(&LOGITS[0]), Output::LogOddsReferable);
        assert_eq!(Output::LogOddsReferable.grade(), None);
        assert_eq!(resolved.grade(), Some(Grade::Moderate));
    }
}

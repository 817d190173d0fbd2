//! The scalar that a map explains: a function of one network's five logits, with its derivative.

use serde::{Deserialize, Serialize};

use super::Grade;

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

impl Output {
    /// The grade explained once the network's logits at the input are known; `None` for log-odds of referable.
    pub fn resolved(self, _logits: &[f64]) -> Self {
        todo!()
    }

    /// Value and derivative by each logit. `Predicted` must be resolved before.
    pub fn value_and_cotangent(self, _logits: &[f64]) -> (f64, Vec<f64>) {
        todo!()
    }
}

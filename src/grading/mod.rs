//! Logits of the networks come in; an [`Assessment`] goes out. Knows no screen.
//!
//! Grades are those of the International Clinical Diabetic Retinopathy scale (Wilkinson et al., Ophthalmology 110:1677, 2003).

mod icdr;
mod output;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use icdr::Grade;
pub use output::{Output, Target};

use crate::nn::Network;

/// What one network says of one photograph.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkGrade {
    /// Argmax of the probabilities.
    pub grade: Grade,
    /// Softmax of the logits.
    pub probabilities: [f64; 5],
}

/// A network's word, or why it has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Verdict {
    /// It has weights and ran.
    Graded(NetworkGrade),
    /// It has none, or they are damaged.
    Unavailable {
        /// Why.
        unavailable: String,
    },
}

/// What is said of one photograph: the mean of the available networks' probabilities and its argmax. Uncalibrated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// Argmax of the mean.
    pub grade: Grade,
    /// The mean of the networks' probabilities.
    pub probabilities: [f64; 5],
    /// Probability of grade 2 or more.
    pub referable_probability: f64,
    /// Each network's own word.
    pub networks: BTreeMap<Network, Verdict>,
}

impl NetworkGrade {
    /// Softmax and argmax of five logits.
    pub fn from_logits(_logits: &[f64]) -> Self {
        todo!()
    }
}

impl Assessment {
    /// The consensus; `None` where no network is available.
    pub fn consensus(_networks: BTreeMap<Network, Verdict>) -> Option<Self> {
        todo!()
    }

    /// Whether two available networks give different grades.
    pub fn networks_differ(&self) -> bool {
        todo!()
    }
}

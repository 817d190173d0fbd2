//! Logits of the networks come in; an [`Assessment`] goes out. Knows no screen.
//!
//! Grades are those of the International Clinical Diabetic Retinopathy scale (Wilkinson et al., Ophthalmology 110:1677, 2003).

mod icdr;
mod logits;
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
    pub fn from_logits(logits: &[f64]) -> Self {
        let softmax = logits::softmax(logits);
        let probabilities = std::array::from_fn(|class| softmax.get(class).copied().unwrap_or(0.0));
        Self { grade: Grade::of_greatest(logits::argmax(&probabilities)), probabilities }
    }

    /// Probability of grade 2 or more.
    pub fn referable_probability(&self) -> f64 {
        referable(&self.probabilities)
    }
}

impl Verdict {
    /// What it says, if it says something.
    pub fn graded(&self) -> Option<&NetworkGrade> {
        match self {
            Self::Graded(grade) => Some(grade),
            Self::Unavailable { .. } => None,
        }
    }
}

impl Assessment {
    /// The consensus; `None` where no network is available.
    pub fn consensus(networks: BTreeMap<Network, Verdict>) -> Option<Self> {
        let graded: Vec<&NetworkGrade> = networks.values().filter_map(Verdict::graded).collect();
        if graded.is_empty() {
            return None;
        }
        let probabilities: [f64; 5] = std::array::from_fn(|class| {
            graded.iter().map(|word| word.probabilities[class]).sum::<f64>() / graded.len() as f64
        });
        Some(Self {
            grade: Grade::of_greatest(logits::argmax(&probabilities)),
            probabilities,
            referable_probability: referable(&probabilities),
            networks,
        })
    }

    /// Whether two available networks give different grades.
    pub fn networks_differ(&self) -> bool {
        let mut grades = self.networks.values().filter_map(Verdict::graded).map(|word| word.grade);
        grades.next().is_some_and(|first| grades.any(|other| other != first))
    }
}

fn referable(probabilities: &[f64; 5]) -> f64 {
    Grade::ALL.into_iter().filter(|grade| grade.is_referable()).map(|grade| probabilities[grade.index()]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(probabilities: [f64; 5]) -> Verdict {
        let logits = probabilities.map(|p: f64| p.ln() + 7.0);
        Verdict::Graded(NetworkGrade::from_logits(&logits))
    }

    fn missing() -> Verdict {
        Verdict::Unavailable { unavailable: "no weights yet".to_owned() }
    }

    #[test]
    fn a_network_grades_by_its_argmax() {
        let grade = NetworkGrade::from_logits(&[0.0, 1.0, 3.0, -2.0, 0.5]);
        assert_eq!(grade.grade, Grade::Moderate);
        assert!((grade.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let p = &grade.probabilities;
        assert!((grade.referable_probability() - (p[2] + p[3] + p[4])).abs() < 1e-12);
    }

    #[test]
    fn the_consensus_is_the_mean_of_the_networks_that_spoke() {
        let networks = BTreeMap::from([
            (Network::ResNet50, word([0.1, 0.2, 0.5, 0.1, 0.1])),
            (Network::InceptionV3, word([0.7, 0.1, 0.1, 0.05, 0.05])),
            (Network::InceptionResNetV2, missing()),
        ]);
        let assessment = Assessment::consensus(networks).expect("two networks spoke");
        for (class, expected) in [0.4, 0.15, 0.3, 0.075, 0.075].into_iter().enumerate() {
            assert!((assessment.probabilities[class] - expected).abs() < 1e-12);
        }
        assert_eq!(assessment.grade, Grade::None);
        assert!((assessment.referable_probability - 0.45).abs() < 1e-12);
        assert!(assessment.networks_differ());
        assert_eq!(assessment.networks.len(), 3, "a network that is missing is said to be missing");
    }

    #[test]
    fn one_network_never_differs_from_itself() {
        let networks =
            BTreeMap::from([(Network::ResNet50, word([0.1, 0.2, 0.5, 0.1, 0.1])), (Network::InceptionV3, missing())]);
        assert!(!Assessment::consensus(networks).expect("one network spoke").networks_differ());
    }

    #[test]
    fn without_networks_there_is_no_assessment() {
        assert_eq!(Assessment::consensus(BTreeMap::from([(Network::ResNet50, missing())])), None);
        assert_eq!(Assessment::consensus(BTreeMap::new()), None);
    }
}

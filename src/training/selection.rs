//! Examples for fitting and for choosing come in; the head that does best on the latter goes out, with every trial.

use serde::{Deserialize, Serialize};

use super::TrainingError;
use super::head::Head;
use super::regression::{ClassWeights, Sample};
use crate::evaluation::{Colour, Confusion, Graded, Labelled, by_source, roc_auc};

/// Penalties tried, strongest first: each fit starts where the former ended.
pub const PENALTIES: [f64; 5] = [3.0, 1.0, 0.3, 0.1, 0.03];

/// A graded photograph as a backbone saw it.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    /// What is known of it.
    pub labelled: &'a Labelled,
    /// Its pooled features.
    pub features: &'a [f32],
}

/// How a head was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Whether photographs with restored colours were taken as well.
    pub restored: bool,
    /// How much a photograph of each grade counted (the shift of priors is taken back in the bias).
    pub weights: ClassWeights,
    /// L2 penalty on standardised features, per photograph.
    pub penalty: f64,
}

/// A recipe and what it gave on the photographs that choose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// How.
    pub recipe: Recipe,
    /// The mean over sources of their quadratic weighted kappa: what decides. A pooled kappa would reward telling the
    /// sources apart, whose shares of grades differ.
    pub criterion: f64,
    /// All sources pooled.
    pub pooled_kappa: f64,
    /// All sources pooled.
    pub referable_auc: f64,
    /// Steps of the fit.
    pub iterations: usize,
    /// Whether the fit ended within its limit.
    pub converged: bool,
}

/// The best trial, its head, and all trials.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The head fitted by it.
    pub head: Head,
    /// The best.
    pub best: Trial,
    /// All, in the order tried.
    pub trials: Vec<Trial>,
}

/// Fits by every recipe on `train` and keeps what does best on `val`; of two equal ones the first, which is the simpler.
pub fn select(train: &[Example], val: &[Example], mut told: impl FnMut(&Trial)) -> Result<Selection, TrainingError> {
    let mut best: Option<(Trial, Head)> = None;
    let mut trials = Vec::new();
    for restored in [false, true] {
        let chosen: Vec<&Example> =
            train.iter().filter(|example| restored || example.labelled.colour == Colour::Plain).collect();
        if restored && !chosen.iter().any(|example| example.labelled.colour == Colour::Restored) {
            continue;
        }
        let features: Vec<&[f32]> = chosen.iter().map(|example| example.features).collect();
        let sample = Sample::new(&features, chosen.iter().map(|example| example.labelled.grade).collect());
        for weights in [ClassWeights::None, ClassWeights::Balanced] {
            let mut start = None;
            for penalty in PENALTIES {
                let (head, minimum) = sample.fit(weights, penalty, start);
                let (iterations, converged) = (minimum.iterations, minimum.converged);
                start = Some(minimum.at);
                let trial = judge(&head, Recipe { restored, weights, penalty }, val, iterations, converged);
                told(&trial);
                trials.push(trial);
                if best.as_ref().is_none_or(|(former, _)| trial.criterion > former.criterion) {
                    best = Some((trial, head));
                }
            }
        }
    }
    let (best, head) = best.ok_or(TrainingError::Empty)?;
    Ok(Selection { head, best, trials })
}

/// What a head says of examples.
pub fn graded(head: &Head, examples: &[Example]) -> Vec<Graded> {
    let one = |example: &Example| {
        let Labelled { source, patient, file, grade, .. } = example.labelled;
        let patient = if patient.is_empty() { file } else { patient };
        Graded {
            source: source.clone(),
            patient: format!("{source}/{patient}"),
            reference: *grade,
            predicted: head.grade(example.features),
        }
    };
    examples.iter().map(one).collect()
}

fn judge(head: &Head, recipe: Recipe, val: &[Example], iterations: usize, converged: bool) -> Trial {
    let graded = graded(head, val);
    let pairs = graded.iter().map(|one| (one.reference, one.predicted.grade));
    let kappas: Vec<f64> = by_source(&graded)
        .into_values()
        .filter_map(|source| {
            Confusion::new(source.iter().map(|one| (one.reference, one.predicted.grade))).quadratic_weighted_kappa()
        })
        .collect();
    Trial {
        recipe,
        criterion: kappas.iter().sum::<f64>() / kappas.len().max(1) as f64,
        pooled_kappa: Confusion::new(pairs).quadratic_weighted_kappa().unwrap_or_default(),
        referable_auc: roc_auc(
            graded.iter().map(|one| (one.reference.is_referable(), one.predicted.referable_probability())),
        )
        .unwrap_or_default(),
        iterations,
        converged,
    }
}

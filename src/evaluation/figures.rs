//! Graded photographs come in; the figures of each source go out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Confusion, Interval, bootstrap, roc_auc};
use crate::grading::{Grade, NetworkGrade};

/// Resamplings behind an interval.
const REPLICATES: usize = 1000;

/// A reference beside a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// The data set.
    pub source: String,
    /// Photographs with the same key are of one patient and are resampled together.
    pub patient: String,
    /// What the readers said.
    pub reference: Grade,
    /// What was predicted.
    pub predicted: NetworkGrade,
}

/// What is reported of a set of photographs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Reference by prediction.
    pub confusion: Confusion,
    /// Quadratic weighted kappa, with its 95 % interval.
    pub kappa: Option<f64>,
    /// By resampling patients.
    pub kappa_interval: Option<Interval>,
    /// Area under the ROC curve for grade 2 or more, by the sum of the probabilities of grades 2 to 4.
    pub referable_auc: Option<f64>,
    /// By resampling patients.
    pub referable_auc_interval: Option<Interval>,
    /// Share of photographs given their reference's grade.
    pub accuracy: Option<f64>,
    /// Mean over photographs of the largest probability minus accuracy: positive where the numbers shown promise too much.
    pub overconfidence: Option<f64>,
}

/// What the statistics need of a photograph.
#[derive(Clone, Copy)]
struct Case {
    reference: Grade,
    predicted: Grade,
    referable: f64,
}

impl Figures {
    /// The figures of some photographs.
    pub fn new<'a>(graded: impl IntoIterator<Item = &'a Graded>) -> Self {
        let mut patients: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
        let mut largest = 0.0;
        for one in graded {
            patients.entry(&one.patient).or_default().push(Case {
                reference: one.reference,
                predicted: one.predicted.grade,
                referable: one.predicted.referable_probability(),
            });
            largest += one.predicted.probabilities.iter().copied().fold(0.0, f64::max);
        }
        let groups: Vec<Vec<Case>> = patients.into_values().collect();
        let cases = groups.concat();
        let confusion = confusion(&cases);
        Self {
            confusion,
            kappa: kappa(&cases),
            kappa_interval: bootstrap(&groups, REPLICATES, kappa),
            referable_auc: auc(&cases),
            referable_auc_interval: bootstrap(&groups, REPLICATES, auc),
            accuracy: confusion.accuracy(),
            overconfidence: confusion.accuracy().map(|accuracy| largest / cases.len() as f64 - accuracy),
        }
    }
}

/// The photographs of each source, by name.
pub fn by_source(graded: &[Graded]) -> BTreeMap<&str, Vec<&Graded>> {
    let mut sources: BTreeMap<&str, Vec<&Graded>> = BTreeMap::new();
    for one in graded {
        sources.entry(&one.source).or_default().push(one);
    }
    sources
}

fn confusion(cases: &[Case]) -> Confusion {
    Confusion::new(cases.iter().map(|case| (case.reference, case.predicted)))
}

fn kappa(cases: &[Case]) -> Option<f64> {
    confusion(cases).quadratic_weighted_kappa()
}

fn auc(cases: &[Case]) -> Option<f64> {
    roc_auc(cases.iter().map(|case| (case.reference.is_referable(), case.referable)))
}

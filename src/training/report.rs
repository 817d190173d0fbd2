//! A chosen head, examples and their outlines come in; everything that the card says of a network goes out, as plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::head::Head;
use super::selection::{Example, Trial, graded};
use crate::evaluation::{Figures, Graded, Split, by_source};
use crate::grading::{Grade, NetworkGrade};
use crate::nn::Network;

/// What stands in the card for all sources of a split together.
pub const ALL_SOURCES: &str = "all";

/// One network's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The network.
    pub network: Network,
    /// Where its backbone comes from.
    pub provenance: String,
    /// The backbone's licence.
    pub licence: String,
    /// Files of weights and their SHA-256.
    pub files: Vec<(String, String)>,
    /// Pooled features of the backbone.
    pub features: usize,
    /// How many of them are the same for all photographs of `train`, and so have no weight.
    pub constant_features: usize,
    /// Kernels that the backbone lacks and that are zero.
    pub zero_kernels: Vec<String>,
    /// Photographs used, by split.
    pub photographs: BTreeMap<Split, usize>,
    /// Photographs without features, and why.
    pub refused: Vec<(String, String)>,
    /// The recipe chosen on `val`.
    pub chosen: Trial,
    /// Every recipe tried.
    pub trials: Vec<Trial>,
    /// `val`, `test` and `external`, each as a whole (`test`, `val`) and by source.
    pub sets: Vec<Set>,
    /// What changes when fields are cut anew at top and bottom.
    pub cut: Vec<CutEffect>,
    /// Full-size photographs beside their small copies.
    pub samples: Vec<SamplePair>,
}

/// The figures of some photographs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Set {
    /// Of which split.
    pub split: Split,
    /// From which source, or [`ALL_SOURCES`].
    pub source: String,
    /// The network's.
    pub figures: Figures,
    /// Those of the classifier that sees the field's outline alone.
    pub outline_only: Figures,
}

/// How grades change when nothing but the outline does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CutEffect {
    /// From which source, or [`ALL_SOURCES`].
    pub source: String,
    /// Photographs whose field was whole at top and bottom.
    pub photographs: usize,
    /// Share whose grade rose.
    pub raised: f64,
    /// Share whose grade fell.
    pub lowered: f64,
    /// Mean change of the grade.
    pub mean_change: f64,
    /// Mean change of the probability of referable retinopathy.
    pub referable_change: f64,
}

/// A full-size photograph and its copy in the training data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SamplePair {
    /// The photograph's file name.
    pub file: String,
    /// What the readers said.
    pub reference: Grade,
    /// What is said of it at full size.
    pub full_size: NetworkGrade,
    /// What is said of the copy.
    pub copy: NetworkGrade,
}

impl SamplePair {
    /// Largest difference of a probability.
    pub fn difference(&self) -> f64 {
        self.full_size
            .probabilities
            .iter()
            .zip(self.copy.probabilities)
            .map(|(full, copy)| (full - copy).abs())
            .fold(0.0, f64::max)
    }
}

/// A split's figures: as a whole where `whole`, then by source. `graded` and `outline_only` are of the same photographs.
pub fn sets(split: Split, whole: bool, graded: &[Graded], outline_only: &[Graded]) -> Vec<Set> {
    let (networks, outlines) = (by_source(graded), by_source(outline_only));
    let set = |source: &str, graded: Vec<&Graded>, outline_only: Vec<&Graded>| Set {
        split,
        source: source.to_owned(),
        figures: Figures::new(graded),
        outline_only: Figures::new(outline_only),
    };
    let first = whole.then(|| set(ALL_SOURCES, graded.iter().collect(), outline_only.iter().collect()));
    let each = networks
        .into_iter()
        .map(|(source, graded)| set(source, graded, outlines.get(source).cloned().unwrap_or_default()));
    first.into_iter().chain(each).collect()
}

/// What `head` says of the same photographs whole and cut, all together and by source.
pub fn cut_effects(head: &Head, whole: &[Example], cut: &[Example]) -> Vec<CutEffect> {
    let pairs: Vec<(Graded, Graded)> = graded(head, whole).into_iter().zip(graded(head, cut)).collect();
    let mut sources: BTreeMap<&str, Vec<&(Graded, Graded)>> = BTreeMap::new();
    for pair in &pairs {
        sources.entry(ALL_SOURCES).or_default().push(pair);
        sources.entry(&pair.0.source).or_default().push(pair);
    }
    sources.into_iter().map(|(source, pairs)| cut_effect(source, &pairs)).collect()
}

fn cut_effect(source: &str, pairs: &[&(Graded, Graded)]) -> CutEffect {
    let mean = |of: &dyn Fn(&Graded, &Graded) -> f64| {
        pairs.iter().map(|(whole, cut)| of(whole, cut)).sum::<f64>() / pairs.len() as f64
    };
    let change = |whole: &Graded, cut: &Graded| {
        f64::from(cut.predicted.grade.digit()) - f64::from(whole.predicted.grade.digit())
    };
    CutEffect {
        source: source.to_owned(),
        photographs: pairs.len(),
        raised: mean(&|whole, cut| f64::from(u8::from(change(whole, cut) > 0.0))),
        lowered: mean(&|whole, cut| f64::from(u8::from(change(whole, cut) < 0.0))),
        mean_change: mean(&change),
        referable_change: mean(&|whole, cut| {
            cut.predicted.referable_probability() - whole.predicted.referable_probability()
        }),
    }
}

//! A raw map comes in; a [`Heatmap`] in [-1, 1] goes out: channel sum, optional smoothing, robust scale.

use serde::{Deserialize, Serialize};

use super::Attribution;

/// Which evidence is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// For and against.
    #[default]
    Both,
    /// For.
    Positive,
    /// Against.
    Negative,
}

/// How a raw map becomes a heatmap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeatmapSettings {
    /// Which evidence.
    pub sign: Sign,
    /// Percentile of the magnitudes inside the field that is drawn at full strength.
    pub percentile: f64,
    /// Magnitudes below this share of the scale are not drawn.
    pub threshold: f32,
    /// Standard deviation, in network pixels, of a Gaussian over the channel sums; 0 for none.
    pub smoothing: f32,
}

impl Default for HeatmapSettings {
    fn default() -> Self {
        Self { sign: Sign::Both, percentile: 99.5, threshold: 0.12, smoothing: 1.5 }
    }
}

/// Evidence per network pixel in [-1, 1].
#[derive(Clone, Debug)]
pub struct Heatmap {
    /// Pixels of a side.
    pub side: usize,
    /// `[side, side]`; 0 where nothing is drawn.
    pub values: Vec<f32>,
    /// The map is (nearly) zero: nothing is drawn, and the legend says so.
    pub no_evidence: bool,
}

impl Heatmap {
    /// Pure: the same raw map and settings give the same heatmap in every view, report and test. `mask` is the field's.
    pub fn new(_attribution: &Attribution, _mask: &[bool], _settings: &HeatmapSettings) -> Self {
        todo!()
    }
}

//! A raw map comes in; a [`Heatmap`] in [-1, 1] goes out: channel sum, optional smoothing, robust scale.

use serde::{Deserialize, Serialize};

use super::{Attribution, gaussian};

/// A map whose absolute mass is below this is no evidence and is not stretched to fill the scale.
///
/// A map is in units of what it explains, and those have natural units: a probability goes from 0 to 1, log-odds and logits
/// count in nats. All of a map together moving the output by less than a hundredth of such a unit says nothing.
pub const NO_EVIDENCE: f64 = 0.01;

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

impl Sign {
    fn keep(self, value: f32) -> f32 {
        match self {
            Self::Both => value,
            Self::Positive => value.max(0.0),
            Self::Negative => value.min(0.0),
        }
    }
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
        Self { sign: Sign::Both, percentile: 99.5, threshold: 0.2, smoothing: 2.0 }
    }
}

/// Evidence per network pixel in [-1, 1].
#[derive(Clone, Debug)]
pub struct Heatmap {
    /// Pixels of a side.
    pub side: usize,
    /// `[side, side]`; 0 where nothing is drawn.
    pub values: Vec<f32>,
    /// The map is (nearly) zero ([`NO_EVIDENCE`]): nothing is drawn, and the legend says so.
    pub no_evidence: bool,
}

impl Heatmap {
    /// Pure: the same raw map and settings give the same heatmap in every view, report and test. `mask` is the field's.
    ///
    /// The scale is taken from both signs together, so that showing one alone does not brighten it.
    pub fn new(attribution: &Attribution, mask: &[bool], settings: &HeatmapSettings) -> Self {
        let [height, width, channels] = attribution.shape;
        let sums: Vec<f32> = attribution
            .map
            .chunks_exact(channels.max(1))
            .zip(mask)
            .map(|(pixel, &inside)| if inside { pixel.iter().sum() } else { 0.0 })
            .collect();
        let mass: f64 = sums.iter().map(|&sum| f64::from(settings.sign.keep(sum)).abs()).sum();
        let evidence = if settings.smoothing > 0.0 {
            gaussian::inside(&sums, mask, [height, width, 1], settings.smoothing)
        } else {
            sums
        };
        let scale = percentile_of_magnitudes(&evidence, mask, settings.percentile);
        if !(mass >= NO_EVIDENCE && scale > 0.0) {
            return Self { side: width, values: vec![0.0; evidence.len()], no_evidence: true };
        }
        let drawn = |value: f32| {
            let value = (settings.sign.keep(value) / scale).clamp(-1.0, 1.0);
            if value.abs() < settings.threshold { 0.0 } else { value }
        };
        Self { side: width, values: evidence.into_iter().map(drawn).collect(), no_evidence: false }
    }
}

/// The magnitude that `percentile` (0 to 100) of the field's pixels do not exceed; 0 for an empty field.
fn percentile_of_magnitudes(values: &[f32], mask: &[bool], percentile: f64) -> f32 {
    let mut magnitudes: Vec<f32> =
        values.iter().zip(mask).filter(|&(_, &inside)| inside).map(|(v, _)| v.abs()).collect();
    let Some(last) = magnitudes.len().checked_sub(1) else { return 0.0 };
    let rank = (percentile.clamp(0.0, 100.0) / 100.0 * last as f64).round() as usize;
    let (_, &mut at_rank, above) = magnitudes.select_nth_unstable_by(rank.min(last), f32::total_cmp);
    // A few pixels may hold all there is; then the percentile is 0 and the largest magnitude stands for it.
    if at_rank > 0.0 { at_rank } else { above.iter().copied().fold(0.0, f32::max) }
}

//! Anything [`Differentiable`], an input and a baseline come in; an [`Attribution`] goes out (a signed map and how far it has
//! converged), then a [`heatmap::Heatmap`] and an RGBA overlay on the original's pixels.
//!
//! Integrated Gradients (arXiv 1703.01365) is path x secants x stop rule; Grad-CAM (arXiv 1610.02391) stands behind
//! the same result. Knows no network and no screen. A map is never given without its evidence.

pub mod baseline;
pub mod colormap;
mod colormap_tables;
pub mod convergence;
mod gaussian;
pub mod grad_cam;
pub mod heatmap;
pub mod integrated_gradients;
pub mod overlay;
pub mod quadrature;
pub mod raw;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// A scalar function F of an image, with its gradient. Inputs are `[rows, height, width, 3]`, RGB in [0, 1].
pub trait Differentiable {
    /// Height, width, channels of one input.
    fn shape(&self) -> [usize; 3];
    /// How many inputs it evaluates at once best.
    fn rows(&self) -> usize;
    /// The relative L2 distance that its rounding moves a map by, at most.
    fn precision(&self) -> f64;
    /// F of each row.
    fn values(&mut self, inputs: &[f32]) -> Result<Vec<f64>, AttributionError>;
    /// F of each row and its gradient by that row.
    fn values_and_gradients(&mut self, inputs: &[f32]) -> Result<(Vec<f64>, Vec<f32>), AttributionError>;
    /// F at some places of the straight line between two inputs, 0 at the first and 1 at the other; and the sum over neighbouring
    /// places of a gradient times how far they are apart, whose product with the line's direction is the change of F but for
    /// rounding, and which is near the mean of all gradients on the way. May give up as soon as `cancel` asks for it.
    fn secants(
        &mut self,
        ends: [&[f32]; 2],
        places: &[f64],
        cancel: &Cancel,
    ) -> Result<(Vec<f64>, Vec<f64>), AttributionError>;
    /// F, the features of the last convolutional block and F's gradient by them, for one input (Grad-CAM).
    fn features(&mut self, input: &[f32]) -> Result<Features, AttributionError>;
}

/// What Grad-CAM needs.
#[derive(Clone, Debug)]
pub struct Features {
    /// F of the input.
    pub value: f64,
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// The features.
    pub activation: Vec<f32>,
    /// F's gradient by them.
    pub gradient: Vec<f32>,
}

/// Where an attribution's path starts. All are black outside the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// The photograph blurred inside its field.
    #[default]
    Blur,
    /// Black (the paper's).
    Black,
    /// The field's mean colour.
    Mean,
    /// The mean of the maps from black and from white.
    BlackWhite,
}

/// How a map is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Integrated Gradients.
    #[default]
    Ig,
    /// Grad-CAM.
    GradCam,
}

/// When Integrated Gradients stops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Claimed relative L2 distance of the map to the converged one.
    pub tolerance: f64,
    /// Asked of the completeness error as well, if given.
    pub completeness: Option<f64>,
    /// Limit on gradient evaluations, all paths together.
    pub max_steps: usize,
}

impl Default for Stop {
    fn default() -> Self {
        Self { tolerance: 0.02, completeness: None, max_steps: 256 }
    }
}

/// One refinement on the way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refinement {
    /// Gradient evaluations so far.
    pub gradient_evaluations: usize,
    /// Claimed relative L2 distance of the map to the converged one; of the first map, which claims nothing, that to the second.
    pub map_change: f64,
}

/// A raw signed map with its evidence: plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attribution {
    /// How it was made.
    pub method: Method,
    /// Height, width, channels (3).
    pub shape: [usize; 3],
    /// `[height, width, 3]`, signed, in units of F.
    pub map: Vec<f32>,
    /// F of the input.
    pub f_input: f64,
    /// F of the baseline; `None` for Grad-CAM.
    pub f_baseline: Option<f64>,
    /// `|sum - (f_input - f_baseline)| / |f_input - f_baseline|`; `None` for Grad-CAM.
    pub completeness_error: Option<f64>,
    /// `sum - (f_input - f_baseline)`; `None` for Grad-CAM.
    pub completeness_gap: Option<f64>,
    /// Claimed relative L2 distance to the converged map, from the change of the last refinement, the order that errors are known
    /// to fall with, and what computing in f32 adds (`tests/goldens/convergence.csv` holds such claims against the truth);
    /// `None` before there are two estimates, and for Grad-CAM and fixed rules.
    pub map_change: Option<f64>,
    /// Whether the stop rule is met; Grad-CAM always is.
    pub converged: bool,
    /// Gradients taken.
    pub gradient_evaluations: usize,
    /// Gradients when the next refinement will be there; `None` for the last map, Grad-CAM and fixed rules.
    pub next: Option<usize>,
    /// Every map so far of which something can be said.
    pub history: Vec<Refinement>,
    /// Share of the absolute mass within 4 % of the field's diameter from its edge.
    pub mass_at_rim: f64,
    /// Wall time so far.
    pub seconds: f64,
}

impl Attribution {
    /// A map of Integrated Gradients from F at input and baseline, the gradients taken and what was claimed on the way.
    fn integrated(
        (map, shape): (Vec<f32>, [usize; 3]),
        (f_input, f_baseline): (f64, f64),
        (gradient_evaluations, history): (usize, &[Refinement]),
        (stop, begun): (Stop, Instant),
    ) -> Self {
        let change_of_f = f_input - f_baseline;
        let gap = map.iter().map(|&a| f64::from(a)).sum::<f64>() - change_of_f;
        let error = convergence::completeness_error(gap, change_of_f);
        let map_change = history.last().map(|refinement| refinement.map_change);
        Self {
            method: Method::Ig,
            shape,
            mass_at_rim: mass_at_rim(&map, shape),
            map,
            f_input,
            f_baseline: Some(f_baseline),
            completeness_error: Some(error),
            completeness_gap: Some(gap),
            map_change,
            converged: map_change.is_some_and(|change| stop.is_met(change, error)),
            gradient_evaluations,
            next: None,
            history: history.to_vec(),
            seconds: begun.elapsed().as_secs_f64(),
        }
    }

    /// Sum of the map.
    pub fn sum(&self) -> f64 {
        self.map.iter().map(|&a| f64::from(a)).sum()
    }

    /// Sum of its absolute values.
    pub fn mass(&self) -> f64 {
        self.map.iter().map(|&a| f64::from(a).abs()).sum()
    }
}

/// Width of the rim as a share of the field's diameter.
const RIM: f64 = 0.04;

/// Share of the absolute mass of `map`, `[height, width, channels]`, within 4 % of the field's diameter from its edge.
///
/// The field's circle fills the map's square, so its edge is that circle, also where the photograph was cut. The rim is
/// 15 % of the circle's area; 0 for a map of zeros.
pub fn mass_at_rim(map: &[f32], [height, width, channels]: [usize; 3]) -> f64 {
    let diameter = height.min(width) as f64;
    let inner = (0.5 - RIM) * diameter;
    let (mut rim, mut mass) = (0.0, 0.0);
    for (index, pixel) in map.chunks_exact(channels.max(1)).enumerate() {
        let (x, y) =
            ((index % width) as f64 + 0.5 - width as f64 / 2.0, (index / width) as f64 + 0.5 - height as f64 / 2.0);
        let here: f64 = pixel.iter().map(|&value| f64::from(value).abs()).sum();
        mass += here;
        if x.hypot(y) > inner {
            rim += here;
        }
    }
    if mass > 0.0 { rim / mass } else { 0.0 }
}

/// Shared between whoever computes and whoever may lose interest.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the computation to stop at its next micro-batch.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// An error if it was asked to stop.
    pub(crate) fn check(&self) -> Result<(), AttributionError> {
        if self.is_cancelled() { Err(AttributionError::Cancelled) } else { Ok(()) }
    }

    /// Whether it was asked to.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What can end an attribution without a map.
#[derive(Debug, thiserror::Error)]
pub enum AttributionError {
    /// Nobody waits for it any longer.
    #[error("cancelled")]
    Cancelled,
    /// The function could not be evaluated.
    #[error("the network failed: {0}")]
    Function(String),
    /// An image has another size than the function takes.
    #[error("{given} values given for an image of {expected}")]
    Shape {
        /// Values of the function's input.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// The limit leaves no room for two estimates to compare.
    #[error("{max_steps} gradient evaluations are too few for {paths} path(s): allow at least {least}")]
    TooFewSteps {
        /// The limit.
        max_steps: usize,
        /// Paths to integrate over.
        paths: usize,
        /// The smallest limit that works.
        least: usize,
    },
    /// The raw map could not be written.
    #[error("{}: the raw map could not be written: {reason}", path.display())]
    Raw {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

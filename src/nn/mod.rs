//! A [`graph::Graph`] (data) and weights come in; logits, input gradients and weight gradients go out.
//!
//! `Graph` is a topology of `keras.applications`; `Plan` is what runs (batch norm folded, ReLU fused); an
//! [`Executor`] runs a plan on batches. Images are RGB in [0, 1]: preprocessing is an affine step at the head of
//! the plan, inside what is differentiated. Knows nothing of photographs and grades.

pub mod candle;
pub mod clock;
pub mod cpu;
mod device;
pub mod graph;
pub mod plan;
mod precision;
pub mod real;
pub mod steps;
pub mod topology;
pub mod training;
pub mod weights;

use std::sync::Arc;

use clock::Clock;
pub use device::{Device, DeviceChoice};
pub use precision::Precision;
use real::Real;
use serde::{Deserialize, Serialize};

/// The side, in pixels, of the networks' input.
pub const SIDE: usize = 299;

/// The three networks of the paper (arXiv 2103.08501).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Network {
    /// He et al., arXiv 1512.03385.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// Szegedy et al., arXiv 1512.00567.
    #[serde(rename = "inception-v3")]
    InceptionV3,
    /// Szegedy et al., arXiv 1602.07261.
    #[serde(rename = "inception-resnet-v2")]
    InceptionResNetV2,
}

impl Network {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::ResNet50, Self::InceptionV3, Self::InceptionResNetV2];

    /// The name on the command line, in manifests and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResNet50 => "resnet50",
            Self::InceptionV3 => "inception-v3",
            Self::InceptionResNetV2 => "inception-resnet-v2",
        }
    }

    /// The name a person reads.
    pub fn label(self) -> &'static str {
        match self {
            Self::ResNet50 => "ResNet-50",
            Self::InceptionV3 => "InceptionV3",
            Self::InceptionResNetV2 => "InceptionResNetV2",
        }
    }

    /// The same where there is little room.
    pub fn short_label(self) -> &'static str {
        match self {
            Self::ResNet50 => "ResNet",
            Self::InceptionV3 => "Inc. V3",
            Self::InceptionResNetV2 => "Inc.-ResNet",
        }
    }
}

/// Where a gradient is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the RGB image in [0, 1].
    Input,
    /// At the output of the last convolutional block (Grad-CAM).
    Features,
}

/// A scalar function of one row's logits: its value and its derivative by each logit (the cotangent sent back).
pub type Cotangent<'a> = dyn Fn(&[f64]) -> (f64, Vec<f64>) + Sync + 'a;

/// What one backward pass gives.
#[derive(Clone, Debug)]
pub struct Gradients<T = f32> {
    /// `[rows, classes]`.
    pub logits: Vec<f64>,
    /// `[rows]`: the scalar function's values.
    pub values: Vec<f64>,
    /// `[rows, height, width, channels]`: its derivative where asked.
    pub gradient: Vec<T>,
    /// `[rows, height, width, channels]`: the values where the derivative was taken; empty at the input.
    pub activation: Vec<T>,
    /// Height, width, channels.
    pub shape: [usize; 3],
}

/// From the logits at two neighbouring points to a derivative by the logits between them: the cotangent sent back.
pub type Between<'a> = dyn Fn(&[f64], &[f64]) -> Vec<f64> + Sync + 'a;

/// Asked again and again during a pass: true where nobody waits for its result any longer.
pub type Interrupt<'a> = dyn Fn() -> bool + Sync + 'a;

/// What the points of a path give.
#[derive(Clone, Debug, Default)]
pub struct Secants<T = f32> {
    /// `[points, classes]`.
    pub logits: Vec<f64>,
    /// `[points - 1, height, width, channels]`: the derivative by the image between neighbouring points.
    pub gradient: Vec<T>,
}

/// A straight line between two images, `[side, side, 3]` each.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a, T = f32> {
    /// Where it begins, at place 0.
    pub from: &'a [T],
    /// Where it ends, at place 1.
    pub to: &'a [T],
}

impl<T: Real> Line<'_, T> {
    /// An error unless both ends have so many numbers.
    fn check(&self, row: usize) -> Result<(), NnError> {
        let wrong = [self.from, self.to].into_iter().find(|end| end.len() != row);
        wrong.map_or(Ok(()), |end| Err(NnError::Shape { expected: row, given: end.len() }))
    }

    /// Appends the images at some places, one after another.
    fn append(&self, places: &[f64], points: &mut Vec<T>) {
        points.reserve(places.len() * self.from.len());
        for &place in places {
            let (rest, place) = (T::from_f64(1.0 - place), T::from_f64(place));
            points.extend(self.from.iter().zip(self.to).map(|(from, to)| rest * *from + place * *to));
        }
    }
}

/// What some places of a line give.
#[derive(Clone, Debug)]
pub struct Along {
    /// `[places, classes]`.
    pub logits: Vec<f64>,
    /// `[side, side, 3]`: the sum over neighbouring places of the derivative by the image between them times how far they are apart.
    pub gradient: Vec<f64>,
}

/// Cuts points of a path, `row` numbers each, into stretches of about as many intervals each, `most` at most and in none more than
/// in the first, each of which begins with the last point of the one before; an error where there is no interval.
fn stretches<T>(points: &[T], row: usize, most: usize) -> Result<impl Iterator<Item = &[T]>, NnError> {
    let all = (points.len() / row).saturating_sub(1);
    if !points.len().is_multiple_of(row) || all == 0 {
        return Err(NnError::Shape { expected: row, given: points.len() });
    }
    let count = all.div_ceil(most);
    let first = move |stretch: usize| (stretch * all).div_ceil(count);
    Ok((0..count).map(move |stretch| &points[first(stretch) * row..(first(stretch + 1) + 1) * row]))
}

/// The cotangents between neighbours, from the logits of points.
fn cotangents(logits: &[f64], classes: usize, between: &Between) -> Vec<f64> {
    let points = logits.chunks_exact(classes);
    points.clone().zip(points.skip(1)).flat_map(|(from, to)| between(from, to)).collect()
}

impl<T> Secants<T> {
    /// Appends those of points that begin with the last one of these, logits of so many classes each.
    fn append(&mut self, next: Self, classes: usize) {
        self.logits.truncate(self.logits.len().saturating_sub(classes));
        self.logits.extend(next.logits);
        self.gradient.extend(next.gradient);
    }
}

/// Runs one plan; owns its buffers. `T` is f32 on every device, f64 for the exact reference on the portable path.
/// Of no images at all logits and gradients are empty, and no error.
pub trait Executor<T: Real = f32>: Send {
    /// Pixels of a side of the input.
    fn side(&self) -> usize;
    /// Number of logits.
    fn classes(&self) -> usize;
    /// How many rows it is best given at once; any number is fine, none included.
    fn rows(&self) -> usize;
    /// What its products are computed in, at least.
    fn precision(&self) -> Precision;
    /// `images` is `[rows, side, side, 3]`, RGB in [0, 1]; gives `[rows, classes]`.
    fn logits(&mut self, images: &[T]) -> Result<Vec<f64>, NnError>;
    /// One forward and one backward pass of the rows of `images`.
    fn value_and_gradient(&mut self, images: &[T], at: At, cotangent: &Cotangent) -> Result<Gradients<T>, NnError>;
    /// Gradients between neighbours among `points`, `[points, side, side, 3]`, two or more of a path.
    ///
    /// Every ReLU and every maximum gets the slope of its secant between the two points (the rescale rule of DeepLIFT, Shrikumar
    /// et al., arXiv 1704.02685, with each point's neighbour as its reference), so that the product of gradient and step is
    /// the change of the logits by the cotangent, but for slopes being kept in 255ths. Between points that are one it is the
    /// gradient there.
    ///
    /// [`NnError::Interrupted`] soon after `interrupt` has become true.
    fn secants(&mut self, points: &[T], between: &Between, interrupt: &Interrupt) -> Result<Secants<T>, NnError>;
    /// The secants between neighbouring `places` of a line, two or more and rising, summed up few at a time, so that neither
    /// points nor secants are kept.
    fn along(
        &mut self,
        line: Line<T>,
        places: &[f64],
        between: &Between,
        interrupt: &Interrupt,
    ) -> Result<Along, NnError>;
}

/// A network with weights on a device: makes executors that share the weights.
pub trait Model: Send + Sync {
    /// Which network.
    fn network(&self) -> Network;
    /// SHA-256 of the weights, as in the manifest: a part of every key.
    fn weights_hash(&self) -> &str;
    /// What products are computed in, as shown beside a map.
    fn precision(&self) -> Precision;
    /// How many points of a path it takes at once best; whoever waits for a map hears of them when they are done.
    fn rows_at_once(&self) -> usize;
    /// How many images, each on its own, it takes at once best; none of them changes what another gives.
    fn images_at_once(&self) -> usize;
    /// An executor for batches of `rows`.
    fn executor(&self, rows: usize) -> Result<Box<dyn Executor>, NnError>;
    /// Frees what only gradients need: the next one makes it anew.
    fn forget_gradients(&self);
    /// What its time goes to, where that is known.
    fn clock(&self) -> Option<Arc<Clock>> {
        None
    }
}

/// What can go wrong while a network runs.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// The image has another size than the plan.
    #[error("{given} values given where rows of {expected} were expected")]
    Shape {
        /// Values of one row.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// A graph smaller than its windows.
    #[error("a network needs images of at least {least} px a side, not {side}")]
    Side {
        /// Pixels asked for.
        side: usize,
        /// Pixels needed.
        least: usize,
    },
    /// A layer whose inputs do not fit it.
    #[error("layer {layer} cannot take inputs of {given:?}")]
    Topology {
        /// Its name.
        layer: String,
        /// Height, width, channels of each input.
        given: Vec<[usize; 3]>,
    },
    /// A parameter that is missing or has another size.
    #[error("parameter {name} should have {expected} values; {}", .given.map_or("it is missing".into(), |n| format!("{n} were given")))]
    Parameter {
        /// Its canonical name.
        name: String,
        /// How many values it should have.
        expected: usize,
        /// How many it has.
        given: Option<usize>,
    },
    /// Weights that no training gives; a ReLU would hide them, and what they compute could look like a grade.
    #[error("parameter {name} {fault}: the weights are damaged; restore their file or convert it again")]
    Damaged {
        /// The parameter's canonical name.
        name: String,
        /// What is wrong with its values.
        fault: &'static str,
    },
    /// A layer that cannot become a part of the convolution before it: an error in the topology.
    #[error("layer {layer} does not follow a convolution that it could be fused with")]
    Unfusable {
        /// Its name.
        layer: String,
    },
    /// The instruction set that was asked for is unknown or not there; a sentence.
    #[error("{0}")]
    InstructionSet(String),
    /// The device that was asked for is not there.
    #[error("{0}; choose --device auto or cpu")]
    NoDevice(String),
    /// The pass was given up, because that was asked for.
    #[error("interrupted")]
    Interrupted,
    /// This device does not compute in the precision that was asked for, or not faster.
    #[error("products in {} are not there, or no faster than in f32", .0.name())]
    Precision(Precision),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_even_and_take_every_interval_once() {
        for (all, most) in (1..40).flat_map(|all| (1..6).map(move |most| (all, most))) {
            let points: Vec<usize> = (0..=all).flat_map(|point| [point; 2]).collect();
            let stretches: Vec<_> = stretches(&points, 2, most).unwrap().collect();
            let ends = |stretch: &[usize]| (stretch[0], stretch[stretch.len() - 1]);
            let lengths: Vec<_> = stretches.iter().map(|stretch| stretch.len() / 2 - 1).collect();
            assert!(stretches.windows(2).all(|two| ends(two[0]).1 == ends(two[1]).0), "{all} by {most}");
            assert_eq!((ends(stretches[0]).0, ends(stretches[stretches.len() - 1]).1), (0, all));
            assert_eq!(lengths.len(), all.div_ceil(most));
            let even = |&length: &usize| length <= lengths[0] && length + 1 >= lengths[0];
            assert!(lengths[0] <= most && lengths.iter().all(even), "{lengths:?}");
        }
        assert!(stretches(&[0; 2], 2, 4).is_err() && stretches(&[0; 5], 2, 4).is_err());
    }
}

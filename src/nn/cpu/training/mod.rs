//! A [`Graph`] and its parameters come in; for each batch of images its logits and the gradients by all parameters go out.
//!
//! The whole batch goes through one step after another, all threads on the same step: batch norm needs that. `nn::steps` says what
//! runs, `forward` and `backward` take a batch through and back, `norm` is what stands between a convolution's products and its
//! value; that is bound by memory, so sums over the batch are taken by the convolutions that write the last number of what they are
//! of, or else of a few images behind one. An optimiser stands outside: it changes [`Tensor::values`] between two steps, and the kernels are
//! packed anew at the beginning of each.
//!
//! Memory is made once, for a batch of the size that was asked for: every value, every convolution's products before its
//! batch norm (rounded to bf16 where they are made of such numbers), a bit for each ReLU, a byte for each maximum; gradients by
//! values share memory as soon as nobody reads them, and those by products all have the same.

mod backward;
mod forward;
mod norm;
#[cfg(test)]
mod tests;

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use norm::{Moments, Sums};
use rayon::prelude::*;

use super::instruction_set::InstructionSet;
use super::kernel::{Backward, Buffers, Forward, Parts, WeightGradient, mask_bytes};
use super::layout::Layout;
use super::lines::{Lines, with_room};
use super::norm::{Affine, Back, Loops};
use super::parallel::Spares;
use super::stored::Stored;
use super::turned::Turned;
use crate::nn::clock::{Clock, Work};
use crate::nn::graph::Graph;
use crate::nn::plan::{self, Parameters};
use crate::nn::real::Real;
use crate::nn::steps::{self, Convolution, Operation, StepId, TensorId};
use crate::nn::training::{self, Loss, Outcome, Start, Statistics};
use crate::nn::{NnError, Precision};

type Step = steps::Step<Convolution>;

/// A parameter of the network.
#[derive(Clone, Debug)]
pub struct Tensor<T> {
    /// As in [`Graph::parameters`].
    pub name: String,
    /// Row-major; may be changed between steps.
    pub values: Vec<T>,
    /// The gradient that the last step found, as long as `values`; empty where there is none: moving statistics, and what the
    /// source of the weights does not have, which stays what it is.
    pub gradient: Vec<T>,
}

/// Takes batches through a network and back.
#[derive(Debug)]
pub struct Trainer<T> {
    steps: Vec<Step>,
    layout: Layout,
    side: usize,
    batch: usize,
    statistics: Statistics,
    tensors: Vec<Tensor<T>>,
    /// Per step: a convolution's kernels and what it keeps.
    layers: Vec<Option<Layer<T>>>,
    slots: Vec<Vec<T>>,
    /// Per step: bits of a ReLU, or winners of a max pool.
    kept: Vec<Vec<u8>>,
    spares: Spares<Buffers<T>>,
    /// The gradient by a convolution's products.
    by_products: Lines<T>,
    /// Sums of chunks on their way to those of all pixels, and those for a bias where there is none.
    spare: Vec<T>,
    /// Sums that a convolution takes on the way.
    parts: Parts<T>,
    clock: Arc<Clock>,
}

/// A convolution, ready to run, and what forward keeps for backward.
#[derive(Debug)]
struct Layer<T> {
    forward: Box<dyn Forward<T>>,
    /// Not where the input is the image.
    backward: Option<Box<dyn Backward<T>>>,
    weights: Box<dyn WeightGradient<T>>,
    /// As long as the bias: noughts where the convolution has none.
    no_bias: Vec<T>,
    /// Before batch norm; empty where they are the value.
    products: Stored<T>,
    /// Whether the value is only another convolution's shortcut, which then makes it of the products on the way.
    is_summand: bool,
    loops: Box<dyn Loops<T>>,
    moments: Moments,
    sums: Sums,
    /// Whether a reader has taken in the sums on the way back.
    is_summed: bool,
    affine: Affine<T>,
    back: Back<T>,
    spare: Vec<T>,
}

impl<T: Real> Tensor<T> {
    fn of(start: Start) -> Self {
        let values: Vec<T> = start.values.into_iter().map(|value| T::from_f64(f64::from(value))).collect();
        let gradient = if start.is_trained { vec![T::ZERO; values.len()] } else { Vec::new() };
        Self { name: start.name, values, gradient }
    }
}

impl<T: Real> Trainer<T> {
    /// For batches of up to `batch` images. An error names a parameter that is missing (and has no default) or has another size, or
    /// says that `precision` is no faster here than f32.
    pub fn new(
        graph: &Graph,
        parameters: &Parameters,
        batch: usize,
        statistics: Statistics,
        precision: Precision,
    ) -> Result<Self, NnError> {
        Self::with(InstructionSet::of(precision)?, graph, parameters, batch, statistics)
    }

    /// The same with other instructions than the program has chosen.
    pub fn with(
        set: InstructionSet,
        graph: &Graph,
        parameters: &Parameters,
        batch: usize,
        statistics: Statistics,
    ) -> Result<Self, NnError> {
        let steps = steps::steps(graph)?.steps;
        let layout = Layout::keeping(&steps)?;
        let tensors = training::start(graph, parameters)?.into_iter().map(Tensor::of).collect::<Vec<_>>();
        let batch = batch.max(1);
        let layers: Vec<_> = (0..steps.len()).map(|id| Layer::new(set, &steps, id, &tensors, batch)).collect();
        let slots = layout.slots.iter().map(|length| vec![T::ZERO; with_room::<T>(batch * length)]).collect();
        // Every gradient comes through where there is no ReLU.
        let every =
            |layer: &Option<Layer<T>>| if layer.as_ref().is_some_and(|layer| layer.is_summand) { u8::MAX } else { 0 };
        let kept =
            steps.iter().zip(&layers).map(|(step, layer)| vec![every(layer); batch * kept_bytes(step)]).collect();
        let by_products = Lines::new(T::ZERO, steps.iter().map(|step| batch * products(step)).max().unwrap_or(0));
        let (spares, spare, parts) = (Spares::default(), Vec::new(), Parts::default());
        let (side, clock) = (graph.side, Arc::default());
        Ok(Self {
            steps,
            layout,
            side,
            batch,
            statistics,
            tensors,
            layers,
            slots,
            kept,
            spares,
            by_products,
            spare,
            parts,
            clock,
        })
    }

    /// All parameters, in the order of [`Graph::parameters`].
    pub fn tensors(&self) -> &[Tensor<T>] {
        &self.tensors
    }

    /// The same for an optimiser, which may change values.
    pub fn tensors_mut(&mut self) -> &mut [Tensor<T>] {
        &mut self.tensors
    }

    /// What its time goes to.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Takes `images`, `[up to batch, side, side, 3]`, RGB in [0, 1], through the network and the sum of their losses back.
    pub fn step(&mut self, images: &[T], loss: &Loss) -> Result<Outcome, NnError> {
        self.clock().time(Some(Work::Whole), || self.there_and_back(images, loss))
    }

    fn there_and_back(&mut self, images: &[T], loss: &Loss) -> Result<Outcome, NnError> {
        let count = training::count(images.len(), self.side, self.batch)?;
        self.pack();
        let logits = self.forward(images);
        let (losses, cotangents) = training::losses(&logits, count, loss);
        self.backward(count, &cotangents);
        Ok(Outcome { logits, losses })
    }

    /// Gives the tensors' values to all kernels.
    fn pack(&mut self) {
        let Self { steps, layers, tensors, .. } = self;
        let layers: Vec<_> =
            steps.iter().zip(layers).filter_map(|(step, layer)| Some((step, layer.as_mut()?))).collect();
        layers.into_par_iter().with_max_len(1).for_each(|(step, layer)| {
            let Operation::Convolution(convolution) = &step.operation else { return };
            let kernel = &tensors[convolution.kernel].values;
            layer.forward.update(kernel, convolution.bias.map_or(&layer.no_bias, |bias| &tensors[bias].values));
            if let Some(backward) = &mut layer.backward {
                backward.update(kernel, &mut layer.spare);
            }
        });
    }
}

impl<T: Real> Layer<T> {
    /// That of a step, if it is a convolution.
    fn new(set: InstructionSet, steps: &[Step], id: StepId, tensors: &[Tensor<T>], batch: usize) -> Option<Self> {
        let step = &steps[id];
        let Operation::Convolution(Convolution { window, kernel, .. }) = step.operation else { return None };
        let [height, width, outputs] = step.shape;
        let input = &steps[step.inputs[0]];
        let [rows, columns, inputs] = input.shape;
        let kernel = &tensors[kernel].values;
        let no_bias = vec![T::ZERO; outputs];
        let forward =
            plan::Convolution { window, kernel: kernel.clone(), bias: no_bias.clone(), residual: None, relu: false };
        let differentiates = !matches!(input.operation, Operation::Preprocess(_));
        let backward = || set.backward(Turned::new(window, kernel, outputs), [rows, columns]);
        let forward = set.forward(forward, [height, width]);
        let products = Stored::new(forward.rounds(), batch * products(step));
        Some(Self {
            forward,
            backward: differentiates.then(backward),
            weights: set.weights(window, [inputs, outputs], [height, width]),
            products,
            is_summand: is_summand(steps, id),
            loops: set.norm(outputs),
            moments: Moments::new(outputs),
            sums: Sums::new(outputs),
            is_summed: false,
            affine: Affine::new(outputs),
            back: Back::new(outputs),
            no_bias,
            spare: Vec::new(),
        })
    }
}

/// Numbers that stay in cache between two kernels; few in tests, whose images are small.
const CACHED: usize = if cfg!(test) { 1024 } else { 1024 * 1024 };

/// Images that go from one kernel to the next together: as many as stay in cache, where the next one reads `read_again` numbers
/// of each; all, where it reads none.
fn groups(count: usize, read_again: Option<usize>) -> impl Iterator<Item = Range<usize>> {
    let together = read_again.map_or(count, |numbers| (CACHED / numbers).clamp(1, count));
    (0..count).step_by(together).map(move |from| from..count.min(from + together))
}

/// Whether a step's value is that of a convolution with a batch norm and no ReLU, and only another's shortcut.
fn is_summand(steps: &[Step], id: StepId) -> bool {
    let is_read = steps.iter().any(|step| step.inputs.contains(&id));
    let added = steps.iter().filter(|step| step.residual() == Some(id)).count();
    let Operation::Convolution(Convolution { norm, relu, residual, .. }) = steps[id].operation else { return false };
    norm.is_some() && !relu && residual.is_none() && !is_read && added == 1
}

/// Products that a step keeps of an image.
fn products(step: &Step) -> usize {
    match &step.operation {
        Operation::Convolution(convolution) if !convolution.is_plain() => step.shape.iter().product(),
        _ => 0,
    }
}

/// Bytes that a step keeps of an image.
fn kept_bytes(step: &Step) -> usize {
    let [height, width, channels] = step.shape;
    match &step.operation {
        Operation::Convolution(convolution) if !convolution.is_plain() => height * width * mask_bytes(channels),
        Operation::MaxPool(_) => height * width * channels,
        _ => 0,
    }
}

/// The gradient of a tensor, taken out while it is written; `None` where there is none.
fn take<T>(tensors: &mut [Tensor<T>], id: TensorId) -> Option<Vec<T>> {
    let gradient = mem::take(&mut tensors[id].gradient);
    (!gradient.is_empty()).then_some(gradient)
}

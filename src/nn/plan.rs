//! A [`Graph`] and its parameters come in; a [`Plan`] goes out: what runs where weights are frozen, for any device.
//!
//! Batch norm and the scale before a sum are folded into kernels and biases, in f64.

use super::graph::{Graph, Window};
use super::real::Real;
use super::steps::{self, Fused, StepId, Steps};
use super::training;
use super::{Network, NnError};

/// Gives a parameter's values by its canonical name, row-major in the canonical shape; `None` where there is none.
pub type Parameters<'a> = dyn Fn(&str) -> Option<Vec<f32>> + 'a;

/// What a step of a plan computes.
pub type Operation<T> = steps::Operation<Convolution<T>>;

/// One step of a plan.
pub type Step<T> = steps::Step<Convolution<T>>;

/// A convolution with all that is fused into it: `relu(conv(x) + bias + residual)`.
#[derive(Clone, Debug)]
pub struct Convolution<T> {
    /// Where the kernel goes.
    pub window: Window,
    /// `[height, width, in, out]`, row-major.
    pub kernel: Vec<T>,
    /// `[out]`.
    pub bias: Vec<T>,
    /// A value of the output's shape that is added before the ReLU.
    pub residual: Option<StepId>,
    /// Whether negative values become 0.
    pub relu: bool,
}

impl<T> Fused for Convolution<T> {
    fn residual(&self) -> Option<StepId> {
        self.residual
    }

    fn relu(&self) -> bool {
        self.relu
    }
}

/// A network with its weights, ready to run.
#[derive(Clone, Debug)]
pub struct Plan<T> {
    /// Which network.
    pub network: Network,
    /// Pixels of a side of the input.
    pub side: usize,
    /// The first is the preprocessing, the last gives the logits.
    pub steps: Vec<Step<T>>,
    /// The output of the last convolutional block.
    pub features: StepId,
}

impl<T: Real> Plan<T> {
    /// Folds and fuses. An error names a parameter that is missing (and has no default) or has another size.
    pub fn new(graph: &Graph, parameters: &Parameters) -> Result<Self, NnError> {
        let Steps { steps, of_node } = steps::steps(graph)?;
        let mut tensors = training::start(graph, parameters)?;
        let mut take = |id: steps::TensorId| std::mem::take(&mut tensors[id].values);
        let steps = steps.into_iter().map(|step| {
            let channels = step.shape[2];
            step.with(|convolution| Ok(fold(&convolution, channels, &mut take)))
        });
        let steps = steps.collect::<Result<_, _>>()?;
        Ok(Self { network: graph.network, side: graph.side, steps, features: of_node[graph.features] })
    }

    /// Number of logits.
    pub fn classes(&self) -> usize {
        self.steps.last().map_or(0, |step| step.shape[2])
    }
}

/// A convolution with its norm and its scale in its weights; `take` gives the values of a tensor.
fn fold<T: Real>(
    of: &steps::Convolution,
    channels: usize,
    take: &mut impl FnMut(steps::TensorId) -> Vec<f32>,
) -> Convolution<T> {
    let mut take = |id| take(id).into_iter().map(f64::from).collect::<Vec<_>>();
    let mut kernel = take(of.kernel);
    let mut bias = of.bias.map_or_else(|| vec![0.0; channels], &mut take);
    if let Some(norm) = of.norm {
        let [gamma, beta, mean, variance] = [norm.gamma, norm.beta, norm.mean, norm.variance].map(&mut take);
        let inverse = variance.iter().map(|&variance| training::inverse_deviation(norm, variance));
        let factors: Vec<f64> = gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect();
        scale_filters(&mut kernel, &factors);
        for (channel, bias) in bias.iter_mut().enumerate() {
            *bias = beta[channel] + (*bias - mean[channel]) * factors[channel];
        }
    }
    kernel.iter_mut().chain(&mut bias).for_each(|value| *value *= of.scale);
    let round = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect();
    let (kernel, bias) = (round(kernel), round(bias));
    Convolution { window: of.window, kernel, bias, residual: of.residual, relu: of.relu }
}

/// Multiplies each filter of a kernel `[..., out]` by its factor.
fn scale_filters(kernel: &mut [f64], factors: &[f64]) {
    for row in kernel.chunks_exact_mut(factors.len()) {
        row.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
    }
}

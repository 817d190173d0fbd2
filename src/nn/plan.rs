//! A [`Graph`] and its parameters come in; a [`Plan`] goes out: what runs where weights are frozen, for any device.
//!
//! Batch norm and the scale before a sum are folded into kernels and biases, in f64.

use super::graph::{Graph, Window};
use super::real::Real;
use super::steps::{self, Fused, StepId, Steps};
use super::training::{self, Start};
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
    /// Folds and fuses. An error names a parameter that is missing (and has no default), has another size or holds values that
    /// no training gives, folded or not.
    pub fn new(graph: &Graph, parameters: &Parameters) -> Result<Self, NnError> {
        let Steps { steps, of_node } = steps::steps(graph)?;
        let mut tensors = training::start(graph, parameters)?;
        let steps = steps.into_iter().map(|step| {
            let channels = step.shape[2];
            step.with(|convolution| fold(&convolution, channels, &mut tensors))
        });
        let steps = steps.collect::<Result<_, _>>()?;
        Ok(Self { network: graph.network, side: graph.side, steps, features: of_node[graph.features] })
    }

    /// Number of logits.
    pub fn classes(&self) -> usize {
        self.steps.last().map_or(0, |step| step.shape[2])
    }
}

/// A convolution with its norm and its scale in its weights; takes its values out of `tensors`.
fn fold<T: Real>(of: &steps::Convolution, channels: usize, tensors: &mut [Start]) -> Result<Convolution<T>, NnError> {
    let mut take = |id: steps::TensorId| std::mem::take(&mut tensors[id].values);
    let kernel = take(of.kernel);
    let mut take = |id| take(id).into_iter().map(f64::from).collect::<Vec<_>>();
    let mut bias = of.bias.map_or_else(|| vec![0.0; channels], &mut take);
    let mut factors = vec![1.0; channels];
    if let Some(norm) = of.norm {
        let [gamma, beta, mean, variance] = [norm.gamma, norm.beta, norm.mean, norm.variance].map(&mut take);
        let inverse = variance.iter().map(|&variance| training::inverse_deviation(norm, variance));
        factors = gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect();
        for (channel, bias) in bias.iter_mut().enumerate() {
            *bias = beta[channel] + (*bias - mean[channel]) * factors[channel];
        }
    }
    let kernel = scaled_filters(&kernel, &factors, of.scale);
    let bias: Vec<T> = bias.into_iter().map(|bias| T::from_f64(bias * of.scale)).collect();
    if training::all_finite(&kernel) && training::all_finite(&bias) {
        return Ok(Convolution { window: of.window, kernel, bias, residual: of.residual, relu: of.relu });
    }
    let (name, fault) = (tensors[of.kernel].name.clone(), "or its bias is not finite once batch norm is folded in");
    Err(NnError::Damaged { name, fault })
}

/// A kernel `[..., out]` with each filter multiplied by its factor and by the scale, rounded once.
fn scaled_filters<T: Real>(kernel: &[f32], factors: &[f64], scale: f64) -> Vec<T> {
    let mut scaled = Vec::with_capacity(kernel.len());
    for row in kernel.chunks_exact(factors.len().max(1)) {
        let row = row.iter().zip(factors);
        scaled.extend(row.map(|(&weight, factor)| T::from_f64(f64::from(weight) * factor * scale)));
    }
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::formula;
    use crate::nn::graph::Variant;
    use crate::nn::training::small::small_network;

    /// The plan of a small network, all values of one parameter replaced.
    fn spoilt<T: Real>(variant: &Variant, spoilt: &str, value: f32) -> Result<Plan<T>, NnError> {
        let graph = small_network(variant);
        let given = formula::parameters(&graph, 3);
        Plan::new(&graph, &|name| {
            let values = given(name)?;
            Some(if name == spoilt { vec![value; values.len()] } else { values })
        })
    }

    #[test]
    fn weights_that_a_relu_would_hide_are_refused() {
        let variant = Variant::keras(Network::ResNet50, Some(3));
        assert!(spoilt::<f32>(&variant, "", 0.0).is_ok());
        for (name, value, fault) in [
            ("a/kernel", f32::NAN, "not finite"),
            ("b_bn/beta", f32::NEG_INFINITY, "not finite"),
            // Below minus epsilon, where the factor is NaN, and above.
            ("b_bn/moving_variance", -0.5, "negative variance"),
            ("b_bn/moving_variance", -1e-5, "negative variance"),
        ] {
            let said = spoilt::<f32>(&variant, name, value).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains(fault) && said.contains("restore"), "{said}");
        }
    }

    #[test]
    fn what_only_folding_makes_infinite_is_refused() {
        let variant = Variant::keras(Network::ResNet50, Some(3));
        let said = spoilt::<f32>(&variant, "b/kernel", f32::MAX).unwrap_err().to_string();
        assert!(said.contains("b/kernel or its bias is not finite"), "{said}");
        // f64 holds it.
        assert!(spoilt::<f64>(&variant, "b/kernel", f32::MAX).is_ok());
    }
}

//! A [`Graph`] and its parameters come in; for each batch of images its logits and the gradients by all parameters go out, on one of
//! candle's devices.
//!
//! Parameters, values and gradients stay on the device: a batch goes there, logits come back, cotangents go there. An optimiser
//! stands outside, and changes [`Parameter::values`] between two steps by operations on the device. `norm` is what stands around
//! a convolution's products.

mod norm;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use candle_core::{Device, Result, Tensor, WithDType};
use norm::{Behind, Norm, State};

use super::convolution::{Convolution, Finish, Kernel, Shape};
use super::cuda::{self, Card};
use super::executor::{add, to_host, upload};
use super::layer::{Rows, Winners};
use super::program::{Span, Step, Work};
use crate::nn::NnError;
use crate::nn::graph::Graph;
use crate::nn::plan::Parameters;
use crate::nn::real::Real;
use crate::nn::steps;
use crate::nn::training::{self, Loss, Outcome, Statistics};

/// A parameter of the network on the device.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// As in [`Graph::parameters`].
    pub name: String,
    /// Row-major and flat; may be changed between steps for as many of the same type and device.
    pub values: Tensor,
    /// The gradient that the last step found, flat; `None` before the first step, and where there is none: moving statistics, and
    /// what the source of the weights does not have, which stays what it is.
    pub gradient: Option<Tensor>,
    is_trained: bool,
}

/// Takes batches through a network and back, on one of candle's devices, in f32 or f64.
#[derive(Debug)]
pub struct CandleTrainer<T> {
    network: Trained,
    parameters: Vec<Parameter>,
    number: PhantomData<fn() -> T>,
}

/// All but the parameters.
#[derive(Debug)]
struct Trained {
    device: Device,
    side: usize,
    batch: usize,
    steps: Vec<Step<Layered>>,
}

/// A convolution and all that follows it.
#[derive(Debug)]
struct Layered {
    of: steps::Convolution,
    convolution: Convolution,
    norm: Norm,
}

/// What forward keeps of a step for the way back.
enum Kept {
    Convolution {
        kernel: Kernel,
        /// What it saw.
        input: Tensor,
        /// Before its batch norm, and what that has settled.
        normed: Option<(Tensor, Tensor)>,
        /// The value, if a ReLU made it.
        value: Option<Tensor>,
    },
    Winners(Winners),
}

/// A batch on its way.
struct Forward {
    logits: Tensor,
    kept: Vec<Option<Kept>>,
}

impl<T: Real + WithDType> CandleTrainer<T> {
    /// For batches of up to `batch` images. An error names a parameter that is missing (and has no default) or has another size.
    pub fn new(
        graph: &Graph,
        parameters: &Parameters,
        batch: usize,
        statistics: Statistics,
        device: &Device,
    ) -> std::result::Result<Self, NnError> {
        Self::with(graph, parameters, (batch, statistics), device, cuda::card(device, T::DTYPE))
    }

    /// With or without kernels of our own.
    pub(super) fn with(
        graph: &Graph,
        given: &Parameters,
        (batch, statistics): (usize, Statistics),
        device: &Device,
        card: Option<&'static dyn Card>,
    ) -> std::result::Result<Self, NnError> {
        let steps = steps::steps(graph)?.steps;
        let start = training::start(graph, given)?;
        let parameter = |start: training::Start| -> Result<Parameter> {
            let values = start.values.into_iter().map(|value| <T as Real>::from_f64(f64::from(value)));
            let values = Tensor::from_iter(values, device)?;
            Ok(Parameter { name: start.name, values, gradient: None, is_trained: start.is_trained })
        };
        let parameters = start.into_iter().map(parameter).collect::<Result<_>>().map_err(super::failed)?;
        let layered = |of: &steps::Convolution, span| Layered::new::<T>(*of, span, statistics, (device, card));
        let step = |id| Step::new::<T, _>(&steps, id, (device, card), layered);
        let steps = (0..steps.len()).map(step).collect::<Result<_>>();
        let (device, side, batch) = (device.clone(), graph.side, batch.max(1));
        let network = Trained { device, side, batch, steps: steps.map_err(super::failed)? };
        Ok(Self { network, parameters, number: PhantomData })
    }

    /// All parameters, in the order of [`Graph::parameters`].
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The same for an optimiser, which may change values.
    pub fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// Takes `images`, `[up to batch, side, side, 3]`, RGB in [0, 1], through the network and the sum of their losses back.
    pub fn step(&mut self, images: &[T], loss: &Loss) -> std::result::Result<Outcome, NnError> {
        let count = training::count(images.len(), self.network.side, self.network.batch)?;
        let Forward { logits, kept } = self.forward(images).map_err(super::failed)?;
        let logits = to_host::<T>(&logits).map_err(super::failed)?;
        let (losses, cotangents) = training::losses(&logits, count, loss);
        let classes = logits.len() / count;
        let cotangents = cotangents.into_iter().map(<T as Real>::from_f64).collect();
        let cotangents = Tensor::from_vec(cotangents, (count, classes, 1, 1), &self.network.device);
        cotangents.and_then(|cotangents| self.backward(cotangents, kept)).map_err(super::failed)?;
        Ok(Outcome { logits, losses })
    }

    fn forward(&mut self, images: &[T]) -> Result<Forward> {
        let Self { network: Trained { steps, side, device, .. }, parameters, .. } = self;
        let mut values: Vec<Tensor> = Vec::with_capacity(steps.len());
        let mut kept = Vec::with_capacity(steps.len());
        for step in steps {
            let (value, keep) = match &step.work {
                Work::Preprocess(preprocess) => (preprocess.forward(&upload(images, *side, device)?)?, None),
                Work::Convolution(layered) => {
                    let shortcut = layered.of.residual.map(|residual| &values[residual]);
                    let (value, keep) = layered.forward::<T>(&values[step.inputs[0]], shortcut, parameters)?;
                    (value, Some(keep))
                }
                Work::Layer(layer) => {
                    let inputs: Vec<_> = step.inputs.iter().map(|&input| &values[input]).collect();
                    let (value, winners) = layer.forward::<T>(&inputs, Some(Rows::Images))?;
                    (value, winners.map(Kept::Winners))
                }
            };
            values.push(value);
            kept.push(keep);
        }
        let logits = values.pop().ok_or_else(|| candle_core::Error::Msg("a network without steps".to_owned()))?;
        Ok(Forward { logits, kept })
    }

    /// From the derivative by the logits, `[images, classes, 1, 1]`, to those by all parameters.
    fn backward(&mut self, derivative: Tensor, kept: Vec<Option<Kept>>) -> Result<()> {
        let Self { network: Trained { steps, .. }, parameters, .. } = self;
        let mut gradients: Vec<Option<Tensor>> = vec![None; steps.len()];
        gradients[steps.len() - 1] = Some(derivative);
        // What is kept is let go as soon as the way back has passed it.
        for (id, kept) in kept.into_iter().enumerate().rev() {
            let (step, Some(gradient)) = (&steps[id], gradients[id].take()) else { continue };
            // Part of a concatenation stands among the others.
            let gradient = gradient.contiguous()?;
            match (&step.work, kept) {
                (Work::Convolution(layered), Some(kept)) => {
                    let input = step.inputs[0];
                    let back = layered.backward::<T>(&gradient, kept, parameters)?;
                    if let (Some(residual), Some(part)) = (layered.of.residual, back.to_shortcut) {
                        add(&mut gradients[residual], part)?;
                    }
                    if !matches!(steps[input].work, Work::Preprocess(_)) {
                        let others = gradients[input].take();
                        let all = layered.convolution.backward::<T>(
                            &back.by_products,
                            &back.kernel,
                            others.as_ref(),
                            None,
                        )?;
                        gradients[input] = Some(all);
                    }
                }
                (Work::Layer(layer), kept) => {
                    let shapes: Vec<_> = step.inputs.iter().map(|&input| steps[input].shape).collect();
                    let winners = if let Some(Kept::Winners(winners)) = &kept { Some(winners) } else { None };
                    for (&input, part) in step.inputs.iter().zip(layer.backward::<T>(&gradient, winners, &shapes)?) {
                        add(&mut gradients[input], part)?;
                    }
                }
                (Work::Preprocess(_) | Work::Convolution(_), _) => {}
            }
        }
        Ok(())
    }
}

/// What a convolution sends back, besides to its parameters.
struct Back {
    by_products: Tensor,
    to_shortcut: Option<Tensor>,
    kernel: Kernel,
}

impl Layered {
    fn new<T: Real + WithDType>(
        of: steps::Convolution,
        Span { channels, sizes }: Span,
        statistics: Statistics,
        (device, card): (&Device, Option<&'static dyn Card>),
    ) -> Result<Self> {
        let convolution = Convolution::new(Shape { window: of.window, channels, sizes }, device, card)?;
        let epsilon = of.norm.map_or(0.0, |norm| norm.epsilon);
        let norm = Norm::new::<T>(channels[1], [epsilon, of.scale], statistics, device, card)?;
        Ok(Self { of, convolution, norm })
    }

    /// The value, and what backward needs; moving statistics follow the batch.
    fn forward<T: Real + WithDType>(
        &self,
        input: &Tensor,
        shortcut: Option<&Tensor>,
        parameters: &mut [Parameter],
    ) -> Result<(Tensor, Kept)> {
        let Self { of, convolution, norm } = self;
        let kernel = convolution.kernel(&parameters[of.kernel].values)?;
        let bias = of.bias.map(|bias| &parameters[bias].values);
        let products = convolution.forward::<T>(input, &kernel, Finish { bias, ..Finish::default() })?;
        let input = input.clone();
        if of.is_plain() {
            return Ok((products, Kept::Convolution { kernel, input, normed: None, value: None }));
        }
        let (value, normed) = match self.state(parameters) {
            Some(state) => {
                let settled = norm.settle(&products, state)?;
                let value = norm.forward(&products, &settled, shortcut, of.relu)?;
                (value, Some((products, settled)))
            }
            None => (norm.forward(&products, norm.fixed(), shortcut, of.relu)?, None),
        };
        if let (Some(ids), Some((_, settled))) = (of.norm, &normed) {
            let [mean, variance] = Norm::moving(settled)?;
            parameters[ids.mean].values = mean;
            parameters[ids.variance].values = variance;
        }
        let keep = of.relu.then(|| value.clone());
        Ok((value, Kept::Convolution { kernel, input, normed, value: keep }))
    }

    fn state<'a>(&self, parameters: &'a [Parameter]) -> Option<State<'a>> {
        self.of.norm.map(|ids| [ids.gamma, ids.beta, ids.mean, ids.variance].map(|id| &parameters[id].values))
    }

    /// Through all that stands behind the products, and to the parameters.
    fn backward<T: Real + WithDType>(
        &self,
        gradient: &Tensor,
        kept: Kept,
        parameters: &mut [Parameter],
    ) -> Result<Back> {
        let Self { of, convolution, norm } = self;
        let Kept::Convolution { kernel, input, normed, value } = kept else {
            candle_core::bail!("a convolution kept nothing")
        };
        let behind = Behind { gradient, value: value.as_ref() };
        let to_shortcut = of.residual.map(|_| norm.to_shortcut(behind)).transpose()?;
        let by_products = match (&normed, self.state(parameters), of.norm) {
            (Some((products, settled)), Some(state), Some(ids)) => {
                let back = norm.backward(behind, products, settled, state)?;
                let [gamma, beta] = back.state;
                parameters[ids.gamma].found(gamma);
                parameters[ids.beta].found(beta);
                back.products
            }
            _ if of.is_plain() => gradient.contiguous()?,
            _ => norm.backward_fixed(behind)?,
        };
        parameters[of.kernel].found(convolution.by_kernel::<T>(&input, &by_products)?.flatten_all()?);
        if let Some(bias) = of.bias.filter(|&bias| parameters[bias].is_trained) {
            parameters[bias].found(norm.to_bias(&by_products)?);
        }
        Ok(Back { by_products, to_shortcut, kernel })
    }
}

impl Parameter {
    fn found(&mut self, gradient: Tensor) {
        self.gradient = self.is_trained.then_some(gradient);
    }
}

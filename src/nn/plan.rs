//! A [`Graph`] and its parameters come in; a [`Plan`] goes out: what runs, for any device.
//!
//! Batch norm is folded into kernels (in f64), a dense layer is a 1x1 convolution of a 1x1 image, convolution + bias +
//! scaled add + ReLU are one step, preprocessing is an affine step at the head (its padding is 0 after it). Steps stand in
//! topological order and each makes one value, named by the step's place.

use super::graph::{Affine, Graph, NodeId, Op, Padding, Window};
use super::real::Real;
use super::{Network, NnError};

/// The place of a step in [`Plan::steps`], and so the name of its value.
pub type StepId = usize;

/// Gives a parameter's values by its canonical name, row-major in the canonical shape; `None` where there is none.
pub type Parameters<'a> = dyn Fn(&str) -> Option<Vec<f32>> + 'a;

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

/// What a step computes.
#[derive(Clone, Debug)]
pub enum Operation<T> {
    /// From the image, RGB in [0, 1].
    Preprocess(Affine),
    /// From one value (and the residual).
    Convolution(Convolution<T>),
    /// From one value; padding never wins.
    MaxPool(Window),
    /// From one value.
    AvgPool {
        /// Where the window goes.
        window: Window,
        /// Whether padding counts among the values that are averaged.
        count_padding: bool,
    },
    /// The inputs side by side along the channels.
    Concat,
    /// The mean over height and width.
    GlobalAvgPool,
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Step<T> {
    /// The name of the graph's layer it began with.
    pub name: String,
    /// What it computes.
    pub operation: Operation<T>,
    /// The values it is computed from, all earlier; a residual stands in [`Convolution::residual`] and not here.
    pub inputs: Vec<StepId>,
    /// Height, width and channels of its value.
    pub shape: [usize; 3],
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
        let mut fusion = Fusion::new(graph, parameters);
        for id in 0..graph.nodes.len() {
            let step = fusion.node(id)?;
            fusion.step_of.push(step);
        }
        let features = fusion.step_of[graph.features];
        let steps = fusion.steps.into_iter().map(round).collect();
        Ok(Self { network: graph.network, side: graph.side, steps, features })
    }

    /// Number of logits.
    pub fn classes(&self) -> usize {
        self.steps.last().map_or(0, |step| step.shape[2])
    }
}

/// From f64, in which everything is folded, to the numbers of the plan.
fn round<T: Real>(step: Step<f64>) -> Step<T> {
    let to = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect();
    let operation = match step.operation {
        Operation::Convolution(Convolution { window, kernel, bias, residual, relu }) => {
            Operation::Convolution(Convolution { window, kernel: to(kernel), bias: to(bias), residual, relu })
        }
        Operation::Preprocess(affine) => Operation::Preprocess(affine),
        Operation::MaxPool(window) => Operation::MaxPool(window),
        Operation::AvgPool { window, count_padding } => Operation::AvgPool { window, count_padding },
        Operation::Concat => Operation::Concat,
        Operation::GlobalAvgPool => Operation::GlobalAvgPool,
    };
    Step { name: step.name, operation, inputs: step.inputs, shape: step.shape }
}

/// The state while nodes become steps.
struct Fusion<'a> {
    graph: &'a Graph,
    parameters: &'a Parameters<'a>,
    steps: Vec<Step<f64>>,
    /// The step whose value a node's is.
    step_of: Vec<StepId>,
    /// How many nodes read each node.
    readers: Vec<usize>,
}

impl<'a> Fusion<'a> {
    fn new(graph: &'a Graph, parameters: &'a Parameters<'a>) -> Self {
        let mut readers = vec![0; graph.nodes.len()];
        for &id in graph.nodes.iter().flat_map(|node| &node.inputs) {
            readers[id] += 1;
        }
        Self { graph, parameters, steps: Vec::new(), step_of: Vec::new(), readers }
    }

    /// The step whose value node `id` is: a new one, or an earlier convolution that has taken it in.
    fn node(&mut self, id: NodeId) -> Result<StepId, NnError> {
        let graph = self.graph;
        let node = &graph.nodes[id];
        let operation = match node.op {
            Op::Input => Operation::Preprocess(graph.variant.preprocessing.affine()),
            Op::Conv2d { window, bias, .. } => Operation::Convolution(self.convolution(id, window, bias)?),
            Op::Dense { .. } => {
                let window = Window { kernel: [1, 1], stride: 1, padding: Padding::VALID };
                Operation::Convolution(self.convolution(id, window, true)?)
            }
            Op::BatchNorm { epsilon } => return self.fold_batch_norm(id, epsilon),
            Op::ScaledAdd { scale } => return self.fuse_add(id, scale),
            Op::Relu => {
                let (step, convolution) = self.open_convolution(id, 0)?;
                convolution.relu = true;
                return Ok(step);
            }
            Op::MaxPool(window) => Operation::MaxPool(window),
            Op::AvgPool { window, count_padding } => Operation::AvgPool { window, count_padding },
            Op::Concat => Operation::Concat,
            Op::GlobalAvgPool => Operation::GlobalAvgPool,
        };
        let inputs = node.inputs.iter().map(|&input| self.step_of[input]).collect();
        self.steps.push(Step { name: node.name.clone(), operation, inputs, shape: node.shape });
        Ok(self.steps.len() - 1)
    }

    fn convolution(&self, id: NodeId, window: Window, biased: bool) -> Result<Convolution<f64>, NnError> {
        let node = &self.graph.nodes[id];
        let (inputs, filters) = (self.graph.nodes[node.inputs[0]].shape[2], node.shape[2]);
        let size = window.kernel[0] * window.kernel[1] * inputs * filters;
        let kernel = self.parameter(id, "kernel", size, None)?;
        // A missing bias is nought where batch norm follows; `Graph::parameters` says which those are.
        let default = self.graph.bias_default(node).map(f64::from);
        let bias = if biased { self.parameter(id, "bias", filters, default)? } else { vec![0.0; filters] };
        Ok(Convolution { window, kernel, bias, residual: None, relu: false })
    }

    fn fold_batch_norm(&mut self, id: NodeId, epsilon: f64) -> Result<StepId, NnError> {
        let channels = self.graph.nodes[id].shape[2];
        let gamma = self.parameter(id, "gamma", channels, Some(1.0))?;
        let beta = self.parameter(id, "beta", channels, None)?;
        let mean = self.parameter(id, "moving_mean", channels, None)?;
        let variance = self.parameter(id, "moving_variance", channels, None)?;
        let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(gamma, v)| gamma / (v + epsilon).sqrt()).collect();
        let (step, convolution) = self.open_convolution(id, 0)?;
        scale_filters(&mut convolution.kernel, &scale);
        for (channel, bias) in convolution.bias.iter_mut().enumerate() {
            *bias = beta[channel] + (*bias - mean[channel]) * scale[channel];
        }
        Ok(step)
    }

    fn fuse_add(&mut self, id: NodeId, scale: f64) -> Result<StepId, NnError> {
        let shortcut = self.step_of[self.graph.nodes[id].inputs[0]];
        let channels = self.graph.nodes[id].shape[2];
        let (step, convolution) = self.open_convolution(id, 1)?;
        scale_filters(&mut convolution.kernel, &vec![scale; channels]);
        convolution.bias.iter_mut().for_each(|bias| *bias *= scale);
        convolution.residual = Some(shortcut);
        // The value that is added must be there when the convolution runs.
        if shortcut < step { Ok(step) } else { Err(self.unfusable(id)) }
    }

    /// The convolution that input `index` of node `id` is, if nothing else reads it and no ReLU or add closed it.
    fn open_convolution(&mut self, id: NodeId, index: usize) -> Result<(StepId, &mut Convolution<f64>), NnError> {
        let input = self.graph.nodes[id].inputs[index];
        let failure = self.unfusable(id);
        let step = self.step_of[input];
        let relu_or_norm = !matches!(self.graph.nodes[id].op, Op::ScaledAdd { .. } | Op::BatchNorm { .. });
        match &mut self.steps[step].operation {
            Operation::Convolution(convolution)
                if self.readers[input] == 1
                    && !convolution.relu
                    && (relu_or_norm || convolution.residual.is_none()) =>
            {
                Ok((step, convolution))
            }
            _ => Err(failure),
        }
    }

    fn unfusable(&self, id: NodeId) -> NnError {
        NnError::Unfusable { layer: self.graph.nodes[id].name.clone() }
    }

    fn parameter(&self, id: NodeId, suffix: &str, size: usize, default: Option<f64>) -> Result<Vec<f64>, NnError> {
        let name = format!("{}/{suffix}", self.graph.nodes[id].name);
        match ((self.parameters)(&name), default) {
            (Some(values), _) if values.len() == size => Ok(values.into_iter().map(f64::from).collect()),
            (None, Some(value)) => Ok(vec![value; size]),
            (values, _) => Err(NnError::Parameter { name, expected: size, given: values.map(|values| values.len()) }),
        }
    }
}

/// Multiplies each filter of a kernel `[..., out]` by its factor.
fn scale_filters(kernel: &mut [f64], scale: &[f64]) {
    for row in kernel.chunks_exact_mut(scale.len()) {
        row.iter_mut().zip(scale).for_each(|(weight, scale)| *weight *= scale);
    }
}

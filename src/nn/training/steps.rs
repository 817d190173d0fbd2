//! A [`Graph`] comes in; what a training pass runs goes out: steps and the tensors that they read.
//!
//! A convolution takes in all that follows it and is read by nothing else: batch norm (which stays what it is here), a
//! scaled sum, ReLU. A dense layer is a convolution of a 1 x 1 image.

use crate::nn::NnError;
use crate::nn::graph::{Affine, Graph, NodeId, Op, Padding, Window};
use crate::nn::plan::StepId;

/// The place of a tensor among [`Graph::parameters`].
pub type TensorId = usize;

/// Batch norm behind a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    pub epsilon: f64,
    pub gamma: TensorId,
    pub beta: TensorId,
    pub mean: TensorId,
    pub variance: TensorId,
}

/// `relu(residual + scale * norm(conv(x)))`.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    pub window: Window,
    pub kernel: TensorId,
    pub bias: Option<TensorId>,
    pub norm: Option<Norm>,
    pub scale: f64,
    pub residual: Option<StepId>,
    pub relu: bool,
}

impl Convolution {
    /// Whether its products are its value.
    pub fn is_plain(&self) -> bool {
        self.norm.is_none() && self.residual.is_none() && !self.relu
    }
}

/// What a step computes.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Preprocess(Affine),
    Convolution(Convolution),
    MaxPool(Window),
    AvgPool { window: Window, count_padding: bool },
    Concat,
    GlobalAvgPool,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub operation: Operation,
    pub inputs: Vec<StepId>,
    pub shape: [usize; 3],
}

/// The steps of a graph; an error names a layer that follows no convolution that it could be a part of.
pub fn steps(graph: &Graph) -> Result<Vec<Step>, NnError> {
    let mut fusion = Fusion { graph, steps: Vec::new(), step_of: Vec::new(), readers: vec![0; graph.nodes.len()] };
    for &input in graph.nodes.iter().flat_map(|node| &node.inputs) {
        fusion.readers[input] += 1;
    }
    let names: Vec<String> = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
    let tensor = |id: NodeId, suffix: &str| {
        let name = format!("{}/{suffix}", graph.nodes[id].name);
        names.iter().position(|other| *other == name).ok_or(NnError::Parameter { name, expected: 0, given: None })
    };
    for id in 0..graph.nodes.len() {
        let step = fusion.node(id, &tensor)?;
        fusion.step_of.push(step);
    }
    Ok(fusion.steps)
}

/// The state while nodes become steps.
struct Fusion<'a> {
    graph: &'a Graph,
    steps: Vec<Step>,
    /// The step whose value a node's is.
    step_of: Vec<StepId>,
    /// How many nodes read each node.
    readers: Vec<usize>,
}

impl Fusion<'_> {
    /// The step whose value node `id` is: a new one, or an earlier convolution that has taken it in.
    fn node(
        &mut self,
        id: NodeId,
        tensor: &dyn Fn(NodeId, &str) -> Result<TensorId, NnError>,
    ) -> Result<StepId, NnError> {
        let node = &self.graph.nodes[id];
        let convolution = |window: Window, bias: bool| -> Result<Operation, NnError> {
            let bias = if bias { Some(tensor(id, "bias")?) } else { None };
            let (kernel, norm, scale, residual, relu) = (tensor(id, "kernel")?, None, 1.0, None, false);
            Ok(Operation::Convolution(Convolution { window, kernel, bias, norm, scale, residual, relu }))
        };
        let operation = match node.op {
            Op::Input => Operation::Preprocess(self.graph.variant.preprocessing.affine()),
            Op::Conv2d { window, bias, .. } => convolution(window, bias)?,
            Op::Dense { .. } => convolution(Window { kernel: [1, 1], stride: 1, padding: Padding::VALID }, true)?,
            Op::BatchNorm { epsilon } => {
                let norm = Norm {
                    epsilon,
                    gamma: tensor(id, "gamma")?,
                    beta: tensor(id, "beta")?,
                    mean: tensor(id, "moving_mean")?,
                    variance: tensor(id, "moving_variance")?,
                };
                return self.take_in(
                    id,
                    0,
                    |open| open.norm.is_none() && open.residual.is_none(),
                    |open| {
                        open.norm = Some(norm);
                    },
                );
            }
            Op::ScaledAdd { scale } => {
                let shortcut = self.step_of[node.inputs[0]];
                let step = self.take_in(
                    id,
                    1,
                    |open| open.residual.is_none(),
                    |open| {
                        open.residual = Some(shortcut);
                        open.scale = scale;
                    },
                )?;
                // The value that is added must be there when the convolution runs.
                return if shortcut < step { Ok(step) } else { Err(self.alone(id)) };
            }
            Op::Relu => return self.take_in(id, 0, |_| true, |open| open.relu = true),
            Op::MaxPool(window) => Operation::MaxPool(window),
            Op::AvgPool { window, count_padding } => Operation::AvgPool { window, count_padding },
            Op::Concat => Operation::Concat,
            Op::GlobalAvgPool => Operation::GlobalAvgPool,
        };
        let inputs = node.inputs.iter().map(|&input| self.step_of[input]).collect();
        self.steps.push(Step { name: node.name.clone(), operation, inputs, shape: node.shape });
        Ok(self.steps.len() - 1)
    }

    /// Changes the convolution that input `index` of node `id` is, if nothing else reads it and it is open to that.
    fn take_in(
        &mut self,
        id: NodeId,
        index: usize,
        is_open: impl Fn(&Convolution) -> bool,
        change: impl FnOnce(&mut Convolution),
    ) -> Result<StepId, NnError> {
        let failure = self.alone(id);
        let input = self.graph.nodes[id].inputs[index];
        let step = self.step_of[input];
        match &mut self.steps[step].operation {
            Operation::Convolution(open) if self.readers[input] == 1 && !open.relu && is_open(open) => {
                change(open);
                Ok(step)
            }
            _ => Err(failure),
        }
    }

    fn alone(&self, id: NodeId) -> NnError {
        NnError::Unfusable { layer: self.graph.nodes[id].name.clone() }
    }
}

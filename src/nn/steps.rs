//! A [`Graph`] comes in; the steps that run go out, whether weights are frozen or trained.
//!
//! A convolution takes in all that follows it and is read by nothing else: batch norm, a scaled sum, ReLU. A dense layer is a
//! convolution of a 1 x 1 image, preprocessing an affine step at the head (padding is 0 after it). Steps stand in topological order
//! and each makes one value, named by the step's place. [`super::plan`] folds batch norm and scales into the weights,
//! [`super::training`] keeps them.

use super::NnError;
use super::graph::{Affine, Graph, NodeId, Op, Padding, Window};

/// The place of a step among the others, and so the name of its value.
pub type StepId = usize;

/// The place of a tensor among [`Graph::parameters`].
pub type TensorId = usize;

/// What a step computes; `C` is what a convolution is.
#[derive(Clone, Copy, Debug)]
pub enum Operation<C> {
    /// From the image, RGB in [0, 1].
    Preprocess(Affine),
    /// From one value (and the residual).
    Convolution(C),
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

/// One step.
#[derive(Clone, Debug)]
pub struct Step<C> {
    /// The name of the graph's layer it began with.
    pub name: String,
    /// What it computes.
    pub operation: Operation<C>,
    /// The values it is computed from, all earlier; a residual is the convolution's and does not stand here.
    pub inputs: Vec<StepId>,
    /// Height, width and channels of its value.
    pub shape: [usize; 3],
}

/// What a convolution has taken in, as far as placing values in memory goes.
pub trait Fused {
    /// A value of the output's shape that is added before the ReLU.
    fn residual(&self) -> Option<StepId>;
    /// Whether negative values become 0.
    fn relu(&self) -> bool;
}

impl<C: Fused> Step<C> {
    /// What is added to a convolution.
    pub fn residual(&self) -> Option<StepId> {
        if let Operation::Convolution(convolution) = &self.operation { convolution.residual() } else { None }
    }

    /// Whether it is a convolution that ends in a ReLU.
    pub fn has_relu(&self) -> bool {
        matches!(&self.operation, Operation::Convolution(convolution) if convolution.relu())
    }
}

impl<C> Step<C> {
    /// Whether its inputs are its value, side by side.
    pub fn is_concat(&self) -> bool {
        matches!(self.operation, Operation::Concat)
    }

    /// The same with another convolution.
    pub fn with<D>(self, convolution: impl FnOnce(C) -> Result<D, NnError>) -> Result<Step<D>, NnError> {
        let operation = match self.operation {
            Operation::Convolution(of) => Operation::Convolution(convolution(of)?),
            Operation::Preprocess(affine) => Operation::Preprocess(affine),
            Operation::MaxPool(window) => Operation::MaxPool(window),
            Operation::AvgPool { window, count_padding } => Operation::AvgPool { window, count_padding },
            Operation::Concat => Operation::Concat,
            Operation::GlobalAvgPool => Operation::GlobalAvgPool,
        };
        Ok(Step { name: self.name, operation, inputs: self.inputs, shape: self.shape })
    }
}

/// Batch norm behind a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// What is added to the variance.
    pub epsilon: f64,
    /// `[channels]`, as are the others.
    pub gamma: TensorId,
    /// What is added in the end.
    pub beta: TensorId,
    /// The moving mean.
    pub mean: TensorId,
    /// The moving variance.
    pub variance: TensorId,
}

/// `relu(residual + scale * norm(conv(x)))`, by tensors that stand elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Where the kernel goes.
    pub window: Window,
    /// `[height, width, in, out]`.
    pub kernel: TensorId,
    /// `[out]`, before the norm.
    pub bias: Option<TensorId>,
    /// Batch norm.
    pub norm: Option<Norm>,
    /// Before the sum with a residual; else 1.
    pub scale: f64,
    /// What is added.
    pub residual: Option<StepId>,
    /// Whether negative values become 0.
    pub relu: bool,
}

impl Fused for Convolution {
    fn residual(&self) -> Option<StepId> {
        self.residual
    }

    fn relu(&self) -> bool {
        self.relu
    }
}

impl Convolution {
    /// Whether its products are its value.
    pub fn is_plain(&self) -> bool {
        self.norm.is_none() && self.residual.is_none() && !self.relu
    }
}

/// The steps of a graph and, for each of its nodes, the step whose value that is.
pub struct Steps {
    /// In topological order.
    pub steps: Vec<Step<Convolution>>,
    /// By node.
    pub of_node: Vec<StepId>,
}

/// An error names a layer that follows no convolution that it could be a part of.
pub fn steps(graph: &Graph) -> Result<Steps, NnError> {
    let names = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
    let mut fusion =
        Fusion { graph, names, steps: Vec::new(), step_of: Vec::new(), readers: vec![0; graph.nodes.len()] };
    for &input in graph.nodes.iter().flat_map(|node| &node.inputs) {
        fusion.readers[input] += 1;
    }
    for id in 0..graph.nodes.len() {
        let step = fusion.node(id)?;
        fusion.step_of.push(step);
    }
    Ok(Steps { steps: fusion.steps, of_node: fusion.step_of })
}

/// The state while nodes become steps.
struct Fusion<'a> {
    graph: &'a Graph,
    /// Of all parameters.
    names: Vec<String>,
    steps: Vec<Step<Convolution>>,
    /// The step whose value a node's is.
    step_of: Vec<StepId>,
    /// How many nodes read each node.
    readers: Vec<usize>,
}

impl Fusion<'_> {
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
            Op::BatchNorm { epsilon } => {
                let norm = self.norm(id, epsilon)?;
                let is_open = |open: &Convolution| open.norm.is_none() && open.residual.is_none();
                return self.take_in(id, 0, is_open, |open| open.norm = Some(norm));
            }
            Op::ScaledAdd { scale } => return self.add(id, scale),
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

    fn convolution(&self, id: NodeId, window: Window, biased: bool) -> Result<Convolution, NnError> {
        let bias = if biased { Some(self.tensor(id, "bias")?) } else { None };
        let kernel = self.tensor(id, "kernel")?;
        Ok(Convolution { window, kernel, bias, norm: None, scale: 1.0, residual: None, relu: false })
    }

    fn norm(&self, id: NodeId, epsilon: f64) -> Result<Norm, NnError> {
        Ok(Norm {
            epsilon,
            gamma: self.tensor(id, "gamma")?,
            beta: self.tensor(id, "beta")?,
            mean: self.tensor(id, "moving_mean")?,
            variance: self.tensor(id, "moving_variance")?,
        })
    }

    fn tensor(&self, id: NodeId, suffix: &str) -> Result<TensorId, NnError> {
        let name = format!("{}/{suffix}", self.graph.nodes[id].name);
        let place = self.names.iter().position(|other| *other == name);
        place.ok_or(NnError::Parameter { name, expected: 0, given: None })
    }

    fn add(&mut self, id: NodeId, scale: f64) -> Result<StepId, NnError> {
        let shortcut = self.step_of[self.graph.nodes[id].inputs[0]];
        let change = |open: &mut Convolution| {
            open.residual = Some(shortcut);
            open.scale = scale;
        };
        let step = self.take_in(id, 1, |open| open.residual.is_none(), change)?;
        // The value that is added must be there when the convolution runs.
        if shortcut < step { Ok(step) } else { Err(self.alone(id)) }
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

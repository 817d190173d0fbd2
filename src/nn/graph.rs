//! A topology as plain data. A [`Builder`] comes in from `topology/`; a [`Graph`] with every shape inferred goes out.
//!
//! Nodes stand in topological order, each after its inputs. Layer names are those of `keras.applications`: they are the
//! interface to weights. What differs by the source of the weights is a [`Variant`], never a guess.

use serde::{Deserialize, Serialize};

use super::{Network, NnError};

/// The smallest side, in pixels, that every topology accepts (as `keras.applications` has it for the Inceptions).
pub const MIN_SIDE: usize = 75;

/// The place of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// Rows and columns added around an image before a window slides over it.
///
/// Convolutions see zeros there; a max pool sees nothing; an average pool sees zeros that it counts or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns at the left.
    pub left: usize,
    /// Columns at the right.
    pub right: usize,
}

impl Padding {
    /// None at all: `VALID`.
    pub const VALID: Self = Self { top: 0, bottom: 0, left: 0, right: 0 };

    /// The same on all four sides.
    pub fn uniform(side: usize) -> Self {
        Self { top: side, bottom: side, left: side, right: side }
    }

    /// `SAME` as `TensorFlow` has it: `ceil(size / stride)` outputs, the odd row or column at the bottom and the right.
    pub fn same(size: [usize; 2], kernel: [usize; 2], stride: usize) -> Self {
        let total = |size: usize, kernel: usize| ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
        let (rows, columns) = (total(size[0], kernel[0]), total(size[1], kernel[1]));
        Self { top: rows / 2, bottom: rows - rows / 2, left: columns / 2, right: columns - columns / 2 }
    }
}

/// A window that slides over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// The step in both directions.
    pub stride: usize,
    /// What is added around the image.
    pub padding: Padding,
}

impl Window {
    /// Height and width of what comes out, `None` where the window does not fit.
    pub fn output(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let Padding { top, bottom, left, right } = self.padding;
        let fit = |padded: usize, kernel: usize| Some(padded.checked_sub(kernel)? / self.stride + 1);
        Some([fit(size[0] + top + bottom, self.kernel[0])?, fit(size[1] + left + right, self.kernel[1])?])
    }
}

/// What a node computes. Images are `[height, width, channels]` (channels last).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Op {
    /// The image after preprocessing, three channels.
    Input,
    /// Cross-correlation with a kernel `[height, width, in, filters]`.
    Conv2d {
        /// Where the kernel goes.
        window: Window,
        /// Channels of the output.
        filters: usize,
        /// Whether a bias per filter is added.
        bias: bool,
    },
    /// `gamma (x - mean) / sqrt(variance + epsilon) + beta` per channel, with frozen statistics or, in training, the batch's.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// `max(x, 0)`.
    Relu,
    /// The largest value of a window; padding never wins.
    MaxPool(Window),
    /// The mean of a window.
    AvgPool {
        /// Where the window goes.
        window: Window,
        /// Whether padding counts among the values that are averaged.
        count_padding: bool,
    },
    /// Inputs of equal size side by side along the channels.
    Concat,
    /// `first + scale * second`.
    ScaledAdd {
        /// The factor of the second input (0.17, 0.1, 0.2 in Inception-ResNet-v2; 1 in residual networks).
        scale: f64,
    },
    /// The mean over height and width: `[1, 1, channels]`.
    GlobalAvgPool,
    /// A matrix `[in, units]` and a bias.
    Dense {
        /// Number of outputs.
        units: usize,
    },
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// The canonical name; parameters are called `name/kernel` and so on.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it computes it from, all earlier in the list.
    pub inputs: Vec<NodeId>,
    /// Height, width and channels of what comes out.
    pub shape: [usize; 3],
}

/// On which convolution of a bottleneck the stride of two lies; the shapes of the weights do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BottleneckStride {
    /// On the first 1x1: Keras, the original paper ("v1").
    First1x1,
    /// On the 3x3: torchvision, timm, candle-transformers ("v1.5").
    Middle3x3,
}

/// The kind of the pool branch in the last block of Inception-v3 (`mixed10`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mixed10Pool {
    /// `keras.applications`, torchvision.
    Average,
    /// The graph that `TensorFlow` published on 2015-12-05.
    Max,
}

/// Whether batch norm is a layer or already part of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorm {
    /// `gamma`, `beta`, `moving_mean` and `moving_variance` are there.
    Present,
    /// Every convolution has a bias instead.
    Folded,
}

/// The affine step from RGB in [0, 1] to what the first convolution expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preprocessing {
    /// BGR, 0 to 255, mean of `ImageNet` taken off: `keras.applications.resnet`.
    Caffe,
    /// [-1, 1]: `keras.applications.inception_v3` and `inception_resnet_v2`.
    SignedUnit,
    /// Mean and standard deviation of `ImageNet`: torchvision.
    Torch,
    /// `(x - 128) / 128` of x in 0 to 255: the graph of 2015-12-05.
    Centred128,
}

/// `output[c] = scale[c] * rgb[source[c]] + offset[c]` for RGB in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Affine {
    /// Which of R, G, B each channel comes from.
    pub source: [usize; 3],
    /// The factor.
    pub scale: [f64; 3],
    /// The summand.
    pub offset: [f64; 3],
}

impl Preprocessing {
    /// The step in numbers.
    pub fn affine(self) -> Affine {
        let rgb = [0, 1, 2];
        match self {
            Self::Caffe => Affine { source: [2, 1, 0], scale: [255.0; 3], offset: [-103.939, -116.779, -123.68] },
            Self::SignedUnit => Affine { source: rgb, scale: [2.0; 3], offset: [-1.0; 3] },
            Self::Torch => {
                let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
                let each = |f: fn(f64, f64) -> f64| std::array::from_fn(|c| f(mean[c], deviation[c]));
                Affine { source: rgb, scale: each(|_, s| 1.0 / s), offset: each(|m, s| -m / s) }
            }
            Self::Centred128 => Affine { source: rgb, scale: [255.0 / 128.0; 3], offset: [-1.0; 3] },
        }
    }
}

/// All that differs by the source of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Where a bottleneck strides; of ResNet-50 alone.
    pub bottleneck_stride: BottleneckStride,
    /// Whether average pools count padding; of the Inceptions alone.
    pub average_counts_padding: bool,
    /// The pool of `mixed10`; of Inception-v3 alone.
    pub mixed10_pool: Mixed10Pool,
    /// Added to the variance in batch norm.
    pub epsilon: f64,
    /// Whether batch norm is a layer.
    pub batch_norm: BatchNorm,
    /// The step before the first convolution.
    pub preprocessing: Preprocessing,
    /// Number of classes; `None` ends the graph at the pooled features, which then stand in the logits' place.
    pub head: Option<usize>,
}

impl Variant {
    /// As `keras.applications` has it.
    pub fn keras(network: Network, head: Option<usize>) -> Self {
        let resnet = network == Network::ResNet50;
        Self {
            bottleneck_stride: BottleneckStride::First1x1,
            average_counts_padding: false,
            mixed10_pool: Mixed10Pool::Average,
            epsilon: if resnet { 1.001e-5 } else { 1e-3 },
            batch_norm: BatchNorm::Present,
            preprocessing: if resnet { Preprocessing::Caffe } else { Preprocessing::SignedUnit },
            head,
        }
    }

    /// As torchvision has it (ResNet-50 and Inception-v3; there is no Inception-ResNet-v2 in torchvision, and timm's is
    /// that of Keras but for the preprocessing, which each timm checkpoint names).
    pub fn torchvision(network: Network, head: Option<usize>) -> Self {
        Self {
            bottleneck_stride: BottleneckStride::Middle3x3,
            average_counts_padding: network == Network::InceptionV3,
            epsilon: if network == Network::ResNet50 { 1e-5 } else { 1e-3 },
            preprocessing: Preprocessing::Torch,
            ..Self::keras(network, head)
        }
    }

    /// Inception-v3 as `TensorFlow` published it on 2015-12-05, batch norm folded.
    pub fn tensorflow_2015(head: Option<usize>) -> Self {
        Self {
            mixed10_pool: Mixed10Pool::Max,
            batch_norm: BatchNorm::Folded,
            preprocessing: Preprocessing::Centred128,
            ..Self::keras(Network::InceptionV3, head)
        }
    }
}

/// A tensor that a graph expects.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `layer/kernel`, `layer/bias`, `layer/gamma`, `layer/beta`, `layer/moving_mean`, `layer/moving_variance`.
    pub name: String,
    /// Kernels `[height, width, in, out]`, dense `[in, out]`, all others `[channels]`.
    pub shape: Vec<usize>,
    /// What all its values are where the source does not have it: a bias before a batch norm (0; torchvision has none)
    /// and a gamma (1; the Inceptions of Keras have none). `None`: it must be there.
    pub default: Option<f32>,
}

/// A topology with inferred shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Which network.
    pub network: Network,
    /// Which source.
    pub variant: Variant,
    /// Pixels of a side of the input.
    pub side: usize,
    /// The layers in topological order; the first is the input, the last gives the logits (or the pooled features).
    pub nodes: Vec<Node>,
    /// The output of the last convolutional block (Grad-CAM).
    pub features: NodeId,
}

impl Graph {
    /// The topology of `network` for images of `side` x `side`; an error below [`MIN_SIDE`].
    pub fn new(network: Network, variant: &Variant, side: usize) -> Result<Self, NnError> {
        super::topology::build(network, variant, side)
    }

    /// Number of values of the last node: logits, or features where there is no head.
    pub fn classes(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.shape[2])
    }

    /// Every tensor that must or may be there, in the order of the layers.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = Vec::new();
        for node in &self.nodes {
            let channels = |index: usize| node.inputs.get(index).map_or(0, |&id| self.nodes[id].shape[2]);
            let mut add = |suffix: &str, shape: Vec<usize>, default: Option<f32>| {
                list.push(Parameter { name: format!("{}/{suffix}", node.name), shape, default });
            };
            match node.op {
                Op::Conv2d { window, filters, bias } => {
                    add("kernel", vec![window.kernel[0], window.kernel[1], channels(0), filters], None);
                    if bias {
                        add("bias", vec![filters], self.bias_default(node));
                    }
                }
                Op::BatchNorm { .. } => {
                    let shape = vec![channels(0)];
                    add("gamma", shape.clone(), Some(1.0));
                    add("beta", shape.clone(), None);
                    add("moving_mean", shape.clone(), None);
                    add("moving_variance", shape, None);
                }
                Op::Dense { units } => {
                    add("kernel", vec![channels(0), units], None);
                    add("bias", vec![units], None);
                }
                _ => {}
            }
        }
        list
    }

    /// A bias that batch norm follows may be missing; one that stands alone may not.
    pub(super) fn bias_default(&self, convolution: &Node) -> Option<f32> {
        let normalised = self.nodes.iter().any(|node| {
            matches!(node.op, Op::BatchNorm { .. })
                && node.inputs.iter().any(|&id| self.nodes[id].name == convolution.name)
        });
        normalised.then_some(0.0)
    }
}

/// Adds one layer after another and infers shapes; the first failure is kept and told by [`Builder::finish`].
pub struct Builder<'a> {
    variant: &'a Variant,
    nodes: Vec<Node>,
    failure: Option<NnError>,
}

impl<'a> Builder<'a> {
    /// A graph that has an input of `side` x `side` x 3 and nothing else; node 0 is that input.
    pub fn new(variant: &'a Variant, side: usize) -> Self {
        let input = Node { name: "input".into(), op: Op::Input, inputs: Vec::new(), shape: [side, side, 3] };
        Self { variant, nodes: vec![input], failure: None }
    }

    /// Which source the graph is for.
    pub fn variant(&self) -> &'a Variant {
        self.variant
    }

    /// Height, width, channels of a node.
    pub fn shape(&self, id: NodeId) -> [usize; 3] {
        self.nodes[id].shape
    }

    /// `SAME` padding for a window over `x`.
    pub fn same(&self, x: NodeId, kernel: [usize; 2], stride: usize) -> Window {
        let [height, width, _] = self.shape(x);
        Window { kernel, stride, padding: Padding::same([height, width], kernel, stride) }
    }

    /// Adds a layer.
    pub fn add(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        let name = name.into();
        let shape = self.infer(&op, inputs).unwrap_or_else(|| {
            let given = inputs.iter().map(|&id| self.shape(id)).collect();
            self.failure.get_or_insert(NnError::Topology { layer: name.clone(), given });
            [1, 1, 1]
        });
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), shape });
        self.nodes.len() - 1
    }

    /// The graph, or the first layer that did not fit.
    pub fn finish(self, network: Network, features: NodeId) -> Result<Graph, NnError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let side = self.nodes[0].shape[0];
        Ok(Graph { network, variant: self.variant.clone(), side, nodes: self.nodes, features })
    }

    fn infer(&self, op: &Op, inputs: &[NodeId]) -> Option<[usize; 3]> {
        let shape @ [height, width, channels] = self.shape(*inputs.first()?);
        let slide = |window: &Window, channels| {
            let [height, width] = window.output([height, width])?;
            Some([height, width, channels])
        };
        let equal = |parts: usize| inputs.iter().all(|&id| self.shape(id)[..parts] == shape[..parts]);
        match op {
            Op::Input => None,
            Op::Conv2d { window, filters, .. } => slide(window, *filters),
            Op::MaxPool(window) | Op::AvgPool { window, .. } => slide(window, channels),
            Op::BatchNorm { .. } | Op::Relu => Some(shape),
            Op::Concat => equal(2).then(|| [height, width, inputs.iter().map(|&id| self.shape(id)[2]).sum()]),
            Op::ScaledAdd { .. } => (inputs.len() == 2 && equal(3)).then_some(shape),
            Op::GlobalAvgPool => Some([1, 1, channels]),
            Op::Dense { units } => (height == 1 && width == 1).then_some([1, 1, *units]),
        }
    }
}

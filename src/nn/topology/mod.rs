//! A network's name and variant come in; its [`Graph`] goes out. One file a network, as `keras.applications` builds it.
//!
//! Layers that Keras leaves unnamed are called `conv2d_1 ...`, `batch_normalization_1 ...` in the order of creation.

mod inception_resnet_v2;
mod inception_v3;
mod resnet50;

use super::graph::{BatchNorm, Builder, Graph, MIN_SIDE, NodeId, Op, Padding, Variant, Window};
use super::{Network, NnError};

/// The topology of `network` for images of `side` x `side`.
pub fn build(network: Network, variant: &Variant, side: usize) -> Result<Graph, NnError> {
    if side < MIN_SIDE {
        return Err(NnError::Side { side, least: MIN_SIDE });
    }
    match network {
        Network::ResNet50 => resnet50::build(variant, side),
        Network::InceptionV3 => inception_v3::build(variant, side),
        Network::InceptionResNetV2 => inception_resnet_v2::build(variant, side),
    }
}

/// Pooled features and, where the variant has classes, the dense head `predictions`.
fn head(graph: &mut Builder, features: NodeId) {
    let pooled = graph.add("avg_pool", Op::GlobalAvgPool, &[features]);
    if let Some(units) = graph.variant().head {
        graph.add("predictions", Op::Dense { units }, &[pooled]);
    }
}

/// The names of one convolution with its batch norm.
struct Names {
    convolution: String,
    batch_norm: String,
    relu: String,
}

/// A convolution, its batch norm unless it is folded, and a ReLU where asked. `biased`: whether the convolution has a
/// bias although batch norm follows, as in the residual networks of Keras.
fn convolution(
    graph: &mut Builder,
    x: NodeId,
    (filters, window): (usize, Window),
    names: &Names,
    (biased, relu): (bool, bool),
) -> NodeId {
    let folded = graph.variant().batch_norm == BatchNorm::Folded;
    let mut x = graph.add(&names.convolution, Op::Conv2d { window, filters, bias: biased || folded }, &[x]);
    if !folded {
        let epsilon = graph.variant().epsilon;
        x = graph.add(&names.batch_norm, Op::BatchNorm { epsilon }, &[x]);
    }
    if relu { graph.add(&names.relu, Op::Relu, &[x]) } else { x }
}

/// How an Inception convolution is padded.
#[derive(Clone, Copy)]
enum Pad {
    Same,
    Valid,
}

/// Builds an Inception: counts the layers that Keras leaves unnamed.
struct Inception<'a> {
    graph: Builder<'a>,
    convolutions: usize,
    pools: usize,
    concats: usize,
}

impl<'a> Inception<'a> {
    fn new(variant: &'a Variant, side: usize) -> Self {
        Self { graph: Builder::new(variant, side), convolutions: 0, pools: 0, concats: 0 }
    }

    /// Convolution without bias, batch norm, ReLU: `conv2d_N`, `batch_normalization_N`.
    fn conv(&mut self, x: NodeId, filters: usize, kernel: [usize; 2], stride: usize, pad: Pad) -> NodeId {
        self.convolutions += 1;
        let n = self.convolutions;
        let names = Names {
            convolution: format!("conv2d_{n}"),
            batch_norm: format!("batch_normalization_{n}"),
            relu: format!("activation_{n}"),
        };
        let window = match pad {
            Pad::Same => self.graph.same(x, kernel, stride),
            Pad::Valid => Window { kernel, stride, padding: Padding::VALID },
        };
        convolution(&mut self.graph, x, (filters, window), &names, (false, true))
    }

    /// A chain of convolutions with stride 1 and `SAME` padding: `(filters, kernel)` each.
    fn chain(&mut self, x: NodeId, links: &[(usize, [usize; 2])]) -> NodeId {
        links.iter().fold(x, |x, &(filters, kernel)| self.conv(x, filters, kernel, 1, Pad::Same))
    }

    /// The last convolution of a reduction: 3x3, stride 2, no padding.
    fn reduce(&mut self, x: NodeId, filters: usize) -> NodeId {
        self.conv(x, filters, [3, 3], 2, Pad::Valid)
    }

    /// 3x3 max pool of stride 2, no padding.
    fn max_pool(&mut self, x: NodeId) -> NodeId {
        self.pools += 1;
        let window = Window { kernel: [3, 3], stride: 2, padding: Padding::VALID };
        self.graph.add(format!("max_pooling2d_{}", self.pools), Op::MaxPool(window), &[x])
    }

    /// 3x3 average pool of stride 1, `SAME`, then a 1x1 convolution.
    fn average_branch(&mut self, x: NodeId, filters: usize) -> NodeId {
        self.pools += 1;
        let window = self.graph.same(x, [3, 3], 1);
        let count_padding = self.graph.variant().average_counts_padding;
        let name = format!("average_pooling2d_{}", self.pools);
        let x = self.graph.add(name, Op::AvgPool { window, count_padding }, &[x]);
        self.chain(x, &[(filters, [1, 1])])
    }

    fn concat(&mut self, name: &str, branches: &[NodeId]) -> NodeId {
        self.graph.add(name, Op::Concat, branches)
    }

    fn concat_unnamed(&mut self, branches: &[NodeId]) -> NodeId {
        self.concats += 1;
        let name = format!("concatenate_{}", self.concats);
        self.concat(&name, branches)
    }

    /// The stem that both Inceptions share: 299 x 299 x 3 to 35 x 35 x 192.
    fn stem(&mut self) -> NodeId {
        let x = self.conv(0, 32, [3, 3], 2, Pad::Valid);
        let x = self.conv(x, 32, [3, 3], 1, Pad::Valid);
        let x = self.conv(x, 64, [3, 3], 1, Pad::Same);
        let x = self.max_pool(x);
        let x = self.conv(x, 80, [1, 1], 1, Pad::Valid);
        let x = self.conv(x, 192, [3, 3], 1, Pad::Valid);
        self.max_pool(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::SIDE;

    /// Counts as `keras.applications` prints them for 1,000 classes (`Model.count_params()`), gammas of the Inceptions
    /// left out.
    #[test]
    fn parameters_are_counted_as_in_keras() {
        let expected = [(25_636_712, 53), (23_851_784, 94), (55_873_736, 244)];
        for (network, (count, convolutions)) in Network::ALL.into_iter().zip(expected) {
            let graph = build(network, &Variant::keras(network, Some(1000)), SIDE).unwrap();
            let gammas = network == Network::ResNet50;
            let parameters = graph.parameters();
            let total: usize = parameters
                .iter()
                .filter(|p| gammas || !p.name.ends_with("/gamma"))
                .map(|p| p.shape.iter().product::<usize>())
                .sum();
            assert_eq!(total, count, "{network:?}");
            let kernels = parameters.iter().filter(|p| p.shape.len() == 4).count();
            assert_eq!(kernels, convolutions, "{network:?}");
        }
    }

    #[test]
    fn features_have_the_shapes_of_keras() {
        let expected = [[10, 10, 2048], [8, 8, 2048], [8, 8, 1536]];
        for (network, shape) in Network::ALL.into_iter().zip(expected) {
            let graph = build(network, &Variant::keras(network, None), SIDE).unwrap();
            assert_eq!(graph.nodes[graph.features].shape, shape);
            assert_eq!(graph.classes(), shape[2]);
        }
    }

    #[test]
    fn every_side_from_75_builds_and_74_is_refused() {
        for network in Network::ALL {
            let variant = Variant::keras(network, Some(5));
            for side in [75, 76, 77, 78, 128, 224, 331] {
                assert_eq!(build(network, &variant, side).unwrap().classes(), 5);
            }
            assert!(matches!(build(network, &variant, 74), Err(NnError::Side { side: 74, .. })));
        }
    }

    #[test]
    fn folded_convolutions_all_have_biases() {
        for network in Network::ALL {
            let variant = Variant { batch_norm: BatchNorm::Folded, ..Variant::keras(network, Some(5)) };
            let graph = build(network, &variant, SIDE).unwrap();
            let parameters = graph.parameters();
            assert!(parameters.iter().all(|p| p.name.ends_with("/kernel") || p.name.ends_with("/bias")));
            assert!(parameters.iter().all(|p| p.default.is_none()));
        }
    }

    #[test]
    fn the_bottleneck_stride_moves_and_the_shapes_stay() {
        let keras = Variant::keras(Network::ResNet50, Some(5));
        let torch = Variant::torchvision(Network::ResNet50, Some(5));
        let [v1, v15] = [&keras, &torch].map(|variant| build(Network::ResNet50, variant, SIDE).unwrap());
        let shape = |graph: &Graph, name: &str| {
            graph.nodes.iter().find(|node| node.name == name).map(|node| node.shape).unwrap()
        };
        assert_eq!(shape(&v1, "conv3_block1_1_conv"), [38, 38, 128]);
        assert_eq!(shape(&v15, "conv3_block1_1_conv"), [75, 75, 128]);
        assert_eq!(shape(&v15, "conv3_block1_2_conv"), [38, 38, 128]);
        assert_eq!(v1.parameters(), v15.parameters());
    }
}

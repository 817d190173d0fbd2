//! Inception-ResNet-v2 (Szegedy et al., arXiv 1602.07261) as `keras.applications.inception_resnet_v2` builds it.

use super::{Inception, Names, convolution, head};
use crate::nn::graph::{Graph, NodeId, Op, Padding, Variant, Window};
use crate::nn::{Network, NnError};

/// A residual block's branches, each a chain of `(filters, kernel)`.
type Branches = &'static [&'static [(usize, [usize; 2])]];

const BLOCK35: Branches =
    &[&[(32, [1, 1])], &[(32, [1, 1]), (32, [3, 3])], &[(32, [1, 1]), (48, [3, 3]), (64, [3, 3])]];
const BLOCK17: Branches = &[&[(192, [1, 1])], &[(128, [1, 1]), (160, [1, 7]), (192, [7, 1])]];
const BLOCK8: Branches = &[&[(192, [1, 1])], &[(192, [1, 1]), (224, [1, 3]), (256, [3, 1])]];

pub(super) fn build(variant: &Variant, side: usize) -> Result<Graph, NnError> {
    let mut net = Inception::new(variant, side);
    let x = net.stem();
    let mut x = mixed_5b(&mut net, x);
    for block in 1..=10 {
        x = residual(&mut net, x, BLOCK35, 0.17, &format!("block35_{block}"), true);
    }
    x = mixed_6a(&mut net, x);
    for block in 1..=20 {
        x = residual(&mut net, x, BLOCK17, 0.1, &format!("block17_{block}"), true);
    }
    x = mixed_7a(&mut net, x);
    for block in 1..10 {
        x = residual(&mut net, x, BLOCK8, 0.2, &format!("block8_{block}"), true);
    }
    x = residual(&mut net, x, BLOCK8, 1.0, "block8_10", false);
    let names = Names { convolution: "conv_7b".into(), batch_norm: "conv_7b_bn".into(), relu: "conv_7b_ac".into() };
    x = convolution(&mut net.graph, x, (1536, POINT), &names, (false, true));
    head(&mut net.graph, x);
    net.graph.finish(Network::InceptionResNetV2, x)
}

const POINT: Window = Window { kernel: [1, 1], stride: 1, padding: Padding::VALID };

fn mixed_5b(net: &mut Inception, x: NodeId) -> NodeId {
    let point = net.chain(x, &[(96, [1, 1])]);
    let five = net.chain(x, &[(48, [1, 1]), (64, [5, 5])]);
    let double = net.chain(x, &[(64, [1, 1]), (96, [3, 3]), (96, [3, 3])]);
    let pool = net.average_branch(x, 64);
    net.concat("mixed_5b", &[point, five, double, pool])
}

fn mixed_6a(net: &mut Inception, x: NodeId) -> NodeId {
    let three = net.reduce(x, 384);
    let double = net.chain(x, &[(256, [1, 1]), (256, [3, 3])]);
    let double = net.reduce(double, 384);
    let pool = net.max_pool(x);
    net.concat("mixed_6a", &[three, double, pool])
}

fn mixed_7a(net: &mut Inception, x: NodeId) -> NodeId {
    let first = net.chain(x, &[(256, [1, 1])]);
    let first = net.reduce(first, 384);
    let second = net.chain(x, &[(256, [1, 1])]);
    let second = net.reduce(second, 288);
    let third = net.chain(x, &[(256, [1, 1]), (288, [3, 3])]);
    let third = net.reduce(third, 320);
    let pool = net.max_pool(x);
    net.concat("mixed_7a", &[first, second, third, pool])
}

/// `x + scale * conv(concat(branches))`; the convolution has a bias and no batch norm. The last block has no ReLU.
fn residual(net: &mut Inception, x: NodeId, branches: Branches, scale: f64, name: &str, relu: bool) -> NodeId {
    let ends: Vec<NodeId> = branches.iter().map(|links| net.chain(x, links)).collect();
    let mixed = net.concat(&format!("{name}_mixed"), &ends);
    let filters = net.graph.shape(x)[2];
    let up = net.graph.add(format!("{name}_conv"), Op::Conv2d { window: POINT, filters, bias: true }, &[mixed]);
    let sum = net.graph.add(format!("{name}_add"), Op::ScaledAdd { scale }, &[x, up]);
    if relu { net.graph.add(format!("{name}_ac"), Op::Relu, &[sum]) } else { sum }
}

//! InceptionV3 (Szegedy et al., arXiv 1512.00567) as `keras.applications.inception_v3` builds it.

use super::{Inception, head};
use crate::nn::graph::{Graph, Mixed10Pool, NodeId, Op, Variant};
use crate::nn::{Network, NnError};

pub(super) fn build(variant: &Variant, side: usize) -> Result<Graph, NnError> {
    let mut net = Inception::new(variant, side);
    let mut x = net.stem();
    for (block, pooled) in [32, 64, 64].into_iter().enumerate() {
        x = block_35(&mut net, x, pooled, &format!("mixed{block}"));
    }
    x = reduction_17(&mut net, x);
    for (block, width) in [128, 160, 160, 192].into_iter().enumerate() {
        x = block_17(&mut net, x, width, &format!("mixed{}", 4 + block));
    }
    x = reduction_8(&mut net, x);
    for block in 0..2 {
        x = block_8(&mut net, x, block);
    }
    head(&mut net.graph, x);
    net.graph.finish(Network::InceptionV3, x)
}

fn block_35(net: &mut Inception, x: NodeId, pooled: usize, name: &str) -> NodeId {
    let point = net.chain(x, &[(64, [1, 1])]);
    let five = net.chain(x, &[(48, [1, 1]), (64, [5, 5])]);
    let double = net.chain(x, &[(64, [1, 1]), (96, [3, 3]), (96, [3, 3])]);
    let pool = net.average_branch(x, pooled);
    net.concat(name, &[point, five, double, pool])
}

fn reduction_17(net: &mut Inception, x: NodeId) -> NodeId {
    let three = net.reduce(x, 384);
    let double = net.chain(x, &[(64, [1, 1]), (96, [3, 3])]);
    let double = net.reduce(double, 96);
    let pool = net.max_pool(x);
    net.concat("mixed3", &[three, double, pool])
}

fn block_17(net: &mut Inception, x: NodeId, width: usize, name: &str) -> NodeId {
    let point = net.chain(x, &[(192, [1, 1])]);
    let seven = net.chain(x, &[(width, [1, 1]), (width, [1, 7]), (192, [7, 1])]);
    let twice = [(width, [1, 1]), (width, [7, 1]), (width, [1, 7]), (width, [7, 1]), (192, [1, 7])];
    let double = net.chain(x, &twice);
    let pool = net.average_branch(x, 192);
    net.concat(name, &[point, seven, double, pool])
}

fn reduction_8(net: &mut Inception, x: NodeId) -> NodeId {
    let three = net.chain(x, &[(192, [1, 1])]);
    let three = net.reduce(three, 320);
    let seven = net.chain(x, &[(192, [1, 1]), (192, [1, 7]), (192, [7, 1])]);
    let seven = net.reduce(seven, 192);
    let pool = net.max_pool(x);
    net.concat("mixed8", &[three, seven, pool])
}

fn block_8(net: &mut Inception, x: NodeId, block: usize) -> NodeId {
    let point = net.chain(x, &[(320, [1, 1])]);
    let three = net.chain(x, &[(384, [1, 1])]);
    let (wide, tall) = (net.chain(three, &[(384, [1, 3])]), net.chain(three, &[(384, [3, 1])]));
    let three = net.concat(&format!("mixed9_{block}"), &[wide, tall]);
    let double = net.chain(x, &[(448, [1, 1]), (384, [3, 3])]);
    let (wide, tall) = (net.chain(double, &[(384, [1, 3])]), net.chain(double, &[(384, [3, 1])]));
    let double = net.concat_unnamed(&[wide, tall]);
    let pool = if block == 1 && net.graph.variant().mixed10_pool == Mixed10Pool::Max {
        let window = net.graph.same(x, [3, 3], 1);
        let pool = net.graph.add("mixed10_max_pool", Op::MaxPool(window), &[x]);
        net.chain(pool, &[(192, [1, 1])])
    } else {
        net.average_branch(x, 192)
    };
    net.concat(&format!("mixed{}", 9 + block), &[point, three, double, pool])
}

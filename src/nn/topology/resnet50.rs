//! ResNet-50 (He et al., arXiv 1512.03385) as `keras.applications.resnet` builds it.

use super::{Names, convolution, head};
use crate::nn::graph::{BottleneckStride, Builder, Graph, NodeId, Op, Padding, Variant, Window};
use crate::nn::{Network, NnError};

/// Name, filters of a bottleneck, number of blocks, stride of the first.
const STAGES: [(&str, usize, usize, usize); 4] =
    [("conv2", 64, 3, 1), ("conv3", 128, 4, 2), ("conv4", 256, 6, 2), ("conv5", 512, 3, 2)];

pub(super) fn build(variant: &Variant, side: usize) -> Result<Graph, NnError> {
    let mut graph = Builder::new(variant, side);
    let stem = Window { kernel: [7, 7], stride: 2, padding: Padding::uniform(3) };
    let x = convolution(&mut graph, 0, (64, stem), &names("conv1", ""), (true, true));
    // Keras pads with zeros and then pools; after a ReLU that is the same as padding that never wins.
    let pool = Window { kernel: [3, 3], stride: 2, padding: Padding::uniform(1) };
    let mut x = graph.add("pool1_pool", Op::MaxPool(pool), &[x]);
    for (stage, filters, blocks, stride) in STAGES {
        for block in 1..=blocks {
            let stride = if block == 1 { stride } else { 1 };
            x = bottleneck(&mut graph, x, filters, stride, &format!("{stage}_block{block}"));
        }
    }
    head(&mut graph, x);
    graph.finish(Network::ResNet50, x)
}

/// 1x1 down, 3x3, 1x1 up, added to the shortcut; the first block of a stage projects its shortcut.
fn bottleneck(graph: &mut Builder, x: NodeId, filters: usize, stride: usize, block: &str) -> NodeId {
    let point = |stride| Window { kernel: [1, 1], stride, padding: Padding::VALID };
    let (first, middle) = match graph.variant().bottleneck_stride {
        BottleneckStride::First1x1 => (stride, 1),
        BottleneckStride::Middle3x3 => (1, stride),
    };
    let shortcut = if block.ends_with("_block1") {
        convolution(graph, x, (4 * filters, point(stride)), &names(block, "_0"), (true, false))
    } else {
        x
    };
    let spatial = Window { kernel: [3, 3], stride: middle, padding: Padding::uniform(1) };
    let x = convolution(graph, x, (filters, point(first)), &names(block, "_1"), (true, true));
    let x = convolution(graph, x, (filters, spatial), &names(block, "_2"), (true, true));
    let x = convolution(graph, x, (4 * filters, point(1)), &names(block, "_3"), (true, false));
    let sum = graph.add(format!("{block}_add"), Op::ScaledAdd { scale: 1.0 }, &[shortcut, x]);
    graph.add(format!("{block}_out"), Op::Relu, &[sum])
}

fn names(block: &str, layer: &str) -> Names {
    let name = |suffix: &str| format!("{block}{layer}_{suffix}");
    Names { convolution: name("conv"), batch_norm: name("bn"), relu: name("relu") }
}

//! A small network that has all that a training step can meet, for tests.

use crate::nn::Network;
use crate::nn::graph::{Builder, Graph, Op, Padding, Variant, Window};

/// Pixels of a side.
pub const SMALL: usize = 9;
/// Images of a batch.
pub const IMAGES: usize = 3;

/// Everything that shares memory or has a rule of its own: residuals that alias and that do not, a scaled one without batch
/// norm, a convolution that nothing follows within a concatenation, one whose parts' bits fill bytes, nested and read twice, pools,
/// a stride, a bias before a batch norm and none.
pub fn small_network(variant: &Variant) -> Graph {
    let mut graph = Builder::new(variant, SMALL);
    let window = |kernel: usize, stride: usize| Window {
        kernel: [kernel, kernel],
        stride,
        padding: Padding::uniform(kernel / 2),
    };
    let conv = |graph: &mut Builder, x: usize, name: &str, filters: usize, window: Window, (bias, norm, relu)| {
        let mut x = graph.add(name, Op::Conv2d { window, filters, bias }, &[x]);
        if norm {
            x = graph.add(format!("{name}_bn"), Op::BatchNorm { epsilon: 1e-3 }, &[x]);
        }
        if relu { graph.add(format!("{name}_relu"), Op::Relu, &[x]) } else { x }
    };
    let add = |graph: &mut Builder, name: &str, scale: f64, inputs: [usize; 2]| {
        let sum = graph.add(name, Op::ScaledAdd { scale }, &inputs);
        graph.add(format!("{name}_relu"), Op::Relu, &[sum])
    };
    let x = conv(&mut graph, 0, "a", 6, window(3, 1), (true, true, true));
    let y = conv(&mut graph, x, "b", 9, window(1, 1), (true, true, true));
    let y = conv(&mut graph, y, "c", 6, window(3, 1), (true, true, false));
    let x = add(&mut graph, "first", 1.0, [x, y]);
    let p = conv(&mut graph, x, "d", 5, window(1, 1), (false, true, true));
    let q = conv(&mut graph, x, "e", 4, window(3, 1), (true, false, false));
    let m = graph.add("max", Op::MaxPool(window(3, 1)), &[x]);
    let v = graph.add("average", Op::AvgPool { window: window(3, 1), count_padding: false }, &[x]);
    let mixed = graph.add("mixed", Op::Concat, &[p, q, m, v]);
    let up = conv(&mut graph, mixed, "f", 6, window(1, 1), (true, false, false));
    let x = add(&mut graph, "second", 0.3, [x, up]);
    let p = conv(&mut graph, x, "h", 8, window(1, 1), (false, true, true));
    let q = conv(&mut graph, x, "i", 8, window(3, 1), (true, true, false));
    let nested = graph.add("nested", Op::Concat, &[q, p]);
    let p = conv(&mut graph, x, "j", 16, window(1, 1), (false, true, true));
    let x = graph.add("bytes", Op::Concat, &[p, nested]);
    let shortcut = conv(&mut graph, x, "g", 8, window(3, 2), (false, true, true));
    let y = conv(&mut graph, x, "k", 8, window(3, 2), (false, true, false));
    let x = add(&mut graph, "third", 1.0, [shortcut, y]);
    let pooled = graph.add("pooled", Op::GlobalAvgPool, &[x]);
    graph.add("logits", Op::Dense { units: 3 }, &[pooled]);
    graph.finish(Network::ResNet50, x).unwrap()
}

/// Something that every logit of every image has a share in.
pub fn loss(image: usize, logits: &[f64]) -> (f64, Vec<f64>) {
    let weight = 1.0 + image as f64;
    (logits[0] * logits[1] + weight * logits[2], vec![logits[1], logits[0], weight])
}

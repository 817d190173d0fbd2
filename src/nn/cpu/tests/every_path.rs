//! Every instruction set that this processor has, in f32, against the portable path in f64.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Case, cases, into_wider, numbers};
use crate::nn::cpu::InstructionSet;
use crate::nn::cpu::kernel::{Bits, BitsMut, Residual, Source, mask_bytes};
use crate::nn::cpu::parallel::{Spares, Threads};
use crate::nn::cpu::turned::Turned;
use crate::nn::graph::{Graph, Op, Padding, Variant, Window};
use crate::nn::plan::Convolution;
use crate::nn::real::Real;
use crate::nn::{Network, SIDE};

/// Of the largest value: what f32 and another order of summation may change.
const TOLERANCE: f64 = 2e-5;

/// How many images, what is added, and whether something is cut off: forward by a ReLU, on the way back by one's bits.
#[derive(Clone, Copy, Debug)]
struct Kind {
    images: usize,
    residual: usize,
    relu: bool,
}

/// Numbers of the case as `T`: the images begin 2 numbers late and have 3 more than channels between pixels.
fn images<T: Real>(seed: u64, pixels: usize, channels: usize) -> Vec<T> {
    numbers(seed, pixels * (channels + 3)).into_iter().map(|value| T::from_f64(f64::from(value as f32))).collect()
}

fn source<T>(data: &[T], (images, size): (usize, [usize; 2]), channels: usize) -> Source<'_, T> {
    Source { data: &data[2..], images, size, channels, stride: channels + 3 }
}

fn convolution<T: Real>(case: &Case, relu: bool) -> Convolution<T> {
    let [inputs, outputs] = case.channels;
    let depth = case.window.kernel.iter().product::<usize>() * inputs;
    let scale = 1.0 / (depth as f64).sqrt();
    let values = |seed: u64, count: usize, scale: f64| {
        numbers(seed, count).into_iter().map(|value| T::from_f64(f64::from((value * scale) as f32))).collect()
    };
    let (kernel, bias) = (values(case.seed ^ 1, depth * outputs, scale), values(case.seed ^ 2, outputs, 1.0));
    Convolution { window: case.window, kernel, bias, residual: None, relu }
}

/// The result without gaps, and the bits of its ReLU.
fn forward<T: Real>(set: InstructionSet, case: &Case, kind: Kind) -> (Vec<f64>, Vec<u8>) {
    let ([inputs, outputs], size) = (case.channels, case.output().unwrap());
    let pixels = kind.images * size[0] * size[1];
    let input = images::<T>(case.seed, kind.images * case.size[0] * case.size[1], inputs);
    let shortcut = images::<T>(case.seed ^ 3, pixels, outputs);
    let residual = match kind.residual {
        0 => Residual::None,
        1 => Residual::InPlace,
        _ => Residual::Images(source(&shortcut, (kind.images, size), outputs)),
    };
    let mut mask = vec![0; pixels * mask_bytes(outputs)];
    let ready = set.forward(convolution::<T>(case, kind.relu), size);
    let result = into_wider((kind.images, size), outputs, T::from_f64(0.5), |target| {
        let workers = (Threads(case.threads), &Spares::default());
        ready.run(
            source(&input, (kind.images, case.size), inputs),
            target,
            residual,
            kind.relu.then_some(BitsMut { data: &mut mask, stride: mask_bytes(outputs) }),
            workers,
        );
    });
    if let Some(kernel) = ready.kernel() {
        assert_eq!(kernel.as_ref(), convolution::<T>(case, false).kernel, "the kernel can be had again");
    }
    (result.into_iter().map(Real::to_f64).collect(), mask)
}

/// The gradient without gaps.
fn backward<T: Real>(set: InstructionSet, case: &Case, kind: Kind, accumulate: bool) -> Vec<f64> {
    let images = kind.images;
    let ([inputs, outputs], size) = (case.channels, case.output().unwrap());
    let gradient = self::images::<T>(case.seed ^ 4, images * size[0] * size[1], outputs);
    let Convolution { window, kernel, .. } = convolution::<T>(case, false);
    let ready = set.backward(Turned::new(window, &kernel, outputs), case.size);
    // With a byte between pixels that is another's.
    let stride = mask_bytes(inputs) + 1;
    let bits = numbers(case.seed ^ 5, images * case.size[0] * case.size[1] * stride);
    let bits: Vec<u8> = bits.into_iter().map(|value| (value * 128.0) as i8 as u8).collect();
    let result = into_wider((images, case.size), inputs, T::from_f64(0.25), |target| {
        let workers = (Threads(case.threads), &Spares::default());
        let bits = kind.relu.then_some(Bits { data: &bits, stride });
        ready.run(source(&gradient, (images, size), outputs), target, accumulate, bits, workers);
    });
    result.into_iter().map(Real::to_f64).collect()
}

/// The gradients by kernel and bias.
fn weights<T: Real>(set: InstructionSet, case: &Case, images: usize) -> [Vec<f64>; 2] {
    let ([inputs, outputs], size) = (case.channels, case.output().unwrap());
    let input = self::images::<T>(case.seed, images * case.size[0] * case.size[1], inputs);
    let gradient = self::images::<T>(case.seed ^ 4, images * size[0] * size[1], outputs);
    let count = case.window.kernel.iter().product::<usize>() * inputs * outputs;
    // What was there before is overwritten.
    let mut sums = [count, outputs].map(|count| vec![T::from_f64(0.5); count]);
    let [kernel, bias] = &mut sums;
    set.weights(case.window, case.channels, size).run(
        source(&input, (images, case.size), inputs),
        source(&gradient, (images, size), outputs),
        kernel,
        bias,
        (Threads(case.threads), &Spares::default()),
    );
    sums.map(|sums| sums.into_iter().map(Real::to_f64).collect())
}

fn close(ours: &[f64], truth: &[f64], what: &str) -> Result<(), String> {
    let largest = truth.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
    let off = ours.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let holds = ours.len() == truth.len() && off <= TOLERANCE * largest;
    holds.then_some(()).ok_or_else(|| format!("{what}: off by {off:e} of {largest}"))
}

/// All paths that are here agree with the portable one in f64.
fn agree(case: &Case, kind: Kind, accumulate: bool) -> Result<(), String> {
    let truth = (
        forward::<f64>(InstructionSet::Portable, case, kind).0,
        backward::<f64>(InstructionSet::Portable, case, kind, accumulate),
        weights::<f64>(InstructionSet::Portable, case, kind.images),
    );
    for set in InstructionSet::ALL.iter().copied().filter(|set| set.is_here()) {
        let (value, mask) = forward::<f32>(set, case, kind);
        close(&value, &truth.0, &format!("{set:?} forward {case:?} {kind:?}"))?;
        let outputs = case.channels[1];
        for (place, value) in value.iter().enumerate().filter(|_| kind.relu) {
            let bit = mask[place / outputs * mask_bytes(outputs) + place % outputs / 8] >> (place % outputs % 8) & 1;
            if (bit == 1) != (*value > 0.0) {
                return Err(format!("{set:?} {case:?}: bit {place} of {value}"));
            }
        }
        let gradient = backward::<f32>(set, case, kind, accumulate);
        close(&gradient, &truth.1, &format!("{set:?} gradient {case:?} {kind:?} {accumulate}"))?;
        for (sums, truth) in weights::<f32>(set, case, kind.images).iter().zip(&truth.2) {
            close(sums, truth, &format!("{set:?} weight gradient {case:?} {kind:?}"))?;
        }
    }
    Ok(())
}

/// Channels around the width of panels, images around the height of tiles.
fn case() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![1_usize..40, Just(16), Just(32), Just(48), 60_usize..70];
    cases(prop_oneof![Just(1_usize), Just(3), 1_usize..8].boxed(), 1..24, channels.boxed())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn paths_agree(case in case(), images in 1_usize..4, residual in 0_usize..3, relu: bool, accumulate: bool) {
        agree(&case, Kind { images, residual, relu }, accumulate).map_err(TestCaseError::fail)?;
    }
}

/// Sides to which images are cut: what is larger repeats itself.
const CUT: usize = 21;

/// Every convolution of the three networks, with its channels and its window, on a smaller image where its is large.
#[test]
fn paths_agree_on_every_shape_of_the_networks() {
    let mut shapes = BTreeSet::new();
    for network in Network::ALL {
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        for node in &graph.nodes {
            let Op::Conv2d { window, filters, .. } = node.op else { continue };
            let [height, width, channels] = graph.nodes[node.inputs[0]].shape;
            let Padding { top, bottom, left, right } = window.padding;
            let cut = [height, width].map(|side| if side > CUT { CUT - (side + 1) % 2 } else { side });
            shapes.insert((window.kernel, window.stride, [top, bottom, left, right], cut, [channels, filters]));
        }
    }
    assert!(shapes.len() > 60, "{} shapes", shapes.len());
    for (seed, (kernel, stride, [top, bottom, left, right], size, channels)) in shapes.into_iter().enumerate() {
        let window = Window { kernel, stride, padding: Padding { top, bottom, left, right } };
        let case = Case { window, size, channels, threads: 2, seed: seed as u64 };
        agree(&case, Kind { images: 1 + seed % 2, residual: seed % 3, relu: seed % 2 == 0 }, seed % 2 == 1).unwrap();
    }
}

//! Every instruction set that this processor has, in f32, against the portable path in f64.

use std::collections::BTreeSet;

use half::bf16;
use proptest::prelude::*;

use super::{Case, cases, double, into_wider, numbers};
use crate::nn::cpu::InstructionSet;
use crate::nn::cpu::kernel::{
    Beneath, Bits, BitsMut, Gate, Parts, Relu, Residual, Slopes, SlopesMut, Source, Target, mask_bytes,
};
use crate::nn::cpu::packed::FEW;
use crate::nn::cpu::parallel::{Spares, Threads};
use crate::nn::cpu::stored::{Numbers, Stored};
use crate::nn::cpu::turned::Turned;
use crate::nn::graph::{Graph, Op, Padding, Variant, Window};
use crate::nn::plan::Convolution;
use crate::nn::real::Real;
use crate::nn::{Network, Precision, SIDE};

/// Of the largest value: what f32 and another order of summation may change.
const TOLERANCE: f64 = 2e-5;

/// How many images, what is added, and whether something is cut off: forward by a ReLU, which keeps bits or slopes; on the way
/// back by one's bits or slopes.
#[derive(Clone, Copy, Debug)]
struct Kind {
    images: usize,
    residual: usize,
    relu: bool,
    /// Whether slopes are kept, and no bits.
    between: bool,
    /// None, bits, slopes.
    gate: usize,
}

/// A byte that nobody may write.
const OTHERS: u8 = 77;

/// A number as products in this precision see it: so that there is nothing left to round, and all paths give one result.
fn seen<T: Real>(value: f64, precision: Precision) -> T {
    T::from_f64(match precision {
        Precision::F32 => f64::from(value as f32),
        Precision::Bf16 => bf16::from_f64(value).to_f64(),
    })
}

/// Numbers of the case as `T`: the images begin 2 numbers late and have 3 more than channels between pixels.
fn images<T: Real>(seed: u64, pixels: usize, channels: usize, precision: Precision) -> Vec<T> {
    numbers(seed, pixels * (channels + 3)).into_iter().map(|value| seen(value, precision)).collect()
}

fn source<T>(data: &[T], (images, size): (usize, [usize; 2]), channels: usize) -> Source<'_, T> {
    Source { data: &data[2..], images, size, channels, stride: channels + 3 }
}

fn convolution<T: Real>(case: &Case, relu: bool, precision: Precision) -> Convolution<T> {
    let [inputs, outputs] = case.channels;
    let depth = case.window.kernel.iter().product::<usize>() * inputs;
    let scale = 1.0 / (depth as f64).sqrt();
    let values = |seed: u64, count: usize, scale: f64| {
        numbers(seed, count).into_iter().map(|value| seen(value * scale, precision)).collect()
    };
    let (kernel, bias) = (values(case.seed ^ 1, depth * outputs, scale), values(case.seed ^ 2, outputs, 1.0));
    Convolution { window: case.window, kernel, bias, residual: None, relu }
}

/// The result without gaps, and the bits or slopes of its ReLU with a byte of another's after each pixel's.
fn forward<T: Real>(set: InstructionSet, case: &Case, kind: Kind, seen: Precision) -> (Vec<f64>, Vec<u8>) {
    let ([inputs, outputs], size) = (case.channels, case.output().unwrap());
    let pixels = kind.images * size[0] * size[1];
    let input = images::<T>(case.seed, kind.images * case.size[0] * case.size[1], inputs, seen);
    let shortcut = images::<T>(case.seed ^ 3, pixels, outputs, seen);
    let residual = match kind.residual {
        0 => Residual::None,
        1 => Residual::InPlace,
        _ => Residual::Images(source(&shortcut, (kind.images, size), outputs)),
    };
    let stride = 1 + if kind.between { outputs } else { mask_bytes(outputs) };
    let mut kept = vec![OTHERS; pixels * stride];
    let data = &mut kept[..];
    let relu =
        if kind.between { Relu::Between(SlopesMut { data, stride }) } else { Relu::Keep(BitsMut { data, stride }) };
    let ready = set.forward(convolution::<T>(case, kind.relu, seen), size);
    let result = into_wider((kind.images, size), outputs, T::from_f64(0.5), |target| {
        let workers = (Threads(case.threads), &Spares::default());
        ready.run(source(&input, (kind.images, case.size), inputs), target, residual, relu, workers);
    });
    let (kernel, again) = (convolution::<T>(case, false, seen).kernel, ready.kernel());
    let [kernel, again] = [&kernel, &*again].map(double);
    close(&again, &kernel, "the kernel can be had again").unwrap();
    (double(&result), kept)
}

/// The gradient without gaps.
fn backward<T: Real>(set: InstructionSet, case: &Case, kind: Kind, accumulate: bool, seen: Precision) -> Vec<f64> {
    let images = kind.images;
    let ([inputs, outputs], size) = (case.channels, case.output().unwrap());
    let gradient = self::images::<T>(case.seed ^ 4, images * size[0] * size[1], outputs, seen);
    let Convolution { window, kernel, .. } = convolution::<T>(case, false, seen);
    let ready = set.backward(Turned::new(window, &kernel, outputs), case.size);
    let kept = kept(case, kind);
    let result = into_wider((images, case.size), inputs, T::from_f64(0.25), |target| {
        let workers = (Threads(case.threads), &Spares::default());
        let gate = gate(case, kind, &kept);
        ready.run(source(&gradient, (images, size), outputs), target, accumulate, gate, workers);
    });
    double(&result)
}

/// Forward and back with sums on the way, where the path takes them: what is written is what [`forward`] and [`backward`] say, and
/// the sums are those of what is written.
fn sums_are_right(
    set: InstructionSet,
    case: &Case,
    kind: Kind,
    accumulate: bool,
    seen: Precision,
) -> Result<(), String> {
    let ([inputs, outputs], size, images) = (case.channels, case.output().unwrap(), kind.images);
    let workers = (Threads(case.threads), &Spares::default());
    let mut parts = Parts::default();
    let input = self::images::<f32>(case.seed, images * case.size[0] * case.size[1], inputs, seen);
    let ready = set.forward(convolution::<f32>(case, kind.relu, seen), size);
    let packed = set != InstructionSet::Portable;
    let length = images * size[0] * size[1] * outputs;
    let mut products = Stored::new(ready.rounds(), length);
    let source = source(&input, (images, case.size), inputs);
    let mut takes = ready.run_with_moments(source, products.first_mut(length), size, &mut parts, workers);
    // An odd number of channels is multiplied in f32, and so are windows for which a transform is faster; where channels are few,
    // a line of taps is one tap with all of theirs.
    let tap = if inputs < FEW { inputs * case.window.kernel[1] } else { inputs };
    let (may, must) = (seen == Precision::Bf16 && tap % 2 == 0, case.window.kernel == [1, 1]);
    let rounds_right = if may && must { ready.rounds() } else { may || !ready.rounds() };
    if takes != packed || packed && !rounds_right {
        return Err(format!("moments: {takes}, rounded: {}", ready.rounds()));
    }
    if takes {
        let plain = Kind { residual: 0, between: false, ..kind };
        let truth = forward::<f32>(set, case, plain, seen).0;
        match products.first(length) {
            Numbers::Full(products) => close(&double(products), &truth, "values with moments"),
            Numbers::Rounded(products) => are_rounded(products, &truth),
        }?;
        moments_are_right(&truth, outputs, &parts)?;
    }
    let pixels = images * case.size[0] * case.size[1];
    let beneath = [6, 7].map(|salt| numbers(case.seed ^ salt, pixels * inputs));
    let rounded = beneath.map(|numbers| numbers.into_iter().map(bf16::from_f64).collect::<Vec<_>>());
    let full = [0, 1].map(|place| rounded[place].iter().map(|value| value.to_f32()).collect::<Vec<_>>());
    let numbers_of = |place: usize| match case.seed / 2 % 2 {
        0 => Numbers::Full(&full[place]),
        _ => Numbers::Rounded(&rounded[place]),
    };
    let minus: Vec<f32> = numbers(case.seed ^ 8, inputs).into_iter().map(|value| value as f32).collect();
    let count = 1 + case.seed as usize % 2;
    let beneath: Vec<_> = (0..count).map(|place| Beneath { products: numbers_of(place), minus: &minus }).collect();
    let gradient = self::images::<f32>(case.seed ^ 4, images * size[0] * size[1], outputs, seen);
    let Convolution { window, kernel, .. } = convolution::<f32>(case, false, seen);
    let ready = set.backward(Turned::new(window, &kernel, outputs), case.size);
    let kept = kept(case, kind);
    let given = self::source(&gradient, (images, size), outputs);
    let values = into_wider((images, case.size), inputs, 0.25, |target| {
        let how = (accumulate, gate(case, kind, &kept));
        takes = ready.run_with_sums(given, target, how, &beneath, &mut parts, workers);
    });
    // With a stride some gradients are left to a pass of their own.
    if !takes && packed && window.stride == 1 {
        return Err("no sums with a gradient".into());
    }
    if !takes {
        return Ok(());
    }
    close(&double(&values), &backward::<f32>(set, case, kind, accumulate, seen), "gradient with sums")?;
    products_are_right(&values, &full[..count], &minus, &parts)
}

/// Each is the truth, or what its last digit makes of it.
fn are_rounded(values: &[bf16], truth: &[f64]) -> Result<(), String> {
    let largest = truth.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
    let off = |value: &bf16, truth: &f64| (value.to_f64() - truth).abs() - truth.abs() / 256.0;
    let off = values.iter().zip(truth).map(|(value, truth)| off(value, truth)).fold(0.0, f64::max);
    let holds = values.len() == truth.len() && off <= TOLERANCE * largest;
    holds.then_some(()).ok_or_else(|| format!("rounded values: off by {off:e} of {largest}"))
}

/// Sums of numbers and of their squares, from what they are above the first one of each part.
fn moments_are_right(values: &[f64], channels: usize, parts: &Parts<f32>) -> Result<(), String> {
    let pixels: usize = parts.iter().map(|(pixels, _)| pixels).sum();
    if pixels * channels != values.len() {
        return Err(format!("parts of {pixels} pixels"));
    }
    let (mut found, mut truth) =
        ([vec![0.0; channels], vec![0.0; channels]], [vec![0.0; channels], vec![0.0; channels]]);
    for channel in 0..channels {
        for (pixels, rows) in parts.iter() {
            let [above, squares, first] = rows.map(|row| f64::from(row[channel]));
            found[0][channel] += above + pixels as f64 * first;
            found[1][channel] += squares + 2.0 * first * above + pixels as f64 * first * first;
        }
        for value in values.iter().skip(channel).step_by(channels) {
            truth[0][channel] += value;
            truth[1][channel] += value * value;
        }
    }
    found.iter().zip(&truth).try_for_each(|(found, truth)| close(found, truth, "moments"))
}

/// Sums of numbers, and of them times what lies beneath.
fn products_are_right(values: &[f32], beneath: &[Vec<f32>], minus: &[f32], parts: &Parts<f32>) -> Result<(), String> {
    let channels = minus.len();
    for row in 0..=beneath.len() {
        let found: Vec<f64> =
            (0..channels).map(|channel| parts.iter().map(|(_, rows)| f64::from(rows[row][channel])).sum()).collect();
        let mut truth = vec![0.0; channels];
        for (place, value) in values.iter().enumerate() {
            let factor = row
                .checked_sub(1)
                .map_or(1.0, |row| f64::from(beneath[row][place]) + f64::from(minus[place % channels]));
            truth[place % channels] += f64::from(*value) * factor;
        }
        close(&found, &truth, "sums")?;
    }
    Ok(())
}

/// What is kept of a ReLU before the case, with a byte between pixels that is another's.
fn kept(case: &Case, kind: Kind) -> Vec<u8> {
    let kept = numbers(case.seed ^ 5, kind.images * case.size[0] * case.size[1] * gate_stride(case, kind));
    kept.into_iter().map(|value| (value * 128.0) as i8 as u8).collect()
}

fn gate_stride(case: &Case, kind: Kind) -> usize {
    1 + if kind.gate == 2 { case.channels[0] } else { mask_bytes(case.channels[0]) }
}

fn gate<'a>(case: &Case, kind: Kind, data: &'a [u8]) -> Option<Gate<'a>> {
    let stride = gate_stride(case, kind);
    match kind.gate {
        0 => None,
        1 => Some(Gate::Bits(Bits { data, stride })),
        _ => Some(Gate::Slopes(Slopes { data, stride })),
    }
}

/// The gradients by kernel and bias.
fn weights<T: Real>(set: InstructionSet, case: &Case, images: usize, seen: Precision) -> [Vec<f64>; 2] {
    let ([inputs, outputs], size) = (case.channels, case.output().unwrap());
    let input = self::images::<T>(case.seed, images * case.size[0] * case.size[1], inputs, seen);
    let gradient = self::images::<T>(case.seed ^ 4, images * size[0] * size[1], outputs, seen);
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
    sums.map(|sums| double(&sums))
}

fn close(ours: &[f64], truth: &[f64], what: &str) -> Result<(), String> {
    let largest = truth.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
    let off = ours.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let holds = ours.len() == truth.len() && off <= TOLERANCE * largest;
    holds.then_some(()).ok_or_else(|| format!("{what}: off by {off:e} of {largest}"))
}

/// A bit is set where a value is positive.
fn bits_are_right(outputs: usize, values: &[f64], kept: &[u8]) -> Result<(), String> {
    let rows = values.chunks_exact(outputs).zip(kept.chunks_exact(mask_bytes(outputs) + 1));
    for (pixel, (values, bits)) in rows.enumerate() {
        let right = |(place, value): (usize, &f64)| (bits[place / 8] >> (place % 8) & 1 == 1) == (*value > 0.0);
        if !values.iter().enumerate().all(right) || bits[mask_bytes(outputs)] != OTHERS {
            return Err(format!("pixel {pixel}: bits {bits:?} of {values:?}"));
        }
    }
    Ok(())
}

/// A slope by what the ReLU sees more in the next image is what it gives more.
fn slopes_are_right(case: &Case, kind: Kind, kept: &[u8], precision: Precision) -> Result<(), String> {
    let (seen, _) = forward::<f64>(InstructionSet::Portable, case, Kind { relu: false, ..kind }, precision);
    let outputs = case.channels[1];
    let (pixels, stride) = (seen.len() / outputs / kind.images, outputs + 1);
    let (between, beyond) = kept.split_at((kind.images - 1) * pixels * stride);
    if beyond.iter().any(|byte| *byte != OTHERS) {
        return Err("slopes after the last image".into());
    }
    for (pixel, slopes) in between.chunks_exact(stride).enumerate() {
        let ends = [pixel, pixel + pixels].map(|pixel| &seen[pixel * outputs..(pixel + 1) * outputs]);
        for (place, (from, to)) in ends[0].iter().zip(ends[1]).enumerate() {
            let (run, rise) = (to - from, to.max(0.0) - from.max(0.0));
            let off = (f64::from(slopes[place]) / 255.0 * run - rise).abs();
            let largest = from.abs().max(to.abs()).max(1.0);
            if off > 0.51 / 255.0 * run.abs() + 10.0 * TOLERANCE * largest {
                return Err(format!("pixel {pixel}: slope {} from {from} to {to}", slopes[place]));
            }
        }
        if slopes[outputs] != OTHERS {
            return Err(format!("pixel {pixel}: another's byte is {}", slopes[outputs]));
        }
    }
    Ok(())
}

/// All paths that are here agree with the portable one in f64.
fn agree(case: &Case, kind: Kind, accumulate: bool) -> Result<(), String> {
    [Precision::F32, Precision::Bf16].into_iter().try_for_each(|seen| agree_in(seen, case, kind, accumulate))
}

/// The paths that this processor has in a precision.
fn here(precision: Precision) -> impl Iterator<Item = InstructionSet> {
    InstructionSet::ALL.iter().copied().filter(move |set| set.is_here() && set.precision() == precision)
}

/// Those in this precision.
fn agree_in(seen: Precision, case: &Case, kind: Kind, accumulate: bool) -> Result<(), String> {
    if here(seen).next().is_none() {
        return Ok(());
    }
    let truth = (
        forward::<f64>(InstructionSet::Portable, case, kind, seen).0,
        backward::<f64>(InstructionSet::Portable, case, kind, accumulate, seen),
        weights::<f64>(InstructionSet::Portable, case, kind.images, seen),
    );
    for set in here(seen) {
        let (value, kept) = forward::<f32>(set, case, kind, seen);
        close(&value, &truth.0, &format!("{set:?} forward {case:?} {kind:?}"))?;
        match (kind.relu, kind.between) {
            (true, true) => slopes_are_right(case, kind, &kept, seen),
            (true, false) => bits_are_right(case.channels[1], &value, &kept),
            (false, _) if kept.iter().all(|byte| *byte == OTHERS) => Ok(()),
            (false, _) => Err("something is kept of no ReLU".into()),
        }
        .map_err(|error| format!("{set:?} {case:?} {kind:?}: {error}"))?;
        let gradient = backward::<f32>(set, case, kind, accumulate, seen);
        close(&gradient, &truth.1, &format!("{set:?} gradient {case:?} {kind:?} {accumulate}"))?;
        sums_are_right(set, case, kind, accumulate, seen)
            .map_err(|error| format!("{set:?} {case:?} {kind:?} {accumulate}: {error}"))?;
        for (sums, truth) in weights::<f32>(set, case, kind.images, seen).iter().zip(&truth.2) {
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
    fn paths_agree(case in case(), images in 1_usize..6, residual in 0_usize..3, relu: bool, between: bool, gate in 0_usize..3, accumulate: bool) {
        agree(&case, Kind { images, residual, relu, between, gate }, accumulate).map_err(TestCaseError::fail)?;
    }
}

/// An odd number of channels, and a line of taps with an even one.
#[test]
fn paths_agree_where_a_line_of_taps_is_one() {
    let window = Window { kernel: [1, 6], stride: 1, padding: Padding::VALID };
    let case = Case { window, size: [1, 6], channels: [15, 1], threads: 1, seed: 0 };
    agree(&case, Kind { images: 1, residual: 0, relu: false, between: false, gate: 0 }, false).unwrap();
}

/// What [`agree`] multiplies in bf16 has no more digits than that: it would not see a kernel that computes in f32.
#[test]
fn products_in_bf16_are_of_eight_digits() {
    let window = Window { kernel: [1, 1], stride: 1, padding: Padding::VALID };
    // Becomes 1.
    let fine = 1.0 + 1.0 / 1024.0_f32;
    let (size, data, channels) = ([2, 2], [fine; 8], 2);
    let pixels = || Source { data: &data, images: 1, size, channels, stride: channels };
    for set in here(Precision::Bf16) {
        let kernel = vec![fine; 4];
        let (mut values, mut gradient, mut sums, mut bias) = ([0.0; 8], [0.0; 8], [0.0; 4], [0.0; 2]);
        let target = |data| Target { data, images: 1, stride: channels, size };
        let (threads, spares) = (Threads(1), Spares::default());
        let convolution =
            Convolution { window, kernel: kernel.clone(), bias: vec![0.0; 2], residual: None, relu: false };
        let forward = set.forward(convolution, size);
        forward.run(pixels(), target(&mut values), Residual::None, Relu::Apply, (threads, &spares));
        let backward = set.backward(Turned::new(window, &kernel, channels), size);
        backward.run(pixels(), target(&mut gradient), false, None, (threads, &spares));
        let weights = set.weights(window, [channels, channels], size);
        weights.run(pixels(), pixels(), &mut sums, &mut bias, (threads, &spares));
        assert_eq!((values, gradient, sums), ([2.0; 8], [2.0; 8], [4.0; 4]), "{set:?}");
        assert!(bias.iter().all(|sum| (sum - 4.0 * fine).abs() < 1e-6), "{set:?}: a bias is no product");
    }
}

/// Sides to which images are cut: what is larger repeats itself. The second one is for windows that large images take in another
/// way: a transform in f32, among products of bf16.
const CUTS: [usize; 2] = [21, 37];

/// Every convolution of the three networks, with its channels and its window, on a smaller image where its is large.
#[test]
fn paths_agree_on_every_shape_of_the_networks() {
    let mut shapes = BTreeSet::new();
    // Torchvision's ResNet-50 has its strides elsewhere.
    let late = Variant::torchvision(Network::ResNet50, Some(5));
    let keras = Network::ALL.map(|network| (network, Variant::keras(network, Some(5))));
    for (network, variant) in keras.into_iter().chain([(Network::ResNet50, late)]) {
        let graph = Graph::new(network, &variant, SIDE).unwrap();
        for node in &graph.nodes {
            let Op::Conv2d { window, filters, .. } = node.op else { continue };
            let [height, width, channels] = graph.nodes[node.inputs[0]].shape;
            let Padding { top, bottom, left, right } = window.padding;
            for most in CUTS.into_iter().take(if window.kernel == [3, 3] && window.stride == 1 { 2 } else { 1 }) {
                let cut = [height, width].map(|side| if side > most { most - (side + 1) % 2 } else { side });
                shapes.insert((window.kernel, window.stride, [top, bottom, left, right], cut, [channels, filters]));
            }
        }
    }
    assert!(shapes.len() > 60, "{} shapes", shapes.len());
    for (seed, (kernel, stride, [top, bottom, left, right], size, channels)) in shapes.into_iter().enumerate() {
        let window = Window { kernel, stride, padding: Padding { top, bottom, left, right } };
        let case = Case { window, size, channels, threads: 2, seed: seed as u64 };
        // Bits of a ReLU there and back, slopes there and back, and neither.
        for (between, relu) in [(false, true), (true, true), (false, false)] {
            let images = if between { 2 + seed % 2 } else { 1 + seed % 3 };
            let gate = usize::from(relu) + usize::from(between);
            agree(&case, Kind { images, residual: seed % 3, relu, between, gate }, seed % 2 == 1).unwrap();
        }
    }
}

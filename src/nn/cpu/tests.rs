//! Every kernel against its definition, and its gradient against finite differences in f64.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::images::{Images, Job, Keep, Program};
use super::kernel::{Backward, BitsMut, Forward, Relu, Residual, Source, Target, WeightGradient, mask_bytes};
use super::parallel::{Spares, Threads};
use super::turned::Turned;
use super::{CpuExecutor, InstructionSet, pool, portable};
use crate::nn::graph::{Affine, Graph, Padding, Variant, Window};
use crate::nn::plan::{Convolution, Operation, Plan, Step};
use crate::nn::real::Real;
use crate::nn::{At, Executor, Line, Network, NnError, SIDE, Secants};

mod every_path;
pub mod flips;
mod transforms;

/// Numbers in [-1, 1) that a seed decides.
pub fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

/// The same in f64.
pub fn double<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// A window, an image that it fits, channels in and out, threads and a seed.
#[derive(Clone, Debug)]
struct Case {
    window: Window,
    size: [usize; 2],
    channels: [usize; 2],
    threads: usize,
    seed: u64,
}

impl Case {
    fn output(&self) -> Option<[usize; 2]> {
        self.window.output(self.size)
    }

    /// The image in a wider one, so that strides between pixels are tried too.
    fn image(&self) -> Vec<f64> {
        numbers(self.seed, self.size[0] * self.size[1] * (self.channels[0] + 3))
    }

    fn source<'a>(&self, image: &'a [f64]) -> Source<'a, f64> {
        Source {
            data: &image[2..],
            images: 1,
            size: self.size,
            channels: self.channels[0],
            stride: self.channels[0] + 3,
        }
    }

    /// What the window of output `(y, x)` sees in the image: tap and place in [`Case::image`] of channel 0.
    fn taps(&self, y: usize, x: usize) -> Vec<(usize, usize)> {
        let Window { kernel, stride, padding } = self.window;
        let mut list = Vec::new();
        for tap in 0..kernel[0] * kernel[1] {
            let row = (y * stride + tap / kernel[1]).checked_sub(padding.top);
            let column = (x * stride + tap % kernel[1]).checked_sub(padding.left);
            if let (Some(row), Some(column)) = (row, column)
                && row < self.size[0]
                && column < self.size[1]
            {
                list.push((tap, (row * self.size[1] + column) * (self.channels[0] + 3) + 2));
            }
        }
        list
    }
}

/// Windows and images of such sides, with so many channels. Padding is less than the kernel, as in all convolutions and
/// pools of the networks.
fn cases(
    kernel: impl Strategy<Value = usize> + Clone,
    side: Range<usize>,
    channels: impl Strategy<Value = usize> + Clone,
) -> impl Strategy<Value = Case> {
    let axis = kernel.prop_flat_map(move |kernel| (Just(kernel), 0..kernel, 0..kernel, side.clone()));
    (axis.clone(), axis, 1usize..4, [channels.clone(), channels], 1usize..3, any::<u64>())
        .prop_map(|((kh, top, bottom, height), (kw, left, right, width), stride, channels, threads, seed)| Case {
            window: Window { kernel: [kh, kw], stride, padding: Padding { top, bottom, left, right } },
            size: [height, width],
            channels,
            threads,
            seed,
        })
        .prop_filter("the window fits", |case| case.output().is_some())
}

fn case() -> impl Strategy<Value = Case> {
    cases(1usize..6, 1..10, 1usize..21)
}

/// Runs a kernel into images whose pixels are 5 numbers wider than their channels.
fn into_wider<T: Real>(
    (images, size): (usize, [usize; 2]),
    channels: usize,
    before: T,
    run: impl FnOnce(Target<T>),
) -> Vec<T> {
    let stride = channels + 5;
    let mut wide = vec![before; images * size[0] * size[1] * stride];
    let end = wide.len() - 4;
    run(Target { data: &mut wide[1..end], images, stride, size });
    for pixel in wide.chunks_exact(stride) {
        let outside = pixel[..1].iter().chain(&pixel[1 + channels..]);
        assert!(outside.copied().all(|value| value == before), "written outside the channels");
    }
    wide.chunks_exact(stride).flat_map(|pixel| pixel[1..=channels].to_vec()).collect()
}

fn close(ours: &[f64], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(ours.len(), expected.len());
    for (place, (a, b)) in ours.iter().zip(expected).enumerate() {
        prop_assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{} is {} and not {}", place, a, b);
    }
    Ok(())
}

/// Checks that `gradient` (dense) is that of `<weights, forward>` by the image. Two steps: where they differ, a maximum changes
/// sides between them and there is no gradient to compare with.
fn check_gradient(
    case: &Case,
    gradient: &[f64],
    before: f64,
    forward: impl Fn(&[f64]) -> f64,
) -> Result<(), TestCaseError> {
    let (image, wide) = (case.image(), case.channels[0] + 3);
    let expected: Vec<f64> = gradient
        .iter()
        .enumerate()
        .map(|(place, ours)| {
            let place = place / case.channels[0] * wide + 2 + place % case.channels[0];
            let at = |step: f64| {
                let mut moved = image.clone();
                moved[place] += step;
                forward(&moved)
            };
            let [wide, narrow] = [1e-5, 2e-6].map(|step| (at(step) - at(-step)) / (2.0 * step));
            if (wide - narrow).abs() < 1e-6 { before + wide } else { *ours }
        })
        .collect();
    close(gradient, &expected, 1e-7)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn convolution_of(case: &Case, relu: bool) -> Convolution<f64> {
    let [inputs, outputs] = case.channels;
    let kernel = numbers(case.seed ^ 1, case.window.kernel.iter().product::<usize>() * inputs * outputs);
    Convolution { window: case.window, kernel, bias: numbers(case.seed ^ 2, outputs), residual: None, relu }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_convolution_is_what_it_says(case in case(), kind in 0usize..3, relu: bool) {
        let (convolution, image, size) = (convolution_of(&case, relu), case.image(), case.output().unwrap());
        let [inputs, outputs] = case.channels;
        let shortcut = numbers(case.seed ^ 3, size[0] * size[1] * outputs);
        let mut expected = Vec::new();
        for (place, short) in shortcut.iter().enumerate() {
            let (pixel, filter) = (place / outputs, place % outputs);
            let mut sum = convolution.bias[filter];
            for (tap, start) in case.taps(pixel / size[1], pixel % size[1]) {
                for input in 0..inputs {
                    sum += image[start + input] * convolution.kernel[(tap * inputs + input) * outputs + filter];
                }
            }
            sum += [0.0, 0.5, *short][kind];
            expected.push(if relu { sum.max(0.0) } else { sum });
        }
        let residual = match kind {
            0 => Residual::None,
            1 => Residual::InPlace,
            _ => Residual::Images(Source { data: &shortcut, images: 1, size, channels: outputs, stride: outputs }),
        };
        let mut mask = vec![0; size[0] * size[1] * mask_bytes(outputs)];
        let ours = into_wider((1, size), outputs, 0.5, |target| {
            let workers = (Threads(case.threads), &Spares::default());
            let bits = BitsMut { data: &mut mask, stride: mask_bytes(outputs) };
            convolution.run(case.source(&image), target, residual, Relu::Keep(bits), workers);
        });
        close(&ours, &expected, 1e-12)?;
        for (place, value) in expected.iter().enumerate().filter(|_| relu) {
            let (pixel, filter) = (place / outputs, place % outputs);
            let bit = mask[pixel * mask_bytes(outputs) + filter / 8] >> (filter % 8) & 1;
            prop_assert_eq!(bit == 1, *value > 0.0);
        }
    }

    #[test]
    fn gradient_of_a_convolution(case in case(), accumulate: bool) {
        let (convolution, size) = (convolution_of(&case, false), case.output().unwrap());
        let outputs = case.channels[1];
        let weights = numbers(case.seed ^ 4, size[0] * size[1] * outputs);
        let before = 0.25;
        let gradient = into_wider((1, case.size), case.channels[0], before, |target| {
            let source = Source { data: &weights, images: 1, size, channels: outputs, stride: outputs };
            let workers = (Threads(case.threads), &Spares::default());
            let turned = Turned::new(convolution.window, &convolution.kernel, outputs);
            Backward::run(&turned, source, target, accumulate, None, workers);
        });
        check_gradient(&case, &gradient, if accumulate { before } else { 0.0 }, |image| {
            let workers = (Threads(1), &Spares::default());
            let value = into_wider((1, size), outputs, 0.0, |target| {
                convolution.run(case.source(image), target, Residual::None, Relu::Apply, workers);
            });
            dot(&weights, &value)
        })?;
    }

    #[test]
    fn a_max_pool_and_its_gradient(case in case(), accumulate: bool) {
        let (image, size, channels) = (case.image(), case.output().unwrap(), case.channels[0]);
        let threads = Threads(case.threads);
        let run = |image: &[f64]| into_wider((1, size), channels, 0.0, |target| {
            pool::max_forward(&case.window, case.source(image), target, threads);
        });
        let mut arguments = vec![0; size[0] * size[1] * channels];
        let kept = into_wider((1, size), channels, 0.0, |target| {
            pool::max_forward_with(&case.window, case.source(&image), target, &mut arguments, threads);
        });
        let mut expected = Vec::new();
        for place in 0..kept.len() {
            let pixel = place / channels;
            let seen = case.taps(pixel / size[1], pixel % size[1]).into_iter();
            expected.push(seen.map(|(_, start)| image[start + place % channels]).fold(f64::NEG_INFINITY, f64::max));
        }
        prop_assert_eq!(&kept, &expected);
        prop_assert_eq!(run(&image), expected);
        // A window that sees padding alone has no maximum and no gradient.
        prop_assume!(kept.iter().all(|value| value.is_finite()));
        let weights = numbers(case.seed ^ 4, kept.len());
        let gradient = into_wider((1, case.size), channels, 0.25, |target| {
            let source = Source { data: &weights, images: 1, size, channels, stride: channels };
            pool::max_backward(&case.window, source, &arguments, target, accumulate, threads);
        });
        check_gradient(&case, &gradient, if accumulate { 0.25 } else { 0.0 }, |image| dot(&weights, &run(image)))?;
    }

    #[test]
    fn a_weight_gradient(case in case(), images in 1usize..4) {
        let ([inputs, outputs], size) = (case.channels, case.output().unwrap());
        let image = numbers(case.seed, images * case.size[0] * case.size[1] * (inputs + 3));
        let source = Source { images, ..case.source(&image) };
        let weights = numbers(case.seed ^ 4, images * size[0] * size[1] * outputs);
        let gradient = Source { data: &weights, images, size, channels: outputs, stride: outputs };
        let convolution = convolution_of(&case, false);
        let workers = (Threads(case.threads), &Spares::default());
        let (mut kernel, mut bias) = (vec![0.5; convolution.kernel.len()], vec![0.5; outputs]);
        portable::Weights(case.window).run(source, gradient, &mut kernel, &mut bias, workers);
        // What is linear has the same slope everywhere: one long step is as exact as a short one.
        let value = |convolution: &Convolution<f64>| {
            dot(&weights, &into_wider((images, size), outputs, 0.5, |target| {
                convolution.run(source, target, Residual::None, Relu::Apply, workers);
            }))
        };
        for (place, slope) in kernel.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = convolution.clone();
                moved.kernel[place] += step;
                value(&moved)
            };
            close(&[*slope], &[(at(0.5) - at(-0.5))], 1e-9)?;
        }
        for (place, slope) in bias.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = convolution.clone();
                moved.bias[place] += step;
                value(&moved)
            };
            close(&[*slope], &[(at(0.5) - at(-0.5))], 1e-9)?;
        }
    }

    #[test]
    fn an_average_pool_and_its_gradient(case in case(), count_padding: bool, accumulate: bool) {
        let (image, size, channels) = (case.image(), case.output().unwrap(), case.channels[0]);
        let (kind, threads) = ((&case.window, count_padding), Threads(case.threads));
        let run = |image: &[f64]| into_wider((1, size), channels, 0.5, |target| {
            pool::average_forward(kind, case.source(image), target, threads);
        });
        let mut expected = Vec::new();
        for place in 0..size[0] * size[1] * channels {
            let pixel = place / channels;
            let seen = case.taps(pixel / size[1], pixel % size[1]);
            let count = if count_padding { case.window.kernel.iter().product() } else { seen.len().max(1) };
            let sum: f64 = seen.into_iter().map(|(_, start)| image[start + place % channels]).sum();
            expected.push(sum / count as f64);
        }
        close(&run(&image), &expected, 1e-12)?;
        let weights = numbers(case.seed ^ 4, expected.len());
        let gradient = into_wider((1, case.size), channels, 0.25, |target| {
            let source = Source { data: &weights, images: 1, size, channels, stride: channels };
            pool::average_backward(kind, source, target, accumulate, threads);
        });
        check_gradient(&case, &gradient, if accumulate { 0.25 } else { 0.0 }, |image| dot(&weights, &run(image)))?;
    }

    #[test]
    fn a_global_average_and_its_gradient(case in case(), accumulate: bool) {
        let channels = case.channels[0];
        let run = |image: &[f64]| into_wider((1, [1, 1]), channels, 0.5, |target| {
            pool::global_forward(case.source(image), target, Threads(case.threads));
        });
        let weights = numbers(case.seed ^ 4, channels);
        let gradient = into_wider((1, case.size), channels, 0.25, |target| {
            let source = Source { data: &weights, images: 1, size: [1, 1], channels, stride: channels };
            pool::global_backward(source, target, accumulate, Threads(case.threads));
        });
        check_gradient(&case, &gradient, if accumulate { 0.25 } else { 0.0 }, |image| dot(&weights, &run(image)))?;
    }

    /// Preprocessing, ReLUs, a residual in place and one that is copied, a concatenation in a concatenation, pools and a
    /// head: everything that shares memory, and what it does to gradients.
    #[test]
    fn gradient_of_a_small_network(side in 5usize..10, seed: u64) {
        let plan = Arc::new(small_network(side, seed));
        let image: Vec<f64> = numbers(seed, side * side * 3).into_iter().map(f64::abs).collect();
        let cotangent = |logits: &[f64]| (logits[0] * logits[1], vec![logits[1], logits[0], 0.0]);
        let mut executor = CpuExecutor::new(Arc::clone(&plan), 4).unwrap();
        let value = |executor: &mut CpuExecutor<f64>, image: &[f64]| {
            let logits = executor.logits(image).unwrap();
            logits[0] * logits[1]
        };
        // Rows give what they give alone, whatever ran in the same memory before, in groups and in tiles.
        let other: Vec<f64> = image.iter().map(|value| 1.0 - value).collect();
        let rows: Vec<f64> = [&image, &other].into_iter().cycle().take(11).flatten().copied().collect();
        let two_threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let several = two_threads.install(|| executor.value_and_gradient(&rows, At::Input, &cotangent)).unwrap();
        let one = executor.value_and_gradient(&image, At::Input, &cotangent).unwrap();
        let row = side * side * 3;
        for again in (0..11).step_by(2) {
            prop_assert_eq!(&several.gradient[again * row..][..row], &one.gradient[..]);
            prop_assert_eq!(&several.logits[again * 3..][..3], &one.logits[..]);
        }
        prop_assert!((several.values[0] - value(&mut executor, &image)).abs() < 1e-12);
        for place in (0..row).step_by(7) {
            let mut at = |step: f64| {
                let mut moved = image.clone();
                moved[place] += step;
                value(&mut executor, &moved)
            };
            // Two steps: where they differ a ReLU or a maximum changes sides between them.
            let slopes = [1e-5, 1e-6].map(|step| (at(step) - at(-step)) / (2.0 * step));
            if (slopes[0] - slopes[1]).abs() < 1e-6 * slopes[0].abs().max(1.0) {
                let ours = one.gradient[place];
                prop_assert!((ours - slopes[0]).abs() < 1e-5 * slopes[0].abs().max(1.0), "{} {:?}", ours, slopes);
            }
        }
    }
}

/// How far a secant's gradient times the step is from the change of the logits by the cotangent, of the sum of all parts.
fn off<T: Real>(points: &[T], secants: &Secants<T>, classes: usize, cotangent: &[f64]) -> f64 {
    let row = points.len() / (secants.logits.len() / classes);
    let pairs = points.chunks_exact(row).zip(points.chunks_exact(row).skip(1));
    let logits = secants.logits.chunks_exact(classes).zip(secants.logits.chunks_exact(classes).skip(1));
    let each =
        pairs.zip(logits).zip(secants.gradient.chunks_exact(row)).map(|(((from, to), (before, after)), gradient)| {
            let parts = from.iter().zip(to).zip(gradient).map(|((a, b), g)| (b.to_f64() - a.to_f64()) * g.to_f64());
            let (sum, mass) = parts.fold((0.0, 0.0), |(sum, mass), part| (sum + part, mass + part.abs()));
            let change: f64 = before.iter().zip(after).zip(cotangent).map(|((a, b), c)| (b - a) * c).sum();
            (sum - change).abs() / mass.max(1e-300)
        });
    each.fold(0.0, f64::max)
}

/// Points of a straight line between two images.
fn path<T: Real>(from: &[f64], to: &[f64], count: usize) -> Vec<T> {
    let at = |point: usize| {
        let share = point as f64 / (count - 1) as f64;
        from.iter().zip(to).map(move |(a, b)| T::from_f64(a + (b - a) * share))
    };
    (0..count).flat_map(at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However many points a path has and however they are cut into groups.
    #[test]
    fn secants_explain_the_whole_change(side in 5usize..10, points in 2usize..13, threads in 1usize..4, seed: u64) {
        let mut executor = CpuExecutor::new(Arc::new(small_network(side, seed)), 4).unwrap();
        let [from, to] = [seed, seed ^ 9].map(|seed| -> Vec<f64> {
            numbers(seed, side * side * 3).into_iter().map(f64::abs).collect()
        });
        let points: Vec<f64> = path(&from, &to, points);
        let cotangent = [1.0, -0.5, 0.25];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let secants = pool.install(|| executor.secants(&points, &|_, _| cotangent.to_vec(), &|| false)).unwrap();
        prop_assert_eq!(&secants.logits, &executor.logits(&points).unwrap());
        // Slopes are bytes.
        let off = off(&points, &secants, 3, &cotangent);
        prop_assert!(off < 2e-3, "{}", off);
    }

    /// And along a line their sum is given, each by how far its ends are apart.
    #[test]
    fn a_line_gives_the_sum_of_its_secants(side in 5usize..10, steps in prop::collection::vec(0.01f64..1.0, 1..9), seed: u64) {
        let mut executor = CpuExecutor::new(Arc::new(small_network(side, seed)), 4).unwrap();
        let [from, to] = [seed, seed ^ 9].map(|seed| -> Vec<f64> {
            numbers(seed, side * side * 3).into_iter().map(f64::abs).collect()
        });
        let whole: f64 = steps.iter().sum();
        let mut places = vec![0.0];
        places.extend(steps.iter().scan(0.0, |sum, step| { *sum += step / whole; Some(*sum) }));
        let points: Vec<f64> =
            places.iter().flat_map(|place| from.iter().zip(&to).map(move |(a, b)| (1.0 - place) * a + place * b)).collect();
        let between = |_: &[f64], _: &[f64]| vec![1.0, -0.5, 0.25];
        let secants = executor.secants(&points, &between, &|| false).unwrap();
        let along = executor.along(Line { from: &from, to: &to }, &places, &between, &|| false).unwrap();
        prop_assert_eq!(along.logits, secants.logits);
        let weighted = secants.gradient.chunks_exact(from.len()).zip(places.windows(2));
        let sum = weighted.fold(vec![0.0; from.len()], |sum, (secant, ends)| {
            sum.iter().zip(secant).map(|(sum, value)| sum + (ends[1] - ends[0]) * value).collect()
        });
        close(&along.gradient, &sum, 1e-12)?;
        for (from, to) in [(&from[1..], &*to), (&*from, &to[1..]), (&[], &[])] {
            let refused = executor.along(Line { from, to }, &places, &between, &|| false);
            prop_assert!(matches!(refused, Err(NnError::Shape { .. })), "an end that is no image");
        }
    }

    /// Nothing wins against what is no number: then the first tap inside the image is named, which others can follow.
    #[test]
    fn a_winner_is_inside_even_where_there_are_no_numbers(case in case()) {
        let (size, channels) = (case.output().unwrap(), case.channels[0]);
        let image = vec![f64::NAN; case.image().len()];
        let mut arguments = vec![u8::MAX; size[0] * size[1] * channels];
        into_wider((1, size), channels, 0.0, |target| {
            pool::max_forward_with(&case.window, case.source(&image), target, &mut arguments, Threads(case.threads));
        });
        for (place, argument) in arguments.iter().enumerate() {
            let pixel = place / channels;
            let inside = case.taps(pixel / size[1], pixel % size[1]);
            prop_assert!(inside.is_empty() || inside.iter().any(|(tap, _)| *tap == usize::from(*argument)));
        }
    }

    /// Between points that are one a secant is the gradient.
    #[test]
    fn a_secant_of_no_length_is_the_gradient(side in 5usize..10, seed: u64) {
        let mut executor = CpuExecutor::new(Arc::new(small_network(side, seed)), 4).unwrap();
        let image: Vec<f64> = numbers(seed, side * side * 3).into_iter().map(f64::abs).collect();
        let cotangent = [1.0, -0.5, 0.25];
        let gradient = executor.value_and_gradient(&image, At::Input, &|_| (0.0, cotangent.to_vec())).unwrap();
        let twice = [&*image, &image].concat();
        let secants = executor.secants(&twice, &|_, _| cotangent.to_vec(), &|| false).unwrap();
        close(&secants.gradient, &gradient.gradient, 1e-12)?;
        // And what ran before in the same memory does not matter.
        let again = executor.value_and_gradient(&image, At::Input, &|_| (0.0, cotangent.to_vec())).unwrap();
        prop_assert_eq!(again.gradient, gradient.gradient);
    }

    /// Whenever it is interrupted it says so, and what is left behind does not matter.
    #[test]
    fn an_interrupted_pass_leaves_nothing_behind(side in 5usize..10, after in 0usize..60, seed: u64) {
        let mut executor = CpuExecutor::new(Arc::new(small_network(side, seed)), 4).unwrap();
        let [from, to] = [seed, seed ^ 9].map(|seed| -> Vec<f64> {
            numbers(seed, side * side * 3).into_iter().map(f64::abs).collect()
        });
        let points: Vec<f64> = path(&from, &to, 4);
        let between = |_: &[f64], _: &[f64]| vec![1.0, -0.5, 0.25];
        let whole = executor.secants(&points, &between, &|| false).unwrap();
        let asked = AtomicUsize::new(0);
        let interrupted = executor.secants(&points, &between, &|| asked.fetch_add(1, Ordering::Relaxed) >= after);
        prop_assert_eq!(matches!(interrupted, Err(NnError::Interrupted)), asked.into_inner() > after);
        prop_assert_eq!(executor.secants(&points, &between, &|| false).unwrap().gradient, whole.gradient);
    }
}

/// What the documentation says of memory: per image, for the networks as they are used.
#[test]
fn an_image_takes_no_more_than_is_said() {
    for network in Network::ALL {
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        let sizes: HashMap<String, usize> =
            graph.parameters().into_iter().map(|p| (p.name, p.shape.iter().product())).collect();
        let plan = Plan::<f32>::new(&graph, &|name| Some(vec![1e-3; *sizes.get(name)?])).unwrap();
        let program = Program::new(plan, InstructionSet::chosen().unwrap()).unwrap();
        let job = Job { program: &program, threads: Threads(1), interrupt: &|| false };
        let points = vec![0.5; 4 * SIDE * SIDE * 3];
        let bytes = |count: usize, keep| {
            let mut images = Images::default();
            job.forward(&mut images, &points[..count * SIDE * SIDE * 3], keep, None).unwrap();
            images.bytes()
        };
        let ([slots, bits], between) = (bytes(1, Keep::Points), bytes(2, Keep::Between));
        for (intervals, bytes) in [(1, between), (3, bytes(4, Keep::Between))] {
            assert_eq!(program.bytes_between(intervals), bytes.iter().sum::<usize>(), "{network:?} {intervals}");
        }
        let slopes = between[1];
        println!("{network:?}: slots {slots} bytes, kept {bits}, or {slopes} between two points");
        let megabyte = 1_000_000;
        assert!((11..=15).contains(&(slots / megabyte)), "{network:?}: {slots} bytes of slots");
        assert!((1..=4).contains(&(bits / megabyte)), "{network:?}: {bits} bytes of bits");
        assert!((11..=27).contains(&(slopes / megabyte)), "{network:?}: {slopes} bytes of slopes");
    }
}

fn small_network(side: usize, seed: u64) -> Plan<f64> {
    let affine = Affine { source: [2, 1, 0], scale: [2.0, 3.0, 4.0], offset: [-1.0, -0.5, 0.25] };
    let window = |kernel: [usize; 2], pad: usize| Window { kernel, stride: 1, padding: Padding::uniform(pad) };
    let mut steps: Vec<Step<f64>> = Vec::new();
    let mut add = |operation: Operation<f64>, inputs: &[usize], shape: [usize; 3]| {
        let name = format!("step {}", steps.len());
        steps.push(Step { name, operation, inputs: inputs.to_vec(), shape });
        steps.len() - 1
    };
    let conv = |window: Window, inputs: usize, outputs: usize, residual: Option<usize>, relu: bool, salt: u64| {
        let count = window.kernel[0] * window.kernel[1] * inputs * outputs;
        let kernel = numbers(seed ^ salt, count).into_iter().map(|value| value / (inputs as f64).sqrt()).collect();
        let bias = numbers(seed ^ salt ^ 0x63, outputs);
        Operation::Convolution(Convolution { window, kernel, bias, residual, relu })
    };
    let (three, point) = (window([3, 3], 1), window([1, 1], 0));
    let image = |channels: usize| [side, side, channels];
    let x = add(Operation::Preprocess(affine), &[], image(3));
    let x = add(conv(three, 3, 8, None, true, 1), &[x], image(8));
    // The shortcut is read by nothing later: the sum takes its place.
    let y = add(conv(point, 8, 9, None, true, 2), &[x], image(9));
    let x = add(conv(three, 9, 8, Some(x), true, 3), &[y], image(8));
    // The shortcut is read again below, and lies among others.
    let y = add(conv(point, 8, 8, Some(x), false, 4), &[x], image(8));
    let a = add(conv(point, 8, 5, None, true, 5), &[x], image(5));
    let b = add(conv(three, 8, 6, None, false, 6), &[y], image(6));
    let inner = add(Operation::Concat, &[a, b], image(11));
    let p = add(Operation::AvgPool { window: three, count_padding: false }, &[y], image(8));
    let q = add(Operation::MaxPool(three), &[x], image(8));
    let x = add(Operation::Concat, &[inner, p, q], image(27));
    let half = side.div_ceil(2);
    let down = Window { kernel: [3, 3], stride: 2, padding: Padding::uniform(1) };
    let x = add(conv(down, 27, 8, None, true, 7), &[x], [half, half, 8]);
    let pooled = add(Operation::GlobalAvgPool, &[x], [1, 1, 8]);
    add(conv(point, 8, 3, None, false, 8), &[pooled], [1, 1, 3]);
    Plan { network: Network::ResNet50, side, steps, features: x }
}

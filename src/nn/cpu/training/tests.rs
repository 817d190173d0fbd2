//! Gradients by parameters against finite differences in f64, and those in f32 against those in f64.

use half::bf16;
use proptest::prelude::*;

use super::*;
use crate::nn::cpu::lines::aligned_mut;
use crate::nn::cpu::norm::{Incoming, Passing, Shortcut, Values};
use crate::nn::cpu::parallel::Threads;
use crate::nn::cpu::stored::Numbers;
use crate::nn::cpu::tests::flips::{COTANGENT, SIDE, parameters, relative};
use crate::nn::cpu::tests::numbers;
use crate::nn::graph::Variant;
use crate::nn::steps::StepId;
use crate::nn::training::MOMENTUM;
use crate::nn::training::small::{IMAGES, SMALL, loss, small_network};
use crate::nn::{Network, NnError, Precision};

/// Of a parameter, for its slope: of losses of some ten thousands a smaller one leaves no digits, and a larger one bends.
const STEP: f64 = 1e-4;

fn small_trainer(seed: u64, statistics: Statistics) -> (Trainer<f64>, Vec<f64>) {
    let variant = Variant::keras(Network::ResNet50, Some(3));
    let graph = small_network(&variant);
    let given = parameters(&graph);
    // As if the source had no gamma behind the first convolution: it stays what it is.
    let some = |name: &str| given(name).filter(|_| name != "a_bn/gamma");
    // Room for more images than there are.
    let trainer = Trainer::with(InstructionSet::Portable, &graph, &some, IMAGES + 1, statistics).unwrap();
    (trainer, numbers(seed, IMAGES * SMALL * SMALL * 3).into_iter().map(f64::abs).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn gradients_of_all_parameters(seed: u64, stored: bool) {
        let statistics = if stored { Statistics::Stored } else { Statistics::Batch };
        let (mut trainer, images) = small_trainer(seed, statistics);
        trainer.step(&images, &loss).unwrap();
        let decisions = trainer.kept.clone();
        let found: Vec<Vec<f64>> = trainer.tensors().iter().map(|tensor| tensor.gradient.clone()).collect();
        let mut compared = 0;
        for (id, gradient) in found.iter().enumerate() {
            let fixed = trainer.tensors()[id].name.contains("/moving_") || trainer.tensors()[id].name == "a_bn/gamma";
            prop_assert_eq!(gradient.is_empty(), fixed, "{}", &trainer.tensors()[id].name);
            let stride = 1 + gradient.len() / 12;
            for place in (seed as usize % stride..gradient.len()).step_by(stride) {
                let mut at = |step: f64| {
                    trainer.tensors_mut()[id].values[place] += step;
                    let outcome = trainer.step(&images, &loss).unwrap();
                    trainer.tensors_mut()[id].values[place] -= step;
                    // Where a ReLU or a maximum changes sides on the way there is no slope to compare with.
                    (trainer.kept == decisions).then(|| outcome.losses.iter().sum::<f64>())
                };
                if let (Some(above), Some(below)) = (at(STEP), at(-STEP)) {
                    let slope = (above - below) / (2.0 * STEP);
                    let (ours, name) = (gradient[place], &trainer.tensors()[id].name);
                    compared += 1;
                    prop_assert!((ours - slope).abs() < 1e-6 * slope.abs().max(1.0), "{name} {place}: {ours} {slope}");
                }
            }
        }
        prop_assert!(compared > 50, "{compared} slopes");
    }

    #[test]
    fn moments_are_those_of_all_pixels(seed: u64, pixels in 1usize..3000, channels in 1usize..20, threads in 1usize..3) {
        let loops = InstructionSet::Portable.norm(channels);
        // Far from nought: what a sum of squares loses.
        let products: Vec<f64> = numbers(seed, pixels * channels).into_iter().map(|value| 1e3 + value).collect();
        let single: Vec<f32> = products.iter().map(|value| *value as f32).collect();
        let (mut moments, mut rough) = (Moments::new(channels), Moments::new(channels));
        // In two parts, as images come.
        let half = pixels / 2 * channels;
        for part in [0..half, half..pixels * channels] {
            moments.take_in(loops.as_ref(), &products[part.clone()], &mut Vec::new(), Threads(threads));
            rough.take_in(InstructionSet::Portable.norm(channels).as_ref(), &single[part], &mut Vec::new(), Threads(threads));
        }
        for channel in 0..channels {
            let values = || products.iter().skip(channel).step_by(channels);
            let mean = values().sum::<f64>() / pixels as f64;
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels as f64;
            prop_assert!((moments.mean[channel] - mean).abs() < 1e-9 * mean.abs());
            prop_assert!((moments.variance[channel] - variance).abs() < 1e-9);
            // Up to 3,000 sums, each rounded by 6e-8 at most.
            prop_assert!((rough.mean[channel] - mean).abs() < 1e-5 * mean.abs());
            prop_assert!((rough.variance[channel] - variance).abs() < 1e-3 * variance.max(1e-3));
        }
    }
}

/// A value's pixels among others, and what stands behind its products.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "one for each choice of a case")]
struct Behind {
    pixels: usize,
    channels: usize,
    stride: usize,
    shortcut: bool,
    relu: bool,
    keep: bool,
    rounded: bool,
    seed: u64,
}

fn behind() -> impl Strategy<Value = Behind> {
    // Channels that fill vectors of every set, and others.
    let channels = prop_oneof![(1usize..6).prop_map(|blocks| 16 * blocks), 1usize..40];
    (1usize..12, channels, 0usize..5, any::<[bool; 4]>(), any::<u64>()).prop_map(
        |(pixels, channels, apart, [shortcut, relu, keep, rounded], seed)| Behind {
            pixels,
            channels,
            stride: channels + apart,
            shortcut,
            relu,
            keep,
            rounded,
            seed,
        },
    )
}

impl Behind {
    fn numbers(&self, salt: u64, count: usize) -> Vec<f32> {
        numbers(self.seed ^ salt, count).into_iter().map(|value| value as f32).collect()
    }

    /// Products in full and as they may be stored: rounded, the two have the same digits.
    fn products(&self, salt: u64, count: usize) -> (Vec<f32>, Vec<bf16>) {
        let rounded: Vec<_> = self.numbers(salt, count).into_iter().map(bf16::from_f32).collect();
        if self.rounded {
            (rounded.iter().map(|value| value.to_f32()).collect(), rounded)
        } else {
            (self.numbers(salt, count), rounded)
        }
    }

    fn stored<'a>(&self, (full, rounded): &'a (Vec<f32>, Vec<bf16>)) -> Numbers<'a, f32> {
        if self.rounded { Numbers::Rounded(rounded) } else { Numbers::Full(full) }
    }

    /// A pixel's channel, where pixels are dense, where they are `stride` apart, and whose coefficients stand at the last.
    fn places(self) -> impl Iterator<Item = [usize; 3]> {
        let each = move |pixel| (0..self.channels).map(move |channel| [pixel, channel]);
        (0..self.pixels)
            .flat_map(each)
            .map(move |[pixel, channel]| [pixel * self.channels + channel, pixel * self.stride + channel, channel])
    }

    fn is_set(&self, bits: &[u8], [dense, _, channel]: [usize; 3]) -> bool {
        let byte = dense / self.channels * mask_bytes(self.channels) + channel / 8;
        bits[byte] >> (channel % 8) & 1 == 1
    }

    /// Sums of what products are above those of the first pixel, and of the squares of that.
    fn moments(&self, set: InstructionSet) -> Result<(), TestCaseError> {
        let products = self.numbers(8, self.pixels * self.channels);
        let [mut above, mut squares] = [vec![0.5; self.channels], vec![-0.5; self.channels]];
        set.norm(self.channels).moments(&products, [&mut above, &mut squares]);
        for channel in 0..self.channels {
            let off = products.iter().skip(channel).step_by(self.channels).map(|product| product - products[channel]);
            prop_assert!((above[channel] - 0.5 - off.clone().sum::<f32>()).abs() < 1e-5, "{set:?} {channel}");
            let square = off.map(|off| off * off).sum::<f32>();
            prop_assert!((squares[channel] + 0.5 - square).abs() < 1e-5, "{set:?} {channel}");
        }
        Ok(())
    }

    /// Products become values, as the equation has it.
    fn normalised(&self, set: InstructionSet, past_cache: bool) -> Result<(), TestCaseError> {
        let coefficients = |salt| self.numbers(salt, self.channels);
        let affine = Affine { factor: coefficients(1), minus: coefficients(2), shift: coefficients(3) };
        let others = Affine { factor: coefficients(6), minus: coefficients(7), shift: coefficients(8) };
        let (products, shortcut) =
            (self.products(4, self.pixels * self.channels), self.products(5, self.pixels * self.stride));
        let products_too = self.keep;
        let added = if products_too { self.stored(&shortcut) } else { Numbers::Full(&shortcut.0) };
        let mut memory = vec![7.0; with_room::<f32>(self.pixels * self.stride)];
        let data = &mut aligned_mut(&mut memory)[..self.pixels * self.stride];
        let mut bits = vec![0x5A; self.pixels * mask_bytes(self.channels)];
        let values = Values {
            data: &mut *data,
            stride: self.stride,
            shortcut: self.shortcut.then_some(Shortcut {
                data: added,
                stride: self.stride,
                affine: products_too.then_some(&others),
            }),
            relu: self.relu,
            bits: &mut bits,
            past_cache,
        };
        set.norm(self.channels).normalise(&affine, self.stored(&products), values);
        for place in self.places() {
            let [dense, apart, channel] = place;
            let through = |affine: &Affine<f32>, product: f32| {
                affine.factor[channel] * (product + affine.minus[channel]) + affine.shift[channel]
            };
            let more = match self.shortcut {
                true if products_too => through(&others, shortcut.0[apart]),
                true => shortcut.0[apart],
                false => 0.0,
            };
            let sum = more + through(&affine, products.0[dense]);
            let open = !self.relu || sum > 0.0;
            prop_assert!((data[apart] - if open { sum } else { 0.0 }).abs() < 1e-6, "{set:?} {place:?}");
            prop_assert!(self.is_set(&bits, place) == open || sum.abs() < 1e-6, "{set:?} {place:?}");
        }
        // What lies between pixels is somebody else's.
        let between = (0..data.len()).filter(|place| place % self.stride >= self.channels);
        prop_assert!(between.map(|place| data[place]).all(|value| (value - 7.0f32).abs() < 1e-9));
        Ok(())
    }

    /// Gradients go back, as the equations have it.
    fn back(&self, set: InstructionSet) -> Result<(), TestCaseError> {
        let coefficients = |salt| self.numbers(salt, self.channels);
        let (factor, slope, minus, shift) = (coefficients(1), coefficients(2), coefficients(3), coefficients(4));
        let back = Back { factor, slope, minus, shift };
        let products = self.products(5, self.pixels * self.channels);
        let gradient = self.numbers(6, self.pixels * self.stride);
        let bits: Vec<u8> = numbers(self.seed ^ 7, self.pixels * mask_bytes(self.channels))
            .into_iter()
            .map(|value| (128.0 * (value + 1.0)) as u8)
            .collect();
        let loops = set.norm(self.channels);
        let (mut gradients, mut others) = (vec![0.5; self.channels], vec![-0.5; self.channels]);
        let incoming = Incoming { data: &gradient, stride: self.stride, bits: &bits };
        loops.sum(incoming, self.stored(&products), &back.minus, [&mut gradients, &mut others]);
        let mut kept = gradient.clone();
        let passing = Passing { data: &mut kept, stride: self.stride, bits: &bits, keep: self.keep };
        // Where vectors may be written past the caches, and where they may not.
        let mut memory = vec![7.0; 1 + with_room::<f32>(products.0.len())];
        let start = usize::from(self.shortcut);
        let after = &mut aligned_mut(&mut memory)[start..start + products.0.len()];
        loops.back(&back, self.stored(&products), passing, after);

        let (mut gradient_sums, mut other_sums) = (vec![0.5; self.channels], vec![-0.5; self.channels]);
        for place in self.places() {
            let [dense, apart, channel] = place;
            let before = if self.is_set(&bits, place) { gradient[apart] } else { 0.0 };
            let above = products.0[dense] + back.minus[channel];
            gradient_sums[channel] += before;
            other_sums[channel] += before * above;
            let product = before * back.factor[channel] + above * back.slope[channel] + back.shift[channel];
            prop_assert!((after[dense] - product).abs() < 1e-6, "{set:?} {place:?}");
            let left = if self.keep { before } else { gradient[apart] };
            prop_assert!((kept[apart] - left).abs() < 1e-9, "{set:?} {place:?}");
        }
        for (found, expected) in gradients.iter().zip(&gradient_sums).chain(others.iter().zip(&other_sums)) {
            prop_assert!((found - expected).abs() < 1e-5, "{set:?}");
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn what_stands_behind_products_is_the_same_in_every_instruction_set(behind in behind()) {
        for &set in InstructionSet::ALL.iter().filter(|set| set.is_here()) {
            behind.moments(set)?;
            behind.normalised(set, false)?;
            behind.normalised(set, true)?;
            behind.back(set)?;
        }
    }

    #[test]
    fn groups_are_all_images_in_their_order(count in 1usize..40, numbers in 1usize..2 * CACHED) {
        let cut: Vec<Range<usize>> = groups(count, Some(numbers)).collect();
        prop_assert_eq!(cut.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        prop_assert!(cut.iter().all(|group| group.len() == 1 || group.len() * numbers <= CACHED));
        prop_assert!(cut[1..].iter().all(|_| (cut[0].len() + 1) * numbers > CACHED), "{cut:?}");
        prop_assert!(groups(count, None).eq(std::iter::once(0..count)));
    }
}

#[test]
fn moving_statistics_follow_the_batch_or_stay() {
    let moving = |trainer: &Trainer<f64>| {
        let tensor = trainer.tensors().iter().find(|tensor| tensor.name == "a_bn/moving_variance").unwrap();
        tensor.values.clone()
    };
    for statistics in [Statistics::Stored, Statistics::Batch] {
        let (mut trainer, images) = small_trainer(3, statistics);
        let before = moving(&trainer);
        trainer.step(&images, &loss).unwrap();
        let once = moving(&trainer);
        trainer.step(&images, &loss).unwrap();
        if statistics == Statistics::Stored {
            assert_eq!((&once, &moving(&trainer)), (&before, &before));
            continue;
        }
        for ((before, once), twice) in before.iter().zip(&once).zip(moving(&trainer)) {
            // Both times towards the same value, a hundredth of what is left.
            assert!(((twice - once) / (once - before) - MOMENTUM).abs() < 1e-9, "{before} {once} {twice}");
        }
    }
}

#[test]
fn a_step_knows_nothing_of_the_one_before() {
    let (mut used, images) = small_trainer(3, Statistics::Batch);
    let start: Vec<Vec<f64>> = used.tensors().iter().map(|tensor| tensor.values.clone()).collect();
    // A larger batch of other images first.
    let one = SMALL * SMALL * 3;
    let more: Vec<f64> = numbers(9, (IMAGES + 1) * one).into_iter().map(f64::abs).collect();
    used.step(&more, &loss).unwrap();
    for (tensor, values) in used.tensors_mut().iter_mut().zip(start) {
        tensor.values = values;
    }
    let (mut fresh, _) = small_trainer(3, Statistics::Batch);
    let fewer = &images[..(IMAGES - 1) * one];
    let [mut first, mut second] = [used.step(fewer, &loss).unwrap(), fresh.step(fewer, &loss).unwrap()];
    assert!(first.logits == second.logits && mem::take(&mut first.losses) == mem::take(&mut second.losses));
    for (used, fresh) in used.tensors().iter().zip(fresh.tensors()) {
        assert!(used.gradient == fresh.gradient && used.values == fresh.values, "{}", used.name);
    }
}

#[test]
fn sums_are_taken_once_by_the_reader_or_by_the_step() {
    for network in Network::ALL {
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        let steps = steps::steps(&graph).unwrap().steps;
        let places = Layout::keeping(&steps).unwrap().steps;
        let mut taken = vec![0; steps.len()];
        for (step, _) in steps.iter().zip(&places).filter(|pair| pair.1.completes) {
            assert!(matches!(step.operation, Operation::Convolution(_)), "{}", step.name);
            backward::parts(&steps, step.inputs[0]).into_iter().for_each(|part| taken[part] += 1);
        }
        let early = taken.iter().filter(|&&times| times > 0).count();
        for id in with_norm(&steps) {
            let own = usize::from(!places[id].gate.passed);
            assert_eq!(taken[id] + own, 1, "{network:?} {}", steps[id].name);
        }
        assert!(2 * early > with_norm(&steps).count(), "{network:?}: {early} of those with a reader right behind");
    }
}

/// The steps with a batch norm.
fn with_norm(steps: &[Step]) -> impl Iterator<Item = StepId> {
    (0..steps.len()).filter(|&id| backward::has_norm(steps, id))
}

#[test]
fn what_does_not_fit_is_said() {
    let (mut trainer, images) = small_trainer(3, Statistics::Batch);
    for given in [&images[1..], &[], &images.repeat(2)] {
        assert!(matches!(trainer.step(given, &loss), Err(NnError::Shape { .. })), "{}", given.len());
    }
    let graph = small_network(&Variant::keras(Network::ResNet50, Some(3)));
    let given = parameters(&graph);
    let some = |name: &str| given(name).filter(|_| name != "g/kernel");
    let error = Trainer::<f32>::new(&graph, &some, 1, Statistics::Batch, Precision::F32).unwrap_err();
    assert!(error.to_string().contains("g/kernel"), "{error}");
}

/// Forward, then backward with what forward kept or with what is given; all gradients, and what was kept.
fn run<T: Real>(
    trainer: &mut Trainer<T>,
    images: &[f64],
    decisions: Option<&[Vec<u8>]>,
) -> (Vec<Vec<f64>>, Vec<Vec<u8>>) {
    let rgb: Vec<T> = images.iter().map(|value| T::from_f64(*value)).collect();
    trainer.pack();
    trainer.forward(&rgb);
    let kept = trainer.kept.clone();
    if let Some(decisions) = decisions {
        trainer.kept.clone_from_slice(decisions);
    }
    trainer.backward(IMAGES, &COTANGENT.repeat(IMAGES));
    let double = |tensor: &Tensor<T>| tensor.gradient.iter().map(|value| value.to_f64()).collect();
    (trainer.tensors().iter().map(double).collect(), kept)
}

/// In bf16 the gradients are those of what bf16 has seen, up to what its eight digits round; and they are not those of f32, so that
/// it is in use. Of a processor that has none, without its instructions, on the network that takes the least time.
#[test]
fn gradients_in_bf16_are_near_the_exact_ones_of_its_decisions() {
    let real = match InstructionSet::of(Precision::Bf16) {
        Err(NnError::Precision(_)) => None,
        set => Some(set.unwrap()),
    };
    let sets = real.into_iter().flat_map(|set| Network::ALL.map(|network| (network, set)));
    for (network, set) in sets.chain([(Network::ResNet50, InstructionSet::LanesBf16)]) {
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        let given = parameters(&graph);
        let images: Vec<f64> =
            numbers(3, IMAGES * SIDE * SIDE * 3).into_iter().map(|u| f64::from(u.abs() as f32)).collect();
        let stored = Statistics::Stored;
        let mut double = Trainer::<f64>::with(InstructionSet::Portable, &graph, &given, IMAGES, stored).unwrap();
        let mut pairs = Trainer::<f32>::with(set, &graph, &given, IMAGES, stored).unwrap();
        let (ours, decisions) = run(&mut pairs, &images, None);
        let (exact, _) = run(&mut double, &images, Some(&decisions));
        let all = |gradients: &[Vec<f64>]| gradients.concat();
        let off = relative(&all(&ours), &all(&exact));
        println!("{network:?} {set:?}: {off:.1e}");
        assert!((1e-4..0.05).contains(&off), "{network:?} {set:?}: {off}");
    }
}

/// As for the gradient by the image: where f32 differs from f64, it has decided otherwise at a ReLU or a maximum. With the
/// statistics of a batch there is more to it: the last maps have 12 pixels in all, and where a channel hardly varies over them,
/// batch norm enlarges what f32 rounds, on every path.
#[test]
fn gradients_in_f32_are_the_exact_ones_of_its_decisions() {
    let kinds = [(Statistics::Stored, 1e-5), (Statistics::Batch, 1e-2)];
    for (network, (statistics, bound)) in Network::ALL.into_iter().flat_map(|network| kinds.map(|kind| (network, kind)))
    {
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        let given = parameters(&graph);
        let images: Vec<f64> =
            numbers(3, IMAGES * SIDE * SIDE * 3).into_iter().map(|u| f64::from(u.abs() as f32)).collect();
        let mut double = Trainer::<f64>::with(InstructionSet::Portable, &graph, &given, IMAGES, statistics).unwrap();
        for &set in InstructionSet::quick() {
            // Made with other kernels, which are then changed in place.
            let other = |name: &str| given(name).map(|values| vec![0.5; values.len()]);
            let mut single = Trainer::<f32>::with(set, &graph, &other, IMAGES, statistics).unwrap();
            for tensor in single.tensors_mut() {
                tensor.values = given(&tensor.name).unwrap();
            }
            let (ours, decisions) = run(&mut single, &images, None);
            let (exact, _) = run(&mut double, &images, Some(&decisions));
            let mut worst = (0.0, "");
            for (tensor, (ours, exact)) in single.tensors().iter().zip(ours.iter().zip(&exact)) {
                // A bias before the norm of a batch has no effect: its gradient is nought, up to rounding.
                let most = exact.iter().map(|value| value.abs()).fold(0.0, f64::max);
                if exact.is_empty() || most < 1e-9 {
                    assert!(ours.iter().all(|value| value.abs() < 1e-3), "{}", tensor.name);
                } else if relative(ours, exact) > worst.0 {
                    worst = (relative(ours, exact), &tensor.name);
                }
            }
            println!("{network:?} {statistics:?} {set:?}: {:.1e} at {}", worst.0, worst.1);
            assert!(worst.0 < bound, "{network:?} {statistics:?} {set:?}: {worst:?}");
        }
    }
}

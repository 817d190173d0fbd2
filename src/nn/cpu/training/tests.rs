//! Gradients by parameters against finite differences in f64, and those in f32 against those in f64.

use proptest::prelude::*;

use super::*;
use crate::nn::cpu::parallel::Threads;
use crate::nn::cpu::tests::flips::{COTANGENT, SIDE, parameters, relative};
use crate::nn::cpu::tests::numbers;
use crate::nn::graph::Variant;
use crate::nn::training::MOMENTUM;
use crate::nn::training::small::{IMAGES, SMALL, loss, small_network};
use crate::nn::{Network, NnError};

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
        let found: Vec<Vec<f64>> = trainer.tensors().iter().map(|tensor| tensor.gradient.clone()).collect();
        for (id, gradient) in found.iter().enumerate() {
            let fixed = trainer.tensors()[id].name.contains("/moving_") || trainer.tensors()[id].name == "a_bn/gamma";
            prop_assert_eq!(gradient.is_empty(), fixed, "{}", &trainer.tensors()[id].name);
            let stride = 1 + gradient.len() / 12;
            for place in (seed as usize % stride..gradient.len()).step_by(stride) {
                let mut at = |step: f64| {
                    trainer.tensors_mut()[id].values[place] += step;
                    let outcome = trainer.step(&images, &loss).unwrap();
                    trainer.tensors_mut()[id].values[place] -= step;
                    outcome.losses.iter().sum::<f64>()
                };
                // Two steps: where they differ a ReLU or a maximum changes sides between them.
                let slopes = [1e-5, 1e-6].map(|step| (at(step) - at(-step)) / (2.0 * step));
                if (slopes[0] - slopes[1]).abs() < 1e-6 * slopes[0].abs().max(1.0) {
                    let (ours, name) = (gradient[place], &trainer.tensors()[id].name);
                    let off = (ours - slopes[0]).abs();
                    prop_assert!(off < 1e-6 * slopes[0].abs().max(1.0), "{name} {place}: {ours} {slopes:?}");
                }
            }
        }
    }

    #[test]
    fn moments_are_those_of_all_pixels(seed: u64, pixels in 1usize..3000, channels in 1usize..20, threads in 1usize..3) {
        // Far from nought: what a sum of squares loses.
        let products: Vec<f64> = numbers(seed, pixels * channels).into_iter().map(|value| 1e3 + value).collect();
        let single: Vec<f32> = products.iter().map(|value| *value as f32).collect();
        let (mut moments, mut rough) = (Moments::new(channels), Moments::new(channels));
        moments.measure(&products, &mut Vec::new(), Threads(threads));
        rough.measure(&single, &mut Vec::new(), Threads(threads));
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
fn what_does_not_fit_is_said() {
    let (mut trainer, images) = small_trainer(3, Statistics::Batch);
    for given in [&images[1..], &[], &images.repeat(2)] {
        assert!(matches!(trainer.step(given, &loss), Err(NnError::Shape { .. })), "{}", given.len());
    }
    let graph = small_network(&Variant::keras(Network::ResNet50, Some(3)));
    let given = parameters(&graph);
    let some = |name: &str| given(name).filter(|_| name != "g/kernel");
    let error = Trainer::<f32>::new(&graph, &some, 1, Statistics::Batch).unwrap_err();
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

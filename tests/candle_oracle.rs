//! The composition on candle's tensors and our own kernels agree: two implementations of one plan. What runs here on candle's
//! CPU device is what runs on CUDA and Metal.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "what only tests call is a test")]

mod hashed;

use std::sync::Arc;

use candle_core::{Device, WithDType};
use diaret::nn::cpu::CpuExecutor;
use diaret::nn::graph::{Graph, Mixed10Pool, Variant};
use diaret::nn::plan::Plan;
use diaret::nn::real::Real;
use diaret::nn::{At, Executor, Gradients, Line, Network, Secants, candle};

const SIDE: usize = 107;
const ROWS: usize = 2;

/// Depends on the logits, as a probability's does.
fn cotangent(logits: &[f64]) -> (f64, Vec<f64>) {
    (logits.iter().map(|logit| logit * logit / 2.0).sum(), logits.to_vec())
}

fn relative<T: Real>(ours: &[T], theirs: &[T]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let pairs = || ours.iter().zip(theirs).map(|(a, b)| (a.to_f64(), b.to_f64()));
    (pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / pairs().map(|(_, b)| b * b).sum::<f64>()).sqrt()
}

fn compare<T: Real + WithDType>(network: Network, variant: &Variant, limits: [f64; 2]) {
    let graph = Graph::new(network, variant, SIDE).unwrap();
    let plan = Plan::<T>::new(&graph, &hashed::parameters(&graph, 5)).unwrap();
    let uniform = hashed::uniform(5, "image", ROWS * SIDE * SIDE * 3);
    let images: Vec<T> = uniform.map(<T as Real>::from_f64).collect();
    // One row at a time on candle, so that batches are put together too.
    let mut theirs = candle::executor(&plan, &Device::Cpu, 1).unwrap();
    // Several intervals of a path at once, and one that is left.
    let mut together = candle::executor(&plan, &Device::Cpu, 2).unwrap();
    let mut ours = CpuExecutor::new(Arc::new(plan), ROWS).unwrap();
    for at in [At::Input, At::Features] {
        let [ours, theirs]: [Gradients<T>; 2] = [
            ours.value_and_gradient(&images, at, &cotangent).unwrap(),
            theirs.value_and_gradient(&images, at, &cotangent).unwrap(),
        ];
        assert_eq!(ours.shape, theirs.shape);
        let activation = if at == At::Input { 0.0 } else { relative(&theirs.activation, &ours.activation) };
        let logits = relative(&theirs.logits, &ours.logits).max(relative(&theirs.values, &ours.values)).max(activation);
        let gradient = relative(&theirs.gradient, &ours.gradient);
        println!(
            "{} {at:?} {}: logits {logits:.1e}, gradient {gradient:.1e}",
            network.name(),
            std::any::type_name::<T>()
        );
        assert!(logits <= limits[0] && gradient <= limits[1], "{network:?} {at:?}: {logits:e} {gradient:e}");
    }
    // A path from one row to the other, in steps of different lengths.
    let (from, to) = images.split_at(SIDE * SIDE * 3);
    let at = |share: f64| {
        let share = <T as Real>::from_f64(share);
        from.iter().zip(to).map(move |(a, b)| *a + (*b - *a) * share)
    };
    let points: Vec<T> = [0.0, 0.1, 0.4, 1.0].into_iter().flat_map(at).collect();
    let between = |from: &[f64], to: &[f64]| from.iter().zip(to).map(|(a, b)| (a + b) / 2.0).collect();
    let [ours_between, theirs_between]: [Secants<T>; 2] =
        [ours.secants(&points, &between, &|| false).unwrap(), together.secants(&points, &between, &|| false).unwrap()];
    let logits = relative(&theirs_between.logits, &ours_between.logits);
    let gradient = relative(&theirs_between.gradient, &ours_between.gradient);
    println!("{} secants {}: logits {logits:.1e}, gradient {gradient:.1e}", network.name(), std::any::type_name::<T>());
    assert!(logits <= limits[0] && gradient <= limits[1], "{network:?} secants: {logits:e} {gradient:e}");
    // The same on the device, of which two images and the sum remain.
    let (line, places) = (Line { from, to }, [0.0, 0.1, 0.4, 1.0]);
    let ours_along = ours.along(line, &places, &between, &|| false).unwrap();
    let theirs_along = together.along(line, &places, &between, &|| false).unwrap();
    let logits = relative(&theirs_along.logits, &ours_along.logits);
    let gradient = relative(&theirs_along.gradient, &ours_along.gradient);
    assert!(logits <= limits[0] && gradient <= limits[1], "{network:?} along a line: {logits:e} {gradient:e}");
    let logits = relative(&theirs.logits(&images).unwrap(), &ours.logits(&images).unwrap());
    assert!(logits <= limits[0], "{logits:e}");
}

fn in_both_precisions(network: Network, variant: &Variant) {
    compare::<f64>(network, variant, [1e-11, 1e-10]);
    // Where rounding lets a ReLU or two decide otherwise, a gradient differs by a hundredth; `nn/cpu/tests/flips.rs` takes that out.
    compare::<f32>(network, variant, [1e-4, 5e-2]);
}

#[test]
fn resnet50() {
    in_both_precisions(Network::ResNet50, &Variant::keras(Network::ResNet50, Some(5)));
}

#[test]
fn resnet50_of_torchvision() {
    compare::<f64>(Network::ResNet50, &Variant::torchvision(Network::ResNet50, None), [1e-11, 1e-10]);
}

#[test]
fn inception_v3() {
    in_both_precisions(Network::InceptionV3, &Variant::keras(Network::InceptionV3, Some(5)));
}

/// Everything that differs by source at once: pools that count padding, a maximum in mixed10, folded batch norm.
#[test]
fn inception_v3_of_other_sources() {
    let variant =
        Variant { average_counts_padding: true, mixed10_pool: Mixed10Pool::Max, ..Variant::tensorflow_2015(Some(5)) };
    compare::<f64>(Network::InceptionV3, &variant, [1e-11, 1e-10]);
}

#[test]
fn inception_resnet_v2() {
    in_both_precisions(Network::InceptionResNetV2, &Variant::keras(Network::InceptionResNetV2, Some(5)));
}

#[test]
fn images_of_another_size_are_an_error() {
    let network = Network::ResNet50;
    let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
    let plan = Plan::<f32>::new(&graph, &hashed::parameters(&graph, 5)).unwrap();
    let mut executor = candle::executor(&plan, &Device::Cpu, 1).unwrap();
    assert!(executor.logits(&[0.0; 7]).unwrap_err().to_string().contains("7 values given"));
}

#[test]
fn of_no_images_all_is_empty() {
    let network = Network::ResNet50;
    let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
    let plan = Plan::<f32>::new(&graph, &hashed::parameters(&graph, 5)).unwrap();
    let theirs = candle::executor(&plan, &Device::Cpu, 1).unwrap();
    let ours = CpuExecutor::new(Arc::new(plan), ROWS).unwrap();
    for mut executor in [Box::new(ours) as Box<dyn Executor>, Box::new(theirs)] {
        assert_eq!(executor.logits(&[]).unwrap(), [0.0; 0]);
        for at in [At::Input, At::Features] {
            let Gradients { logits, values, gradient, activation, shape } =
                executor.value_and_gradient(&[], at, &cotangent).unwrap();
            assert!(logits.is_empty() && values.is_empty() && gradient.is_empty() && activation.is_empty());
            assert_eq!(shape, if at == At::Input { [SIDE, SIDE, 3] } else { [4, 4, 2048] });
        }
    }
}

//! Composed of candle's operations in f64, a step is the processor's: an independent implementation of the same definition.

use candle_core::Device;

use super::CandleTrainer;
use crate::bench::formula;
use crate::nn::Network;
use crate::nn::cpu::InstructionSet;
use crate::nn::cpu::training::Trainer;
use crate::nn::graph::{Graph, Variant};
use crate::nn::plan::Parameters;
use crate::nn::training::Statistics;
use crate::nn::training::small::{IMAGES, SMALL, loss, small_network};

/// The least side that all three networks take.
const SIDE: usize = 75;

/// Greatest difference, by the greatest value.
fn off(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    let most = other.iter().fold(1e-3, |most: f64, value| most.max(value.abs()));
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / most
}

/// Bounds are for what comes forward and for gradients: where a channel hardly varies over few pixels, the norm of a batch enlarges
/// what is rounded.
fn agree(graph: &Graph, given: &Parameters, images: &[f64], statistics: Statistics, [forward, back]: [f64; 2]) {
    let (count, device) = (images.len() / (graph.side * graph.side * 3), Device::Cpu);
    let mut ours = CandleTrainer::<f64>::new(graph, given, count, statistics, &device).unwrap();
    let mut theirs = Trainer::<f64>::with(InstructionSet::Portable, graph, given, count, statistics).unwrap();
    let loss = |image, logits: &[f64]| loss(image, &logits[..3]);
    let loss = |image, logits: &[f64]| {
        let (value, mut derivative) = loss(image, logits);
        derivative.resize(logits.len(), 0.0);
        (value, derivative)
    };
    // The second step sees the moving statistics that the first one has left.
    for _ in 0..2 {
        let [one, other] = [ours.step(images, &loss).unwrap(), theirs.step(images, &loss).unwrap()];
        let far = off(&one.logits, &other.logits).max(off(&one.losses, &other.losses));
        assert!(far < forward, "{:?}, {statistics:?}: {far:e}", graph.network);
        for (one, other) in ours.parameters().iter().zip(theirs.tensors()) {
            let (name, host) = (&other.name, |tensor: &candle_core::Tensor| tensor.to_vec1::<f64>().unwrap());
            assert_eq!(&one.name, name);
            assert!(off(&host(&one.values), &other.values) < forward, "{name}");
            let gradient = one.gradient.as_ref().map(host).unwrap_or_default();
            let off = off(&gradient, &other.gradient);
            assert!(off < back, "{:?}, {statistics:?}, {name}: {off:e}", graph.network);
        }
    }
}

fn images(count: usize, side: usize) -> Vec<f64> {
    formula::uniform(5, "images", count * side * side * 3).collect()
}

#[test]
fn all_that_a_step_can_meet() {
    let graph = small_network(&Variant::keras(Network::ResNet50, Some(3)));
    let given = formula::parameters(&graph, 3);
    for statistics in [Statistics::Batch, Statistics::Stored] {
        // As if the source had no gamma behind the first convolution.
        let some = |name: &str| given(name).filter(|_| name != "a_bn/gamma");
        agree(&graph, &some, &images(IMAGES, SMALL), statistics, [1e-9, 1e-7]);
    }
}

#[test]
fn the_three_networks() {
    for network in Network::ALL {
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        agree(&graph, &formula::parameters(&graph, 5), &images(2, SIDE), Statistics::Stored, [1e-9, 1e-7]);
    }
}

#[test]
fn a_network_with_the_statistics_of_the_batch() {
    let graph = Graph::new(Network::ResNet50, &Variant::keras(Network::ResNet50, Some(5)), SIDE).unwrap();
    agree(&graph, &formula::parameters(&graph, 5), &images(2, SIDE), Statistics::Batch, [1e-6, 1e-4]);
}

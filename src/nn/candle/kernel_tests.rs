//! Kernels for a card do what candle's operations do: the same with kernels, emulated or on a card, and without them on the
//! processor.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Tensor};

use super::CandleExecutor;
use super::convolution::{Convolution, Finish, Shape};
use super::cuda::convolution::{PLAIN, Tiling};
use super::cuda::emulated::Emulated;
use super::cuda::{Call, Card};
use super::pool::{AvgPool, MaxPool};
use super::program::Program;
use super::share;
use super::training::CandleTrainer;
use crate::bench::formula;
use crate::nn::graph::{Graph, Padding, Variant, Window};
use crate::nn::plan::Plan;
use crate::nn::training::Statistics;
use crate::nn::training::small::{IMAGES, SMALL, loss, small_network};
use crate::nn::{Executor, Line, Network};

/// Where kernels run.
#[derive(Clone)]
struct Place(Device, &'static dyn Card);

impl Place {
    fn emulated() -> Self {
        Self(Device::Cpu, &Emulated::Plain)
    }

    fn emulated_tensor_cores() -> [Self; 2] {
        [Self(Device::Cpu, &Emulated::Split), Self(Device::Cpu, &Emulated::Hopper)]
    }

    /// How far off sums of products may be. Where f32 rounds, a tensor core cuts off: on a card, where emulated ones round.
    fn rounding(&self) -> f64 {
        let cuts_off = self.0.is_cuda() && *self.1.tiling() != PLAIN;
        if cuts_off { 3e-6 } else { 1e-6 }
    }

    /// Runs `work` here with kernels, and on the processor without them.
    fn both<T>(&self, work: impl Fn(&Device, Option<&'static dyn Card>) -> T) -> [T; 2] {
        [work(&self.0, Some(self.1)), work(&Device::Cpu, None)]
    }
}

/// A card that remembers what it ran.
#[derive(Debug)]
struct Noting {
    card: &'static dyn Card,
    ran: Mutex<BTreeSet<&'static str>>,
}

impl Card for Noting {
    fn run(&self, call: &Call) -> Result<Vec<Tensor>> {
        self.ran.lock().unwrap().insert(call.kernel);
        self.card.run(call)
    }

    fn tiling(&self) -> &'static Tiling {
        self.card.tiling()
    }
}

/// All that convolutions do, and that every kernel which they have there has run.
fn convolutions(Place(device, card): &Place) {
    let noting: &'static Noting = Box::leak(Box::new(Noting { card: *card, ran: Mutex::default() }));
    let place = Place(device.clone(), noting);
    convolutions_forward_and_back(&place);
    an_image_alone_and_among_others(&place);
    let ran = noting.ran.lock().unwrap();
    for kernel in card.tiling().kernels() {
        assert!(ran.contains(kernel), "{kernel} has not run");
    }
}

/// Numbers in [-1, 1] that look random; about one in `ties` is 0.25, so that maxima are shared.
fn numbers(count: usize, seed: u64, ties: u64) -> Vec<f32> {
    let mix = |at: u64| {
        let z = (at + seed * 0x1_0000_0001).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40
    };
    let number = |bits: u64| if bits.is_multiple_of(ties) { 0.25 } else { bits as f32 / (1 << 23) as f32 - 1.0 };
    (0..count as u64).map(|at| number(mix(at))).collect()
}

fn tensor(shape: [usize; 4], seed: u64, device: &Device) -> Tensor {
    Tensor::from_vec(numbers(shape.iter().product(), seed, 3), shape.to_vec(), device).unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Relative L2; what is no number is far away.
fn distance(one: &Tensor, other: &Tensor) -> f64 {
    assert_eq!(one.dims(), other.dims());
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (mut off, mut all) = (0.0, 0.0);
    for (a, b) in values(one).into_iter().zip(values(other)) {
        off += f64::from(a - b).powi(2);
        all += f64::from(b).powi(2);
    }
    (off / all).sqrt()
}

fn window(kernel: [usize; 2], stride: usize, padding: [usize; 4]) -> Window {
    let [top, bottom, left, right] = padding;
    Window { kernel, stride, padding: Padding { top, bottom, left, right } }
}

fn convolutions_forward_and_back(place: &Place) {
    // Every kind of the three networks, with sizes that fill no tile, and some that take the large tiles.
    for (window, size, [inputs, outputs], rows) in [
        (window([1, 1], 1, [0; 4]), [5, 7], [37, 70], 3),
        (window([1, 1], 2, [0; 4]), [9, 8], [12, 20], 2),
        (window([3, 3], 1, [1; 4]), [9, 6], [5, 9], 2),
        (window([3, 3], 2, [0; 4]), [11, 12], [4, 66], 2),
        (window([3, 3], 2, [0, 1, 0, 1]), [8, 8], [3, 5], 2),
        (window([7, 7], 2, [3; 4]), [13, 13], [3, 8], 1),
        (window([1, 7], 1, [0, 0, 3, 3]), [5, 9], [6, 4], 2),
        (window([7, 1], 1, [3, 3, 0, 0]), [9, 5], [6, 4], 2),
        (window([5, 5], 1, [2; 4]), [7, 7], [3, 5], 1),
        (window([1, 1], 1, [0; 4]), [92, 92], [16, 128], 4),
        // All channels of a slab through one tap, there and back.
        (window([3, 3], 1, [1; 4]), [9, 10], [32, 48], 2),
        (window([3, 3], 2, [0; 4]), [11, 9], [16, 32], 2),
        (window([1, 3], 2, [0, 0, 1, 1]), [23, 21], [50, 131], 2),
        // So deep that it goes in parts, there, back, and both.
        (window([3, 3], 1, [1; 4]), [4, 4], [64, 20], 2),
        (window([1, 1], 1, [0; 4]), [5, 4], [20, 520], 2),
        (window([3, 1], 1, [1, 1, 0, 0]), [3, 5], [176, 192], 1),
        (window([1, 1], 1, [0; 4]), [4, 4], [1100, 20], 1),
        // Five groups of 64 outputs, two at a time.
        (window([1, 1], 1, [0; 4]), [30, 29], [16, 300], 4),
    ] {
        let output = window.output(size).unwrap();
        let shape = Shape { window, channels: [inputs, outputs], sizes: [size, output] };
        let [y, taps] = [[rows, outputs, output[0], output[1]], [window.kernel[0], window.kernel[1], inputs, outputs]];
        let [own, composed] = place.both(|device, card| {
            let convolution = Convolution::new(shape, device, card).unwrap();
            let kernel = convolution.kernel(&tensor(taps, 1, device)).unwrap();
            let x = tensor([rows, inputs, size[0], size[1]], 3, device);
            let (bias, residual) = (tensor([outputs, 1, 1, 1], 2, device).flatten_all().unwrap(), tensor(y, 4, device));
            let all = Finish { bias: Some(&bias), residual: Some(&residual), relu: true, shares: None };
            let gradient = tensor(y, 5, device);
            let shares = ((&x + 1.0).unwrap() * 127.5).unwrap().to_dtype(DType::U8).unwrap();
            [
                convolution.forward::<f32>(&x, &kernel, Finish::default()).unwrap(),
                convolution.forward::<f32>(&x, &kernel, all).unwrap(),
                convolution.backward::<f32>(&gradient, &kernel, None, None).unwrap(),
                convolution.backward::<f32>(&gradient, &kernel, Some(&x), Some(&shares)).unwrap(),
                convolution.by_kernel::<f32>(&x, &gradient).unwrap(),
            ]
        });
        let ways = ["forward", "with all", "back", "back to others, through a slope", "by kernel"];
        for (what, (own, composed)) in ways.into_iter().zip(own.iter().zip(&composed)) {
            let off = distance(own, composed);
            assert!(off < place.rounding(), "{window:?} of {size:?}, {what}: {off:e}");
        }
    }
}

/// Bit for bit the same, though a batch takes larger tiles; of a deep one all sums are added up in the same order.
fn an_image_alone_and_among_others(place: &Place) {
    let Place(device, card) = place;
    for (side, inputs) in [(40, 37), (5, 600)] {
        let (size, outputs) = ([side, side], 200);
        let shape = Shape { window: window([1, 1], 1, [0; 4]), channels: [inputs, outputs], sizes: [size, size] };
        let convolution = Convolution::new(shape, device, Some(*card)).unwrap();
        let kernel = convolution.kernel(&tensor([1, 1, inputs, outputs], 1, device)).unwrap();
        let images = tensor([4, inputs, side, side], 2, device);
        let of = |images: &Tensor| convolution.forward::<f32>(images, &kernel, Finish::default()).unwrap();
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let all = of(&images);
        for row in 0..4 {
            let [alone, among] = [of(&images.narrow(0, row, 1).unwrap()), all.narrow(0, row, 1).unwrap()];
            assert!(values(&alone) == values(&among), "{row} of {side}");
        }
    }
}

fn pools_forward_back_and_between(place: &Place) {
    for (window, size) in [
        (window([3, 3], 2, [0; 4]), [9, 11]),
        (window([3, 3], 2, [1; 4]), [8, 7]),
        (window([3, 3], 1, [1; 4]), [5, 6]),
        (window([3, 3], 2, [0, 1, 0, 1]), [8, 8]),
    ] {
        let output = window.output(size).unwrap();
        let [own, composed] = place.both(|device, card| {
            let x = tensor([3, 2, size[0], size[1]], 6, device);
            let pool = MaxPool::new(window, [size, output], card);
            let y = pool.forward::<f32>(&x).unwrap();
            let place = pool.places::<f32>(&x, &y).unwrap();
            let share = pool.shares::<f32>(&x, (&y, &place)).unwrap();
            let back = pool.backward(&tensor([3, 2, output[0], output[1]], 7, device), &place).unwrap();
            let between = tensor([2, 2, output[0], output[1]], 8, device);
            let between = pool.between::<f32>(&between, &place, &share).unwrap();
            ([bytes(&place), bytes(&share)], [y, back, between])
        });
        assert!(own.0 == composed.0, "{window:?}: places or shares");
        for (own, composed) in own.1.iter().zip(&composed.1) {
            let off = distance(own, composed);
            assert!(off < 1e-6, "{window:?}: {off:e}");
        }
        for count_padding in [false, true] {
            let [own, composed] = place.both(|device, card| {
                let pool = AvgPool::new::<f32>(window, count_padding, [size, output], device, card).unwrap();
                let back = pool.backward(&tensor([3, 2, output[0], output[1]], 9, device)).unwrap();
                (pool.forward::<f32>(&tensor([3, 2, size[0], size[1]], 6, device)).unwrap(), back)
            });
            let off = distance(&own.0, &composed.0).max(distance(&own.1, &composed.1));
            assert!(off < 1e-6, "{window:?}, average, padding counts: {count_padding}: {off:e}");
        }
    }
}

fn slopes_and_gates(place: &Place) {
    let [own, composed] = place.both(|device, card| {
        // More rows than a thread goes through.
        let rows = 19;
        let seen = tensor([rows, 5, 7, 9], 10, device);
        let (value, slope) = share::rectify(&seen, card).unwrap();
        let ends = tensor([2, 5, 7, 9], 13, device);
        let places: Vec<_> = (0..rows).map(|row| row as f32 / 18.0).flat_map(|place| [1.0 - place, place]).collect();
        let places = Tensor::from_vec(places, (rows, 2), device).unwrap();
        let (points, between) = share::rectify_line(&ends, &places, card).unwrap();
        // Part of a concatenation, too.
        let gradient = tensor([rows - 1, 8, 7, 9], 11, device).narrow(1, 2, 5).unwrap();
        let times = share::times::<f32>(&gradient, &slope, card).unwrap();
        let through = share::through(&tensor([rows, 5, 7, 9], 12, device), &seen, card).unwrap();
        ([bytes(&slope), bytes(&between)], [value, through, points, times])
    });
    assert_eq!(own.0[0], composed.0[0]);
    // A point is rounded once or twice, so that its share may fall to the byte beside.
    assert!(own.0[1].iter().zip(&composed.0[1]).all(|(a, b)| a.abs_diff(*b) <= 1));
    let [value, through, points, times] = [0, 1, 2, 3].map(|at| distance(&own.1[at], &composed.1[at]));
    assert!(value < 1e-9 && through < 1e-9 && points < 1e-6 && times < 1e-6);
}

/// All of InceptionV3: what one kernel writes is what the next one reads.
fn a_whole_network(place: &Place) {
    let network = Network::InceptionV3;
    a_network(place, &Graph::new(network, &Variant::keras(network, Some(5)), 75).unwrap());
}

/// The same of what all three have, in little.
fn a_small_network(place: &Place) {
    a_network(place, &small_network(&Variant::keras(Network::ResNet50, Some(3))));
}

fn a_network(place: &Place, graph: &Graph) {
    let side = graph.side;
    let plan = Plan::<f32>::new(graph, &formula::parameters(graph, 5)).unwrap();
    let points: Vec<f32> = numbers(2 * side * side * 3, 13, 1 << 40).iter().map(|number| 0.5 + 0.5 * number).collect();
    let (from, to) = points.split_at(side * side * 3);
    let [own, composed] = place.both(|device, card| {
        let program = Arc::new(Program::with(&plan, device, card).unwrap());
        let mut executor = CandleExecutor::<f32>::of(program, 2);
        let between = |from: &[f64], _: &[f64]| from.to_vec();
        let secants = executor.secants(&points, &between, &|| false).unwrap();
        let along = executor.along(Line { from, to }, &[0.0, 0.3, 0.6, 1.0], &between, &|| false).unwrap();
        let sum = along.gradient.iter().map(|&value| value as f32).collect();
        [(secants.logits, secants.gradient), (along.logits, sum)]
    });
    for (what, (own, composed)) in ["secants", "along"].into_iter().zip(own.iter().zip(&composed)) {
        let logits: f64 = own.0.iter().zip(&composed.0).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let [gradient, other] =
            [own, composed].map(|(_, gradient)| Tensor::new(gradient.as_slice(), &Device::Cpu).unwrap());
        let off = distance(&gradient, &other);
        assert!(logits < 1e-4 && off < 1e-2, "{what}: logits {logits:e}, gradients {off:e}");
    }
}

/// Whole training steps: every gradient, and what batch norm leaves behind.
fn training_steps(place: &Place) {
    let graph = small_network(&Variant::keras(Network::ResNet50, Some(3)));
    let given = formula::parameters(&graph, 3);
    let images = numbers(IMAGES * SMALL * SMALL * 3, 14, 1 << 40);
    for statistics in [Statistics::Batch, Statistics::Stored] {
        let [own, composed] = place.both(|device, card| {
            let mut trainer = CandleTrainer::<f32>::with(&graph, &given, (IMAGES, statistics), device, card).unwrap();
            trainer.step(&images, &loss).unwrap();
            trainer.parameters().to_vec()
        });
        for (own, composed) in own.iter().zip(&composed) {
            let name = &own.name;
            let off = distance(&own.values, &composed.values);
            assert!(off < place.rounding(), "{name}, {statistics:?}: {off:e}");
            let (Some(own), Some(composed)) = (&own.gradient, &composed.gradient) else { continue };
            let most = |gradient: &Tensor| gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            // A bias before the norm of a batch has no effect: its gradient is what is rounded.
            let is_nought = statistics == Statistics::Batch && most(composed) < 1e-4;
            let off = distance(own, composed);
            assert!(
                off < 10.0 * place.rounding() || is_nought && most(own) < 1e-4,
                "gradient of {name}, {statistics:?}: {off:e}"
            );
        }
    }
}

#[test]
fn emulated_convolutions() {
    convolutions(&Place::emulated());
}

#[test]
fn emulated_convolutions_by_tensor_cores() {
    for place in Place::emulated_tensor_cores() {
        convolutions(&place);
    }
}

#[test]
fn emulated_pools() {
    pools_forward_back_and_between(&Place::emulated());
}

#[test]
fn emulated_slopes() {
    slopes_and_gates(&Place::emulated());
}

#[test]
fn emulated_training() {
    training_steps(&Place::emulated());
}

#[test]
fn an_emulated_network() {
    a_whole_network(&Place::emulated());
}

#[test]
fn a_small_network_by_emulated_tensor_cores() {
    for place in Place::emulated_tensor_cores() {
        a_small_network(&place);
        training_steps(&place);
    }
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "it needs an NVIDIA card: packaging/cuda/check --build runs it where there is one"]
fn on_a_card() {
    let (device, _) = super::open_cuda().unwrap();
    for card in super::cuda::device::cards(device.as_cuda_device().unwrap()).unwrap() {
        let place = Place(device.clone(), card);
        convolutions(&place);
        a_whole_network(&place);
        a_small_network(&place);
        training_steps(&place);
    }
    // The same whatever convolutions are made of.
    let place = Place(device.clone(), super::cuda::card(&device, DType::F32).unwrap());
    pools_forward_back_and_between(&place);
    slopes_and_gates(&place);
    let terabyte = candle_core::Tensor::zeros(1 << 38, DType::F32, &device);
    assert!(super::is_out_of_memory(&terabyte.unwrap_err()), "another word for it");
}

//! What Winograd's transforms save and what they cost: their time and their error beside those of direct products, in one
//! convolution each and in the maps of whole networks. A measurement, for a quiet machine; it prints two tables:
//!
//! `cargo test --release --lib transforms_beside_direct_products -- --ignored --nocapture`

use std::path::Path;
use std::time::Instant;

use super::flips::relative;
use super::{double, numbers};
use crate::nn::cpu::kernel::{Buffers, Relu, Residual, Source, Target};
use crate::nn::cpu::packed::{Scheme, left_out};
use crate::nn::cpu::parallel::{Spares, Threads, at_least};
use crate::nn::cpu::turned::Turned;
use crate::nn::cpu::{CpuExecutor, InstructionSet};
use crate::nn::graph::{Graph, Op, Variant, Window};
use crate::nn::plan::{Convolution, Plan};
use crate::nn::real::Real;
use crate::nn::{At, Executor, Line, Network, SIDE, weights};

/// Images at once: a batch of training.
const IMAGES: usize = 16;
/// Runs of each way, in turn; the middle one counts.
const RUNS: usize = 9;
/// Midpoints of a map's path.
const POINTS: usize = 16;
const PHOTOGRAPHS: [&str; 3] = ["IDRiD_029.jpg", "IDRiD_048.jpg", "IDRiD_128.jpg"];

/// A convolution that a transform takes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    scheme: Scheme,
    network: Network,
    window: Window,
    size: [usize; 2],
    grid: [usize; 2],
    channels: [usize; 2],
}

impl Shape {
    fn products(&self) -> usize {
        [self.window.kernel, self.grid, self.channels].iter().flatten().product()
    }

    /// Those of all networks.
    fn all() -> impl Iterator<Item = Self> {
        Network::ALL.into_iter().flat_map(|network| {
            let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
            let shape = |node: usize| {
                let node = &graph.nodes[node];
                let Op::Conv2d { window, filters, .. } = node.op else { return None };
                let [height, width, inputs] = graph.nodes[node.inputs[0]].shape;
                let (grid, channels) = ([node.shape[0], node.shape[1]], [inputs, filters]);
                let scheme = Scheme::of(window.kernel, grid, channels).filter(|_| window.stride == 1)?;
                Some(Self { scheme, network, window, size: [height, width], grid, channels })
            };
            (0..graph.nodes.len()).filter_map(shape).collect::<Vec<_>>()
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Pass {
    Forward,
    ByInput,
    ByKernel,
}

/// What goes into a pass, each around nought.
struct Given<T> {
    input: Vec<T>,
    kernel: Vec<T>,
    gradient: Vec<T>,
}

impl<T: Real> Given<T> {
    /// The same numbers in every precision.
    fn new(shape: &Shape) -> Self {
        let [inputs, outputs] = shape.channels;
        let depth = shape.window.kernel.iter().product::<usize>() * inputs;
        let values = |seed: u64, count: usize, scale: f64| {
            numbers(seed, count).into_iter().map(|value| T::from_f64(f64::from((value * scale) as f32))).collect()
        };
        Self {
            input: values(1, IMAGES * shape.size[0] * shape.size[1] * inputs, 1.0),
            kernel: values(2, depth * outputs, 1.0 / (depth as f64).sqrt()),
            gradient: values(3, IMAGES * shape.grid[0] * shape.grid[1] * outputs, 1.0),
        }
    }
}

/// A pass on all images, ready to be run into memory that it makes once: so that nothing else is timed.
type Ready<'a, T> = Box<dyn FnMut(&mut Vec<T>) + 'a>;

fn ready<'a, T: Real>(set: InstructionSet, shape: Shape, pass: Pass, given: &'a Given<T>) -> Ready<'a, T> {
    let Shape { window, size, grid, channels: channels @ [inputs, outputs], .. } = shape;
    let Given { input, kernel, gradient } = given;
    let source = move |data: &'a [T], size, channels| Source { data, images: IMAGES, size, channels, stride: channels };
    let spares = Spares::<Buffers<T>>::default();
    let threads = Threads(rayon::current_num_threads());
    match pass {
        Pass::Forward => {
            let bias = vec![T::ZERO; outputs];
            let ready =
                set.forward(Convolution { window, kernel: kernel.clone(), bias, residual: None, relu: false }, grid);
            let length = IMAGES * grid[0] * grid[1] * outputs;
            Box::new(move |to| {
                let target = Target { data: at_least(to, length), images: IMAGES, stride: outputs, size: grid };
                let workers = (threads, &spares);
                ready.run(source(input, size, inputs), target, Residual::None, Relu::Apply, workers);
            })
        }
        Pass::ByInput => {
            let ready = set.backward(Turned::new(window, kernel, outputs), size);
            Box::new(move |to| {
                let target = Target { data: at_least(to, input.len()), images: IMAGES, stride: inputs, size };
                ready.run(source(gradient, grid, outputs), target, false, None, (threads, &spares));
            })
        }
        Pass::ByKernel => {
            let ready = set.weights::<T>(window, channels, grid);
            let mut bias = vec![T::ZERO; outputs];
            Box::new(move |to| {
                let (input, gradient) = (source(input, size, inputs), source(gradient, grid, outputs));
                ready.run(input, gradient, at_least(to, kernel.len()), &mut bias, (threads, &spares));
            })
        }
    }
}

/// What a way gives.
fn once<T>(way: &mut Ready<T>) -> Vec<T> {
    let mut result = Vec::new();
    way(&mut result);
    result
}

/// The middle time of each way in milliseconds, and what it gives.
fn in_turn<T>(ways: &mut [Ready<T>]) -> Vec<(f64, Vec<T>)> {
    let mut results: Vec<Vec<T>> = ways.iter_mut().map(once).collect();
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..RUNS {
        for ((way, result), times) in ways.iter_mut().zip(&mut results).zip(&mut times) {
            let start = Instant::now();
            way(result);
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let middle = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[RUNS / 2]
    };
    times.into_iter().map(middle).zip(results).collect()
}

fn machine(set: InstructionSet) -> String {
    format!("{}, {} threads", set.label(), rayon::current_num_threads())
}

/// One convolution for each transform: that with the most products.
fn print_convolutions(set: InstructionSet) {
    println!("\n### {}: one convolution each, {IMAGES} images\n", machine(set));
    println!("| transform | convolution | pass | direct ms | transform ms | faster | direct error | transform error |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for scheme in Scheme::ALL {
        let Some(shape) = Shape::all().filter(|shape| shape.scheme == *scheme).max_by_key(Shape::products) else {
            continue;
        };
        let (single, exact) = (Given::<f32>::new(&shape), Given::<f64>::new(&shape));
        for pass in [Pass::Forward, Pass::ByInput, Pass::ByKernel] {
            let direct = left_out::without(Scheme::ALL, || ready(set, shape, pass, &single));
            let both = in_turn(&mut [direct, ready(set, shape, pass, &single)]);
            let truth = once(&mut ready(InstructionSet::Portable, shape, pass, &exact));
            let [direct, ours] = [0, 1].map(|way| (both[way].0, relative(&double(&both[way].1), &truth)));
            let ([height, width], [inputs, outputs]) = (shape.grid, shape.channels);
            println!(
                "| {scheme:?} | {}, {height} x {width}, {inputs} to {outputs} | {pass:?} | {:.2} | {:.2} | {:.2} | {:.1e} | {:.1e} |",
                shape.network.label(),
                direct.0,
                ours.0,
                direct.0 / ours.0,
                direct.1,
                ours.1,
            );
        }
    }
}

/// Points of a path from black to a photograph.
fn path(photograph: &[f32]) -> Vec<f32> {
    let places: Vec<f64> = (0..POINTS).map(|point| (point as f64 + 0.5) / POINTS as f64).collect();
    let (black, mut points) = (vec![0.0; photograph.len()], Vec::new());
    Line { from: &black, to: photograph }.append(&places, &mut points);
    points
}

/// The map along a path, in f64.
fn map<T: Real>(executor: &mut CpuExecutor<T>, points: &[T], photograph: &[f32], class: usize) -> Vec<f64> {
    let mut sums = vec![0.0; photograph.len()];
    for points in points.chunks(IMAGES * photograph.len()) {
        let cotangent =
            |logits: &[f64]| (logits[class], (0..logits.len()).map(|k| f64::from(u8::from(k == class))).collect());
        let all = executor.value_and_gradient(points, At::Input, &cotangent).unwrap();
        for gradient in all.gradient.chunks_exact(sums.len()) {
            sums.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value.to_f64());
        }
    }
    sums.iter().zip(photograph).map(|(sum, value)| sum * f64::from(*value) / POINTS as f64).collect()
}

/// A photograph as networks see it: [0, 1], `[SIDE, SIDE, 3]`.
fn photograph(name: &str) -> Vec<f32> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples").join(name);
    let side = u32::try_from(SIDE).unwrap();
    let image = image::open(file).unwrap().resize_exact(side, side, image::imageops::FilterType::Triangle);
    image.to_rgb32f().into_raw()
}

/// Which transforms a row of the second table does without.
const WITHOUT: [(&str, &[Scheme]); 6] = [
    ("all transforms", &[]),
    ("none of them", Scheme::ALL),
    ("no 1 x 7, 7 x 1", &[Scheme::Line47, Scheme::Column47]),
    ("no 1 x 3, 3 x 1", &[Scheme::Line43, Scheme::Column43]),
    ("no 5 x 5", &[Scheme::Square45]),
    ("no 3 x 3", &[Scheme::Square43, Scheme::Square23]),
];

/// Networks whose weights are shipped.
fn print_maps(set: InstructionSet) {
    println!("\n### {}: maps\n", machine(set));
    println!("| network | transforms | gradient ms | map error, {POINTS} midpoints, three photographs |");
    println!("| --- | --- | --- | --- |");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    let photographs = PHOTOGRAPHS.map(photograph);
    for network in [Network::InceptionV3, Network::ResNet50] {
        let (plan, _) = weights::plan::<f64>(&folder, network).unwrap();
        let mut exact = CpuExecutor::with(InstructionSet::Portable, plan.into(), IMAGES).unwrap();
        let (plan, _): (Plan<f32>, _) = weights::plan(&folder, network).unwrap();
        let make = |schemes: &[Scheme]| {
            left_out::without(schemes, || {
                let mut executor = CpuExecutor::with(set, plan.clone().into(), IMAGES).unwrap();
                // Kernels for gradients are made by the first one.
                map(&mut executor, &photographs[0], &photographs[0], 0);
                executor
            })
        };
        let mut ways = WITHOUT.map(|(_, schemes)| make(schemes));
        let mut errors = vec![Vec::new(); ways.len()];
        for photograph in &photographs {
            let points = path(photograph);
            let first = exact.logits(&double(photograph)).unwrap();
            let class = (0..first.len()).max_by(|a, b| first[*a].total_cmp(&first[*b])).unwrap();
            let truth = map(&mut exact, &double(&points), photograph, class);
            for (way, errors) in ways.iter_mut().zip(&mut errors) {
                errors.push(relative(&map(way, &points, photograph, class), &truth));
            }
        }
        let points = path(&photographs[0]);
        let points = &points[..IMAGES * photographs[0].len()];
        let mut runs: Vec<Ready<f64>> = ways
            .iter_mut()
            .map(|way| Box::new(|to: &mut Vec<f64>| *to = map(way, points, &photographs[0], 0)) as Ready<f64>)
            .collect();
        let times = in_turn(&mut runs);
        for (((name, _), errors), (time, _)) in WITHOUT.iter().zip(&mut errors).zip(times) {
            errors.sort_by(f64::total_cmp);
            let shown: Vec<String> = errors.iter().map(|error| format!("{:.2} %", 100.0 * error)).collect();
            println!("| {} | {name} | {:.1} | {} |", network.label(), time / IMAGES as f64, shown.join(" / "));
        }
    }
}

#[test]
#[ignore = "a measurement of some minutes, for a quiet machine"]
fn transforms_beside_direct_products() {
    let set = InstructionSet::chosen().unwrap();
    print_convolutions(set);
    print_maps(set);
}

//! What computing in f32 or bf16 does to a map is no more than claims reckon with: maps of the shipped weights beside the same ones
//! in f64, by the portable path.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use diaret::attribution::Baseline;
use diaret::attribution::convergence::distance;
use diaret::fundus::Listing;
use diaret::grading::Output;
use diaret::nn::cpu::{CpuExecutor, InstructionSet};
use diaret::nn::graph::Graph;
use diaret::nn::plan::Plan;
use diaret::nn::real::Real;
use diaret::nn::weights::{Manifest, Store};
use diaret::nn::{Executor, NnError, Precision, SIDE};
use diaret::session::{precision_moves, prepare};

mod support;

/// Of a path: enough for each to be as narrow as in a map that is shown.
const INTERVALS: usize = 8;

/// The map of a path from one end to the other, all computed in `T`.
fn map<T: Real>(set: InstructionSet, plan: Plan<T>, ends: [&[f32]; 2]) -> Vec<f32> {
    let mut executor = CpuExecutor::with(set, Arc::new(plan), INTERVALS).unwrap();
    let points: Vec<T> = (0..=INTERVALS)
        .flat_map(|point| {
            let alpha = point as f32 / INTERVALS as f32;
            // As f32 has it, so that both see the same image.
            ends[0].iter().zip(ends[1]).map(move |(from, to)| T::from_f64(f64::from((1.0 - alpha) * from + alpha * to)))
        })
        .collect();
    let output = Output::default();
    let secants = executor.secants(&points, &|from, to| output.mean_cotangent(from, to), &|| false).unwrap();
    let size = SIDE * SIDE * 3;
    (0..size)
        .map(|pixel| {
            let sum: f64 = (0..INTERVALS).map(|at| secants.gradient[at * size + pixel].to_f64()).sum();
            (sum / INTERVALS as f64 * f64::from(ends[1][pixel] - ends[0][pixel])) as f32
        })
        .collect()
}

#[test]
fn a_precision_moves_a_map_by_no_more_than_claims_reckon_with() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    let input = prepare(&support::sample("IDRiD_048.jpg"), &mut Listing::default()).unwrap().input;
    let starts = Baseline::default().starts(&input.pixels, &input.mask, input.side);
    let ends = [starts[0].as_slice(), input.pixels.as_slice()];
    for (network, entry) in Manifest::read(&folder).unwrap().networks {
        let files: Vec<PathBuf> = entry.files.iter().map(|part| folder.join(&part.file)).collect();
        let store = Store::open(&files).unwrap();
        let graph = Graph::new(network, &entry.variant, SIDE).unwrap();
        let parameter = |name: &str| store.read(name).ok().map(|tensor| tensor.values);
        let exact = map(InstructionSet::Portable, Plan::<f64>::new(&graph, &parameter).unwrap(), ends);
        for precision in [Precision::F32, Precision::Bf16] {
            let set = match InstructionSet::of(precision) {
                Err(error @ NnError::Precision(Precision::Bf16)) => {
                    println!("{error}");
                    continue;
                }
                set => set.unwrap(),
            };
            let shown = map(set, Plan::<f32>::new(&graph, &parameter).unwrap(), ends);
            let (error, most) = (distance(&shown, &exact), precision_moves(precision));
            let percent = [error, most].map(|share| 100.0 * share);
            println!("{} {set:?}: {:.3} %, reckoned with {:.3} %", network.label(), percent[0], percent[1]);
            assert!(error <= most, "{network:?} {set:?}: {error}");
        }
    }
}

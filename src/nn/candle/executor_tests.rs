//! How a pass ends early, what it does without, and what it does where memory is small: on the composition, and on a card that is
//! emulated and watched.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use candle_core::{Device, Error, Result, Tensor};

use super::CandleExecutor;
use super::cuda::convolution::Tiling;
use super::cuda::emulated::Emulated;
use super::cuda::{Call, Card};
use super::program::Program;
use crate::bench::formula;
use crate::nn::graph::Variant;
use crate::nn::plan::Plan;
use crate::nn::training::small::{SMALL, small_network};
use crate::nn::{At, Executor, Network, NnError, Secants};

const ROW: usize = SMALL * SMALL * 3;
/// Points of a path.
const POINTS: usize = 9;

/// A card that holds so many rows, and says what it ran.
#[derive(Debug)]
struct Watched {
    rows: usize,
    /// What it says of more.
    refusal: &'static str,
    refused: AtomicUsize,
    ran: Mutex<Vec<&'static str>>,
}

impl Card for Watched {
    fn run(&self, call: &Call) -> Result<Vec<Tensor>> {
        if call.outputs[0].0.dims()[0] > self.rows {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::Msg(self.refusal.to_owned()));
        }
        self.ran.lock().unwrap().push(call.kernel);
        Emulated::Plain.run(call)
    }

    fn tiling(&self) -> &'static Tiling {
        Emulated::Plain.tiling()
    }
}

impl Watched {
    const fn new(rows: usize, refusal: &'static str) -> Self {
        Self { rows, refusal, refused: AtomicUsize::new(0), ran: Mutex::new(Vec::new()) }
    }

    /// As a driver's code comes through candle.
    const fn with_room_for(rows: usize) -> Self {
        Self::new(rows, "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")
    }

    /// How often it has refused since this was asked last.
    fn refused(&self) -> usize {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Whether kernels were run since this was asked last.
    fn ran(&self, kernels: [&str; 2]) -> [bool; 2] {
        let ran = std::mem::take(&mut *self.ran.lock().unwrap());
        kernels.map(|kernel| ran.contains(&kernel))
    }
}

fn program(card: Option<&'static dyn Card>) -> Program {
    let graph = small_network(&Variant::keras(Network::ResNet50, Some(3)));
    let plan = Plan::<f32>::new(&graph, &formula::parameters(&graph, 3)).unwrap();
    Program::with(&plan, &Device::Cpu, card).unwrap()
}

fn executor(card: &'static dyn Card, rows: usize) -> CandleExecutor<f32> {
    CandleExecutor::of(Arc::new(program(Some(card))), rows)
}

fn points() -> Vec<f32> {
    formula::uniform(3, "points", POINTS * ROW).map(|value| value as f32).collect()
}

fn secants(executor: &mut CandleExecutor<f32>) -> std::result::Result<Secants, NnError> {
    executor.secants(&points(), &|from, to| from.iter().zip(to).map(|(a, b)| a + b).collect(), &|| false)
}

fn cotangent(logits: &[f64]) -> (f64, Vec<f64>) {
    (logits[0], vec![1.0, 0.0, 0.0])
}

#[test]
fn an_interrupted_pass_ends_at_its_next_step() {
    let program = Arc::new(program(None));
    // Forward and backward, but for the step that makes the input.
    let asks = 2 * program.steps.len() - 1;
    let mut executor = CandleExecutor::<f32>::of(program, POINTS);
    for after in 0..=asks {
        let asked = AtomicUsize::new(0);
        let result =
            executor.secants(&points(), &|from, _| from.to_vec(), &|| asked.fetch_add(1, Ordering::Relaxed) >= after);
        assert_eq!(matches!(result, Err(NnError::Interrupted)), after < asks, "after {after} of {asks}");
        assert_eq!(asked.into_inner(), asks.min(after + 1));
    }
}

#[test]
fn only_what_is_kept_is_computed() {
    static CARD: Watched = Watched::with_room_for(POINTS);
    let mut executor = executor(&CARD, POINTS);
    let kernels = ["max_place", "norm_through"];
    executor.logits(&points()).unwrap();
    assert_eq!(CARD.ran(kernels), [false; 2]);
    // Neither the pool nor a ReLU stands behind the features.
    executor.value_and_gradient(&points(), At::Features, &cotangent).unwrap();
    assert_eq!(CARD.ran(kernels), [false; 2]);
    executor.value_and_gradient(&points(), At::Input, &cotangent).unwrap();
    assert_eq!(CARD.ran(kernels), [true; 2]);
}

#[test]
fn a_small_card_takes_fewer_rows_and_gives_the_same() {
    static WIDE: Watched = Watched::with_room_for(POINTS);
    static NARROW: Watched = Watched::with_room_for(3);
    let [mut wide, mut narrow] = [&WIDE, &NARROW].map(|card| executor(card, 32));
    let [whole, parts] = [&mut wide, &mut narrow].map(|executor| secants(executor).unwrap());
    assert!(whole.logits == parts.logits && whole.gradient == parts.gradient);
    // Eight intervals at once, four, two: three points.
    assert_eq!([wide.rows(), narrow.rows(), WIDE.refused(), NARROW.refused()], [32, 2, 0, 2]);
    assert_eq!(secants(&mut narrow).unwrap().gradient, parts.gradient);
    assert_eq!(narrow.logits(&points()).unwrap(), whole.logits);
    assert_eq!(NARROW.refused(), 0);
}

#[test]
fn images_are_taken_in_fewer_rows_as_well() {
    static WIDE: Watched = Watched::with_room_for(POINTS);
    static NARROW: Watched = Watched::with_room_for(3);
    let [whole, parts] = [&WIDE, &NARROW].map(|card| {
        let mut executor = executor(card, 32);
        let gradients = executor.value_and_gradient(&points(), At::Input, &cotangent).unwrap();
        (gradients.logits, gradients.values, gradients.gradient, executor.logits(&points()).unwrap())
    });
    assert!(whole == parts);
    assert_eq!(NARROW.refused(), 2);
}

#[test]
fn what_no_fewer_rows_can_mend_is_an_error() {
    // One interval has two points.
    static FULL: Watched = Watched::with_room_for(1);
    static BROKEN: Watched = Watched::new(1, "DriverError(CUDA_ERROR_ILLEGAL_ADDRESS)");
    let mut full = executor(&FULL, POINTS);
    let error = secants(&mut full).unwrap_err().to_string();
    assert!(error.contains("out of memory"), "{error}");
    assert_eq!([full.rows(), FULL.refused()], [1, 4]);
    let mut broken = executor(&BROKEN, POINTS);
    assert!(matches!(secants(&mut broken), Err(NnError::Device(_))));
    assert_eq!([broken.rows(), BROKEN.refused()], [POINTS, 1]);
}

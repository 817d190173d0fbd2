//! A network comes in; how long a training step takes goes out, beside the other program.
//!
//! A step is a batch through the whole network, batch norm with the statistics of the batch, and the gradient of the mean cross
//! entropy by all parameters; no optimiser.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};

use super::beside::{Answer, Task, Work};
use super::speed::{Pass, SpeedRow, What};
use super::subject::Subject;
use super::{BenchError, Run, exchange};
use crate::nn::candle::training::CandleTrainer;
use crate::nn::clock::Clock;
use crate::nn::cpu::training::Trainer;
use crate::nn::training::Statistics;
use crate::nn::weights::Store;
use crate::nn::{NnError, Precision, SIDE};

/// Images of a batch.
pub const ROWS: usize = 16;
/// What a step costs of an image, in gradients.
const COST: f64 = 2.0;

/// A network that is trained.
enum Training<'a> {
    /// By our own kernels.
    Processor(Box<Trainer<f32>>),
    /// On a device of candle's.
    Card(CandleTrainer<f32>, &'a Device),
}

/// The rows of a network, one for each precision and number of threads, of a quick run with all of them; `images` is `[16, side, side, 3]`. None where time is up, and where a
/// card cannot do it.
pub fn measure(run: &mut Run, subject: &Subject, images: &[f32]) -> Result<Vec<SpeedRow>, BenchError> {
    let input = run.exchange.file("batch.safetensors");
    exchange::write(&input, &[("input", vec![ROWS, SIDE, SIDE, 3], images)])?;
    let mut rows = Vec::new();
    let all = rayon::current_num_threads();
    let threads = if run.settings.quick { vec![all] } else { run.threads() };
    let precisions = run.settings.precisions.clone();
    for (precision, threads) in precisions.iter().flat_map(|&one| threads.iter().map(move |&threads| (one, threads))) {
        let label = subject.network.label();
        let name = format!("{label} training x{ROWS}, {}, {threads} thread(s)", precision.name());
        let work = Work::Training { input: input.clone(), rows: ROWS };
        let task = run.task(work, &subject.topology, threads, precision);
        match row(run, subject, images, (&task, &name)) {
            Ok(row) => rows.extend(row),
            Err(BenchError::Network(error @ NnError::Device(_))) => run.other.leave_out(format!("{name}: {error}")),
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

fn row(
    run: &mut Run,
    subject: &Subject,
    images: &[f32],
    (task, name): (&Task, &str),
) -> Result<Option<SpeedRow>, BenchError> {
    let what = What { subject, pass: Pass::Training, rows: ROWS, task };
    if let Some(row) = what.kept(run) {
        return Ok(Some(row));
    }
    // Both programs, each once more to be warm.
    let steps = 2 * (run.settings.runs + 1);
    let alone = rayon::current_num_threads() as f64 / task.threads as f64;
    if run.time_is_up(name, (subject.network, alone * COST * (steps * ROWS) as f64)) {
        return Ok(None);
    }
    let row = match Training::new(subject, run.device.candle.as_ref(), task.precision) {
        Ok(mut training) => {
            let clock = training.clock();
            what.row(run, Some((clock.as_deref(), &mut || training.step(images))))?
        }
        Err(BenchError::Network(NnError::Precision(_))) => what.row(run, None)?,
        Err(error) => return Err(error),
    };
    Ok(row.of_somebody(run, name))
}

impl<'a> Training<'a> {
    fn new(subject: &Subject, card: Option<&'a Device>, precision: Precision) -> Result<Self, BenchError> {
        let store = Store::open(&subject.files)?;
        let parameter = |name: &str| store.read(name).ok().map(|tensor| tensor.values);
        let (graph, statistics) = (&subject.graph, Statistics::Batch);
        Ok(match (card, precision) {
            (None, _) => Self::Processor(Box::new(Trainer::new(graph, &parameter, ROWS, statistics, precision)?)),
            (Some(device), Precision::F32) => {
                Self::Card(CandleTrainer::new(graph, &parameter, ROWS, statistics, device)?, device)
            }
            (Some(_), Precision::Bf16) => return Err(NnError::Precision(precision).into()),
        })
    }

    fn clock(&self) -> Option<Arc<Clock>> {
        match self {
            Self::Processor(trainer) => Some(trainer.clock()),
            Self::Card(..) => None,
        }
    }

    /// One step of this program.
    fn step(&mut self, images: &[f32]) -> Result<Answer, BenchError> {
        let begun = Instant::now();
        let outcome = match self {
            Self::Processor(trainer) => trainer.step(images, &cross_entropy)?,
            Self::Card(trainer, device) => {
                let outcome = trainer.step(images, &cross_entropy)?;
                device.synchronize().map_err(on_card)?;
                outcome
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        let classes = outcome.logits.len() / ROWS;
        let logits = outcome.logits[..classes].to_vec();
        Ok(Answer { seconds, peak_bytes: None, logits, norm: Some(self.squares()?.sqrt()) })
    }

    /// The sum of squares of all gradients.
    fn squares(&self) -> Result<f64, BenchError> {
        match self {
            Self::Processor(trainer) => {
                let gradients = trainer.tensors().iter().flat_map(|tensor| &tensor.gradient);
                Ok(gradients.map(|&gradient| f64::from(gradient).powi(2)).sum())
            }
            Self::Card(trainer, _) => {
                let gradients = trainer.parameters().iter().filter_map(|parameter| parameter.gradient.as_ref());
                let squares = |gradient: &Tensor| gradient.sqr()?.sum_all()?.to_scalar::<f32>();
                let squares = gradients.map(|gradient| squares(gradient).map(f64::from).map_err(on_card));
                squares.sum::<Result<f64, _>>()
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
fn on_card(error: candle_core::Error) -> BenchError {
    NnError::Device(error.to_string()).into()
}

/// The cross entropy of an image, whose class is its place modulo the number of classes, and its part in the mean's derivative.
fn cross_entropy(image: usize, logits: &[f64]) -> (f64, Vec<f64>) {
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
    let class = image % logits.len();
    let derivative = |(place, logit): (usize, &f64)| {
        ((logit - greatest).exp() / sum - f64::from(u8::from(place == class))) / ROWS as f64
    };
    (greatest + sum.ln() - logits[class], logits.iter().enumerate().map(derivative).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivative_of_the_cross_entropy_is_its_slope() {
        let logits = [0.3, -1.2, 2.0, 0.0, 0.7];
        let (_, derivative) = cross_entropy(7, &logits);
        for (place, derivative) in derivative.into_iter().enumerate() {
            let at = |step: f64| {
                let mut logits = logits;
                logits[place] += step;
                cross_entropy(7, &logits).0
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((derivative - slope / ROWS as f64).abs() < 1e-9, "{place}: {derivative}");
        }
    }
}

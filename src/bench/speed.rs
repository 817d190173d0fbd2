//! A network comes in; how long a forward pass, an input gradient and the secants that maps are made of take goes out, the first
//! two beside the other program.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::beside::{Answer, Task, Work};
use super::kept::Stamp;
use super::subject::{Subject, Weights};
use super::{BenchError, Run, exchange, machine};
use crate::grading::{Grade, Output, Target};
use crate::nn::clock::{Clock, Spent};
use crate::nn::{At, Executor, Line, Network, NnError, Precision, SIDE};

/// Intervals of a path, of which a row of secants takes some: those of a map within 2 %.
const INTERVALS: f64 = 40.0;
/// The class whose logit is differentiated.
const CLASS: Grade = Grade::Moderate;
/// Two programs that compute the same differ by less, relative to the greatest logit and to the gradient's norm.
fn agreement(precision: Precision) -> [f64; 2] {
    match precision {
        Precision::F32 => [5e-3, 5e-2],
        Precision::Bf16 => [0.1, 0.5],
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// Logits.
    Forward,
    /// Logits, then the gradient of one by the image.
    Gradient,
    /// Logits at places of a line, one more than there are rows, then the sum of the secants between neighbours: what our maps are
    /// made of, and nobody else's.
    Secants,
    /// Logits with the statistics of the batch, then the gradient of the loss by all parameters.
    Training,
}

impl Pass {
    /// Products of this pass for one of so many rows, in those of a forward pass.
    fn products(self, rows: usize) -> f64 {
        match self {
            Self::Forward => 1.0,
            Self::Gradient => 2.0,
            Self::Secants => 2.0 + 1.0 / rows as f64,
            Self::Training => 3.0,
        }
    }

    /// Whether there is another program that has it.
    fn is_compared(self) -> bool {
        self != Self::Secants
    }
}

/// One network, one pass, one number of images and threads: seconds of every run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedRow {
    /// The network.
    pub network: Network,
    /// Whose weights.
    pub weights: Weights,
    /// What was timed.
    pub pass: Pass,
    /// Images at once.
    pub rows: usize,
    /// Threads.
    pub threads: usize,
    /// What products were computed in.
    pub precision: Precision,
    /// Products of this pass for one image, as the topology has them.
    pub products: u64,
    /// Of this program; none where it does not compute in this precision.
    pub ours: Vec<f64>,
    /// Of the other, run by run after ours or before.
    pub other: Vec<f64>,
    /// Its fastest setting.
    pub setting: Option<String>,
    /// What the time of our threads went to, all runs together.
    #[serde(default)]
    pub spent: Option<Spent>,
    /// The most bytes resident while we ran, this network's weights and those of the others included.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
    /// The same of the other.
    #[serde(default)]
    pub other_peak_bytes: Option<u64>,
    /// What it was measured under; without one it is measured again.
    #[serde(default)]
    pub stamp: Option<Stamp>,
}

impl SpeedRow {
    /// The row; none where nobody computes so, which is said.
    pub(super) fn of_somebody(self, run: &mut Run, name: &str) -> Option<Self> {
        let is_there = !self.ours.is_empty() || !self.other.is_empty();
        if !is_there {
            run.other.leave_out(format!("{name}: {}", NnError::Precision(self.precision)));
        }
        is_there.then_some(self)
    }
}

/// Every row of a network; `images` is `[rows, side, side, 3]` with as many rows as the largest batch.
pub fn measure(run: &mut Run, subject: &Subject, images: &[f32]) -> Result<Vec<SpeedRow>, BenchError> {
    let input = run.exchange.file("rows.safetensors");
    let size = SIDE * SIDE * 3;
    exchange::write(&input, &[("input", vec![images.len() / size, SIDE, SIDE, 3], images)])?;
    let (mut list, mut model) = (Vec::new(), (Precision::F32, Some(Arc::clone(&subject.model))));
    for Shape { precision, threads, rows, pass } in shapes(run) {
        let input = input.clone();
        let work = match pass {
            Pass::Gradient => Work::Gradient { input, rows, class: CLASS.index() },
            _ => Work::Forward { input, rows },
        };
        // Both programs, each once more to be warm, as if all threads shared the work.
        let programs = if pass.is_compared() { 2 } else { 1 };
        let passes = if pass == Pass::Forward { programs } else { 2 * programs } * (run.settings.runs + 1) * rows;
        let costs = (passes * rayon::current_num_threads()).div_ceil(2 * threads);
        let task = run.task(work, &subject.topology, threads, precision);
        let what = What { subject, pass, rows, task: &task };
        let label = subject.network.label();
        let name = format!("{label} {pass:?} {} x{rows}, {threads} thread(s)", precision.name());
        let row = match what.kept(run) {
            Some(row) => row,
            None if run.time_is_up(&name, (subject.network, costs as f64)) => continue,
            None => {
                if model.0 != precision {
                    model = (precision, subject.model_in(precision, run.device)?);
                }
                match &model.1 {
                    Some(model) => {
                        let mut executor = model.executor(rows)?;
                        let mut once = || time(executor.as_mut(), pass, &images[..rows * size]);
                        what.row(run, Some((model.clock().as_deref(), &mut once)))?
                    }
                    None => what.row(run, None)?,
                }
            }
        };
        let Some(row) = row.of_somebody(run, &name) else { continue };
        run.note_gradient(&row);
        list.push(row);
    }
    Ok(list)
}

/// What makes a row.
struct Shape {
    precision: Precision,
    threads: usize,
    rows: usize,
    pass: Pass,
}

/// All rows of a network; a quick run has one thread with the smallest batch alone.
fn shapes(run: &Run) -> Vec<Shape> {
    let (all, batches) = (rayon::current_num_threads(), &run.settings.batches);
    let [least, most] = [batches.iter().min(), batches.iter().max()].map(|batch| batch.copied().unwrap_or(1));
    let mut shapes = Vec::new();
    for &precision in &run.settings.precisions {
        for threads in run.threads() {
            for &rows in batches.iter().filter(|&&rows| !run.settings.quick || threads == all || rows == least) {
                let passes = [Pass::Forward, Pass::Gradient, Pass::Secants].into_iter();
                // Maps are made in f32, of many secants at once.
                let may = |&pass: &Pass| pass != Pass::Secants || (precision == Precision::F32 && rows == most);
                shapes.extend(passes.filter(may).map(|pass| Shape { precision, threads, rows, pass }));
            }
        }
    }
    shapes
}

/// One pass of this program.
type Once<'a> = &'a mut (dyn FnMut() -> Result<Answer, BenchError> + Send);

/// What a row is of.
pub(super) struct What<'a> {
    pub(super) subject: &'a Subject,
    pub(super) pass: Pass,
    pub(super) rows: usize,
    pub(super) task: &'a Task,
}

impl What<'_> {
    fn key(&self, run: &Run) -> impl Serialize + use<> {
        let Task { threads, precision, .. } = *self.task;
        (run.identity.clone(), self.subject.model.weights_hash().to_owned(), self.pass, self.rows, threads, precision)
    }

    /// The row, if an earlier run of the same program on such a machine has it.
    pub(super) fn kept(&self, run: &mut Run) -> Option<SpeedRow> {
        let row = run.kept.find(&self.key(run))?;
        // Which is kept as well, and is to be named.
        if self.pass.is_compared() {
            run.other.setting(self.task);
        }
        Some(row)
    }

    /// The row, from one pass of this program and the clock that sees what its time goes to; without, where this program does not
    /// compute in such a precision.
    pub(super) fn row(&self, run: &mut Run, ours: Option<(Option<&Clock>, Once)>) -> Result<SpeedRow, BenchError> {
        let Self { subject, pass, rows, task } = *self;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(task.threads).build()?;
        let (clock, once) = ours.map_or((None, None), |(clock, once)| (clock, Some(once)));
        let mut once = once.map(|once| || pool.install(&mut *once));
        let warm = once.as_mut().map(|once| once()).transpose()?;
        // Chooses its setting before the clock starts for anyone.
        let setting = if pass.is_compared() { run.other.setting(task) } else { None };
        let begun = Instant::now();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        machine::reset_peak();
        let before = clock.map(Clock::spent);
        for pair in 0..run.settings.runs {
            // Whoever comes second finds the caches of the other: take turns.
            let theirs_first = pair % 2 == 1;
            let mut theirs_now = || if pass.is_compared() { run.other.run(task) } else { None };
            let answer = if theirs_first { theirs_now() } else { None };
            if let Some(once) = &mut once {
                ours.push(once()?.seconds);
            }
            let answer = if theirs_first { answer } else { theirs_now() };
            let Some(answer) = answer else { continue };
            if let Some(reason) = warm.as_ref().and_then(|warm| disagreement(warm, &answer, task.precision)) {
                run.other.leave_out(format!("{}, {pass:?}: not compared, {reason}", subject.network.label()));
                theirs.clear();
                break;
            }
            theirs.push(answer);
        }
        let spent = clock.zip(before).map(|(clock, before)| clock.spent().since(before));
        let row = SpeedRow {
            network: subject.network,
            weights: subject.weights,
            pass,
            rows,
            threads: task.threads,
            precision: task.precision,
            products: (pass.products(rows) * subject.products as f64) as u64,
            setting: setting.filter(|_| !theirs.is_empty()),
            other: theirs.iter().map(|answer| answer.seconds).collect(),
            spent,
            peak_bytes: machine::peak_bytes().filter(|_| once.is_some()),
            other_peak_bytes: theirs.iter().filter_map(|answer| answer.peak_bytes).max(),
            ours,
            stamp: None,
        };
        run.say(&said(&row));
        // Without the other's figures it is to be tried again.
        if row.other.is_empty() && pass.is_compared() {
            Ok(row)
        } else {
            run.kept.keep(&self.key(run), begun, |stamp| SpeedRow { stamp, ..row })
        }
    }
}

/// One pass of this program.
fn time(executor: &mut dyn Executor, pass: Pass, images: &[f32]) -> Result<Answer, BenchError> {
    let output = Output::Logit(Target::Grade(CLASS));
    let (first, rows) = (SIDE * SIDE * 3, images.len() / (SIDE * SIDE * 3));
    let begun = Instant::now();
    let (logits, norm) = match pass {
        Pass::Gradient => {
            let gradients =
                executor.value_and_gradient(images, At::Input, &|logits| output.value_and_cotangent(logits))?;
            (gradients.logits, Some(gradients.gradient))
        }
        Pass::Secants => {
            // In the middle of a path of as many intervals as a map has that is shown as converged.
            let places: Vec<f64> = (0..=rows).map(|place| 0.4 + place as f64 / INTERVALS).collect();
            let line = Line { from: &vec![0.0; first], to: &images[..first] };
            let along = executor.along(line, &places, &|from, to| output.mean_cotangent(from, to), &|| false)?;
            (along.logits, None)
        }
        Pass::Forward | Pass::Training => (executor.logits(images)?, None),
    };
    let seconds = begun.elapsed().as_secs_f64();
    let norm = norm.map(|all| all[..first].iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt());
    Ok(Answer { seconds, peak_bytes: None, logits: logits[..executor.classes()].to_vec(), norm })
}

/// Why two answers are not of the same computation, if they are not.
fn disagreement(ours: &Answer, other: &Answer, precision: Precision) -> Option<String> {
    let [logits, norm] = agreement(precision);
    let greatest = ours.logits.iter().fold(0.0f64, |most, logit| most.max(logit.abs()));
    let close = |(one, two): (&f64, &f64)| (one - two).abs() <= logits * greatest;
    if ours.logits.len() != other.logits.len() || !ours.logits.iter().zip(&other.logits).all(close) {
        return Some(format!("its logits are {:?} and not {:?}", other.logits, ours.logits));
    }
    match (ours.norm, other.norm) {
        (Some(one), Some(two)) if (one - two).abs() <= norm * one => None,
        (None, _) => None,
        (one, two) => Some(format!("the norm of its gradient is {two:?} and not {one:?}")),
    }
}

fn said(row: &SpeedRow) -> String {
    let best = |seconds: &[f64]| {
        let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        if least.is_finite() { format!("{:.0} ms", 1e3 * least / row.rows as f64) } else { "-".to_owned() }
    };
    format!(
        "{} {:?} {} x{}, {} thread(s): {} an image, the other {} ({})",
        row.network.label(),
        row.pass,
        row.precision.name(),
        row.rows,
        row.threads,
        best(&row.ours),
        best(&row.other),
        row.setting.as_deref().unwrap_or("none")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(logits: &[f64], norm: Option<f64>) -> Answer {
        Answer { seconds: 1.0, peak_bytes: None, logits: logits.to_vec(), norm }
    }

    #[test]
    fn only_the_same_computation_is_compared() {
        let ours = answer(&[1.0, -4.0], Some(2.0));
        assert_eq!(disagreement(&ours, &answer(&[1.001, -4.001], Some(2.01)), Precision::F32), None);
        for other in [
            answer(&[1.001, -4.1], Some(2.0)),
            answer(&[1.0], Some(2.0)),
            answer(&[1.0, f64::NAN], Some(2.0)),
            answer(&[1.0, -4.0], Some(2.2)),
            answer(&[1.0, -4.0], None),
        ] {
            assert!(disagreement(&ours, &other, Precision::F32).is_some(), "{other:?}");
        }
        assert_eq!(disagreement(&answer(&[1.0], None), &answer(&[1.0], None), Precision::F32), None);
        // bf16 has eight digits.
        assert_eq!(disagreement(&ours, &answer(&[1.05, -4.1], Some(2.2)), Precision::Bf16), None);
        assert!(disagreement(&ours, &answer(&[1.0, -5.0], Some(2.0)), Precision::Bf16).is_some());
        assert!(disagreement(&ours, &answer(&[1.0, -4.0], Some(4.0)), Precision::Bf16).is_some());
    }
}

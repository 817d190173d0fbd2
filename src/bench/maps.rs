//! A network and a photograph come in; how long Integrated Gradients take goes out: 50 steps of Captum's default rule on
//! both sides, and the time until a map is as close to a reference as those 50 steps are, and closer.
//!
//! The reference is the midpoint rule with many steps, summed in f64; it shares no point with any rule compared. Distances are
//! relative L2. Both programs get the same tensor, baseline and output.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::beside::Work;
use super::goals::{self, Goal};
use super::kept::Stamp;
use super::subject::{Subject, Weights};
use super::{BenchError, Run, Sample, exchange, machine};
use crate::attribution::convergence::{completeness_error, distance};
use crate::attribution::integrated_gradients::IntegratedGradients;
use crate::attribution::quadrature::Rule;
use crate::attribution::{Attribution, Baseline, Cancel, Differentiable};
use crate::grading::{Output, Target};
use crate::nn::weights::hexadecimal;
use crate::nn::{Network, Precision, SIDE};
use crate::session::Explained;

/// What is explained, from where.
pub const QUESTIONS: [(Baseline, Output); 2] =
    [(Baseline::Black, Output::Logit(Target::Predicted)), (Baseline::Blur, Output::LogOddsReferable)];
/// Captum's default.
pub const STEPS: usize = 50;
/// Two maps by the same rule in f32 are closer than this (each is about 0.002 from f64).
const AGREEMENT: f64 = 0.01;

/// One map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapRun {
    /// Gradients taken.
    pub gradients: usize,
    /// By the clock.
    pub seconds: f64,
    /// From the reference; none on formula weights.
    pub distance: Option<f64>,
    /// Gap between the map's sum and the change of F, relative to that change.
    pub completeness_error: f64,
    /// The most bytes resident meanwhile.
    pub peak_bytes: Option<u64>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// File name of the photograph.
    pub photograph: String,
    /// SHA-256 of what the network sees.
    pub input_sha256: String,
    /// The network.
    pub network: Network,
    /// Whose weights.
    pub weights: Weights,
    /// Their hash.
    pub weights_hash: String,
    /// Where paths start.
    pub baseline: Baseline,
    /// What is explained, its class resolved.
    pub output: Output,
    /// Midpoints of the reference.
    pub reference_steps: usize,
}

/// A case and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseRow {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// 50 steps, ours by the same rule.
    pub ours: MapRun,
    /// 50 steps of the other.
    pub other: Option<MapRun>,
    /// Its fastest setting.
    pub setting: Option<String>,
    /// 50 steps of the other in bf16.
    pub other_bf16: Option<MapRun>,
    /// Distance between the two maps of 50 steps.
    pub apart: Option<f64>,
    /// Closeness; empty on formula weights.
    pub goals: Vec<Goal>,
    /// What it was measured under; without one it is measured again.
    #[serde(default)]
    pub stamp: Option<Stamp>,
}

/// A case in work.
pub(super) struct Bench<'a> {
    pub(super) case: &'a Case,
    pub(super) integral: IntegratedGradients<'a>,
    /// The file with both ends of the path.
    ends: PathBuf,
    topology: &'a Path,
}

/// Measures one case, or takes it from an earlier run of the same program on such a machine; `None` where time is up.
pub fn measure(
    run: &mut Run,
    subject: &Subject,
    sample: &Sample,
    (baseline, output): (Baseline, Output),
) -> Result<Option<CaseRow>, BenchError> {
    let input = &sample.input.pixels;
    let mut function = Explained::new(subject.model.executor(subject.model.rows_at_once())?, output, input)?;
    let case = Case {
        photograph: sample.name.clone(),
        input_sha256: hexadecimal(&sample.input.sha256()),
        network: subject.network,
        weights: subject.weights,
        weights_hash: subject.model.weights_hash().to_owned(),
        baseline,
        output: function.output(),
        reference_steps: run.settings.reference_steps,
    };
    let key = (run.identity.clone(), &case);
    if let Some(row) = run.kept.find(&key) {
        return Ok(Some(row));
    }
    let gradients = gradients_to_take(run, &case);
    if run.time_is_up(&name(&case), (case.network, gradients)) {
        return Ok(None);
    }
    let starts = baseline.starts(input, &sample.input.mask, SIDE);
    let ends = run.exchange.file("ends.safetensors");
    let shape = vec![SIDE, SIDE, 3];
    exchange::write(&ends, &[("input", shape.clone(), input), ("baseline", shape, &starts[0])])?;
    let integral = IntegratedGradients { input, starts: &starts, order: baseline.order() };
    let bench = Bench { case: &case, integral, ends, topology: &subject.topology };
    // The first map of a network costs more: the other program's settings are tried.
    for &precision in &run.settings.precisions {
        run.other.setting(&bench.task(run, STEPS, precision));
    }
    if run.time_is_up(&name(&case), (case.network, gradients)) {
        return Ok(None);
    }
    let reference = match case.weights {
        Weights::Shipped => Some(bench.reference(run, &mut function)?.map),
        Weights::Formula => None,
    };
    let begun = Instant::now();
    let row = bench.row(run, &mut function, reference.as_deref())?;
    run.say(&said(&row));
    run.kept.keep(&key, begun, |stamp| CaseRow { stamp, ..row }).map(Some)
}

/// About how many a case costs, both programs together.
fn gradients_to_take(run: &Run, case: &Case) -> f64 {
    let compared = match (case.weights, run.settings.quick) {
        (Weights::Formula, _) => 2 * STEPS,
        (Weights::Shipped, true) => 6 * STEPS,
        // The other program's steps for 0.5 % are looked for, too.
        (Weights::Shipped, false) => 50 * STEPS,
    };
    let kept = case.weights == Weights::Formula || run.kept.find::<Attribution>(&reference_key(case)).is_some();
    (compared + if kept { 0 } else { case.reference_steps }) as f64
}

/// A reference belongs to image, weights, baseline, output and steps, whatever program made it.
fn reference_key(case: &Case) -> impl Serialize + use<> {
    let Case { input_sha256, weights_hash, baseline, output, reference_steps, .. } = case.clone();
    ("midpoints", input_sha256, weights_hash, baseline, output, reference_steps)
}

impl Bench<'_> {
    fn row(&self, run: &mut Run, function: &mut Explained, reference: Option<&[f32]>) -> Result<CaseRow, BenchError> {
        // Buffers are made and the weights turned before the clock starts.
        function.values_and_gradients(self.integral.input)?;
        machine::reset_peak();
        let rule = Rule::gauss_legendre(STEPS);
        let map = self.integral.with_rule(function, &rule, &Cancel::default(), &mut |_| ())?;
        let ours = MapRun::of(&map, reference);
        let setting = run.other.setting(&self.task(run, STEPS, Precision::F32));
        let (mut other, mut apart) = (None, None);
        if let Some((figures, theirs)) = self.other(run, (STEPS, Precision::F32), &map, reference)? {
            let far = distance(&theirs, &map.map);
            apart = Some(far);
            if far <= AGREEMENT {
                other = Some(figures);
            } else {
                let name = name(self.case);
                run.other.leave_out(format!("{name}: not compared, the same rule gave maps that are {far:.3} apart"));
            }
        }
        let other_bf16 = if run.settings.precisions.contains(&Precision::Bf16) {
            self.other(run, (STEPS, Precision::Bf16), &map, reference)?.map(|(figures, _)| figures)
        } else {
            None
        };
        let goals = match reference {
            Some(reference) => goals::measure(self, run, function, (&map, reference), (&ours, other.as_ref()))?,
            None => Vec::new(),
        };
        let setting = setting.filter(|_| other.is_some());
        Ok(CaseRow { case: self.case.clone(), ours, other, setting, other_bf16, apart, goals, stamp: None })
    }

    /// The map that all are held against.
    fn reference(&self, run: &Run, function: &mut Explained) -> Result<Attribution, BenchError> {
        run.kept.get(&reference_key(self.case), || {
            let rule = Rule::midpoints(self.case.reference_steps);
            Ok(self.integral.with_rule(function, &rule, &Cancel::default(), &mut |_| ())?)
        })
    }

    fn task(&self, run: &Run, steps: usize, precision: Precision) -> super::beside::Task {
        let class = self.case.output.grade().map(crate::grading::Grade::index);
        let map = run.exchange.file("map.safetensors");
        let work = Work::Map { ends: self.ends.clone(), class, steps, map };
        run.task(work, self.topology, rayon::current_num_threads(), precision)
    }

    /// The other program's map and its figures; F at both ends is taken from `map`, ours.
    pub(super) fn other(
        &self,
        run: &mut Run,
        (steps, precision): (usize, Precision),
        map: &Attribution,
        reference: Option<&[f32]>,
    ) -> Result<Option<(MapRun, Vec<f32>)>, BenchError> {
        let task = self.task(run, steps, precision);
        let Some(answer) = run.other.run(&task) else { return Ok(None) };
        let theirs = exchange::read(&run.exchange.file("map.safetensors"), "map")?;
        let change = map.f_input - map.f_baseline.unwrap_or_default();
        let gap = theirs.iter().map(|&a| f64::from(a)).sum::<f64>() - change;
        let figures = MapRun {
            gradients: steps,
            seconds: answer.seconds,
            distance: reference.map(|reference| distance(&theirs, reference)),
            completeness_error: completeness_error(gap, change),
            peak_bytes: answer.peak_bytes,
        };
        Ok(Some((figures, theirs)))
    }
}

impl MapRun {
    /// The figures of a map of ours that has just been made.
    pub(super) fn of(map: &Attribution, reference: Option<&[f32]>) -> Self {
        Self {
            gradients: map.gradient_evaluations,
            seconds: map.seconds,
            distance: reference.map(|reference| distance(&map.map, reference)),
            completeness_error: map.completeness_error.unwrap_or(f64::INFINITY),
            peak_bytes: machine::peak_bytes(),
        }
    }
}

fn name(case: &Case) -> String {
    format!("{}, {} from {:?}", case.photograph, case.network.label(), case.baseline)
}

fn said(row: &CaseRow) -> String {
    let seconds = |map: &MapRun| format!("{:.1} s", map.seconds);
    let other = |map: Option<&MapRun>| map.map_or_else(|| "-".to_owned(), seconds);
    let goal = |goal: &Goal| {
        let (ours, other) = (other(goal.ours.as_ref()), other(goal.other.as_ref()));
        format!("; {:.2} % {ours}, {other}", 100.0 * goal.limit)
    };
    let goals: String = row.goals.iter().map(goal).collect();
    format!("{}: 50 steps {}, {}{goals}", name(&row.case), seconds(&row.ours), other(row.other.as_ref()))
}

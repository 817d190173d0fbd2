//! Settings, weights, photographs and perhaps another program come in; a [`Report`] goes out. What all parts share while they
//! measure stands here: the other program, what is kept, and the time that is left.

use std::collections::BTreeMap;
use std::iter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::beside::{Beside, Task, Work};
use super::exchange::Exchange;
use super::kept::Kept;
use super::machine::Machine;
use super::maps::{self, CaseRow, QUESTIONS};
use super::other::{Other, Winners};
use super::speed::{self, Pass, SpeedRow};
use super::subject::{Subject, Weights};
use super::{BenchError, Part, Report, Settings, throughput, training};
use crate::fundus::{Listing, NetworkInput};
use crate::nn::cpu::peak::{Peak, peak};
use crate::nn::weights::hexadecimal;
use crate::nn::{Device, Network, Precision};
use crate::session::{Networks, prepare};

/// Photographs of a quick run.
const QUICK_PHOTOGRAPHS: usize = 3;
/// Photographs on which maps of a network with formula weights are timed; a quick run leaves them out, for they take what fifty
/// gradients take.
const FORMULA_PHOTOGRAPHS: usize = 3;

/// Goes up whenever rows are measured in another way: those of earlier reports are then measured again.
const METHOD: u32 = 1;

/// A photograph that takes part.
pub(super) struct Sample {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) megapixels: f64,
    pub(super) input: NetworkInput,
}

/// What all parts share while a bench runs.
pub(super) struct Run<'a> {
    pub(super) settings: &'a Settings,
    pub(super) device: &'a Device,
    pub(super) other: Other,
    pub(super) kept: Kept,
    pub(super) exchange: Exchange,
    /// What rows depend on beside the case: both programs, the machine, the settings.
    pub(super) identity: serde_json::Value,
    deadline: Option<Instant>,
    /// Seconds of a network's gradient, of one image with all threads: ours or the other's, whichever takes longer.
    gradients: BTreeMap<Network, f64>,
    say: &'a mut dyn FnMut(&str),
}

/// Measures all that `settings` ask for, on `photographs`, with the weights in `weights`. `say` hears each row.
pub fn run(
    settings: &Settings,
    (weights, photographs): (&Path, &[PathBuf]),
    device: &Device,
    beside: Option<Beside>,
    say: &mut dyn FnMut(&str),
) -> Result<Report, BenchError> {
    let begun = Instant::now();
    let mut machine = Machine::here(&device.label);
    let name = beside.as_ref().map(|beside| beside.about().name.clone());
    let remembered = remembered(settings, &machine, name.as_deref());
    let kept = Kept::new(settings.keep.clone(), &settings.former, machine.load_before);
    let both = both(settings, &machine, name.as_deref());
    let mut run = Run {
        settings,
        device,
        identity: identity(settings, &both),
        other: Other::new(beside, settings.quick, remembered, (kept.clone(), both)),
        kept,
        exchange: Exchange::new()?,
        deadline: settings.within.map(|within| begun + within),
        gradients: BTreeMap::new(),
        say,
    };
    settings.not_asked.iter().for_each(|what| run.other.leave_out(format!("{what}: not asked for")));
    if settings.quick && run.measures(Part::Maps) {
        run.other.leave_out("maps within 0.5 %: only in full, a quick reference is itself 0.2 % off".to_owned());
    }
    let samples = run.samples(photographs)?;
    let folder = run.exchange.folder().to_owned();
    let load = |&network: &Network| Subject::load(weights, network, device, &folder);
    let subjects: Vec<Subject> = settings.networks.iter().map(load).collect::<Result<_, _>>()?;
    let peaks = if device.candle.is_none() { run.peaks() } else { Vec::new() };
    let mut speed = if run.measures(Part::Speed) { run.speed(&subjects, &samples)? } else { Vec::new() };
    let grading = if run.measures(Part::Grading) {
        let networks = run.networks(weights);
        throughput::measure(&mut run, &networks, &samples)?
    } else {
        None
    };
    // Before maps, which take all the time that a quick run has left.
    if run.measures(Part::Training) {
        speed.extend(run.training(&subjects, &samples)?);
    }
    let maps = if run.measures(Part::Maps) { run.maps(&subjects, &samples)? } else { Vec::new() };
    let (earlier, load) = run.kept.earlier();
    machine.load_before = machine.load_before.into_iter().chain(load).reduce(f64::max);
    let (winners, left_out) = run.other.into_parts();
    Ok(Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: settings.revision.clone(),
        machine,
        other: name,
        quick: settings.quick,
        within: settings.within.map(|within| within.as_secs_f64() / 60.0),
        runs: settings.runs,
        reference_steps: settings.reference_steps,
        peaks,
        speed,
        maps,
        grading,
        winners,
        left_out,
        seconds: begun.elapsed().as_secs_f64() + earlier,
    })
}

/// So many inputs of photographs, which repeat themselves.
fn inputs(samples: &[Sample], count: usize) -> Vec<f32> {
    samples.iter().cycle().take(count).flat_map(|sample| sample.input.pixels.iter().copied()).collect()
}

/// What won on such a machine in an earlier full run.
fn remembered(settings: &Settings, machine: &Machine, other: Option<&str>) -> Winners {
    let known = settings.former.iter().filter(|report| report.knows_winners_of(machine, other));
    known.flat_map(|report| report.winners.clone()).collect()
}

/// What the other program's figures depend on.
fn both(settings: &Settings, machine: &Machine, other: Option<&str>) -> serde_json::Value {
    serde_json::json!({
        "machine": machine.kind(),
        "other": other,
        "quick": settings.quick,
    })
}

/// Rows that were measured by another program, beside another one or on another machine are measured again.
fn identity(settings: &Settings, both: &serde_json::Value) -> serde_json::Value {
    let executable = || {
        let bytes = std::env::current_exe().and_then(std::fs::read);
        bytes.map(|bytes| hexadecimal(&Sha256::digest(bytes))).unwrap_or_default()
    };
    serde_json::json!({
        "method": METHOD,
        "both": both,
        "program": settings.program.clone().unwrap_or_else(executable),
        "precisions": settings.precisions,
        "runs": settings.runs,
    })
}

impl Run<'_> {
    fn measures(&self, part: Part) -> bool {
        self.settings.parts.contains(&part)
    }

    pub(super) fn say(&mut self, line: &str) {
        (self.say)(line);
    }

    /// Whether networks run on a card.
    pub(super) fn is_on_card(&self) -> bool {
        self.device.candle.is_some()
    }

    /// One thread, twice as many each time, and all; on a card all, for it does not use them.
    pub(super) fn threads(&self) -> Vec<usize> {
        let all = rayon::current_num_threads();
        let fewer = iter::successors(Some(1), |threads| Some(2 * threads)).take_while(|&threads| threads < all);
        fewer.filter(|_| !self.is_on_card()).chain([all]).collect()
    }

    pub(super) fn task(&self, work: Work, topology: &Path, threads: usize, precision: Precision) -> Task {
        let device = match &self.device.candle {
            None => "cpu",
            Some(card) if card.is_metal() => "metal",
            Some(_) => "cuda",
        };
        Task { work, topology: topology.to_owned(), threads, precision, device: device.to_owned() }
    }

    /// Whether something that costs about so many gradients of a network would end after the deadline; if so, it is noted as
    /// left out.
    pub(super) fn time_is_up(&mut self, what: &str, (network, gradients): (Network, f64)) -> bool {
        let needed = Duration::from_secs_f64(gradients * self.gradients.get(&network).copied().unwrap_or(0.0));
        let up = self.deadline.is_some_and(|deadline| Instant::now() + needed > deadline);
        if up {
            self.other.leave_out(format!("{what}: the time that was given did not suffice"));
        }
        up
    }

    /// Of each precision that is measured and that the processor has, with each number of threads.
    ///
    /// The greatest of several, each with threads of its own: a system may leave all threads of one on the same core.
    fn peaks(&self) -> Vec<Peak> {
        const TRIES: usize = 5;
        let greatest = |threads, precision| {
            let tries = (0..TRIES).filter_map(|_| peak(threads, precision));
            tries.max_by(|one, other| one.gflops.total_cmp(&other.gflops))
        };
        let precisions = self.settings.precisions.iter();
        precisions
            .flat_map(|&precision| self.threads().into_iter().filter_map(move |n| greatest(n, precision)))
            .collect()
    }

    /// Remembers how long a gradient takes.
    pub(super) fn note_gradient(&mut self, row: &SpeedRow) {
        let is_of_maps = row.precision == Precision::F32;
        if is_of_maps && row.pass == Pass::Gradient && row.threads == rayon::current_num_threads() {
            let least = |runs: &[f64]| runs.iter().copied().reduce(f64::min).unwrap_or(0.0) / row.rows as f64;
            // Of the largest batch, which comes last: maps are made with such.
            self.gradients.insert(row.network, least(&row.ours).max(least(&row.other)));
        }
    }

    /// The photographs that take part; what cannot be used is left out.
    fn samples(&mut self, photographs: &[PathBuf]) -> Result<Vec<Sample>, BenchError> {
        let mut samples = Vec::new();
        for path in photographs {
            match prepare(path, &mut Listing::default()) {
                Ok(prepared) => samples.push(Sample {
                    path: path.canonicalize().map_err(|error| BenchError::file(path, error))?,
                    name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    megapixels: prepared.size.map(f64::from).iter().product::<f64>() / 1e6,
                    input: prepared.input,
                }),
                Err(unusable) => self.other.leave_out(unusable.reason),
            }
        }
        if samples.is_empty() {
            return Err(BenchError::Photograph("no photograph to measure with".to_owned()));
        }
        Ok(samples)
    }

    fn speed(&mut self, subjects: &[Subject], samples: &[Sample]) -> Result<Vec<SpeedRow>, BenchError> {
        let most = self.settings.batches.iter().copied().max().unwrap_or(1);
        let images = inputs(samples, most);
        let mut rows = Vec::new();
        for subject in subjects {
            rows.extend(speed::measure(self, subject, &images)?);
            subject.model.forget_gradients();
        }
        Ok(rows)
    }

    fn training(&mut self, subjects: &[Subject], samples: &[Sample]) -> Result<Vec<SpeedRow>, BenchError> {
        let images = inputs(samples, training::ROWS);
        let mut rows = Vec::new();
        for subject in subjects {
            if self.settings.quick && subject.weights == Weights::Formula {
                self.other.leave_out(format!("training of {}: only in full", subject.network.label()));
            } else {
                rows.extend(training::measure(self, subject, &images)?);
            }
        }
        Ok(rows)
    }

    /// The networks as `diaret grade` has them.
    fn networks(&self, weights: &Path) -> Networks {
        let networks = Networks::loading(&self.settings.networks);
        networks.load(weights, self.device, &mut |_, _| ());
        networks
    }

    /// Every network and question first on one photograph, each on another, then on the next: so that a run whose time is up has
    /// seen all of them.
    fn maps(&mut self, subjects: &[Subject], samples: &[Sample]) -> Result<Vec<CaseRow>, BenchError> {
        let quick = self.settings.quick;
        let photographs = if quick { samples.len().min(QUICK_PHOTOGRAPHS) } else { samples.len() };
        let asked: Vec<_> = subjects.iter().flat_map(|subject| QUESTIONS.map(|question| (subject, question))).collect();
        let mut rows = Vec::new();
        for round in 0..photographs {
            for (place, &(subject, question)) in asked.iter().enumerate() {
                let formula = subject.weights == Weights::Formula;
                if formula && quick {
                    self.other
                        .leave_out(format!("maps of {}, on formula weights: only in full", subject.network.label()));
                }
                if formula && (quick || round >= FORMULA_PHOTOGRAPHS) {
                    continue;
                }
                // As the program does it when the network changes.
                let others = subjects.iter().filter(|other| other.network != subject.network);
                others.for_each(|other| other.model.forget_gradients());
                let sample = &samples[(round + place) % photographs];
                rows.extend(maps::measure(self, subject, sample, question)?);
            }
        }
        Ok(rows)
    }
}

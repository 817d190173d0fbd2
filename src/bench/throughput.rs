//! Photographs' files come in; how long it takes to grade them all goes out, beside decoding alone and networks alone.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::beside::Work;
use super::kept::Stamp;
use super::{BenchError, Run, Sample, machine};
use crate::fundus::Listing;
use crate::nn::weights::hexadecimal;
use crate::nn::{Network, Precision};
use crate::session::{Networks, grade_all, prepare};

/// Fewer pixels than this are no full-resolution photograph.
const LEAST: f64 = 4.0;
/// Files for each thread at least: of one for each all are decoded at the same time, and nothing overlaps.
const FILES_A_THREAD: usize = 4;

/// Grading of some files: seconds of every run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradingRow {
    /// How many photographs; where there are more threads, the same ones several times.
    pub files: usize,
    /// Their mean size in millions of pixels.
    pub megapixels: f64,
    /// The networks.
    pub networks: Vec<Network>,
    /// Files to grades.
    pub grading: Vec<f64>,
    /// Files to inputs alone: read, hashed, decoded, field found, reduced; all threads.
    pub decoding: Vec<f64>,
    /// Inputs to grades alone, as many at once as the networks take; all threads on them.
    pub grading_inputs: Vec<f64>,
    /// The other program: files to logits.
    pub other: Vec<f64>,
    /// Its fastest setting.
    pub setting: Option<String>,
    /// The most bytes resident while we graded.
    pub peak_bytes: Option<u64>,
    /// The same of the other.
    pub other_peak_bytes: Option<u64>,
    /// What it was measured under; without one it is measured again.
    #[serde(default)]
    pub stamp: Option<Stamp>,
}

/// Grades those of `samples` that are JPEG files of full resolution; `None` where there are none, or no network for them.
pub fn measure(run: &mut Run, networks: &Networks, samples: &[Sample]) -> Result<Option<GradingRow>, BenchError> {
    let chosen: Vec<&Sample> = samples.iter().filter(|sample| is_full_jpeg(sample)).collect();
    let times = (FILES_A_THREAD * rayon::current_num_threads()).div_ceil(chosen.len().max(1));
    let chosen = chosen.repeat(times);
    let files: Vec<PathBuf> = chosen.iter().map(|sample| sample.path.clone()).collect();
    let ready = networks.ready();
    let Some(&first) = ready.first().filter(|_| !files.is_empty()) else {
        run.other
            .leave_out("grading: there are no JPEG files of full resolution, or no network to grade them".to_owned());
        return Ok(None);
    };
    let topology = |network: &Network| run.exchange.file(&format!("{}.json", network.name()));
    let work = Work::Grade { files: files.clone(), topologies: ready.iter().map(topology).collect() };
    let task = run.task(work, &topology(&first), rayon::current_num_threads(), Precision::F32);
    let setting = run.other.setting(&task);
    let inputs: Vec<String> = chosen.iter().map(|sample| hexadecimal(&sample.input.sha256())).collect();
    let hashes = ready.iter().filter_map(|&network| Some(networks.model(network).ok()?.weights_hash().to_owned()));
    let key = ("grading", run.identity.clone(), inputs, hashes.collect::<Vec<_>>());
    if let Some(row) = run.kept.find(&key) {
        return Ok(Some(row));
    }
    // Both programs, every network, each once more to be warm; decoding is left out.
    let graded = 2 * (run.settings.runs + 1) * files.len() * ready.len();
    if run.time_is_up("grading", (first, graded as f64 / 2.0)) {
        return Ok(None);
    }
    let mut row = GradingRow {
        files: files.len(),
        megapixels: chosen.iter().map(|sample| sample.megapixels).sum::<f64>() / chosen.len() as f64,
        networks: ready,
        grading: Vec::new(),
        decoding: Vec::new(),
        grading_inputs: Vec::new(),
        other: Vec::new(),
        setting,
        peak_bytes: None,
        other_peak_bytes: None,
        stamp: None,
    };
    let begun = Instant::now();
    grade(networks, &files[..1])?;
    machine::reset_peak();
    for _ in 0..run.settings.runs {
        row.grading.push(timed(|| grade(networks, &files))?);
        row.peak_bytes = row.peak_bytes.max(machine::peak_bytes());
        row.decoding.push(timed(|| decode(&files))?);
        row.grading_inputs.push(timed(|| grade_inputs(networks, &chosen))?);
        if let Some(answer) = run.other.run(&task) {
            row.other.push(answer.seconds);
            row.other_peak_bytes = row.other_peak_bytes.max(answer.peak_bytes);
        }
    }
    run.say(&format!("{} photographs graded", row.files));
    // Without the other's figures it is to be tried again.
    if row.other.is_empty() {
        Ok(Some(row))
    } else {
        run.kept.keep(&key, begun, |stamp| GradingRow { stamp, ..row }).map(Some)
    }
}

fn is_full_jpeg(sample: &Sample) -> bool {
    let extension = sample.path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ["jpg", "jpeg"].contains(&extension.as_str()) && sample.megapixels >= LEAST
}

fn timed(work: impl FnOnce() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn grade(networks: &Networks, files: &[PathBuf]) -> Result<(), BenchError> {
    let mut failure = None;
    grade_all(networks, files, &mut |graded| match graded.result {
        Ok(_) => ControlFlow::Continue(()),
        Err(reason) => {
            failure = Some(BenchError::Photograph(reason));
            ControlFlow::Break(())
        }
    });
    failure.map_or(Ok(()), Err)
}

fn decode(files: &[PathBuf]) -> Result<(), BenchError> {
    files.par_iter().try_for_each(|file| {
        let read = prepare(file, &mut Listing::default());
        read.map(drop).map_err(|unusable| BenchError::Photograph(unusable.reason))
    })
}

fn grade_inputs(networks: &Networks, samples: &[&Sample]) -> Result<(), BenchError> {
    for samples in samples.chunks(networks.images_at_once()) {
        let images: Vec<&[f32]> = samples.iter().map(|sample| sample.input.pixels.as_slice()).collect();
        for network in networks.ready() {
            for verdict in networks.verdicts(network, &images) {
                if let crate::grading::Verdict::Unavailable { unavailable } = verdict {
                    return Err(BenchError::Photograph(unavailable));
                }
            }
        }
    }
    Ok(())
}

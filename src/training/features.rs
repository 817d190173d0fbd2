//! Photographs and an executor that ends at pooled features come in; rows of a [`Cache`] go out: pooled features, then the
//! outline of the field. Photographs are read and cut on one thread while the network runs on the others.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::TrainingError;
use super::cache::Cache;
use super::outline::{cut, is_whole, outline};
use crate::fundus::{Listing, Seen, Source};
use crate::nn::Executor;

/// Between two reports of progress.
const REPORT: Duration = Duration::from_secs(10);

/// What a photograph is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As it is.
    Plain,
    /// With its field cut anew at top and bottom; one that is cut already gives none.
    Cut,
}

/// A photograph whose features are wanted.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its key in the cache.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// How it is shown.
    pub view: View,
}

/// A photograph that gave no features.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its key.
    pub key: String,
    /// Why, in words.
    pub reason: String,
}

/// How far the work is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Photographs done by this run.
    pub done: usize,
    /// Photographs to do in this run.
    pub total: usize,
    /// Since it began.
    pub elapsed: Duration,
}

impl Job {
    /// A photograph of a labelled folder, shown in one way.
    pub fn new(folder: &Path, file: &str, view: View) -> Self {
        let key = match view {
            View::Plain => file.to_owned(),
            View::Cut => format!("{file} cut"),
        };
        Self { key, path: folder.join(file), view }
    }
}

struct Prepared {
    key: String,
    pixels: Vec<f32>,
    outline: Vec<f32>,
}

/// Computes what `cache` does not hold yet; gives the photographs that were refused.
pub fn compute(
    executor: &mut dyn Executor,
    cache: &mut Cache,
    jobs: &[Job],
    told: &mut dyn FnMut(Progress),
) -> Result<Vec<Refused>, TrainingError> {
    let missing: Vec<&Job> = jobs.iter().filter(|job| cache.get(&job.key).is_none()).collect();
    let (side, rows) = (executor.side(), executor.rows());
    let (send, receive) = bounded(2 * rows);
    std::thread::scope(|scope| {
        let jobs = &missing;
        // The channel ends with the thread.
        scope.spawn(move || prepare_all(jobs, side, &send));
        run(executor, cache, receive, missing.len(), told)
    })
}

/// Ends early when nobody listens any more.
fn prepare_all(jobs: &[&Job], side: usize, send: &Sender<Result<Prepared, Refused>>) {
    let mut listing = Listing::default();
    for job in jobs {
        let prepared = prepare(job, side, &mut listing).map_err(|reason| Refused { key: job.key.clone(), reason });
        if send.send(prepared).is_err() {
            return;
        }
    }
}

fn prepare(job: &Job, side: usize, listing: &mut Listing) -> Result<Prepared, String> {
    let source = Source::open(&job.path, listing).map_err(|error| error.to_string())?;
    let Seen { input, .. } = Seen::new(&source, side).map_err(|error| error.to_string())?;
    let outline = outline(&input);
    let pixels = match job.view {
        View::Plain => input.pixels,
        View::Cut if is_whole(&outline) => cut(&input),
        View::Cut => return Err("its field is cut already".to_owned()),
    };
    Ok(Prepared { key: job.key.clone(), pixels, outline: outline.to_vec() })
}

fn run(
    executor: &mut dyn Executor,
    cache: &mut Cache,
    receive: Receiver<Result<Prepared, Refused>>,
    total: usize,
    told: &mut dyn FnMut(Progress),
) -> Result<Vec<Refused>, TrainingError> {
    let began = Instant::now();
    let mut last = began;
    let (mut refused, mut done) = (Vec::new(), 0);
    let mut batch = Vec::with_capacity(executor.rows());
    let mut incoming = receive.into_iter();
    loop {
        let next = incoming.next();
        let ended = next.is_none();
        match next {
            Some(Ok(prepared)) => batch.push(prepared),
            Some(Err(one)) => {
                refused.push(one);
                done += 1;
            }
            None => {}
        }
        if batch.len() == executor.rows() || (ended && !batch.is_empty()) {
            done += batch.len();
            flush(executor, cache, &mut batch)?;
        }
        if ended || last.elapsed() >= REPORT {
            last = Instant::now();
            told(Progress { done, total, elapsed: began.elapsed() });
        }
        if ended {
            return Ok(refused);
        }
    }
}

/// Runs a batch and keeps its rows.
fn flush(executor: &mut dyn Executor, cache: &mut Cache, batch: &mut Vec<Prepared>) -> Result<(), TrainingError> {
    let pixels: Vec<f32> = batch.iter().flat_map(|one| one.pixels.iter().copied()).collect();
    let pooled = executor.logits(&pixels)?;
    for (one, pooled) in batch.drain(..).zip(pooled.chunks_exact(executor.classes())) {
        let row = pooled.iter().map(|&value| value as f32).chain(one.outline).collect();
        cache.append(&one.key, row).map_err(|source| TrainingError::Keep { key: one.key, source })?;
    }
    Ok(())
}

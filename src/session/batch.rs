//! Many files come in; each one's grade goes out, in their order. Decoding and networks overlap over all cores; where the networks
//! take several images at once best, on a card, those that are decoded meanwhile go together. Memory is bounded by the photographs
//! that the workers hold.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::bounded;

use super::networks::Networks;
use super::prepare::{Unusable, prepare};
use super::together::Together;
use crate::fundus::{Identity, Listing, NetworkInput};
use crate::grading::{Assessment, Verdict};
use crate::nn::Network;

/// More would only hold more photographs in memory: the networks use all cores themselves.
const MOST_WORKERS: usize = 8;

/// A file that was graded, or why not.
#[derive(Clone, Debug)]
pub struct Graded {
    /// The file.
    pub path: PathBuf,
    /// Whose eye it is.
    pub identity: Identity,
    /// What the networks say, or file, reason and remedy.
    pub result: Result<Assessment, String>,
}

/// Grades `files` and delivers each in the order of `files`, until `deliver` breaks off. The same files and networks give
/// the same results however many workers there are, and whatever is graded at the same time.
pub fn grade_all(networks: &Networks, files: &[PathBuf], deliver: &mut dyn FnMut(Graded) -> ControlFlow<()>) {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let at_once = networks.images_at_once();
    // Where images go together, as many wait for the networks as go at once, and all cores decode.
    let workers = if at_once > 1 { cores + at_once } else { cores.clamp(2, MOST_WORKERS) }.min(files.len());
    let together = Together::new(at_once, |inputs: &[NetworkInput]| verdicts(networks, inputs));
    let ask = |input: NetworkInput| {
        if at_once > 1 { together.result(input) } else { verdicts(networks, &[input]).pop() }.unwrap_or_default()
    };
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = bounded(workers.max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, stop, ask) = (sender.clone(), &next, &stop, &ask);
            scope.spawn(move || {
                let mut listing = Listing::default();
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = files.get(index) else { return };
                    if sender.send((index, grade(ask, path, &mut listing))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (index, graded) in &results {
            early.insert(index, graded);
            while let Some(graded) = early.remove(&due) {
                due += 1;
                if deliver(graded).is_break() {
                    stop.store(true, Ordering::Relaxed);
                    // Workers that wait to send find nobody there and end.
                    drop(results);
                    return;
                }
            }
        }
    });
}

/// What every network says.
type Verdicts = BTreeMap<Network, Verdict>;

fn grade(ask: &dyn Fn(NetworkInput) -> Verdicts, path: &Path, listing: &mut Listing) -> Graded {
    let path_of = || path.to_path_buf();
    match prepare(path, listing) {
        Err(Unusable { reason, identity }) => Graded { path: path_of(), identity, result: Err(reason) },
        Ok(prepared) => {
            let verdicts = ask(prepared.input);
            let result = Assessment::consensus(verdicts.clone()).ok_or_else(|| no_network(path, &verdicts));
            Graded { path: path_of(), identity: prepared.identity, result }
        }
    }
}

/// What every network says of each input.
fn verdicts(networks: &Networks, inputs: &[NetworkInput]) -> Vec<Verdicts> {
    let images: Vec<&[f32]> = inputs.iter().map(|input| input.pixels.as_slice()).collect();
    let mut all = vec![Verdicts::new(); inputs.len()];
    for network in Network::ALL {
        for (verdicts, verdict) in all.iter_mut().zip(networks.verdicts(network, &images)) {
            verdicts.insert(network, verdict);
        }
    }
    all
}

fn no_network(path: &Path, verdicts: &Verdicts) -> String {
    let reasons = verdicts.iter().filter_map(|(network, verdict)| match verdict {
        Verdict::Unavailable { unavailable } => Some(format!("{}: {unavailable}", network.label())),
        Verdict::Graded(_) => None,
    });
    format!("no network could grade it ({}): {}", reasons.collect::<Vec<_>>().join("; "), path.display())
}

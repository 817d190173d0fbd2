//! Many files come in; each one's grade goes out, in their order. Decoding and networks overlap over all cores; memory is
//! bounded by the photographs that the workers hold.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::bounded;

use super::networks::Networks;
use super::prepare::{Unusable, prepare};
use crate::fundus::{Identity, Listing};
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
/// the same results however many workers there are: each photograph goes through the networks alone.
pub fn grade_all(networks: &Networks, files: &[PathBuf], deliver: &mut dyn FnMut(Graded) -> ControlFlow<()>) {
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST_WORKERS).min(files.len());
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = bounded(workers.max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                let mut listing = Listing::default();
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = files.get(index) else { return };
                    if sender.send((index, grade(networks, path, &mut listing))).is_err() {
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

fn grade(networks: &Networks, path: &Path, listing: &mut Listing) -> Graded {
    let path_of = || path.to_path_buf();
    match prepare(path, listing) {
        Err(Unusable { reason, identity }) => Graded { path: path_of(), identity, result: Err(reason) },
        Ok(prepared) => {
            let word = |network| (network, networks.verdict(network, &prepared.input.pixels));
            let verdicts: BTreeMap<Network, Verdict> = Network::ALL.into_iter().map(word).collect();
            let result = Assessment::consensus(verdicts.clone()).ok_or_else(|| no_network(path, &verdicts));
            Graded { path: path_of(), identity: prepared.identity, result }
        }
    }
}

fn no_network(path: &Path, verdicts: &BTreeMap<Network, Verdict>) -> String {
    let reasons = verdicts.iter().filter_map(|(network, verdict)| match verdict {
        Verdict::Unavailable { unavailable } => Some(format!("{}: {unavailable}", network.label())),
        Verdict::Graded(_) => None,
    });
    format!("no network could grade it ({}): {}", reasons.collect::<Vec<_>>().join("; "), path.display())
}

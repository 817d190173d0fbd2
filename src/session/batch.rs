//! Many files come in; each one's grade goes out, in their order. Decoding and networks overlap over all cores; where the networks
//! take several images at once best, on a card, those that are decoded meanwhile go together. Memory is bounded by the photographs
//! that the workers hold.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::contained::contained;
use super::networks::Networks;
use super::prepare::{Prepared, Unusable, prepare};
use super::together::Together;
use crate::fundus::{Identity, Listing, NetworkInput};
use crate::grading::{Assessment, Verdict};
use crate::nn::Network;

/// Beside networks that use all cores themselves more would only hold more photographs in memory.
const MOST_DECODERS: usize = 8;
/// Beside a card so many cores decode; each holds a photograph, at most 37 MB of 4288 x 2848.
const MOST_DECODERS_BESIDE_A_CARD: usize = 32;

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
    grade_together(networks, networks.images_at_once(), files, deliver);
}

fn grade_together(
    networks: &Networks,
    at_once: usize,
    files: &[PathBuf],
    deliver: &mut dyn FnMut(Graded) -> ControlFlow<()>,
) {
    let most = if at_once > 1 { MOST_DECODERS_BESIDE_A_CARD } else { MOST_DECODERS };
    let decoders = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, most);
    // Where images go together, as many wait for the networks as go at once while others are decoded.
    let workers = (decoders + if at_once > 1 { at_once } else { 0 }).min(files.len());
    let desk = Desk::new(decoders, Together::new(at_once, |inputs: &[NetworkInput]| verdicts(networks, inputs)));
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = bounded(workers.max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, stop, desk) = (sender.clone(), &next, &stop, &desk);
            scope.spawn(move || {
                let mut listing = Listing::default();
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = files.get(index) else { return };
                    let ask =
                        |input| if at_once > 1 { desk.verdicts(input) } else { verdicts(networks, &[input]).pop() };
                    let graded =
                        graded_or_why(path, &mut listing, |listing| grade(path, desk.prepare(path, listing), &ask));
                    if sender.send((index, graded)).is_err() {
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

/// Where workers take turns: so many decode at a time, and inputs go through the networks together.
struct Desk<W> {
    free: Sender<()>,
    turns: Receiver<()>,
    together: Together<NetworkInput, Verdicts, W>,
}

impl<W: Fn(&[NetworkInput]) -> Vec<Verdicts>> Desk<W> {
    fn new(decoders: usize, together: Together<NetworkInput, Verdicts, W>) -> Self {
        let (free, turns) = bounded(decoders);
        (0..decoders).for_each(|_| free.send(()).unwrap_or_default());
        Self { free, turns, together }
    }

    fn prepare(&self, path: &Path, listing: &mut Listing) -> Result<Prepared, Unusable> {
        self.turns.recv().unwrap_or_default();
        let prepared = prepare(path, listing);
        self.free.send(()).unwrap_or_default();
        prepared
    }

    fn verdicts(&self, input: NetworkInput) -> Option<Verdicts> {
        self.together.result(input)
    }
}

/// What `work` gives. What makes it panic is one file's fault: a place that stayed empty would hold up all that come after it.
fn graded_or_why(path: &Path, listing: &mut Listing, work: impl FnOnce(&mut Listing) -> Graded) -> Graded {
    contained(|| work(listing)).unwrap_or_else(|why| Graded {
        path: path.to_path_buf(),
        identity: listing.identity(path),
        result: Err(format!("{why}: {}", path.display())),
    })
}

/// What every network says.
type Verdicts = BTreeMap<Network, Verdict>;

fn grade(path: &Path, prepared: Result<Prepared, Unusable>, ask: &dyn Fn(NetworkInput) -> Option<Verdicts>) -> Graded {
    let path_of = || path.to_path_buf();
    match prepared {
        Err(Unusable { reason, identity }) => Graded { path: path_of(), identity, result: Err(reason) },
        Ok(prepared) => {
            let result = match ask(prepared.input) {
                Some(verdicts) => Assessment::consensus(verdicts.clone()).ok_or_else(|| no_network(path, &verdicts)),
                None => Err(format!("the networks gave no answer; grade it again: {}", path.display())),
            };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Device, DeviceChoice};

    #[test]
    fn a_panic_costs_one_file() {
        let path = Path::new("p001/10_left.jpg");
        let graded = graded_or_why(path, &mut Listing::default(), |_| panic!("on purpose"));
        assert!(graded.result.is_err_and(|reason| reason.contains("10_left.jpg")));
        assert_eq!((graded.path.as_path(), graded.identity.patient.as_deref()), (path, Some("10")));
    }

    #[test]
    fn photographs_get_the_same_alone_and_together() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let networks = Networks::loading(&[Network::InceptionV3]);
        let device = Device::open(DeviceChoice::Cpu).unwrap();
        networks.load(&root.join("weights"), &device, &mut |_, _| ());
        let files: Vec<PathBuf> = ["IDRiD_048.jpg", "IDRiD_199.jpg", "no.jpg", "IDRiD_224.jpg", "IDRiD_402.jpg"]
            .map(|name| root.join("assets/samples").join(name))
            .to_vec();
        let [alone, together] = [1, 3].map(|at_once| {
            let mut all = Vec::new();
            grade_together(&networks, at_once, &files, &mut |graded| {
                all.push((graded.path, graded.result));
                ControlFlow::Continue(())
            });
            all
        });
        assert!(alone == together && alone.len() == files.len());
        assert_eq!(alone.iter().filter(|(_, result)| result.is_ok()).count(), files.len() - 1);
    }
}

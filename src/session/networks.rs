//! The networks of a session: read in the background, one after the other, and shared by all workers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use super::NetworkState;
use super::lock;
use crate::grading::{NetworkGrade, Verdict};
use crate::nn::{Device, DeviceChoice, Executor, Model, Network, weights};

/// Where each network stands, and executors that wait for work.
pub struct Networks {
    slots: Mutex<BTreeMap<Network, Slot>>,
    changed: Condvar,
}

enum Slot {
    Loading,
    Ready(Ready),
    Unavailable(String),
}

struct Ready {
    model: Arc<dyn Model>,
    idle: Vec<Box<dyn Executor>>,
}

impl Slot {
    /// The executors that wait, if there are any.
    fn take_idle(&mut self) -> Option<Vec<Box<dyn Executor>>> {
        match self {
            Self::Ready(ready) if !ready.idle.is_empty() => Some(std::mem::take(&mut ready.idle)),
            _ => None,
        }
    }
}

/// What is said of a network whose weights are still being read.
const LOADING: &str = "its weights are being read";

impl Networks {
    /// None is there yet: each of `asked` is loading, the others were not asked for.
    pub fn loading(asked: &[Network]) -> Self {
        let slot = |network| {
            if asked.contains(&network) { Slot::Loading } else { Slot::Unavailable("not asked for".to_owned()) }
        };
        let slots = Network::ALL.into_iter().map(|network| (network, slot(network))).collect();
        Self { slots: Mutex::new(slots), changed: Condvar::new() }
    }

    /// Reads the weights of those that are loading, in the order in which they are shown; tells `report` of each state.
    pub fn load(&self, folder: &Path, device: &Device, report: &mut dyn FnMut(Network, NetworkState)) {
        for network in Network::ALL {
            if self.state(network) != NetworkState::Loading {
                continue;
            }
            report(network, NetworkState::Loading);
            let slot = match weights::load(folder, network, device) {
                Ok(model) => Slot::Ready(Ready { model, idle: Vec::new() }),
                Err(error) => Slot::Unavailable(error.to_string()),
            };
            self.set(network, slot);
            report(network, self.state(network));
        }
    }

    /// Gives up those that are still loading: there is no device or no folder of weights.
    pub fn give_up(&self, why: &str, report: &mut dyn FnMut(Network, NetworkState)) {
        for network in Network::ALL {
            if self.state(network) == NetworkState::Loading {
                self.set(network, Slot::Unavailable(why.to_owned()));
                report(network, self.state(network));
            }
        }
    }

    fn set(&self, network: Network, slot: Slot) {
        lock(&self.slots).insert(network, slot);
        self.changed.notify_all();
    }

    /// How a network stands.
    pub fn state(&self, network: Network) -> NetworkState {
        match lock(&self.slots).get(&network) {
            Some(Slot::Loading) => NetworkState::Loading,
            Some(Slot::Ready(_)) => NetworkState::Ready,
            Some(Slot::Unavailable(why)) => NetworkState::Unavailable(why.clone()),
            None => NetworkState::Unavailable("not asked for".to_owned()),
        }
    }

    /// Whether no network is loading any more.
    pub fn settled(&self) -> bool {
        !lock(&self.slots).values().any(|slot| matches!(slot, Slot::Loading))
    }

    /// The networks that run.
    pub fn ready(&self) -> Vec<Network> {
        let slots = lock(&self.slots);
        slots.iter().filter(|(_, slot)| matches!(slot, Slot::Ready(_))).map(|(&network, _)| network).collect()
    }

    /// The model of a network, or why there is none.
    pub fn model(&self, network: Network) -> Result<Arc<dyn Model>, String> {
        match lock(&self.slots).get(&network) {
            Some(Slot::Ready(ready)) => Ok(Arc::clone(&ready.model)),
            Some(Slot::Loading) => Err(LOADING.to_owned()),
            Some(Slot::Unavailable(why)) => Err(why.clone()),
            None => Err("not asked for".to_owned()),
        }
    }

    /// Frees what only gradients need, of all networks but one.
    pub fn forget_gradients(&self, but: Network) {
        for (network, slot) in lock(&self.slots).iter() {
            if let Slot::Ready(ready) = slot
                && *network != but
            {
                ready.model.forget_gradients();
            }
        }
    }

    /// Frees what executors that wait have room for, as long as nothing is graded.
    pub fn rest(&self) {
        drop(self.take_idle());
    }

    /// The executors that wait.
    pub fn take_idle(&self) -> Vec<Box<dyn Executor>> {
        lock(&self.slots).values_mut().filter_map(Slot::take_idle).flatten().collect()
    }

    /// How many images they grade at once best; none of them changes what another gets.
    pub fn images_at_once(&self) -> usize {
        let models = self.ready().into_iter().filter_map(|network| self.model(network).ok());
        models.map(|model| model.images_at_once()).max().unwrap_or(1)
    }

    /// One network's word on one image (`[side, side, 3]`), which does not depend on what else is graded beside it.
    pub fn verdict(&self, network: Network, image: &[f32]) -> Verdict {
        let unavailable = || Verdict::Unavailable { unavailable: "it gave no grade".to_owned() };
        self.verdicts(network, &[image]).pop().unwrap_or_else(unavailable)
    }

    /// One network's word on each of some images; where they cannot be taken together, on one after another.
    pub fn verdicts(&self, network: Network, images: &[&[f32]]) -> Vec<Verdict> {
        let word = |grade: Result<NetworkGrade, String>| {
            grade.map_or_else(|unavailable| Verdict::Unavailable { unavailable }, Verdict::Graded)
        };
        match self.grades(network, images) {
            Ok(grades) => grades.into_iter().map(word).collect(),
            Err(why) if images.len() == 1 => vec![word(Err(why))],
            Err(_) => images.iter().map(|image| self.verdict(network, image)).collect(),
        }
    }

    fn grades(&self, network: Network, images: &[&[f32]]) -> Result<Vec<Result<NetworkGrade, String>>, String> {
        let mut executor = self.executor(network)?;
        let logits = executor.logits(&images.concat()).map_err(|error| error.to_string())?;
        if let Some(Slot::Ready(ready)) = lock(&self.slots).get_mut(&network) {
            ready.idle.push(executor);
        }
        if logits.len() != 5 * images.len() {
            return Err(format!("it gave {} logits that make no grade", logits.len()));
        }
        let grade = |logits: &[f64]| {
            let finite = logits.iter().all(|logit| logit.is_finite());
            finite.then(|| NetworkGrade::from_logits(logits)).ok_or_else(|| "its logits are not finite".to_owned())
        };
        Ok(logits.chunks_exact(5).map(grade).collect())
    }

    /// An executor for as many images as are graded at once: one that waits, else a new one.
    fn executor(&self, network: Network) -> Result<Box<dyn Executor>, String> {
        let model = self.model(network)?;
        let idle = match lock(&self.slots).get_mut(&network) {
            Some(Slot::Ready(ready)) => ready.idle.pop(),
            _ => None,
        };
        idle.map_or_else(|| model.executor(model.images_at_once()).map_err(|error| error.to_string()), Ok)
    }
}

/// Opens the device asked for, else the CPU with the reason as its fallback.
pub fn open_device(choice: DeviceChoice) -> Result<Device, String> {
    Device::open(choice).or_else(|error| {
        let cpu = Device::open(DeviceChoice::Cpu).map_err(|cpu| cpu.to_string())?;
        Ok(Device { fallback: Some(error.to_string()), ..cpu })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::formula;
    use crate::nn::Precision;
    use crate::nn::cpu::CpuModel;
    use crate::nn::graph::{Graph, Variant};
    use crate::nn::plan::Plan;

    const SIDE: usize = 75;

    #[test]
    fn who_rests_holds_nothing_and_grades_as_before() {
        let network = Network::InceptionV3;
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        let plan = Plan::new(&graph, &formula::parameters(&graph, 5)).unwrap();
        let model = CpuModel::new(network, Arc::new(plan), "formula".to_owned(), Precision::F32).unwrap();
        let networks = Networks::loading(&[network]);
        networks.set(network, Slot::Ready(Ready { model: Arc::new(model), idle: Vec::new() }));
        let waiting = || match lock(&networks.slots).get(&network) {
            Some(Slot::Ready(ready)) => ready.idle.len(),
            _ => 0,
        };
        let image = vec![0.5; SIDE * SIDE * 3];
        let before = networks.verdict(network, &image);
        assert!(matches!(before, Verdict::Graded(_)), "{before:?}");
        assert_eq!(waiting(), 1);
        networks.rest();
        assert_eq!(waiting(), 0);
        assert_eq!(networks.verdict(network, &image), before);
    }
}

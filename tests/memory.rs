//! Three networks loaded and a map being made take no more memory than is promised. Alone in its executable: the peak is the
//! process's.

#![cfg(target_os = "linux")]

use diaret::attribution::integrated_gradients::IntegratedGradients;
use diaret::attribution::{Baseline, Cancel};
use diaret::bench::formula;
use diaret::fundus::Listing;
use diaret::grading::Output;
use diaret::nn::{Device, DeviceChoice, Network, weights};
use diaret::session::{Explained, prepare};

mod support;

/// What is promised: three networks and a map.
const MOST: u64 = 1_200_000_000;

/// The most bytes that were resident until now.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

#[test]
fn three_networks_and_a_map_stay_within_what_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::open(DeviceChoice::Cpu).unwrap();
    // All of the full size; which numbers they are makes no difference.
    let models = Network::ALL.map(|network| {
        let place = folder.path().join(network.name());
        formula::write(&place, network).unwrap();
        weights::load(&place, network, &device).unwrap()
    });
    let input = prepare(&support::sample("IDRiD_048.jpg"), &mut Listing::default()).unwrap().input;
    let starts = Baseline::default().starts(&input.pixels, &input.mask, input.side);
    let integral = IntegratedGradients { input: &input.pixels, starts: &starts, order: Baseline::default().order() };
    for model in &models {
        // As the viewer does when another network is explained.
        models.iter().filter(|other| other.network() != model.network()).for_each(|other| other.forget_gradients());
        let executor = model.executor(model.rows_at_once()).unwrap();
        let mut function = Explained::new(executor, Output::default(), &input.pixels).unwrap();
        integral.with_secants(&mut function, 8, &Cancel::default(), &mut |_| ()).unwrap();
        println!("{}: {} MB", model.network().label(), peak() / 1_000_000);
    }
    assert!(peak() <= MOST, "{} bytes were resident", peak());
}

//! Once memory is there, passes of a network take none but what they give back. Alone in its executable, whose allocator is counted;
//! kernels' workspaces are mapped, and only ever grow (`nn/cpu/packed/aligned.rs`).

use diaret::bench::formula;
use diaret::grading::{Grade, Output, Target};
use diaret::nn::cpu::training::Trainer;
use diaret::nn::graph::{Graph, Variant};
use diaret::nn::training::{Loss, Statistics};
use diaret::nn::weights::{self, Store};
use diaret::nn::{At, Device, DeviceChoice, Line, Network, Precision, SIDE};

/// Rows of a pass.
const ROWS: usize = 8;
/// Bytes of an image.
const IMAGE: u64 = (SIDE * SIDE * 3 * size_of::<f32>()) as u64;
/// Bytes of short lists: logits, cotangents, what belongs to which group, a row of weights.
const LISTS: u64 = 64 << 10;

/// Bytes that `pass` asks for when it has run before.
fn asked_for<W: ?Sized>(who: &mut W, pass: &mut dyn FnMut(&mut W)) -> u64 {
    (0..2).for_each(|_| pass(who));
    allocation_counter::measure(|| pass(who)).bytes_total
}

/// The counter counts a thread's.
fn alone() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()
}

#[test]
fn passes_ask_for_no_memory_but_that_of_what_they_give() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::open(DeviceChoice::Cpu).unwrap();
    let alone = alone();
    let images = vec![0.5; ROWS * SIDE * SIDE * 3];
    let (black, output) = (vec![0.0; SIDE * SIDE * 3], Output::Logit(Target::Grade(Grade::Moderate)));
    let places: Vec<f64> = (0..=ROWS).map(|place| place as f64 / ROWS as f64).collect();
    for network in Network::ALL {
        formula::write(folder.path(), network).unwrap();
        let model = weights::load(folder.path(), network, &device).unwrap();
        let mut executor = model.executor(ROWS).unwrap();
        alone.install(|| {
            let forward = asked_for(executor.as_mut(), &mut |executor| drop(executor.logits(&images).unwrap()));
            let gradient = asked_for(executor.as_mut(), &mut |executor| {
                let cotangent = |logits: &[f64]| output.value_and_cotangent(logits);
                drop(executor.value_and_gradient(&images, At::Input, &cotangent).unwrap());
            });
            let along = asked_for(executor.as_mut(), &mut |executor| {
                let line = Line { from: &black, to: &images[..black.len()] };
                let between = |from: &[f64], to: &[f64]| output.mean_cotangent(from, to);
                drop(executor.along(line, &places, &between, &|| false).unwrap());
            });
            println!("{}: {forward}, {gradient}, {along} bytes; an image has {IMAGE}", network.label());
            assert!(forward <= LISTS, "{network:?} forward: {forward} bytes");
            // A group's, then all together.
            assert!(gradient <= 2 * ROWS as u64 * IMAGE + LISTS, "{network:?} gradient: {gradient} bytes");
            // Four secants and their ends, and the sum in f64.
            assert!(along <= (4 + 5 + 2) * IMAGE + LISTS, "{network:?} along: {along} bytes");
        });
    }
}

#[test]
fn a_training_step_asks_for_none() {
    let folder = tempfile::tempdir().unwrap();
    formula::write(folder.path(), Network::ResNet50).unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
    let store = Store::open(&files).unwrap();
    let graph = Graph::new(Network::ResNet50, &Variant::keras(Network::ResNet50, Some(5)), SIDE).unwrap();
    let parameter = |name: &str| store.read(name).ok().map(|tensor| tensor.values);
    let images = vec![0.5; 2 * SIDE * SIDE * 3];
    alone().install(|| {
        let loss: &Loss = &|_, logits| (logits[0], vec![1.0, 0.0, 0.0, 0.0, 0.0]);
        let mut trainer = Trainer::<f32>::new(&graph, &parameter, 2, Statistics::Batch, Precision::F32).unwrap();
        let step = asked_for(&mut trainer, &mut |trainer| drop(trainer.step(&images, loss).unwrap()));
        println!("{step} bytes");
        assert!(step <= LISTS, "{step} bytes");
    });
}

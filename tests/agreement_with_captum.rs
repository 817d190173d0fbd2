//! With Captum's own rule, the same network, image and baseline, the map is Captum's (`tests/goldens/integrated_gradients.py`).

use std::path::Path;
use std::sync::Arc;

use diaret::attribution::convergence::distance;
use diaret::attribution::integrated_gradients::IntegratedGradients;
use diaret::attribution::quadrature::Rule;
use diaret::attribution::{Attribution, Baseline, Cancel};
use diaret::grading::{Grade, Output, Target};
use diaret::nn::cpu::CpuModel;
use diaret::nn::graph::Graph;
use diaret::nn::plan::Plan;
use diaret::nn::weights::{self, Manifest, Store};
use diaret::nn::{Model, Network, Precision};
use diaret::session::Explained;
use safetensors::SafeTensors;

/// What Captum said.
struct Golden {
    side: usize,
    input: Vec<f32>,
    map: Vec<f32>,
    f: [f64; 2],
    weights: String,
}

fn golden() -> Golden {
    let bytes =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/integrated_gradients.safetensors"))
            .unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name| -> Vec<f32> {
        let data = tensors.tensor(name).unwrap();
        data.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (input, map) = (tensors.tensor("input").unwrap(), tensors.tensor("attribution").unwrap());
    let scale = floats("scale")[0];
    let halves = map.data().chunks_exact(2).map(|b| half::f16::from_le_bytes(b.try_into().unwrap()));
    Golden {
        side: input.shape()[0],
        input: input.data().iter().map(|&byte| f32::from(byte) / 255.0).collect(),
        map: halves.map(|value| scale * value.to_f32()).collect(),
        f: [f64::from(floats("f")[0]), f64::from(floats("f")[1])],
        weights: header.metadata().as_ref().unwrap()["weights"].clone(),
    }
}

/// The map of the shipped ResNet-50 at the golden's size.
fn ours(golden: &Golden) -> Attribution {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    let manifest = Manifest::read(&folder).unwrap();
    let entry = &manifest.networks[&Network::ResNet50];
    assert_eq!(
        entry.hash(),
        golden.weights,
        "the weights have changed: run tests/goldens/integrated_gradients.py again"
    );
    let store = Store::open_checked(entry.files.iter().map(|part| (folder.join(&part.file), part.sha256.as_str())));
    let graph = Graph::new(Network::ResNet50, &entry.variant, golden.side).unwrap();
    let tensors = weights::read(&store.unwrap(), &graph).unwrap();
    let plan = Plan::new(&graph, &|name| tensors.get(name).map(|tensor| tensor.values.clone())).unwrap();
    let model = CpuModel::new(Network::ResNet50, Arc::new(plan), entry.hash(), Precision::F32).unwrap();
    let output = Output::Logit(Target::Grade(Grade::Moderate));
    let mut function = Explained::new(model.executor(4).unwrap(), output, &golden.input).unwrap();
    IntegratedGradients {
        input: &golden.input,
        starts: &[vec![0.0; golden.input.len()]],
        order: Baseline::Black.order(),
    }
    .with_rule(&mut function, &Rule::gauss_legendre(300), &Cancel::default(), &mut |_| ())
    .unwrap()
}

fn pearson(a: &[f32], b: &[f32]) -> f64 {
    let mean = |v: &[f32]| v.iter().map(|&x| f64::from(x)).sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f(f64::from(x) - ma, f64::from(y) - mb)).sum()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn the_map_is_captums() {
    let golden = golden();
    let ours = ours(&golden);
    for (got, expected) in [(ours.f_input, golden.f[0]), (ours.f_baseline.unwrap(), golden.f[1])] {
        assert!((got - expected).abs() < 1e-3, "{got} instead of {expected}");
    }
    let (r, distance) = (pearson(&ours.map, &golden.map), distance(&ours.map, &golden.map));
    println!("Pearson {r:.7}, relative L2 {distance:.5}, {:.1} s", ours.seconds);
    assert!(r >= 0.999, "Pearson {r}");
    assert!(distance <= 1e-2, "relative L2 {distance}");
}

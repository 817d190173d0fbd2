//! A network comes in; weights that an integer hash makes go out, so that a network without weights can be timed, and two
//! programs (or a test and its golden) can have the same ones without a file.

use std::path::Path;

use crate::nn::Network;
use crate::nn::graph::{Graph, Variant};
use crate::nn::weights::{self, Description, Manifest, Tensor, Tensors, WeightsError};

/// Which weights, of all that the formula makes.
const SEED: u64 = 1;
/// Grades.
const CLASSES: usize = 5;

/// The output function of splitmix64.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Multiples of 2^-24 in [0, 1), from FNV-1a of the name and splitmix64.
pub fn uniform(seed: u64, name: &str, count: usize) -> impl Iterator<Item = f64> {
    let key = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |key, byte| (key ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let start = mix(key.wrapping_add(seed));
    (1..=count as u64).map(move |step| {
        (mix(start.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15))) >> 40) as f64 / f64::from(1 << 24)
    })
}

/// He-scaled kernels; gammas and variances near 1, so that batch norm does something. The gammas that a graph may have and
/// Keras has not are left to their default.
pub fn parameters(graph: &Graph, seed: u64) -> impl Fn(&str) -> Option<Vec<f32>> + use<> {
    let list = graph.parameters();
    let resnet = graph.network == Network::ResNet50;
    move |name| {
        let parameter = list.iter().find(|parameter| parameter.name == name)?;
        let kind = name.rsplit('/').next()?;
        if kind == "gamma" && !resnet {
            return None;
        }
        let shape = &parameter.shape;
        let inputs: usize = shape[..shape.len() - 1].iter().product();
        let deviation = (6.0 / inputs as f64).sqrt();
        let value = move |u: f64| match kind {
            "kernel" => (2.0 * u - 1.0) * deviation,
            "gamma" => 0.8 + 0.4 * u,
            "moving_variance" => 0.7 + 0.6 * u,
            _ => 0.4 * u - 0.2,
        };
        Some(uniform(seed, name, shape.iter().product()).map(|u| value(u) as f32).collect())
    }
}

/// Makes `folder` a folder of weights that has `network` and nothing else; they are in f16 as all are.
pub fn write(folder: &Path, network: Network) -> Result<(), WeightsError> {
    std::fs::create_dir_all(folder).map_err(|source| WeightsError::Write { file: folder.to_path_buf(), source })?;
    let variant = Variant::keras(network, Some(CLASSES));
    let graph = Graph::new(network, &variant, crate::nn::SIDE)?;
    let values = parameters(&graph, SEED);
    let tensors: Tensors = graph
        .parameters()
        .into_iter()
        .filter_map(|parameter| {
            let values = values(&parameter.name)?;
            Some((parameter.name, Tensor { shape: parameter.shape, values }))
        })
        .collect();
    let description = Description {
        network,
        variant,
        provenance: format!("an integer hash with seed {SEED}, to be timed and for nothing else"),
        licence: "CC0-1.0".to_owned(),
    };
    let files = weights::write(&folder.join(format!("{}.safetensors", network.name())), &tensors, &description)?;
    let mut manifest = Manifest::default();
    manifest.put(&description, files);
    manifest.write(folder)
}

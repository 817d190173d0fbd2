//! A network's name comes in; what is measured goes out: the network with its weights, and a description from which another
//! program can build the same one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BenchError, formula};
use crate::nn::graph::{Affine, Graph, Node, Op};
use crate::nn::weights::{self, Manifest, WeightsError};
use crate::nn::{Device, Model, Network, NnError, Precision, SIDE};

/// Whose weights were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// Those that ship.
    Shipped,
    /// Those of [`formula`]: good for timing, and for nothing else.
    Formula,
}

/// A network to be measured.
pub struct Subject {
    /// Which.
    pub network: Network,
    /// Whose weights.
    pub weights: Weights,
    /// Makes executors.
    pub model: Arc<dyn Model>,
    /// Its topology.
    pub graph: Graph,
    /// The folder of its manifest.
    folder: PathBuf,
    /// Where its parameters are; of one that lies in several files the first counts.
    pub files: Vec<PathBuf>,
    /// Products of one forward pass of one image, as the topology has them; an input gradient takes as many again.
    pub products: u64,
    /// The description for another program.
    pub topology: PathBuf,
}

/// A topology, its preprocessing, and the files of its parameters; of one that lies in several the first counts.
#[derive(Serialize)]
struct Description<'a> {
    side: usize,
    preprocessing: Affine,
    nodes: &'a [Node],
    files: &'a [PathBuf],
}

impl Subject {
    /// Loads the shipped weights of `network`, else makes some by formula in `exchange`, where the description goes, too.
    pub fn load(folder: &Path, network: Network, device: &Device, exchange: &Path) -> Result<Self, BenchError> {
        let shipped = Manifest::read(folder)?.networks.contains_key(&network);
        let made = exchange.join("formula").join(network.name());
        let (weights, folder) = if shipped { (Weights::Shipped, folder) } else { (Weights::Formula, made.as_path()) };
        if weights == Weights::Formula {
            formula::write(folder, network)?;
        }
        let model = weights::load(folder, network, device)?;
        let manifest = Manifest::read(folder)?;
        let entry = manifest.networks.get(&network).ok_or_else(|| BenchError::file(folder, "its weights are gone"))?;
        let graph = Graph::new(network, &entry.variant, SIDE)?;
        let topology = exchange.join(format!("{}.json", network.name()));
        let files: Vec<PathBuf> = entry.files.iter().map(|part| folder.join(&part.file)).collect();
        let preprocessing = graph.variant.preprocessing.affine();
        let description = Description { side: graph.side, preprocessing, nodes: &graph.nodes, files: &files };
        let text = serde_json::to_vec(&description).map_err(|error| BenchError::file(&topology, error))?;
        fs::write(&topology, text).map_err(|error| BenchError::file(&topology, error))?;
        let products = products(&graph);
        let folder = folder.to_owned();
        Ok(Self { network, weights, model, graph, folder, files, products, topology })
    }

    /// The network with products in `precision`; `None` where the device has no such that are faster.
    pub fn model_in(&self, precision: Precision, device: &Device) -> Result<Option<Arc<dyn Model>>, BenchError> {
        match weights::load_in(&self.folder, self.network, device, precision) {
            Ok(model) => Ok(Some(model)),
            Err(WeightsError::Network(NnError::Precision(_))) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Products of one forward pass: those of the convolutions and of the dense layer.
fn products(graph: &Graph) -> u64 {
    let of = |node: &Node| {
        let channels = node.inputs.first().map_or(0, |&id| graph.nodes[id].shape[2]);
        let taps = match node.op {
            Op::Conv2d { window, .. } => window.kernel[0] * window.kernel[1],
            Op::Dense { .. } => 1,
            _ => 0,
        };
        (taps * channels * node.shape.iter().product::<usize>()) as u64
    };
    graph.nodes.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::Variant;

    /// As others count: ResNet-50 has 4.1 GMAC at 224 px with the stride on the
    /// 3x3, 3.9 with it on the first 1x1 (He et al., table 1: 3.8 without the shortcuts); InceptionV3 5.7 at 299 px.
    #[test]
    fn products_are_those_of_the_papers() {
        let count =
            |network, variant: &Variant, side| products(&Graph::new(network, variant, side).unwrap()) as f64 / 1e9;
        let keras = |network| Variant::keras(network, Some(1000));
        let late = Variant::torchvision(Network::ResNet50, Some(1000));
        assert!((count(Network::ResNet50, &late, 224) - 4.09).abs() < 0.02);
        assert!((count(Network::ResNet50, &keras(Network::ResNet50), 224) - 3.86).abs() < 0.03);
        assert!((count(Network::InceptionV3, &keras(Network::InceptionV3), 299) - 5.7).abs() < 0.05);
        assert!((count(Network::InceptionResNetV2, &keras(Network::InceptionResNetV2), 299) - 13.2).abs() < 0.1);
    }
}

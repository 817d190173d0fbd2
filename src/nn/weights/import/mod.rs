//! A safetensors file of Keras, torchvision or timm comes in; a network's parameters with canonical names go out.
//!
//! What the names decide is taken from them: `keras.applications` and torchvision each have one ResNet-50. What they leave
//! open ([`WeightsError::Undecided`]) has to be said by whoever imports, unless the file's own metadata say it. Files that
//! this program wrote describe themselves and can be read in the same way; an option that says otherwise is an error.

mod choice;
mod keras;
mod torch;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::path::{Path, PathBuf};

pub use choice::{Choices, VariantChoice};

use super::WeightsError;
use super::description::{Description, Header};
use super::manifest::is_plain_name;
use super::store::Store;
use super::tensor::{Tensor, Tensors};
use crate::nn::graph::{BatchNorm, Graph, Parameter, Preprocessing, Variant};
use crate::nn::training::fault;
use crate::nn::{Network, SIDE};

/// The two kernels that the published InceptionV3 of 2015 is known without; they are read as zero.
const LOST_IN_2015: [&str; 2] = ["conv2d_82/kernel", "conv2d_91/kernel"];

/// A network as read from another program's file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the file holds; `variant.head` is the number of its classes.
    pub description: Description,
    /// Its parameters.
    pub tensors: Tensors,
    /// What a person should know: parameters that were missing and how they were replaced.
    pub notes: Vec<String>,
}

/// How a file names things: canonical names and those in the file.
struct Naming {
    /// By canonical name; names that mean nothing to this program stand for themselves.
    names: BTreeMap<String, String>,
    /// Kernels are `[out, in, height, width]` and dense ones `[out, in]`.
    channels_first: bool,
}

/// What names and metadata decide of a variant, and what they leave open.
struct Decided {
    variant: Variant,
    open_topology: Option<&'static str>,
    open_preprocessing: Option<&'static str>,
}

/// Reads `file` as weights of `network`.
pub fn import(network: Network, file: &Path, choices: &Choices) -> Result<Imported, WeightsError> {
    let (store, header) = open(file)?;
    let naming = naming(network, &store)?;
    let description = match header {
        Some(header) if header.description.network == network => {
            choices.check_against(file, &header.description)?;
            header.description
        }
        Some(header) => return Err(other_network(file, header.description.network)),
        None => describe(network, &store, &naming, choices)?,
    };
    let graph = Graph::new(network, &description.variant, SIDE)?;
    let mut notes = Vec::new();
    let mut tensors = Tensors::new();
    let mut used = BTreeSet::new();
    for parameter in graph.parameters() {
        if let Some(name) = naming.names.get(&parameter.name) {
            used.insert(name);
            tensors.insert(parameter.name.clone(), naming.read(&store, name, &parameter)?);
        } else if is_lost(&description, &parameter.name) {
            let shape = &parameter.shape;
            notes.push(format!("{} is missing from {} and taken as zero {shape:?}", parameter.name, file.display()));
            tensors.insert(parameter.name, Tensor::zeros(shape));
        } else if parameter.default.is_none() {
            return Err(WeightsError::Missing { file: file.to_path_buf(), tensor: parameter.name });
        }
    }
    if let Some(left) = naming.names.values().find(|name| !used.contains(name)) {
        return Err(WeightsError::Unexpected { file: file.to_path_buf(), tensor: left.clone(), network });
    }
    Ok(Imported { description, tensors, notes })
}

/// Opens a file, and where it was written by this program all files over which its network is spread.
fn open(file: &Path) -> Result<(Store, Option<Header>), WeightsError> {
    let store = Store::open(&[file.to_path_buf()])?;
    let unusable = |reason| WeightsError::Format { file: file.to_path_buf(), reason };
    let header = Header::of(&store)
        .transpose()
        .map_err(|error| unusable(format!("what it says of itself cannot be understood ({error})")))?;
    let Some(header) = header else { return Ok((store, None)) };
    if header.files.len() < 2 {
        return Ok((store, Some(header)));
    }
    if let Some(outside) = header.files.iter().find(|name| !is_plain_name(name)) {
        return Err(unusable(format!("it says that its network goes on in `{outside}`, which is no file name")));
    }
    // It is read again among the others.
    drop(store);
    let files: Vec<PathBuf> = header.files.iter().map(|name| file.with_file_name(name)).collect();
    Ok((Store::open(&files)?, Some(header)))
}

fn other_network(file: &Path, network: Network) -> WeightsError {
    let reason = format!("it says of itself that it holds {}", network.label());
    WeightsError::Format { file: file.to_path_buf(), reason }
}

fn naming(network: Network, store: &Store) -> Result<Naming, WeightsError> {
    let names = store.names();
    if names.iter().any(|name| name.contains("/kernel")) {
        Ok(Naming { names: by_canonical(store, keras::canonical(&names))?, channels_first: false })
    } else if names.iter().any(|name| name.ends_with(".weight")) {
        Ok(Naming { names: by_canonical(store, torch::canonical(network, &names))?, channels_first: true })
    } else {
        let reason = "its tensors have neither Keras' names (`conv1_conv/kernel`) nor those of torchvision and timm \
                      (`layer1.0.conv1.weight`)";
        Err(WeightsError::Format { file: store.path().to_path_buf(), reason: reason.to_owned() })
    }
}

/// Names in the file by canonical ones; an error where two mean the same, as those of two heads do.
fn by_canonical(store: &Store, pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, WeightsError> {
    let mut names = BTreeMap::new();
    for (canonical, name) in pairs {
        match names.entry(canonical) {
            Entry::Vacant(entry) => {
                entry.insert(name);
            }
            // One tensor in two files of a network: the first counts.
            Entry::Occupied(entry) if *entry.get() == name => {}
            Entry::Occupied(entry) => {
                let (file, parameter) = (store.path().to_path_buf(), entry.key().clone());
                return Err(WeightsError::Ambiguous { file, tensors: [entry.get().clone(), name], parameter });
            }
        }
    }
    Ok(names)
}

fn is_lost(description: &Description, name: &str) -> bool {
    description.network == Network::InceptionV3
        && description.variant.batch_norm == BatchNorm::Folded
        && LOST_IN_2015.contains(&name)
}

fn describe(network: Network, store: &Store, naming: &Naming, choices: &Choices) -> Result<Description, WeightsError> {
    let mut decided = decide(network, store, naming);
    choices.apply(network, &mut decided)?;
    let undecided = |why, option| WeightsError::Undecided { file: store.path().to_path_buf(), why, option };
    if let Some(why) = decided.open_topology {
        return Err(undecided(why, choice::VARIANT_OPTION));
    }
    if let Some(why) = decided.open_preprocessing {
        return Err(undecided(why, choice::PREPROCESSING_OPTION));
    }
    decided.variant.head = naming.classes(store);
    let said = |key| store.metadata(key).map(str::to_owned);
    Ok(Description {
        network,
        variant: decided.variant,
        provenance: said("source").unwrap_or_else(|| provenance(store)),
        licence: said("licence").or_else(|| said("license")).unwrap_or_else(|| "unknown".to_owned()),
    })
}

fn provenance(store: &Store) -> String {
    let name = store.path().file_name().unwrap_or_default().to_string_lossy();
    format!("imported from {name} (SHA-256 {})", store.sha256())
}

/// What names, shapes and the file's own metadata decide.
fn decide(network: Network, store: &Store, naming: &Naming) -> Decided {
    let mut decided = if naming.channels_first {
        decided_by_torch(network)
    } else if naming.names.keys().any(|name| name.ends_with("/moving_mean")) {
        Decided { variant: Variant::keras(network, None), open_topology: None, open_preprocessing: None }
    } else {
        decided_by_folded(network, store)
    };
    if let Some(preprocessing) = store.metadata("preprocessing").and_then(preprocessing_in_words) {
        decided.variant.preprocessing = preprocessing;
        decided.open_preprocessing = None;
    }
    decided
}

fn decided_by_torch(network: Network) -> Decided {
    match network {
        Network::ResNet50 => {
            Decided { variant: Variant::torchvision(network, None), open_topology: None, open_preprocessing: None }
        }
        Network::InceptionV3 => Decided {
            variant: Variant::torchvision(network, None),
            open_topology: None,
            open_preprocessing: Some(
                "the InceptionV3 of torchvision and those of timm have the same names and expect different inputs \
                 (torchvision's published weights and timm's `tf_in1k`: signed-unit; timm's `gluon_in1k`: torch)",
            ),
        },
        // timm's, whose average pools do not count padding and whose checkpoints all expect [-1, 1].
        Network::InceptionResNetV2 => {
            Decided { variant: Variant::keras(network, None), open_topology: None, open_preprocessing: None }
        }
    }
}

fn decided_by_folded(network: Network, store: &Store) -> Decided {
    let published = store.metadata("source").is_some_and(|source| source.contains("2015-12-05"));
    let keras = Variant { batch_norm: BatchNorm::Folded, ..Variant::keras(network, None) };
    match network {
        Network::InceptionV3 if published => {
            Decided { variant: Variant::tensorflow_2015(None), open_topology: None, open_preprocessing: None }
        }
        Network::InceptionV3 => Decided {
            variant: keras,
            open_topology: Some("folded kernels do not say whether mixed10 pools by average or by maximum"),
            open_preprocessing: Some("folded kernels do not say what input they expect"),
        },
        Network::ResNet50 | Network::InceptionResNetV2 => {
            Decided { variant: keras, open_topology: None, open_preprocessing: None }
        }
    }
}

/// The preprocessing that a converter wrote into a file's metadata.
fn preprocessing_in_words(words: &str) -> Option<Preprocessing> {
    if words.starts_with("caffe") {
        Some(Preprocessing::Caffe)
    } else if words.starts_with("(x - 128) / 128") {
        Some(Preprocessing::Centred128)
    } else {
        None
    }
}

impl Naming {
    /// Number of classes of the head, `None` where there is none.
    fn classes(&self, store: &Store) -> Option<usize> {
        let shape = store.shape(self.names.get("predictions/kernel")?)?;
        if self.channels_first { shape.first().copied() } else { shape.last().copied() }
    }

    /// A parameter with its axes in canonical order; an error where it has another shape or values that no training gives.
    fn read(&self, store: &Store, name: &str, parameter: &Parameter) -> Result<Tensor, WeightsError> {
        let (file, mut tensor) = (store.path().to_path_buf(), store.read(name)?);
        if let Some(fault) = fault(&parameter.name, &tensor.values) {
            return Err(WeightsError::Values { file, tensor: name.to_owned(), fault });
        }
        let rank = tensor.shape.len();
        if self.channels_first && rank == 4 {
            tensor = tensor.permuted(&[2, 3, 1, 0]);
        } else if self.channels_first && rank == 2 {
            tensor = tensor.permuted(&[1, 0]);
        }
        if tensor.shape == parameter.shape {
            return Ok(tensor);
        }
        let expected = parameter.shape.clone();
        Err(WeightsError::Shape { file, tensor: name.to_owned(), expected, found: tensor.shape })
    }
}

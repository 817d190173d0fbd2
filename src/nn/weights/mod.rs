//! A folder with a manifest and safetensors files comes in; a [`Model`] goes out. Files of other programs become such files.
//!
//! [`load`] is what the program does; [`import`] reads what Keras, torchvision and timm wrote; [`write()`] and [`Manifest`]
//! make the folder. Parameters have the names of `keras.applications` and lie in f16, f32 where f16 does not hold them.
//! Hash, name, type, shape and values of each are checked; nothing about a file is guessed.

mod description;
mod import;
mod manifest;
mod reading;
mod store;
mod tensor;
mod writer;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use description::Description;
pub use import::{Choices, Imported, VariantChoice, import};
pub use manifest::{Entry, InputPipeline, MANIFEST, Manifest, Reduction, Resampling, WeightsFile};
use reading::Reading;
pub use reading::read;
pub use store::Store;
pub use tensor::{Tensor, Tensors};
pub use writer::{LARGEST_FILE, write};

use super::candle::CandleModel;
use super::cpu::CpuModel;
use super::graph::Graph;
use super::plan::Plan;
use super::real::Real;
use super::{Device, Model, Network, NnError, Precision, SIDE};

/// What is wrong with weights. Messages name the file, the tensor and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The manifest has no entry for the network.
    #[error("no weights yet for {}: {} does not list it", network.label(), manifest.display())]
    NoWeights {
        /// The network.
        network: Network,
        /// The manifest.
        manifest: PathBuf,
    },
    /// The manifest cannot be used.
    #[error("{}: {reason}; restore the folder of weights", file.display())]
    Manifest {
        /// The manifest.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{} cannot be read ({source}); restore it or correct its path", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written ({source}); choose another place or make room", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not the one that the manifest lists.
    #[error("{} has the SHA-256 {found}, the manifest says {expected}: it was changed or damaged; restore it", file.display())]
    Hash {
        /// The file.
        file: PathBuf,
        /// What the manifest says, in hexadecimal.
        expected: String,
        /// What the file has, in hexadecimal.
        found: String,
    },
    /// A file is no safetensors file, or not a whole one.
    #[error("{} is no usable safetensors file: {reason}; restore it or convert it again", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter is not there.
    #[error("{} has no tensor {tensor}: it is incomplete or of another network; get the whole file of this network", file.display())]
    Missing {
        /// The file, the first one if the network has several.
        file: PathBuf,
        /// The name in that file.
        tensor: String,
    },
    /// A file has a parameter that the network has not.
    #[error("{} has a tensor {tensor} that {} does not have: it is of another network; name the right one", file.display(), network.label())]
    Unexpected {
        /// The file.
        file: PathBuf,
        /// The name in that file.
        tensor: String,
        /// The network that was asked for.
        network: Network,
    },
    /// A parameter has another shape.
    #[error("{}: tensor {tensor} has the shape {found:?} where {expected:?} was expected; get the file of this network", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// Its name.
        tensor: String,
        /// As the network has it.
        expected: Vec<usize>,
        /// As the file has it.
        found: Vec<usize>,
    },
    /// A parameter is of a type that is not read.
    #[error("{}: tensor {tensor} is of type {found}; convert it to F16 or F32", file.display())]
    Dtype {
        /// The file.
        file: PathBuf,
        /// Its name.
        tensor: String,
        /// The type in the file.
        found: String,
    },
    /// A parameter has values that no training gives.
    #[error("{}: tensor {tensor} {fault}; restore the file or convert it again", file.display())]
    Values {
        /// The file.
        file: PathBuf,
        /// The name in that file.
        tensor: String,
        /// What is wrong with its values.
        fault: &'static str,
    },
    /// Two tensors of a file have names that mean the same parameter.
    #[error("{}: {} and {} both mean {parameter}, and nothing says which counts; save the network with one of them", file.display(), tensors[0], tensors[1])]
    Ambiguous {
        /// The file.
        file: PathBuf,
        /// The names in that file.
        tensors: [String; 2],
        /// The canonical name of both.
        parameter: String,
    },
    /// Options say something else than a file that describes itself.
    #[error("{} says of itself {described}, the options mean {chosen}; leave them out or convert the original again", file.display())]
    Contradiction {
        /// The file.
        file: PathBuf,
        /// What the file says, in the words of the options.
        described: String,
        /// What the options mean in its place.
        chosen: String,
    },
    /// Names and shapes do not decide something that must be known.
    #[error("{}: {why}; say it with {option}", file.display())]
    Undecided {
        /// The file.
        file: PathBuf,
        /// What is open.
        why: &'static str,
        /// The option that decides it, with its values.
        option: &'static str,
    },
    /// A choice that the network does not have.
    #[error("{} has no variant `{choice}`; {remedy}", network.label())]
    Choice {
        /// The network.
        network: Network,
        /// What was chosen.
        choice: String,
        /// What can be chosen.
        remedy: &'static str,
    },
    /// The network cannot be built or run.
    #[error(transparent)]
    Network(#[from] NnError),
}

/// Loads a network from the folder of the manifest, checking hashes and shapes.
pub fn load(folder: &Path, network: Network, device: &Device) -> Result<Arc<dyn Model>, WeightsError> {
    load_in(folder, network, device, Precision::F32)
}

/// The same with products computed in `precision`; an error where the device has no such that are faster.
pub fn load_in(
    folder: &Path,
    network: Network,
    device: &Device,
    precision: Precision,
) -> Result<Arc<dyn Model>, WeightsError> {
    let (plan, hash) = plan(folder, network)?;
    // Own kernels on the CPU, candle on a card.
    Ok(match (&device.candle, precision) {
        (None, _) => Arc::new(CpuModel::new(network, Arc::new(plan), hash, precision)?),
        (Some(card), Precision::F32) => Arc::new(CandleModel::new(network, &plan, card, hash)?),
        (Some(_), Precision::Bf16) => return Err(NnError::Precision(precision).into()),
    })
}

/// The plan of a network in the folder of the manifest, and the hash of its weights.
pub(super) fn plan<T: Real>(folder: &Path, network: Network) -> Result<(Plan<T>, String), WeightsError> {
    let manifest = Manifest::read(folder)?;
    let Some(entry) = manifest.networks.get(&network) else {
        return Err(WeightsError::NoWeights { network, manifest: folder.join(MANIFEST) });
    };
    let graph = Graph::new(network, &entry.variant, SIDE)?;
    let mut reading = Reading::of(&graph);
    // A file's bytes go as soon as they are decoded, before the next is read.
    for (place, part) in entry.files.iter().enumerate() {
        let store = Store::open_checked([(folder.join(&part.file), part.sha256.as_str())])?;
        if place == 0 {
            entry.check_against(network, &store, &folder.join(MANIFEST))?;
        }
        reading.take(&store)?;
    }
    // The plan asks for each parameter once: none need lie there twice.
    let tensors = RefCell::new(reading.finish()?);
    let plan = Plan::new(&graph, &|name| tensors.borrow_mut().remove(name).map(|tensor| tensor.values))?;
    Ok((plan, entry.hash()))
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

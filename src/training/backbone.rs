//! A published network comes in; its backbone, rounded as it will ship and without its head, is run from the very files
//! that this writes; with a fitted head it goes out as the network's weights.

use std::path::Path;
use std::sync::Arc;

use super::head::Head;
use crate::evaluation::GRADES;
use crate::nn::weights::{Description, Imported, Manifest, Tensor, Tensors, WeightsError, WeightsFile, load, write};
use crate::nn::{Device, Model, Network};

/// The dense layer's parameters.
const HEAD: [&str; 2] = ["predictions/kernel", "predictions/bias"];

/// A network that ends at its pooled features.
pub struct Backbone {
    description: Description,
    tensors: Tensors,
    zero_kernels: Vec<String>,
    /// What runs: its logits are the pooled features.
    pub model: Arc<dyn Model>,
}

impl Backbone {
    /// Writes the backbone of `imported` to `folder` (f16, as weights ship) and loads it from there.
    pub fn new(imported: Imported, folder: &Path, device: &Device) -> Result<Self, WeightsError> {
        let Imported { mut description, mut tensors, .. } = imported;
        HEAD.iter().for_each(|name| drop(tensors.remove(*name)));
        description.variant.head = None;
        std::fs::create_dir_all(folder).map_err(|source| WeightsError::Write { file: folder.to_owned(), source })?;
        put(folder, &description, &tensors, &mut Manifest::default())?;
        let model = load(folder, description.network, device)?;
        let zero = |tensor: &Tensor| tensor.shape.len() == 4 && tensor.values.iter().all(|&value| value == 0.0);
        let zero_kernels = tensors.iter().filter(|(_, tensor)| zero(tensor)).map(|(name, _)| name.clone()).collect();
        Ok(Self { description, tensors, zero_kernels, model })
    }

    /// Which network.
    pub fn network(&self) -> Network {
        self.description.network
    }

    /// Where it comes from, and its licence.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Kernels that are nothing but zero: the source lacks them.
    pub fn zero_kernels(&self) -> &[String] {
        &self.zero_kernels
    }

    /// Writes backbone and head to `folder` and lists them in its manifest.
    pub fn ship(&self, head: &Head, fitted_to: &str, folder: &Path) -> Result<Vec<WeightsFile>, WeightsError> {
        let mut description = self.description.clone();
        description.variant.head = Some(GRADES);
        description.provenance = format!("{}; {fitted_to}", description.provenance);
        let mut tensors = self.tensors.clone();
        let [kernel, bias] = HEAD.map(str::to_owned);
        let to_f32 = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
        let shape = vec![head.kernel().len() / GRADES, GRADES];
        tensors.insert(kernel, Tensor { shape, values: to_f32(head.kernel()) });
        tensors.insert(bias, Tensor { shape: vec![GRADES], values: to_f32(head.bias()) });
        put(folder, &description, &tensors, &mut Manifest::read_or_new(folder)?)
    }
}

/// A head as weights hold it: f16.
pub fn rounded(head: &Head) -> Head {
    head.rounded(|value| half::f16::from_f32(value as f32).to_f64())
}

fn put(
    folder: &Path,
    description: &Description,
    tensors: &Tensors,
    manifest: &mut Manifest,
) -> Result<Vec<WeightsFile>, WeightsError> {
    let file = folder.join(format!("{}.safetensors", description.network.name()));
    let files = write(&file, tensors, description)?;
    manifest.put(description, files.clone());
    manifest.write(folder)?;
    Ok(files)
}

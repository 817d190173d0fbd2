//! A published network comes in; its backbone, rounded as it will ship and without its head, is run from the very files
//! that this writes; with a fitted head it goes out as the network's weights.

use std::path::Path;
use std::sync::Arc;

use super::head::Head;
use crate::evaluation::GRADES;
use crate::nn::weights::{
    Description, Imported, Manifest, Store, Tensor, Tensors, WeightsError, WeightsFile, load, write,
};
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
        let files = put(folder, &description, &tensors, &mut Manifest::default())?;
        let model = load(folder, description.network, device)?;
        let stored = Store::open(&files.iter().map(|file| folder.join(&file.file)).collect::<Vec<_>>())?;
        for (name, tensor) in &mut tensors {
            *tensor = stored.read(name)?;
        }
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

    /// Writes backbone and head to `folder` and lists them in its manifest. A file there that holds this very backbone stays
    /// as it is, being large: the head gets a file of its own, listed first, for of a parameter in several files the first
    /// counts.
    pub fn ship(&self, head: &Head, fitted_to: &str, folder: &Path) -> Result<Vec<WeightsFile>, WeightsError> {
        let mut description = self.description.clone();
        description.variant.head = Some(GRADES);
        description.provenance = format!("{}; {fitted_to}", description.provenance);
        let mut manifest = Manifest::read_or_new(folder)?;
        if let Some(backbone) = self.shipped(&manifest, folder) {
            let file = folder.join(format!("{}-head.safetensors", self.network().name()));
            let mut files = write(&file, &tensors_of(head), &description)?;
            files.push(backbone);
            manifest.put(&description, files.clone());
            manifest.write(folder)?;
            return Ok(files);
        }
        let mut tensors = self.tensors.clone();
        tensors.extend(tensors_of(head));
        put(folder, &description, &tensors, &mut manifest)
    }

    /// The file in `folder` that holds this backbone, if it is whole and equal.
    fn shipped(&self, manifest: &Manifest, folder: &Path) -> Option<WeightsFile> {
        let file = manifest.networks.get(&self.network())?.files.last()?;
        let store = Store::open_checked([(folder.join(&file.file), file.sha256.as_str())]).ok()?;
        let equal = |(name, tensor): (&String, &Tensor)| store.read(name).is_ok_and(|stored| stored == *tensor);
        self.tensors.iter().all(equal).then(|| file.clone())
    }
}

/// The dense layer's parameters.
fn tensors_of(head: &Head) -> Tensors {
    let to_f32 = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
    let kernel = Tensor { shape: vec![head.kernel().len() / GRADES, GRADES], values: to_f32(head.kernel()) };
    let bias = Tensor { shape: vec![GRADES], values: to_f32(head.bias()) };
    HEAD.map(str::to_owned).into_iter().zip([kernel, bias]).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::{Graph, Variant};
    use crate::nn::{DeviceChoice, SIDE};

    /// A backbone whose parameters are small and all different from each other.
    fn imported() -> Imported {
        let variant = Variant::keras(Network::ResNet50, None);
        let graph = Graph::new(Network::ResNet50, &variant, SIDE).unwrap();
        let tensors = graph.parameters().into_iter().map(|parameter| {
            let value = |i: usize| 0.01 + (i * 31 % 97) as f32 / 3000.0;
            let values = (0..parameter.shape.iter().product()).map(value).collect();
            (parameter.name, Tensor { shape: parameter.shape, values })
        });
        let description = Description {
            network: Network::ResNet50,
            variant: variant.clone(),
            provenance: "a test".into(),
            licence: "MIT".into(),
        };
        Imported { description, tensors: tensors.collect(), notes: Vec::new() }
    }

    #[test]
    fn a_second_head_leaves_the_backbone_alone_and_is_the_one_that_counts() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::open(DeviceChoice::Cpu).unwrap();
        let backbone = Backbone::new(imported(), &folder.path().join("cache"), &device).unwrap();
        let head = |bias: f64| Head::new(vec![0.0; 2048 * GRADES], [bias; GRADES]);
        let out = folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let first = backbone.ship(&head(1.0), "once", &out).unwrap();
        let second = backbone.ship(&head(2.0), "again", &out).unwrap();
        assert_eq!((first.len(), second.len()), (1, 2));
        assert_eq!(second[1], first[0]);
        let mut executor = load(&out, Network::ResNet50, &device).unwrap().executor(1).unwrap();
        assert_eq!(executor.logits(&vec![0.0; SIDE * SIDE * 3]).unwrap(), [2.0; GRADES]);
    }
}

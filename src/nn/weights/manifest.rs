//! `manifest.toml` beside the weights: which networks have some, in which files, with which hashes and from where.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::description::{Description, Header};
use super::writer::replace;
use super::{Store, WeightsError, hexadecimal};
use crate::nn::Network;
use crate::nn::graph::Variant;

/// The manifest's name within the folder of weights.
pub const MANIFEST: &str = "manifest.toml";

const HEAD: &str = "\
# The networks' weights. Written by `diaret train` and checked whenever a network is loaded; a network that has no entry
# has no weights yet.

";

/// All networks that have weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// One entry a network.
    #[serde(default)]
    pub networks: BTreeMap<Network, Entry>,
}

/// The weights of one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where the weights come from and what was done to them.
    pub provenance: String,
    /// Their licence, as an SPDX expression where there is one.
    pub licence: String,
    /// How photographs were made into inputs when the network learned.
    pub input: InputPipeline,
    /// What differs by the source of the weights, preprocessing and number of classes included.
    pub variant: Variant,
    /// The files, in order; of a parameter that lies in several of them the first counts.
    pub files: Vec<WeightsFile>,
}

/// One file of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsFile {
    /// Its name within the manifest's folder.
    pub file: String,
    /// SHA-256 of its bytes in hexadecimal.
    pub sha256: String,
}

/// How a photograph's field becomes a network's input (the room `fundus` does it, and does it in one way only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputPipeline {
    /// Pixels of a side to which a larger square is reduced first.
    pub cap: usize,
    /// The filter of that reduction.
    pub reduce: Reduction,
    /// The filter from there to the network's side.
    pub resample: Resampling,
}

/// A filter that makes pictures smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Averages over a pixel's area.
    Area,
}

/// A filter between two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resampling {
    /// Linear between the centres of four pixels.
    Bilinear,
}

impl InputPipeline {
    /// The way in which this version makes inputs.
    pub const CURRENT: Self = Self { cap: 320, reduce: Reduction::Area, resample: Resampling::Bilinear };
}

impl Manifest {
    /// Reads the manifest of a folder of weights.
    pub fn read(folder: &Path) -> Result<Self, WeightsError> {
        let file = folder.join(MANIFEST);
        let text = fs::read_to_string(&file).map_err(|source| WeightsError::Read { file: file.clone(), source })?;
        let manifest: Self = toml::from_str(&text)
            .map_err(|error| WeightsError::Manifest { file: file.clone(), reason: error.to_string() })?;
        manifest.check(&file)?;
        Ok(manifest)
    }

    /// Reads the manifest of a folder, or begins an empty one where there is none.
    pub fn read_or_new(folder: &Path) -> Result<Self, WeightsError> {
        if folder.join(MANIFEST).exists() { Self::read(folder) } else { Ok(Self::default()) }
    }

    /// Adds a network's weights or replaces those it had.
    pub fn put(&mut self, description: &Description, files: Vec<WeightsFile>) {
        let Description { network, variant, provenance, licence } = description.clone();
        let entry = Entry { provenance, licence, input: InputPipeline::CURRENT, variant, files };
        self.networks.insert(network, entry);
    }

    /// Writes it to a folder, replacing the one that was there at once.
    pub fn write(&self, folder: &Path) -> Result<(), WeightsError> {
        let file = folder.join(MANIFEST);
        let text = toml::to_string_pretty(self)
            .map_err(|error| WeightsError::Manifest { file: file.clone(), reason: error.to_string() })?;
        replace(&file, format!("{HEAD}{text}").as_bytes())
    }

    /// A manifest names files of its own folder only, and inputs that this version makes.
    fn check(&self, file: &Path) -> Result<(), WeightsError> {
        let wrong = |reason| Err(WeightsError::Manifest { file: file.to_path_buf(), reason });
        for (network, entry) in &self.networks {
            if let Some(outside) = entry.files.iter().find(|part| !is_plain_name(&part.file)) {
                return wrong(format!("{} names `{}`, which is no file name", network.name(), outside.file));
            }
            if entry.files.is_empty() {
                return wrong(format!("{} has no files", network.name()));
            }
            if entry.input != InputPipeline::CURRENT {
                let (theirs, ours) = (entry.input, InputPipeline::CURRENT);
                return wrong(format!(
                    "{} learned from inputs made in another way ({theirs:?}) than this version makes them ({ours:?})",
                    network.name()
                ));
            }
        }
        Ok(())
    }
}

impl Entry {
    /// What identifies the weights: the file's SHA-256, of several files the SHA-256 of their hashes.
    pub fn hash(&self) -> String {
        match self.files.as_slice() {
            [only] => only.sha256.clone(),
            several => {
                let joined: String = several.iter().map(|part| part.sha256.as_str()).collect();
                hexadecimal(&Sha256::digest(joined))
            }
        }
    }

    /// A file that says of itself what it holds must say the same as the manifest.
    pub(super) fn check_against(&self, network: Network, store: &Store, manifest: &Path) -> Result<(), WeightsError> {
        let agrees = match Header::of(store) {
            None => true,
            Some(Ok(Header { description, .. })) => {
                description.network == network && description.variant == self.variant
            }
            Some(Err(_)) => false,
        };
        if agrees {
            return Ok(());
        }
        let reason = format!("{} says something else of itself than stands here", store.path().display());
        Err(WeightsError::Manifest { file: manifest.to_path_buf(), reason })
    }
}

/// Whether a name leads to nothing but a file beside the one that names it.
pub(super) fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|plain| plain == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::Preprocessing;

    #[test]
    fn the_manifest_says_how_fundus_makes_inputs() {
        assert_eq!(InputPipeline::CURRENT.cap, crate::fundus::CAP);
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::default();
        for (network, variant) in [
            (Network::ResNet50, Variant::keras(Network::ResNet50, Some(5))),
            (Network::InceptionV3, Variant::tensorflow_2015(None)),
        ] {
            let description = Description { network, variant, provenance: "a test".into(), licence: "MIT".into() };
            manifest.put(&description, vec![WeightsFile { file: "a.safetensors".into(), sha256: "00".into() }]);
        }
        manifest.write(folder.path()).unwrap();
        let again = Manifest::read(folder.path()).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.networks[&Network::ResNet50].variant.preprocessing, Preprocessing::Caffe);
        assert_eq!(again.networks[&Network::InceptionV3].variant.head, None);
    }

    #[test]
    fn a_manifest_that_leads_out_of_its_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["../a.safetensors", "/etc/passwd", "", "..", "a/b"] {
            let mut manifest = Manifest::default();
            let variant = Variant::keras(Network::ResNet50, Some(5));
            let (provenance, licence) = (String::new(), String::new());
            let description = Description { network: Network::ResNet50, variant, provenance, licence };
            manifest.put(&description, vec![WeightsFile { file: name.into(), sha256: "00".into() }]);
            manifest.write(folder.path()).unwrap();
            let error = Manifest::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("is no file name"), "{name}: {error}");
        }
    }
}

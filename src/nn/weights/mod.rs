//! `weights/` comes in: a manifest and safetensors files; a [`Model`](super::Model) goes out.

use std::path::Path;
use std::sync::Arc;

use super::{Device, Model, Network};

/// What is wrong with weights. Messages name the file, the tensor and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {}

/// Loads a network from the folder of the manifest, checking hashes and shapes.
pub fn load(_folder: &Path, _network: Network, _device: &Device) -> Result<Arc<dyn Model>, WeightsError> {
    todo!()
}

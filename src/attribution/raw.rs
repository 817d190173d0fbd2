//! A map, its input and its baseline come in; a safetensors file with the three goes out, for anyone who wants to check.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::{Attribution, AttributionError};

/// Writes `attribution` (signed, in units of what is explained), `input` and `baseline` (RGB in [0, 1]) as f32 tensors of
/// the attribution's shape, `[height, width, 3]`.
pub fn write(path: &Path, attribution: &Attribution, input: &[f32], baseline: &[f32]) -> Result<(), AttributionError> {
    let failed = |reason: String| AttributionError::Raw { path: path.to_path_buf(), reason };
    let bytes = [&attribution.map, input, baseline].map(little_endian);
    let names = ["attribution", "input", "baseline"];
    let mut tensors = HashMap::new();
    for (name, bytes) in names.into_iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, attribution.shape.to_vec(), bytes).map_err(|e| failed(e.to_string()))?;
        tensors.insert(name, view);
    }
    serialize_to_file(tensors, None, path).map_err(|e| failed(e.to_string()))
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

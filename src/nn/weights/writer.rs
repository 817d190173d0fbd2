//! Parameters come in; safetensors files in f16, none over [`LARGEST_FILE`], and their hashes go out.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::description::Description;
use super::manifest::WeightsFile;
use super::tensor::{Encoded, Tensors};
use super::{WeightsError, hexadecimal};
use crate::nn::training::fault;
use safetensors::View as _;

/// No file is larger than this, in bytes: 64 MiB.
pub const LARGEST_FILE: usize = 64 << 20;

/// Room for a file's header, in bytes.
const HEADER: usize = 128 << 10;

/// Writes a network's parameters to `file`, and what does not fit to `file` with `-2`, `-3` ... in its name; gives the files
/// with their SHA-256 in the order in which a manifest lists them. The bytes depend on nothing but the arguments.
pub fn write(file: &Path, tensors: &Tensors, description: &Description) -> Result<Vec<WeightsFile>, WeightsError> {
    let shards = shards(file, tensors)?;
    let names: Vec<String> = (1..=shards.len()).map(|part| name_of_part(file, part)).collect();
    let said = description
        .to_metadata(&names)
        .map_err(|error| WeightsError::Format { file: file.to_path_buf(), reason: error.to_string() })?;
    names
        .iter()
        .zip(shards)
        .map(|(name, shard)| {
            let path = file.with_file_name(name);
            let bytes = safetensors::serialize(shard, Some(said.clone()))
                .map_err(|error| WeightsError::Format { file: path.clone(), reason: error.to_string() })?;
            replace(&path, &bytes)?;
            Ok(WeightsFile { file: name.clone(), sha256: hexadecimal(&Sha256::digest(&bytes)) })
        })
        .collect()
}

fn shards<'a>(file: &Path, tensors: &'a Tensors) -> Result<Vec<Vec<(&'a str, Encoded)>>, WeightsError> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for (name, tensor) in tensors {
        if let Some(fault) = fault(name, &tensor.values) {
            let reason = format!("{name} {fault}");
            return Err(WeightsError::Format { file: file.to_path_buf(), reason });
        }
        let encoded = Encoded::new(name, tensor);
        let size = encoded.data_len();
        if size > LARGEST_FILE - HEADER {
            let reason = format!("{name} alone has {size} bytes, more than a file may have ({LARGEST_FILE})");
            return Err(WeightsError::Format { file: file.to_path_buf(), reason });
        }
        if filled + size > LARGEST_FILE - HEADER {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += size;
        if let Some(shard) = shards.last_mut() {
            shard.push((name.as_str(), encoded));
        }
    }
    Ok(shards)
}

/// `network.safetensors`, `network-2.safetensors`, ...
fn name_of_part(file: &Path, part: usize) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension = file.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    if part == 1 { format!("{stem}{extension}") } else { format!("{stem}-{part}{extension}") }
}

/// Writes beside the file and renames, so that a reader never sees half of it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    let failed = |source| WeightsError::Write { file: path.to_path_buf(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

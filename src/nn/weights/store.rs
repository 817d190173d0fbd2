//! Safetensors files come in, memory-mapped, their hashes checked; parameters go out, each checked for type and shape.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest as _, Sha256};

use super::tensor::{Tensor, decode};
use super::{WeightsError, hexadecimal};

/// The parameters of one network, in one file or several.
pub struct Store {
    shards: Vec<Shard>,
}

struct Shard {
    path: PathBuf,
    map: Mmap,
    header: Metadata,
    /// Where the data begin.
    start: usize,
}

impl Store {
    /// Maps files whose hashes nobody has written down.
    pub fn open(files: &[PathBuf]) -> Result<Self, WeightsError> {
        let shards = files.iter().map(|path| Shard::open(path, None)).collect::<Result<_, _>>()?;
        Ok(Self { shards })
    }

    /// Maps files and compares each with its SHA-256 in hexadecimal.
    pub fn open_checked<'a>(files: impl IntoIterator<Item = (PathBuf, &'a str)>) -> Result<Self, WeightsError> {
        let shards = files.into_iter().map(|(path, hash)| Shard::open(&path, Some(hash))).collect::<Result<_, _>>()?;
        Ok(Self { shards })
    }

    /// The first file: what errors about the whole network name.
    pub fn path(&self) -> &Path {
        self.shards.first().map_or(Path::new(""), |shard| &shard.path)
    }

    /// SHA-256 of the first file in hexadecimal.
    pub fn sha256(&self) -> String {
        self.shards.first().map(|shard| hexadecimal(&Sha256::digest(&shard.map))).unwrap_or_default()
    }

    /// What the first file says of itself under `key`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.shards.first()?.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.shards.iter().flat_map(|shard| shard.header.offset_keys()).collect();
        names.sort();
        names
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).map(|(_, info)| info.shape.as_slice())
    }

    /// A parameter as f32, whatever floating-point type it lies in.
    pub fn read(&self, name: &str) -> Result<Tensor, WeightsError> {
        let Some((shard, info)) = self.find(name) else {
            return Err(WeightsError::Missing { file: self.path().to_path_buf(), tensor: name.to_owned() });
        };
        let (from, to) = info.data_offsets;
        let bytes = shard.map.get(shard.start + from..shard.start + to).unwrap_or_default();
        let values = decode(info.dtype, bytes).ok_or_else(|| shard.wrong_type(name, info.dtype))?;
        Ok(Tensor { shape: info.shape.clone(), values })
    }

    /// A parameter of the program's own files: f16 or f32, of exactly this shape.
    pub fn parameter(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        if let Some((shard, info)) = self.find(name) {
            if !matches!(info.dtype, Dtype::F16 | Dtype::F32) {
                return Err(shard.wrong_type(name, info.dtype));
            }
            if info.shape != shape {
                return Err(WeightsError::Shape {
                    file: shard.path.clone(),
                    tensor: name.to_owned(),
                    expected: shape.to_vec(),
                    found: info.shape.clone(),
                });
            }
        }
        self.read(name)
    }

    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        self.shards.iter().find_map(|shard| shard.header.info(name).map(|info| (shard, info)))
    }
}

impl Shard {
    fn open(path: &Path, hash: Option<&str>) -> Result<Self, WeightsError> {
        let map = map(path)?;
        if let Some(expected) = hash {
            let found = hexadecimal(&Sha256::digest(&map));
            if !found.eq_ignore_ascii_case(expected) {
                let expected = expected.to_owned();
                return Err(WeightsError::Hash { file: path.to_path_buf(), expected, found });
            }
        }
        // Deserialising checks that offsets are in order and that the file ends where the last tensor does.
        let format = |error| WeightsError::Format { file: path.to_path_buf(), reason: explain(&error) };
        SafeTensors::deserialize(&map).map_err(format)?;
        let (length, header) = SafeTensors::read_metadata(&map).map_err(format)?;
        Ok(Self { path: path.to_path_buf(), map, header, start: length + size_of::<u64>() })
    }

    fn wrong_type(&self, name: &str, found: Dtype) -> WeightsError {
        WeightsError::Dtype { file: self.path.clone(), tensor: name.to_owned(), found: format!("{found:?}") }
    }
}

fn map(path: &Path) -> Result<Mmap, WeightsError> {
    let read = |source| WeightsError::Read { file: path.to_path_buf(), source };
    let file = File::open(path).map_err(read)?;
    // SAFETY: the bytes are only read, and are copied out while the network is loaded; files of weights are replaced by
    // renaming (`writer`), never changed in place, so that a mapped one keeps its bytes.
    unsafe { Mmap::map(&file) }.map_err(read)
}

fn explain(error: &safetensors::SafeTensorError) -> String {
    use safetensors::SafeTensorError as E;
    match error {
        E::MetadataIncompleteBuffer => "it is truncated, or longer than its tensors".to_owned(),
        E::HeaderTooSmall | E::InvalidHeaderLength => "it is truncated within its header".to_owned(),
        E::InvalidOffset(name) => format!("the place of {name} in it makes no sense"),
        other => other.to_string(),
    }
}

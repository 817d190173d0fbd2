//! Safetensors files come in, their hashes checked; parameters go out, each checked for type, shape and values.
//!
//! Files are read, not mapped: what is decoded are the bytes that were hashed, whatever happens to the file meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest as _, Sha256};

use super::tensor::{Tensor, decode};
use super::{WeightsError, hexadecimal};
use crate::nn::training::fault;

/// No more than this is read of a network, in bytes: 1 GiB. The largest has less than half of it, in f64.
const MOST: u64 = 1 << 30;

/// The parameters of one network, in one file or several.
pub struct Store {
    shards: Vec<Shard>,
}

struct Shard {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    /// Where the data begin.
    start: usize,
}

impl Store {
    /// Reads files whose hashes nobody has written down.
    pub fn open(files: &[PathBuf]) -> Result<Self, WeightsError> {
        Self::of(files.iter().map(|path| (path.clone(), None)))
    }

    /// Reads files and compares each with its SHA-256 in hexadecimal.
    pub fn open_checked<'a>(files: impl IntoIterator<Item = (PathBuf, &'a str)>) -> Result<Self, WeightsError> {
        Self::of(files.into_iter().map(|(path, hash)| (path, Some(hash))))
    }

    fn of<'a>(files: impl Iterator<Item = (PathBuf, Option<&'a str>)>) -> Result<Self, WeightsError> {
        let (mut shards, mut room) = (Vec::new(), MOST);
        for (path, hash) in files {
            let shard = Shard::open(path, hash, room)?;
            room = room.saturating_sub(shard.bytes.len() as u64);
            shards.push(shard);
        }
        Ok(Self { shards })
    }

    /// The first file: what errors about the whole network name.
    pub fn path(&self) -> &Path {
        self.shards.first().map_or(Path::new(""), |shard| &shard.path)
    }

    /// SHA-256 of the first file in hexadecimal.
    pub fn sha256(&self) -> String {
        self.shards.first().map(|shard| hexadecimal(&Sha256::digest(&shard.bytes))).unwrap_or_default()
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
        let bytes = shard.bytes.get(shard.start + from..shard.start + to).unwrap_or_default();
        let values = decode(info.dtype, bytes).ok_or_else(|| shard.wrong_type(name, info.dtype))?;
        Ok(Tensor { shape: info.shape.clone(), values })
    }

    /// A parameter of the program's own files: f16 or f32, of exactly this shape, with values that training may give.
    pub fn parameter(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let Some((shard, info)) = self.find(name) else { return self.read(name) };
        if !matches!(info.dtype, Dtype::F16 | Dtype::F32) {
            return Err(shard.wrong_type(name, info.dtype));
        }
        let (file, found) = (shard.path.clone(), info.shape.clone());
        if found != shape {
            return Err(WeightsError::Shape { file, tensor: name.to_owned(), expected: shape.to_vec(), found });
        }
        let tensor = self.read(name)?;
        match fault(name, &tensor.values) {
            None => Ok(tensor),
            Some(fault) => Err(WeightsError::Values { file, tensor: name.to_owned(), fault }),
        }
    }

    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        self.shards.iter().find_map(|shard| shard.header.info(name).map(|info| (shard, info)))
    }
}

impl Shard {
    fn open(path: PathBuf, hash: Option<&str>, room: u64) -> Result<Self, WeightsError> {
        let bytes = read(&path, room)?;
        if let Some(expected) = hash {
            let found = hexadecimal(&Sha256::digest(&bytes));
            if !found.eq_ignore_ascii_case(expected) {
                return Err(WeightsError::Hash { file: path, expected: expected.to_owned(), found });
            }
        }
        // Deserialising checks that offsets are in order and that the file ends where the last tensor does.
        let format = |error| WeightsError::Format { file: path.clone(), reason: explain(&error) };
        SafeTensors::deserialize(&bytes).map_err(format)?;
        let (length, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
        Ok(Self { path, bytes, header, start: length + size_of::<u64>() })
    }

    fn wrong_type(&self, name: &str, found: Dtype) -> WeightsError {
        WeightsError::Dtype { file: self.path.clone(), tensor: name.to_owned(), found: format!("{found:?}") }
    }
}

/// The bytes of a file of at most `room`. What is no file may never end, and a pipe would wait for somebody to write.
fn read(path: &Path, room: u64) -> Result<Vec<u8>, WeightsError> {
    let failed = |source| WeightsError::Read { file: path.to_path_buf(), source };
    let unusable = |reason| WeightsError::Format { file: path.to_path_buf(), reason };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(unusable("it is no regular file".to_owned()));
    }
    if metadata.len() > room {
        let reason = format!("its {} bytes are more than any of the networks has", metadata.len());
        return Err(unusable(reason));
    }
    fs::read(path).map_err(failed)
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

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn file_of(folder: &Path, value: f32) -> PathBuf {
        let (file, bytes) = (folder.join("a.safetensors"), value.to_le_bytes().repeat(1 << 16));
        let view = TensorView::new(Dtype::F32, vec![1 << 16], &bytes).unwrap();
        safetensors::serialize_to_file([("a/kernel", view)], None, &file).unwrap();
        file
    }

    #[test]
    fn what_was_hashed_is_decoded_whatever_happens_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), 1.0);
        let hash = hexadecimal(&Sha256::digest(fs::read(&file).unwrap()));
        let store = Store::open_checked([(file.clone(), hash.as_str())]).unwrap();
        // As `rsync --inplace` does it; of a mapped file nothing would be left.
        let other = vec![0x40; fs::metadata(&file).unwrap().len() as usize];
        fs::write(&file, other).unwrap();
        let tensor = store.parameter("a/kernel", &[1 << 16]).unwrap();
        assert!(tensor.values.iter().all(|value| value.to_bits() == 1.0_f32.to_bits()));
        assert_eq!(store.sha256(), hash);
    }

    #[test]
    fn what_is_no_file_of_weights_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| Store::open(&[path.to_path_buf()]).map(|_| ()).unwrap_err().to_string();
        assert!(said(folder.path()).contains("no regular file"), "{}", said(folder.path()));
        let huge = folder.path().join("huge.safetensors");
        fs::File::create(&huge).unwrap().set_len(MOST + 1).unwrap();
        assert!(said(&huge).contains("more than any of the networks"), "{}", said(&huge));
        // Together they count as well.
        let file = file_of(folder.path(), 1.0);
        fs::File::create(&huge).unwrap().set_len(MOST).unwrap();
        let said = Store::open(&[file, huge]).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("more than any of the networks"), "{said}");
    }
}

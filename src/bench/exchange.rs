//! Tensors for the other program and from it, as safetensors files in a folder that lasts as long as the bench.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::BenchError;

/// The folder; removed when dropped.
pub struct Exchange(PathBuf);

impl Exchange {
    /// A new folder among the system's temporary ones.
    pub fn new() -> Result<Self, BenchError> {
        let folder = std::env::temp_dir().join(format!("diaret-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| BenchError::file(&folder, error))?;
        Ok(Self(folder))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // What remains is the system's to remove.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Writes f32 tensors: name, shape, values.
pub fn write(path: &Path, tensors: &[(&str, Vec<usize>, &[f32])]) -> Result<(), BenchError> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    let written = views.and_then(|views| serialize_to_file(views, None, path));
    written.map_err(|error| BenchError::file(path, error))
}

/// Reads an f32 tensor.
pub fn read(path: &Path, name: &str) -> Result<Vec<f32>, BenchError> {
    let bytes = fs::read(path).map_err(|error| BenchError::file(path, error))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| BenchError::file(path, error))?;
    let tensor = tensors.tensor(name).map_err(|error| BenchError::file(path, error))?;
    if tensor.dtype() != Dtype::F32 {
        return Err(BenchError::file(path, format!("{name} is not f32")));
    }
    let (numbers, _) = tensor.data().as_chunks::<4>();
    Ok(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_folder_goes() {
        let exchange = Exchange::new().unwrap();
        let (path, values) = (exchange.file("a.safetensors"), [0.1, -2.0, f32::MIN_POSITIVE, 4.0]);
        write(&path, &[("input", vec![2, 2], &values), ("baseline", vec![1], &values[..1])]).unwrap();
        assert_eq!(read(&path, "input").unwrap(), values);
        assert_eq!(read(&path, "baseline").unwrap(), values[..1]);
        assert!(read(&path, "map").is_err() && write(&path, &[("input", vec![3], &values)]).is_err());
        drop(exchange);
        assert!(!path.exists());
    }
}

//! What takes long to compute comes in once; it goes out again whenever the same key asks, so that a run that was broken off
//! goes on where it was.

use std::fs;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BenchError;
use crate::nn::weights::hexadecimal;

/// A folder of results by key; without a folder nothing is kept.
#[derive(Clone)]
pub struct Kept(Option<PathBuf>);

/// A file: the key stands in it, so that it says what it is.
#[derive(Serialize, Deserialize)]
struct Entry<R> {
    key: serde_json::Value,
    value: R,
}

impl Kept {
    /// Keeps results in `folder`.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// Whether the result of `key` is there. One that cannot be read is not: it is made again.
    pub fn find<R: DeserializeOwned>(&self, key: &impl Serialize) -> Option<R> {
        let (path, key) = self.place(key)?;
        let entry: Entry<R> = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (entry.key == key).then_some(entry.value)
    }

    /// The result of `key`, made only if it is not there.
    pub fn get<R: Serialize + DeserializeOwned>(
        &self,
        key: &impl Serialize,
        make: impl FnOnce() -> Result<R, BenchError>,
    ) -> Result<R, BenchError> {
        if let Some(value) = self.find(key) {
            return Ok(value);
        }
        let value = make()?;
        let Some((path, key)) = self.place(key) else { return Ok(value) };
        let entry = Entry { key, value };
        let bytes = serde_json::to_vec(&entry).map_err(|error| BenchError::file(&path, error))?;
        // Beside its place and then moved there: a file that is there is whole.
        let part = path.with_extension("part");
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&part, bytes));
        written.and_then(|()| fs::rename(&part, &path)).map_err(|error| BenchError::file(&path, error))?;
        Ok(entry.value)
    }

    fn place(&self, key: &impl Serialize) -> Option<(PathBuf, serde_json::Value)> {
        let key = serde_json::to_value(key).ok()?;
        let hash = Sha256::digest(key.to_string());
        let name = hexadecimal(&hash[..16]);
        Some((self.0.as_ref()?.join(format!("{name}.json")), key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_made_once_a_key_and_a_broken_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(Some(folder.path().join("new")));
        let mut made = 0;
        let mut get = |key: (&str, u32)| {
            let make = || {
                made += 1;
                Ok(vec![made as f32, 0.1])
            };
            kept.get(&key, make).unwrap()
        };
        let first = get(("IDRiD_048.jpg", 512));
        assert_eq!(get(("IDRiD_048.jpg", 512)), first);
        assert_eq!(get(("IDRiD_048.jpg", 2048)), [2.0, 0.1]);
        assert_eq!(kept.find::<Vec<f32>>(&("IDRiD_048.jpg", 512)), Some(first));
        for file in fs::read_dir(folder.path().join("new")).unwrap() {
            fs::write(file.unwrap().path(), "{").unwrap();
        }
        assert_eq!(kept.find::<Vec<f32>>(&("IDRiD_048.jpg", 512)), None);
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let kept = Kept::new(None);
        assert_eq!(kept.get(&1, || Ok(7)).unwrap(), 7);
        assert_eq!(kept.find::<u32>(&1), None);
    }
}

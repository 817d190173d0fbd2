//! What takes long to compute comes in once; it goes out again whenever the same key asks, so that a run that was broken off
//! goes on where it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BenchError;
use crate::nn::weights::hexadecimal;

/// A folder of results by key; without a folder nothing is kept.
#[derive(Clone)]
pub struct Kept {
    folder: Option<PathBuf>,
    /// By file: the seconds that an earlier run has spent on what this run took from it; none for what this run has made.
    earlier: Arc<Mutex<BTreeMap<PathBuf, f64>>>,
}

/// A file: the key stands in it, so that it says what it is.
#[derive(Serialize, Deserialize)]
struct Entry<R> {
    key: serde_json::Value,
    value: R,
    /// How long it took to make.
    #[serde(default)]
    seconds: f64,
}

impl Kept {
    /// Keeps results in `folder`.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, earlier: Arc::default() }
    }

    /// Whether the result of `key` is there. One that cannot be read is not: it is made again.
    pub fn find<R: DeserializeOwned>(&self, key: &impl Serialize) -> Option<R> {
        let (path, key) = self.place(key)?;
        let entry: Entry<R> = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        if entry.key != key {
            return None;
        }
        self.note(path, entry.seconds);
        Some(entry.value)
    }

    /// How many seconds earlier runs have spent on what was found.
    pub fn earlier(&self) -> f64 {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn note(&self, path: PathBuf, seconds: f64) {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_insert(seconds);
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
        let begun = Instant::now();
        let value = make()?;
        let Some((path, key)) = self.place(key) else { return Ok(value) };
        let entry = Entry { key, value, seconds: begun.elapsed().as_secs_f64() };
        self.note(path.clone(), 0.0);
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
        Some((self.folder.as_ref()?.join(format!("{name}.json")), key))
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
    fn what_an_earlier_run_has_made_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let slow = || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(7)
        };
        let run = || Kept::new(Some(folder.path().to_owned()));
        let first = run();
        assert_eq!((first.get(&1, slow).unwrap(), first.find::<u32>(&1)), (7, Some(7)));
        assert!(first.earlier() < 1e-9);
        let second = run();
        assert_eq!((second.get(&1, slow).unwrap(), second.find::<u32>(&1)), (7, Some(7)));
        assert!((0.02..2.0).contains(&second.earlier()), "{}", second.earlier());
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let kept = Kept::new(None);
        assert_eq!(kept.get(&1, || Ok(7)).unwrap(), 7);
        assert_eq!(kept.find::<u32>(&1), None);
    }
}

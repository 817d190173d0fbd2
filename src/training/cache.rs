//! What a backbone saw in photographs, kept on disk as it is computed, so that an interrupted run goes on where it was.
//!
//! A file holds one line of JSON (whose rows they are) and then records: length of the key (u32, little endian), the key,
//! `width` f32 values. A record that was cut off when a run ended is dropped on opening.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What every row of a cache depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheKey {
    /// SHA-256 of the backbone's file.
    pub backbone: String,
    /// The network and the variant it was run in.
    pub network: String,
    /// Values of a row.
    pub width: usize,
}

/// Rows of f32 by key.
pub struct Cache {
    /// Nowhere for rows that are kept for this run alone.
    file: Option<File>,
    width: usize,
    rows: HashMap<String, Vec<f32>>,
}

/// Why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk failed.
    #[error("{file}: {source}")]
    Io {
        /// The cache.
        file: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It is something else.
    #[error("{0} holds features of another backbone or is damaged: remove it, and they are computed again")]
    Foreign(PathBuf),
}

impl Cache {
    /// Opens or begins the cache of `key`.
    pub fn open(path: &Path, key: &CacheKey) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { file: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let header = serde_json::to_string(key).map_err(|error| io(error.into()))? + "\n";
        if bytes.is_empty() {
            file.write_all(header.as_bytes()).map_err(io)?;
            return Ok(Self { file: Some(file), width: key.width, rows: HashMap::new() });
        }
        let records = bytes.strip_prefix(header.as_bytes()).ok_or_else(|| CacheError::Foreign(path.to_owned()))?;
        let (rows, used) = parse(records, key.width);
        let end = (header.len() + used) as u64;
        file.set_len(end).map_err(io)?;
        file.seek(SeekFrom::Start(end)).map_err(io)?;
        Ok(Self { file: Some(file), width: key.width, rows })
    }

    /// A cache for this run alone.
    pub fn in_memory(width: usize) -> Self {
        Self { file: None, width, rows: HashMap::new() }
    }

    /// A row, if it was computed.
    pub fn get(&self, key: &str) -> Option<&[f32]> {
        self.rows.get(key).map(Vec::as_slice)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was computed yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row, on disk at once if there is one.
    pub fn append(&mut self, key: &str, row: Vec<f32>) -> io::Result<()> {
        if row.len() != self.width {
            return Err(io::Error::other(format!("a row of {} values where rows have {}", row.len(), self.width)));
        }
        if let Some(file) = &mut self.file {
            let mut record = Vec::with_capacity(4 + key.len() + 4 * row.len());
            record.extend((key.len() as u32).to_le_bytes());
            record.extend(key.as_bytes());
            record.extend(row.iter().flat_map(|value| value.to_le_bytes()));
            file.write_all(&record)?;
        }
        self.rows.insert(key.to_owned(), row);
        Ok(())
    }
}

/// The whole records, and how many bytes they take.
fn parse(bytes: &[u8], width: usize) -> (HashMap<String, Vec<f32>>, usize) {
    let mut rows = HashMap::new();
    let mut rest = bytes;
    while let Some((key, row, left)) = record(rest, width) {
        rows.insert(key, row);
        rest = left;
    }
    (rows, bytes.len() - rest.len())
}

fn record(bytes: &[u8], width: usize) -> Option<(String, Vec<f32>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (row, rest) = rest.split_at_checked(4 * width)?;
    let values = row.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Some((String::from_utf8(key.to_vec()).ok()?, values, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CacheKey {
        CacheKey { backbone: "abc".into(), network: "resnet50".into(), width: 3 }
    }

    #[test]
    fn an_interrupted_run_goes_on_with_what_was_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/rows");
        let mut cache = Cache::open(&path, &key()).unwrap();
        cache.append("a/é.jpg", vec![1.0, 2.0, 3.0]).unwrap();
        cache.append("b.jpg", vec![4.0, 5.0, 6.0]).unwrap();
        drop(cache);
        // The last record loses its end, as when a machine goes down.
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();

        let mut cache = Cache::open(&path, &key()).unwrap();
        assert_eq!((cache.len(), cache.get("a/é.jpg")), (1, Some([1.0, 2.0, 3.0].as_slice())));
        assert_eq!(cache.get("b.jpg"), None);
        cache.append("b.jpg", vec![4.0, 5.0, 6.0]).unwrap();
        drop(cache);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn rows_of_another_backbone_are_never_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        drop(Cache::open(&path, &key()).unwrap());
        let other = CacheKey { backbone: "def".into(), ..key() };
        assert!(matches!(Cache::open(&path, &other), Err(CacheError::Foreign(_))));
    }

    #[test]
    fn a_row_of_another_width_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(&folder.path().join("rows"), &key()).unwrap();
        assert!(cache.append("a", vec![1.0]).is_err());
    }
}

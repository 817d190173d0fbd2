//! What takes long to make comes in once; it goes out again whenever the same key asks, so that a run that was broken off goes on
//! where it was. Rows come from earlier reports as well: a run that takes many sittings can be gone on with on another day.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BenchError, Report};
use crate::nn::weights::hexadecimal;

/// What a row of a report was measured under, and what that cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// The hash of all that it depends on: both programs, the machine, the settings, what was measured.
    pub key: String,
    /// How long it took to measure.
    pub seconds: f64,
    /// Threads that wanted to run before its sitting began.
    pub load: Option<f64>,
}

/// Rows of earlier reports, and a folder of results by key; without a folder nothing is kept but what stands in reports.
#[derive(Clone)]
pub struct Kept {
    folder: Option<PathBuf>,
    former: Arc<BTreeMap<String, serde_json::Value>>,
    load: Option<f64>,
    /// Of what this run has taken from earlier ones.
    taken: Arc<Mutex<BTreeMap<String, Stamp>>>,
}

/// A file: the key stands in it, so that it says what it is.
#[derive(Serialize, Deserialize)]
struct Entry<R> {
    key: serde_json::Value,
    stamp: Stamp,
    value: R,
}

impl Kept {
    /// Keeps results in `folder`, and has the rows of `former` reports. `load`: of the machine, before this sitting.
    pub fn new(folder: Option<PathBuf>, former: &[Report], load: Option<f64>) -> Self {
        let former = former.iter().flat_map(Report::rows).collect();
        Self { folder, former: Arc::new(former), load, taken: Arc::default() }
    }

    /// The result of `key`, if it is there. One that cannot be read is not: it is made again.
    pub fn find<R: DeserializeOwned>(&self, key: &impl Serialize) -> Option<R> {
        let (name, key) = named(key)?;
        if let Some(row) = self.former.get(&name) {
            let stamp = Stamp::deserialize(row.get("stamp")?).ok()?;
            let row = R::deserialize(row).ok()?;
            self.take(stamp);
            return Some(row);
        }
        let entry: Entry<R> = serde_json::from_slice(&fs::read(self.place(&name)?).ok()?).ok()?;
        if entry.key != key {
            return None;
        }
        self.take(entry.stamp);
        Some(entry.value)
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
        self.keep(key, begun, |_| value)
    }

    /// A row of a report that was measured from `begun` until now, with the stamp by which the next run finds it.
    pub fn keep<R: Serialize>(
        &self,
        key: &impl Serialize,
        begun: Instant,
        row: impl FnOnce(Option<Stamp>) -> R,
    ) -> Result<R, BenchError> {
        let Some((stamp, key)) = self.stamped(key, begun) else { return Ok(row(None)) };
        let row = row(Some(stamp.clone()));
        self.write(key, stamp, &row)?;
        Ok(row)
    }

    /// How many seconds earlier runs have spent on what was found, and the greatest load before any of their sittings.
    pub fn earlier(&self) -> (f64, Option<f64>) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = taken.values().map(|stamp| stamp.seconds).sum();
        (seconds, taken.values().filter_map(|stamp| stamp.load).reduce(f64::max))
    }

    /// What this run has made itself is no earlier run's, though it is found again.
    fn take(&self, stamp: Stamp) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).entry(stamp.key.clone()).or_insert(stamp);
    }

    fn stamped(&self, key: &impl Serialize, begun: Instant) -> Option<(Stamp, serde_json::Value)> {
        let (name, key) = named(key)?;
        Some((Stamp { key: name, seconds: begun.elapsed().as_secs_f64(), load: self.load }, key))
    }

    fn write<R: Serialize>(&self, key: serde_json::Value, stamp: Stamp, value: &R) -> Result<(), BenchError> {
        self.take(Stamp { seconds: 0.0, load: None, ..stamp.clone() });
        let Some(path) = self.place(&stamp.key) else { return Ok(()) };
        let bytes = serde_json::to_vec(&Entry { key, stamp, value }).map_err(|error| BenchError::file(&path, error))?;
        // Beside its place and then moved there: a file that is there is whole.
        let part = path.with_extension("part");
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&part, bytes));
        written.and_then(|()| fs::rename(&part, &path)).map_err(|error| BenchError::file(&path, error))
    }

    fn place(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{name}.json")))
    }
}

/// A key and its hash.
fn named(key: &impl Serialize) -> Option<(String, serde_json::Value)> {
    let key = serde_json::to_value(key).ok()?;
    let hash = Sha256::digest(key.to_string());
    Some((hexadecimal(&hash[..16]), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::other::Choice;

    fn kept(folder: &std::path::Path) -> Kept {
        Kept::new(Some(folder.to_owned()), &[], Some(0.1))
    }

    #[test]
    fn a_result_is_made_once_a_key_and_a_broken_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(&folder.path().join("new"));
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
        let first = kept(folder.path());
        assert_eq!((first.get(&1, slow).unwrap(), first.find::<u32>(&1)), (7, Some(7)));
        assert_eq!(first.earlier(), (0.0, None));
        let second = kept(folder.path());
        assert_eq!((second.get(&1, slow).unwrap(), second.find::<u32>(&1)), (7, Some(7)));
        let (seconds, load) = second.earlier();
        assert!((0.02..2.0).contains(&seconds) && load == Some(0.1), "{seconds}, {load:?}");
    }

    #[test]
    fn a_row_of_an_earlier_report_is_found_by_what_it_was_measured_under() {
        let begun = Instant::now().checked_sub(std::time::Duration::from_secs(60)).unwrap();
        let eager = |stamp| Choice { setting: "eager".to_owned(), stamp, ..Choice::default() };
        let choice = Kept::new(None, &[], Some(0.3)).keep(&("winner", 1), begun, eager).unwrap();
        let winners = BTreeMap::from([("grade".to_owned(), choice.clone())]);
        let report = Report { winners, ..Report::default() };
        let kept = Kept::new(None, &[report], Some(0.1));
        assert_eq!(kept.find::<Choice>(&("winner", 2)), None);
        assert_eq!(kept.find::<Choice>(&("winner", 1)), Some(choice));
        let (seconds, load) = kept.earlier();
        assert!((60.0..70.0).contains(&seconds) && load == Some(0.3), "{seconds}, {load:?}");
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let kept = Kept::new(None, &[], None);
        assert_eq!(kept.get(&1, || Ok(7)).unwrap(), 7);
        assert_eq!(kept.find::<u32>(&1), None);
    }
}

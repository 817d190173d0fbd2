//! A backbone, a folder of graded photographs and full-size samples come in; a fitted head and its [`Report`] go out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::TrainingError;
use super::backbone::{Backbone, rounded};
use super::cache::{Cache, CacheKey};
use super::features::{Job, Progress, Refused, View, compute};
use super::head::{Head, Standardisation};
use super::outline::{OUTLINE, expanded};
use super::report::{Report, SamplePair, cut_effects, sets};
use super::selection::{Example, Selection, Trial, graded, select};
use crate::evaluation::{Labelled, Split, read_labels};

/// Photographs that a network sees at once.
const ROWS: usize = 8;

/// Photographs of `test` that are shown with their field cut anew.
const CUT: usize = 300;

/// What a training works on.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The folder of `labels.csv`.
    pub data: PathBuf,
    /// Full-size photographs whose copies `labels.csv` lists, by name (`IDRiD_029.jpg`, `train_IDRiD_029.jpg`).
    pub samples: PathBuf,
    /// Where features are kept.
    pub cache: PathBuf,
    /// Photographs of `train` and `val` alone, this many, to try the way out; nothing is reported.
    pub trial: Option<usize>,
}

/// Tells a person how the work goes.
pub trait Told {
    /// Features are being computed.
    fn features(&mut self, progress: Progress);
    /// A recipe was tried.
    fn trial(&mut self, trial: &Trial);
}

/// A head and what is reported of it; no report where it was only tried out.
pub struct Fitted {
    /// As it will be stored.
    pub head: Head,
    /// Its figures.
    pub report: Option<Report>,
}

/// Features of everything that was asked for.
struct Seen {
    labels: Vec<Labelled>,
    /// Full-size photographs with their features, and the label of the copy of each.
    samples: Vec<(PathBuf, Labelled)>,
    at_full_size: Cache,
    cache: Cache,
    /// Pooled features of a row; the outline follows them.
    width: usize,
    refused: Vec<Refused>,
}

/// Computes features, chooses a head on `val` and, unless this is a trial, looks at `test` and `external` once.
pub fn fit(backbone: &Backbone, sources: &Sources, told: &mut dyn Told) -> Result<Fitted, TrainingError> {
    let seen = see(backbone, sources, told)?;
    let (train, val) = (seen.examples(Split::Train), seen.examples(Split::Val));
    if train.is_empty() || val.is_empty() {
        return Err(TrainingError::Empty);
    }
    let mut selection = select(&train, &val, |trial| told.trial(trial))?;
    selection.head = rounded(&selection.head);
    let report = if sources.trial.is_some() { None } else { Some(report(backbone, &seen, &selection)?) };
    Ok(Fitted { head: selection.head, report })
}

fn see(backbone: &Backbone, sources: &Sources, told: &mut dyn Told) -> Result<Seen, TrainingError> {
    let mut executor = backbone.model.executor(ROWS)?;
    let width = executor.classes();
    let network = backbone.network();
    let cache_key = CacheKey {
        backbone: backbone.model.weights_hash().to_owned(),
        network: network.name().to_owned(),
        width: width + OUTLINE,
    };
    let file =
        sources.cache.join(format!("{}-{}.features", network.name(), cache_key.backbone.get(..12).unwrap_or_default()));
    let mut cache = Cache::open(&file, &cache_key)?;
    let all = read_labels(&sources.data)?;
    let (labels, samples) = match sources.trial {
        Some(count) => (thinned(all, count), Vec::new()),
        None => (all.clone(), samples(&sources.samples, &all)?),
    };
    let jobs: Vec<Job> = labels.iter().map(|row| Job::new(&sources.data, &row.file, View::Plain)).collect();
    let mut refused = compute(executor.as_mut(), &mut cache, &jobs, &mut |progress| told.features(progress))?;
    // Never from an earlier run: these are compared with what the program makes of them now.
    let mut at_full_size = Cache::in_memory(width + OUTLINE);
    let jobs: Vec<Job> =
        samples.iter().map(|(path, _)| Job { key: key(path), path: path.clone(), view: View::Plain }).collect();
    refused.extend(compute(executor.as_mut(), &mut at_full_size, &jobs, &mut |progress| told.features(progress))?);
    // The fields that are cut anew come last: the head could be fitted without them.
    let cut = every(labels.iter().filter(|row| row.split == Split::Test).collect(), CUT);
    let jobs: Vec<Job> = cut.iter().map(|row| Job::new(&sources.data, &row.file, View::Cut)).collect();
    compute(executor.as_mut(), &mut cache, &jobs, &mut |progress| told.features(progress))?;
    refused.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(Seen { labels, samples, at_full_size, cache, width, refused })
}

/// As many photographs of `train` and `val`, evenly from the whole list.
fn thinned(labels: Vec<Labelled>, count: usize) -> Vec<Labelled> {
    every(labels.into_iter().filter(|row| matches!(row.split, Split::Train | Split::Val)).collect(), count)
}

/// `count` of `all` at even distances; all of them if there are no more.
fn every<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let length = all.len();
    // Item i is taken where i * count / length steps up.
    let taken = |i: usize| length <= count || (i + 1) * count / length > i * count / length;
    all.into_iter().enumerate().filter(|(i, _)| taken(*i)).map(|(_, item)| item).collect()
}

/// Photographs in a folder that have a copy in the data: one whose name ends with theirs.
fn samples(folder: &Path, labels: &[Labelled]) -> Result<Vec<(PathBuf, Labelled)>, TrainingError> {
    let read = |source| TrainingError::Samples { folder: folder.to_owned(), source };
    let mut paths = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .map_err(read)?;
    paths.sort();
    let copy_of = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        crate::fundus::is_candidate(path)
            .then(|| labels.iter().find(|row| row.file.ends_with(&format!("_{name}"))))?
            .map(|row| (path.clone(), row.clone()))
    };
    Ok(paths.iter().filter_map(copy_of).collect())
}

fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Seen {
    fn pooled(&self, key: &str) -> Option<&[f32]> {
        self.cache.get(key)?.get(..self.width)
    }

    fn outline(&self, key: &str) -> Option<Vec<f32>> {
        self.cache.get(key)?.get(self.width..).map(expanded)
    }

    fn of(&self, split: Split) -> impl Iterator<Item = &Labelled> {
        self.labels.iter().filter(move |row| row.split == split)
    }

    fn examples(&self, split: Split) -> Vec<Example<'_>> {
        let example = |labelled| Some(Example { labelled, features: self.pooled(&labelled.file)? });
        self.of(split).filter_map(example).collect()
    }

    /// The outline of every photograph that has features, of one split.
    fn outlines(&self, split: Split) -> Vec<(&Labelled, Vec<f32>)> {
        self.of(split).filter_map(|row| Some((row, self.outline(&row.file)?))).collect()
    }

    /// Photographs of `test` as they are, and with their field cut anew.
    fn cut_pairs(&self) -> (Vec<Example<'_>>, Vec<Example<'_>>) {
        self.of(Split::Test)
            .filter_map(|labelled| {
                let cut = Job::new(Path::new(""), &labelled.file, View::Cut).key;
                let [whole, cut] = [labelled.file.as_str(), &cut].map(|key| self.pooled(key));
                Some((Example { labelled, features: whole? }, Example { labelled, features: cut? }))
            })
            .unzip()
    }

    fn sample_pairs(&self, head: &Head) -> Vec<SamplePair> {
        let pair = |(path, copy): &(PathBuf, Labelled)| {
            Some(SamplePair {
                file: path.file_name()?.to_string_lossy().into_owned(),
                reference: copy.grade,
                full_size: head.grade(self.at_full_size.get(&key(path))?.get(..self.width)?),
                copy: head.grade(self.pooled(&copy.file)?),
            })
        };
        self.samples.iter().filter_map(pair).collect()
    }
}

/// A head fitted to outlines in the same way, and what it gives on each split reported.
fn outline_only(seen: &Seen) -> Result<Head, TrainingError> {
    let [train, val] = [Split::Train, Split::Val].map(|split| seen.outlines(split));
    let [train, val] = [&train, &val].map(|rows| examples(rows));
    Ok(select(&train, &val, |_| ())?.head)
}

fn examples<'a>(rows: &'a [(&'a Labelled, Vec<f32>)]) -> Vec<Example<'a>> {
    rows.iter().map(|(labelled, features)| Example { labelled, features }).collect()
}

fn report(backbone: &Backbone, seen: &Seen, selection: &Selection) -> Result<Report, TrainingError> {
    let head = &selection.head;
    let outline_head = outline_only(seen)?;
    let of_split = |split: Split| {
        let outlines = seen.outlines(split);
        let whole = split != Split::External;
        sets(split, whole, &graded(head, &seen.examples(split)), &graded(&outline_head, &examples(&outlines)))
    };
    let train: Vec<&[f32]> = seen.examples(Split::Train).iter().map(|example| example.features).collect();
    let splits = [Split::Train, Split::Val, Split::Test, Split::External];
    let (whole, cut) = seen.cut_pairs();
    Ok(Report {
        network: backbone.network(),
        provenance: backbone.description().provenance.clone(),
        licence: backbone.description().licence.clone(),
        files: Vec::new(),
        features: seen.width,
        constant_features: Standardisation::of(&train).constant(),
        zero_kernels: backbone.zero_kernels().to_vec(),
        photographs: BTreeMap::from(splits.map(|split| (split, seen.examples(split).len()))),
        refused: seen.refused.iter().map(|one| (one.key.clone(), one.reason.clone())).collect(),
        chosen: selection.best,
        trials: selection.trials.clone(),
        sets: [Split::Val, Split::Test, Split::External].into_iter().flat_map(of_split).collect(),
        cut: cut_effects(head, &whole, &cut),
        samples: seen.sample_pairs(head),
    })
}

#[cfg(test)]
mod tests {
    use super::every;

    #[test]
    fn items_are_taken_at_even_distances() {
        assert_eq!(every((0..10).collect(), 5), [1, 3, 5, 7, 9]);
        assert_eq!(every((0..3).collect(), 5), [0, 1, 2]);
        assert_eq!(every((0..1000).collect::<Vec<_>>(), 37).len(), 37);
    }
}

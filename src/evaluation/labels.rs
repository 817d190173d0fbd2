//! A folder with `labels.csv` comes in; its graded photographs go out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::grading::Grade;

/// What a photograph may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Fitting.
    Train,
    /// Every choice.
    Val,
    /// Looked at once, for the figures reported.
    Test,
    /// Other sources than the ones trained on; looked at once as well.
    External,
}

/// Whether a photograph's colours are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// As photographed.
    Plain,
    /// Equalised once and mapped back: lesions are real, colour and contrast are invented.
    Restored,
}

/// One row of `labels.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Labelled {
    /// The file, relative to the folder of `labels.csv`.
    pub file: String,
    /// The data set it is from.
    pub source: String,
    /// What it may be used for.
    pub split: Split,
    /// What the readers said.
    pub grade: Grade,
    /// Who was photographed; empty where not known.
    #[serde(default)]
    pub patient: String,
    /// Whether its colours are its own.
    pub colour: Colour,
}

/// Why labels cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// The file cannot be opened or a row is not as described.
    #[error(
        "{file}: {source}; it needs the columns file, source, split (train, val, test, external), grade (0 to 4), patient, colour (plain, restored)"
    )]
    Csv {
        /// The labels file.
        file: PathBuf,
        /// What is wrong with it.
        source: csv::Error,
    },
    /// A file is named twice: its grade would be counted twice, or contradict itself.
    #[error("{file}: {photograph} is listed twice; keep one row of it")]
    Twice {
        /// The labels file.
        file: PathBuf,
        /// The photograph.
        photograph: String,
    },
}

/// Reads `folder/labels.csv`, in its order.
pub fn read_labels(folder: &Path) -> Result<Vec<Labelled>, LabelsError> {
    let file = folder.join("labels.csv");
    let rows: Result<Vec<Labelled>, _> =
        csv::Reader::from_path(&file).and_then(|mut reader| reader.deserialize().collect());
    let rows = rows.map_err(|source| LabelsError::Csv { file: file.clone(), source })?;
    let mut seen = std::collections::HashSet::new();
    match rows.iter().find(|row| !seen.insert(row.file.as_str())) {
        Some(row) => Err(LabelsError::Twice { photograph: row.file.clone(), file }),
        None => Ok(rows),
    }
}

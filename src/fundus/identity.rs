//! A file name, the CSV beside it and DICOM tags come in; patient, eye and date go out. What none of them says is unknown:
//! never a guess.

use std::path::Path;

/// Which eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Laterality {
    /// Oculus dexter, the right eye.
    Right,
    /// Oculus sinister, the left eye.
    Left,
}

/// Whose eye was photographed, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The patient's identifier.
    pub patient: Option<String>,
    /// The eye.
    pub eye: Option<Laterality>,
    /// The date of the photograph, `YYYY-MM-DD`.
    pub date: Option<String>,
}

/// The CSV files beside photographs (columns `file`, `eye`, `patient`, `date`), read once a folder.
#[derive(Debug, Default)]
pub struct Listing {}

impl Listing {
    /// What the CSV beside `file`, else the file's name, says.
    pub fn identity(&mut self, _file: &Path) -> Identity {
        todo!()
    }
}

//! A file name, the CSV beside it and DICOM tags come in; patient, eye and date go out. What none of them says is unknown:
//! never a guess.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Which eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Laterality {
    /// Oculus dexter, the right eye.
    Right,
    /// Oculus sinister, the left eye.
    Left,
}

impl Laterality {
    /// What people and DICOM write for an eye: `left`, `right`, `L`, `R`, `OS`, `OD`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "right" | "r" | "od" => Some(Self::Right),
            "left" | "l" | "os" => Some(Self::Left),
            _ => None,
        }
    }
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

impl Identity {
    /// What `self` says, and what `other` says where `self` is silent.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { patient: self.patient.or(other.patient), eye: self.eye.or(other.eye), date: self.date.or(other.date) }
    }

    /// What a usual file name says: `10_left.jpeg`, `x_OD.jpg`, `anything_R.png`. The eye stands alone between separators:
    /// a word (`left`, `right`, `OD`, `OS`) anywhere, a single letter only at the end. The patient is what stands before
    /// an eye at the end. A name that says both eyes says none.
    pub fn from_file_name(file: &Path) -> Self {
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let separators = ['_', '-', '.', ' '];
        let (before, last) = match stem.rfind(separators) {
            Some(at) => (Some(&stem[..at]), &stem[at + 1..]),
            None => (None, stem.as_str()),
        };
        let words = before.unwrap_or_default().split(separators).filter(|word| word.len() > 1);
        let single_letter_alone = before.is_none() && last.len() == 1;
        let at_end = Laterality::parse(last).filter(|_| !single_letter_alone);
        let mut eyes: Vec<_> = words.filter_map(Laterality::parse).chain(at_end).collect();
        eyes.dedup();
        let eye = if let [eye] = eyes[..] { Some(eye) } else { None };
        let patient = before
            .map(|before| before.trim_end_matches(separators))
            .filter(|before| eye.is_some() && at_end.is_some() && !before.is_empty())
            .map(str::to_owned);
        Self { patient, eye, date: None }
    }
}

/// The CSV files beside photographs (columns `file`, `eye`, `patient`, `date`), read once a folder.
#[derive(Debug, Default)]
pub struct Listing {
    folders: HashMap<PathBuf, HashMap<String, Identity>>,
}

impl Listing {
    /// What the CSV beside `file`, else the file's name, says.
    pub fn identity(&mut self, file: &Path) -> Identity {
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let rows = self.folders.entry(folder).or_insert_with_key(|folder| read_folder(folder));
        let listed = file.file_name().and_then(|name| rows.get(name.to_string_lossy().as_ref())).cloned();
        listed.unwrap_or_default().or(Identity::from_file_name(file))
    }
}

/// The rows of every CSV in a folder that has a column `file`; where two name the same file, the first by name counts.
fn read_folder(folder: &Path) -> HashMap<String, Identity> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut tables: Vec<PathBuf> = std::fs::read_dir(here)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")))
        .collect();
    tables.sort();
    let mut rows = HashMap::new();
    for (file, identity) in tables.iter().flat_map(|table| read_table(table)) {
        rows.entry(file).or_insert(identity);
    }
    rows
}

/// A CSV that cannot be read, or that is none of ours, says nothing: it must not keep a photograph from being graded.
fn read_table(table: &Path) -> Vec<(String, Identity)> {
    let Ok(mut reader) = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_path(table) else {
        return Vec::new();
    };
    let Ok(headers) = reader.headers().cloned() else { return Vec::new() };
    let column =
        |name: &str| headers.iter().position(|header| header.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let Some(file) = column("file") else { return Vec::new() };
    let (patient, eye, date) = (column("patient"), column("eye"), column("date"));
    let mut rows = Vec::new();
    for record in reader.records().map_while(Result::ok) {
        let text = |column: Option<usize>| column.and_then(|at| record.get(at)).filter(|text| !text.is_empty());
        let Some(name) = text(Some(file)) else { continue };
        let identity = Identity {
            patient: text(patient).map(str::to_owned),
            eye: text(eye).and_then(Laterality::parse),
            date: text(date).filter(|date| is_date(date)).map(str::to_owned),
        };
        rows.push((name.strip_prefix("./").unwrap_or(name).to_owned(), identity));
    }
    rows
}

/// Whether a text is a day as `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>, low: u32, high: u32| {
        text.get(range).and_then(|part| part.parse::<u32>().ok()).is_some_and(|value| (low..=high).contains(&value))
    };
    bytes.len() == 10
        && bytes.get(4) == Some(&b'-')
        && bytes.get(7) == Some(&b'-')
        && digits(0..4, 1800, 9999)
        && digits(5..7, 1, 12)
        && digits(8..10, 1, 31)
}

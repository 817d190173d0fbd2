//! A file name, the CSV beside it and DICOM tags come in; patient, eye and date go out. What none of them says, and what two of
//! the tables say differently, is unknown: never a guess.

use std::borrow::Cow;
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
    /// The folder among whose files it means one person, where only a file's name says it: `fundus_left.jpg` in another folder is
    /// somebody else. `None` where a CSV or DICOM says it.
    pub patient_within: Option<PathBuf>,
    /// The eye.
    pub eye: Option<Laterality>,
    /// The date of the photograph, `YYYY-MM-DD`.
    pub date: Option<String>,
}

impl Identity {
    /// What `self` says, and what `other` says where `self` is silent.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let (patient, patient_within) = match self.patient {
            Some(patient) => (Some(patient), self.patient_within),
            None => (other.patient, other.patient_within),
        };
        Self { patient, patient_within, eye: self.eye.or(other.eye), date: self.date.or(other.date) }
    }

    /// Equal for two photographs of the same patient; `None` where the patient is unknown.
    pub fn patient_key(&self) -> Option<(&str, Option<&Path>)> {
        self.patient.as_deref().map(|patient| (patient, self.patient_within.as_deref()))
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
        let patient_within = patient.as_ref().and_then(|_| file.parent()).map(Path::to_path_buf);
        Self { patient, patient_within, eye, date: None }
    }
}

/// The CSV files beside photographs (columns `file`, `eye`, `patient`, `date`, between commas, semicolons or tabs), read once a
/// folder.
#[derive(Debug, Default)]
pub struct Listing {
    folders: HashMap<PathBuf, HashMap<String, Row>>,
}

impl Listing {
    /// What the CSV beside `file`, else the file's name, says.
    pub fn identity(&mut self, file: &Path) -> Identity {
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let rows = self.folders.entry(folder).or_insert_with_key(|folder| read_folder(folder));
        let named = Identity::from_file_name(file);
        let listed = file.file_name().and_then(|name| rows.get(name.to_string_lossy().as_ref()));
        match listed {
            Some(row) => row.or(named),
            None => named,
        }
    }
}

/// What the tables of a folder say of a file together.
#[derive(Debug, Default)]
struct Row {
    patient: Word<String>,
    eye: Word<Laterality>,
    date: Word<String>,
}

impl Row {
    fn hear(&mut self, identity: Identity) {
        self.patient.hear(identity.patient);
        self.eye.hear(identity.eye);
        self.date.hear(identity.date);
    }

    /// What the tables say, and what the file's name says of what they are silent about.
    fn or(&self, named: Identity) -> Identity {
        let is_named = matches!(self.patient, Word::Silent);
        Identity {
            patient: self.patient.or(named.patient),
            patient_within: named.patient_within.filter(|_| is_named),
            eye: self.eye.or(named.eye),
            date: self.date.or(named.date),
        }
    }
}

/// What is said of one thing.
#[derive(Debug, Default)]
enum Word<T> {
    #[default]
    Silent,
    Said(T),
    /// One row says this and another that: neither is believed, nor is the file's name.
    Contradicted,
}

impl<T: Clone + PartialEq> Word<T> {
    fn hear(&mut self, word: Option<T>) {
        let Some(word) = word else { return };
        *self = match std::mem::take(self) {
            Self::Silent => Self::Said(word),
            Self::Said(said) if said == word => Self::Said(said),
            Self::Said(_) | Self::Contradicted => Self::Contradicted,
        };
    }

    fn or(&self, named: Option<T>) -> Option<T> {
        match self {
            Self::Silent => named,
            Self::Said(said) => Some(said.clone()),
            Self::Contradicted => None,
        }
    }
}

/// The rows of every CSV in a folder that has a column `file`. None comes before another: where two say different things of a
/// file, that is unknown.
fn read_folder(folder: &Path) -> HashMap<String, Row> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let tables = std::fs::read_dir(here)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")));
    let mut rows: HashMap<String, Row> = HashMap::new();
    for (file, identity) in tables.flat_map(|table| read_table(&table)) {
        rows.entry(file).or_default().hear(identity);
    }
    rows
}

/// Most bytes of a table: half a million rows.
const MOST_TABLE: u64 = 64 << 20;

/// A table that cannot be read, or that is none of ours, says nothing: it must not keep a photograph from being graded.
fn read_table(table: &Path) -> Vec<(String, Identity)> {
    // Pipes and devices could be waited on for ever.
    let is_read = std::fs::metadata(table).is_ok_and(|found| found.is_file() && found.len() <= MOST_TABLE);
    let Some(bytes) = is_read.then(|| std::fs::read(table).ok()).flatten() else { return Vec::new() };
    b",;\t".iter().find_map(|&separator| rows_of(&bytes, separator)).unwrap_or_default()
}

/// The rows of a table with this separator; `None` where no column is called `file`.
fn rows_of(table: &[u8], separator: u8) -> Option<Vec<(String, Identity)>> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).flexible(true).trim(csv::Trim::All).from_reader(table);
    let headers: Vec<String> = reader.byte_headers().ok()?.iter().map(|header| text(header).into_owned()).collect();
    let column =
        |name: &str| headers.iter().position(|header| header.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let file = column("file")?;
    if column("status").is_some() && column("referable_probability").is_some() {
        // Our own records (`diaret grade`): what they say of patient and eye was read here before.
        return Some(Vec::new());
    }
    let (patient, eye, date) = (column("patient"), column("eye"), column("date"));
    let row = |record: csv::ByteRecord| {
        let cell =
            |column: Option<usize>| column.and_then(|at| record.get(at)).map(text).filter(|cell| !cell.is_empty());
        let name = cell(Some(file))?;
        let identity = Identity {
            patient: cell(patient).map(Cow::into_owned),
            patient_within: None,
            eye: cell(eye).and_then(|cell| Laterality::parse(&cell)),
            date: cell(date).filter(|date| is_date(date)).map(Cow::into_owned),
        };
        Some((name.strip_prefix("./").unwrap_or(&name).to_owned(), identity))
    };
    Some(reader.byte_records().filter_map(Result::ok).filter_map(row).collect())
}

/// A cell's text: what is not UTF-8 is taken for Latin-1, as older spreadsheets write it.
fn text(cell: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(cell).map_or_else(|_| cell.iter().copied().map(char::from).collect(), Cow::Borrowed)
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

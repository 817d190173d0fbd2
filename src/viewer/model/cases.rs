//! The open list: what is known of each file, in which order and which of them are shown.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use crate::fundus::Identity;
use crate::grading::{Assessment, Grade};
use crate::session::{Case, CaseId};

/// What became of a file.
#[derive(Clone, Debug, Default)]
pub enum Outcome {
    /// Nothing yet.
    #[default]
    Waiting,
    /// The networks have spoken.
    Assessed(Arc<Assessment>),
    /// It gives no photograph, and why.
    Skipped(String),
}

/// A row of the list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file and whose eye it shows.
    pub case: Case,
    /// What the row is called: the file's name without its extension, and as much more as tells it from all others.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What files are called. Many cameras and archives give every patient's files the same names, in a folder of their own.
fn names(cases: &[Case]) -> Vec<String> {
    let text = |part: Option<&OsStr>| part.map_or_else(String::new, |part| part.to_string_lossy().into_owned());
    let folder = |path: &Path| text(path.parent().and_then(Path::file_name));
    let ways: [&dyn Fn(&Path) -> String; 4] = [
        &|path| text(path.file_stem()),
        &|path| format!("{}/{}", folder(path), text(path.file_stem())),
        &|path| format!("{}/{}", folder(path), text(path.file_name())),
        &|path| path.display().to_string(),
    ];
    let mut names = vec![String::new(); cases.len()];
    let mut open: Vec<usize> = (0..cases.len()).collect();
    for way in ways {
        let mut count: HashMap<&str, usize> = HashMap::new();
        open.iter().for_each(|&place| names[place] = way(&cases[place].path));
        open.iter().for_each(|&place| *count.entry(names[place].as_str()).or_default() += 1);
        open = open.iter().copied().filter(|&place| count[names[place].as_str()] > 1).collect();
    }
    names
}

impl Entry {
    /// The networks' common word, once they have spoken.
    pub fn assessment(&self) -> Option<&Arc<Assessment>> {
        match &self.outcome {
            Outcome::Assessed(assessment) => Some(assessment),
            _ => None,
        }
    }

    /// Why there is no photograph.
    pub fn skipped(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Skipped(reason) => Some(reason),
            _ => None,
        }
    }

    fn matches(&self, find: &str) -> bool {
        let contains = |text: &str| text.to_lowercase().contains(find);
        contains(&self.name) || self.case.identity.patient.as_deref().is_some_and(contains)
    }
}

/// Which rows are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Every file.
    #[default]
    All,
    /// Grade 2 or more.
    Referable,
    /// The networks give different grades.
    NetworksDiffer,
    /// Files that give no photograph.
    Skipped,
}

impl Filter {
    /// In the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::All, Self::Referable, Self::NetworksDiffer, Self::Skipped];

    /// What the chip says.
    pub fn label(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Referable => "Referable",
            Self::NetworksDiffer => "Networks differ",
            Self::Skipped => "Skipped",
        }
    }

    /// Whether a row belongs to it.
    pub fn admits(self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Referable => entry.assessment().is_some_and(|a| a.grade.is_referable()),
            Self::NetworksDiffer => entry.assessment().is_some_and(|a| a.networks_differ()),
            Self::Skipped => entry.skipped().is_some(),
        }
    }
}

/// In which order rows stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderBy {
    /// By file name.
    #[default]
    Name,
    /// By grade, then by the probability of referable.
    Worst,
}

/// The open list. Its order is made when it is asked for and then stands still: results that arrive later change a row where
/// it stands, and a row that a filter newly admits comes last.
#[derive(Debug, Default)]
pub struct Cases {
    entries: Vec<Entry>,
    order: Vec<CaseId>,
    shown: Vec<CaseId>,
    order_by: OrderBy,
    filter: Filter,
    find: String,
    stale: bool,
}

impl Cases {
    /// A new list, by name, unfiltered.
    pub fn new(cases: Vec<Case>) -> Self {
        let names = names(&cases);
        let entry = |(case, name)| Entry { case, name, outcome: Outcome::Waiting };
        let mut list = Self { entries: cases.into_iter().zip(names).map(entry).collect(), ..Self::default() };
        list.rearrange();
        list
    }

    /// Files in the list.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the list has no file.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A row; `None` for a case of a former list.
    pub fn get(&self, case: CaseId) -> Option<&Entry> {
        self.entries.get(case.0)
    }

    /// The rows on screen, from the top.
    pub fn shown(&self) -> &[CaseId] {
        &self.shown
    }

    /// How many files a filter admits.
    pub fn count(&self, filter: Filter) -> usize {
        self.entries.iter().filter(|entry| filter.admits(entry)).count()
    }

    /// How many files have been graded or skipped.
    pub fn settled(&self) -> usize {
        self.entries.iter().filter(|entry| !matches!(entry.outcome, Outcome::Waiting)).count()
    }

    /// The filter in use.
    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// What is looked for.
    pub fn find(&self) -> &str {
        &self.find
    }

    /// The order in use.
    pub fn order_by(&self) -> OrderBy {
        self.order_by
    }

    /// Whether results have arrived since the order was made that would change it.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Shows other rows.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
        self.select_shown();
    }

    /// Shows the rows whose name or patient contains `find`.
    pub fn set_find(&mut self, find: &str) {
        find.clone_into(&mut self.find);
        self.select_shown();
    }

    /// Makes the order anew.
    pub fn set_order(&mut self, order_by: OrderBy) {
        self.order_by = order_by;
        self.rearrange();
    }

    /// Notes what became of a file; nothing moves.
    pub fn settle(&mut self, case: CaseId, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(case.0) else { return };
        entry.outcome = outcome;
        self.stale |= self.order_by == OrderBy::Worst;
        self.admit(case);
    }

    /// Notes whose eye it is; nothing moves.
    pub fn identify(&mut self, case: CaseId, identity: Identity) {
        let Some(entry) = self.entries.get_mut(case.0) else { return };
        self.stale |= entry.case.identity.patient_key() != identity.patient_key();
        entry.case.identity = identity;
        self.admit(case);
    }

    fn admit(&mut self, case: CaseId) {
        if self.is_admitted(case) && !self.shown.contains(&case) {
            self.shown.push(case);
        }
    }

    fn is_admitted(&self, case: CaseId) -> bool {
        let find = self.find.trim().to_lowercase();
        self.get(case).is_some_and(|entry| self.filter.admits(entry) && (find.is_empty() || entry.matches(&find)))
    }

    /// The row `steps` below the one selected; the first where none is.
    pub fn neighbour(&self, selected: Option<CaseId>, steps: isize) -> Option<CaseId> {
        let Some(place) = selected.and_then(|case| self.shown.iter().position(|&shown| shown == case)) else {
            return self.shown.first().copied();
        };
        self.shown.get(place.saturating_add_signed(steps).min(self.shown.len().saturating_sub(1))).copied()
    }

    /// The other eye of the same patient: of the same date if there is one, else the nearest in the list.
    pub fn other_eye(&self, case: CaseId) -> Option<CaseId> {
        let identity = &self.get(case)?.case.identity;
        let (patient, eye) = (identity.patient_key()?, identity.eye?);
        let is_other =
            |other: &Identity| other.patient_key() == Some(patient) && other.eye.is_some_and(|other| other != eye);
        let others = self.entries.iter().enumerate().filter(|(_, entry)| is_other(&entry.case.identity));
        others
            .min_by_key(|(place, entry)| (entry.case.identity.date != identity.date, place.abs_diff(case.0)))
            .map(|(place, _)| CaseId(place))
    }

    /// Whole patients are ordered, so that the two eyes of one stand together.
    fn rearrange(&mut self) {
        let mut groups = self.patients();
        if self.order_by == OrderBy::Worst {
            for group in &mut groups {
                group.sort_by(|&a, &b| self.worse_first(a, b));
            }
            groups.sort_by(|a, b| match (a.first(), b.first()) {
                (Some(&a), Some(&b)) => self.worse_first(a, b),
                _ => Ordering::Equal,
            });
        }
        self.order = groups.into_iter().flatten().collect();
        self.stale = false;
        self.select_shown();
    }

    /// The cases of each patient, patients by the name of their first file; a file without a patient stands for itself.
    fn patients(&self) -> Vec<Vec<CaseId>> {
        let mut groups: Vec<Vec<CaseId>> = Vec::new();
        let mut place_of = HashMap::new();
        for (place, entry) in self.entries.iter().enumerate() {
            let group = match entry.case.identity.patient_key() {
                Some(patient) => *place_of.entry(patient).or_insert(groups.len()),
                None => groups.len(),
            };
            match groups.get_mut(group) {
                Some(group) => group.push(CaseId(place)),
                None => groups.push(vec![CaseId(place)]),
            }
        }
        groups
    }

    fn worse_first(&self, a: CaseId, b: CaseId) -> Ordering {
        let severity = |case| -> Option<(Grade, f64)> {
            let assessment = self.get(case)?.assessment()?;
            Some((assessment.grade, assessment.referable_probability))
        };
        match (severity(a), severity(b)) {
            (Some(a), Some(b)) => b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }

    fn select_shown(&mut self) {
        self.shown = self.order.iter().copied().filter(|&case| self.is_admitted(case)).collect();
    }
}

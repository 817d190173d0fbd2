//! The five grades.

use serde::{Deserialize, Serialize};

/// A grade of the ICDR scale, as its digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Grade {
    /// 0: no apparent retinopathy.
    None,
    /// 1: mild NPDR.
    Mild,
    /// 2: moderate NPDR.
    Moderate,
    /// 3: severe NPDR.
    Severe,
    /// 4: proliferative retinopathy.
    Proliferative,
}

impl Grade {
    /// All, by severity.
    pub const ALL: [Self; 5] = [Self::None, Self::Mild, Self::Moderate, Self::Severe, Self::Proliferative];

    /// 0 to 4.
    pub fn digit(self) -> u8 {
        self as u8
    }

    /// Its place among the classes of a network: 0 to 4.
    pub fn index(self) -> usize {
        usize::from(self.digit())
    }

    /// The grade of a network's greatest class; indices past the last class, which no five-class network gives, are its
    /// last grade.
    pub(super) fn of_greatest(index: usize) -> Self {
        Self::ALL.get(index).copied().unwrap_or(Self::Proliferative)
    }

    /// Grade 2 or more.
    pub fn is_referable(self) -> bool {
        self >= Self::Moderate
    }

    /// As a heading: `Moderate NPDR`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "No retinopathy",
            Self::Mild => "Mild NPDR",
            Self::Moderate => "Moderate NPDR",
            Self::Severe => "Severe NPDR",
            Self::Proliferative => "Proliferative DR",
        }
    }

    /// As a label of a bar: `Moderate`.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Mild => "Mild",
            Self::Moderate => "Moderate",
            Self::Severe => "Severe",
            Self::Proliferative => "Proliferative",
        }
    }
}

impl From<Grade> for u8 {
    fn from(grade: Grade) -> Self {
        grade.digit()
    }
}

/// A number that is no grade.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no ICDR grade: grades are 0 to 4")]
pub struct NoGrade(u8);

impl TryFrom<u8> for Grade {
    type Error = NoGrade;

    fn try_from(digit: u8) -> Result<Self, NoGrade> {
        Self::ALL.get(usize::from(digit)).copied().ok_or(NoGrade(digit))
    }
}
